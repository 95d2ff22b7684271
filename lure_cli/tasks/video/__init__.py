"""Fusing clips.

plan      options -> which clips are fused to what
live      the newest frames of sources that do not wait
sync      two clips -> one stream of pairs
target    where fused frames go: a clip, or pictures
result    what happens on the way, and what becomes of two clips
run       carrying out a plan
"""
