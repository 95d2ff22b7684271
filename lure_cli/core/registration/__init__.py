"""Registration of an infrared image to its visible one.

alignment        the result, and warping by it
transform_file   as a file
estimate         how it is found and judged: `edge_search`, coarse to fine, then `refine`, then `lens`
residual         how far off a known one is
"""
