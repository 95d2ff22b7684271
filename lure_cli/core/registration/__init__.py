"""Registration of an infrared image to its visible one.

alignment    the result, and warping by it
estimate     how it is found and judged: `edge_search`, coarse to fine, then `refine`
"""
