"""Clips.

clip            a clip's frames and what is known of it
source          what names a clip
reader          video files, cameras and streams -> frames;  container, clock, pixels: its parts
picture_folder  numbered pictures -> frames
writer          pictures and sound -> a video file
live_output     what names a live output: an address, an HLS folder
sender          pictures -> a live output
pyav            what reader and writer share of PyAV
"""
