"""Fuse a pair with an exported model, without LURE (pip install onnxruntime pillow; `lure export onnx` made the model).

python fuse.py MODEL.onnx IR VIS OUT [VIS_PROMPT [IR_PROMPT]]       prompts such as haze+noise, or none
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

model, ir, vis, out, *said = sys.argv[1:]
vectors = json.loads(Path(model).with_suffix(".prompts.json").read_text())["prompts"]


def read(file: str, mode: str) -> np.ndarray:
    """(1, C, H, W) float32 in [0, 1]."""
    pixels = np.atleast_3d(np.asarray(Image.open(file).convert(mode), np.float32) / 255)
    return pixels.transpose(2, 0, 1)[None]


feed = {"ir": read(ir, "L"), "vis": read(vis, "RGB")}
for side, name in zip(("vis", "ir"), (*said, "none", "none"), strict=False):
    feed[f"prompt_{side}"] = np.array([vectors[side][name]], np.float32)  # (1, D)
onnxruntime.set_default_logger_severity(3)  # it warns of inputs that may be left out
fused = onnxruntime.InferenceSession(model).run(["fused"], feed)[0]  # (1, 3, H, W) in [0, 1]
Image.fromarray((fused[0].transpose(1, 2, 0) * 255).round().astype(np.uint8)).save(out)
