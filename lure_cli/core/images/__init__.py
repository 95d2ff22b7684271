"""Image files.

picture      read and write pictures: what others call
value_range  which numbers of a file are black and white;    invalid: which measure nothing
header       what a file says without being decoded;    ends: whether it is whole
decode       a file of any type -> stored pixels;       encode: pixels -> the bytes of a file
formats      the table of types; where a new one begins
tiff, png, jpeg, jpeg2000, jpegxl, avif, heif, bmp, pnm, pillow     one reader each;    stored: what they give
tiff_pages   which picture of a TIFF is meant;          tiff_colours: its numbers -> grey or RGB
guards       opening, limits, errors;                   colour, exif: what readers share
"""
