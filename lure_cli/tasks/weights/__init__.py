"""Weight files.

find      names -> files: shipped, local, on the hub
hub       download and cache;  client: the hub's client and its errors
repo      names of repositories;  record: a file's checksum, lure.json
inspect   what a file holds
push, merge, export     publish it, join parts, write it as ONNX
"""
