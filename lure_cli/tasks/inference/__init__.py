"""Fusing and restoring images.

request     what is asked for, and what comes back
plan        options -> what is done, checked in one order for every kind of job
loading     a weight file -> model, device, number type
tensors     images as users give them <-> tensors
stream      pairs that come one after another, with a prompt that holds
fuser       the loaded model, for Python
inputs      the files of a job -> arrays
pipeline    reading, computing and writing side by side
job         what jobs on images have in common;  fuse, restore: the two;  ray_engine: on a cluster
"""
