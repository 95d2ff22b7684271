"""Fusing and restoring images.

request     what is asked for, and what comes back
options     how a job is read, computed and written
plan        options -> what is done, checked in one order for every kind of job
loading     a weight file -> an engine: model, device, number type
tensors     images as users give them -> arrays, tensors
stream      pairs that come one after another, with a prompt that holds
fuser       the loaded model, for Python
inputs      the files of a job -> arrays
placement   where an infrared image goes on the visible grid
heat, provenance   what is made of a pair beside the fused picture
pipeline    reading, computing and writing side by side
job         what jobs on images have in common;  fuse, restore: the two;  ray_engine: on a cluster
"""
