"""`lure doctor`: does this installation work? Each part is tried, not just looked up."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from lure_cli.core.machine import torch_installed
from lure_cli.errors import LureError
from lure_cli.tasks.info import Info, collect_info
from lure_cli.tasks.weights.find import DEFAULT, MODELS, shipped_path

State = Literal["ok", "missing", "broken"]

EXTRAS = {
    "align": ("SimpleITK", "lure fuse --align, lure align"),
    "export": ("onnx", "lure export onnx"),
    "eval": ("matplotlib", "lure eval --plots"),
    "plot": ("sklearn", "lure plot ulfs"),
    "video": ("av", "lure fuse with clips"),
    "thermal": ("flyr", "radiometric files of thermal cameras"),
    "heif": ("pi_heif", "HEIC images"),
    "watch": ("watchfiles", "lure watch"),
    "ui": ("gradio", "lure ui"),
    "ray": ("ray.data", "lure fuse --engine ray"),
    "bench": ("pycocotools", "lure bench detect: object detection"),
    "train": ("accelerate", "lure train with TensorBoard, on several devices"),
}
"""Optional parts: the extra that installs each, the module that it needs, what it is for."""

NEEDS_TORCH = (
    "no lure-base",
    "no GPU",
    "no --compile",
    "no latents and origin maps",
    "no training, export, and bench other than start",
)
"""What an installation without torch cannot do."""
_WITH_TORCH = ("bench", "train")
"""Extras that are of no use without torch, and bring it along."""


@dataclass(frozen=True)
class Check:
    """One thing that was tried. `needed`: without it the tool does not do its main job."""

    name: str
    state: State
    found: str
    needed: bool = True
    hint: str | None = None


def examine() -> Iterator[Check]:
    """Try everything, one check at a time; nothing is downloaded, no error is raised."""
    info = cache(collect_info)
    yield _try("python", _python, "install Python 3.11 or newer")
    yield _torch(info)
    yield _try("weights", lambda: _weights(info()), "install lure-cli again")
    yield _try("text encoder", _text, "install lure-cli again")
    yield _try("detector", _detector, "install lure-cli again")
    yield _try("image files", _images, "install imagecodecs, pillow and tifffile again")
    yield _try("onnxruntime", lambda: _fusion(f"{DEFAULT}.onnx"), "install onnxruntime again")
    yield _try("fusion", _fusion, "run it again with LURE_DEBUG=1 to see where it fails")
    yield _try("current folder", _folder, "change to a folder that you may write to", needed=False)
    yield Check("network", "ok", _network(), needed=False)
    yield _open_clip()
    for extra, (module, purpose) in EXTRAS.items():
        yield _extra(extra, module, purpose)


def _try(name: str, call: Callable[[], str], hint: str, *, needed: bool = True) -> Check:
    try:
        return Check(name, "ok", call(), needed)
    except LureError as error:
        return Check(name, "broken", error.message, needed, error.hint)
    except Exception as error:  # whatever is broken is what the user wants to be told
        lines = str(error).splitlines()
        return Check(name, "broken", f"{type(error).__name__}: {lines[0] if lines else ''}", needed, hint)


def _python() -> str:
    return f"{sys.version.split()[0]} ({sys.executable})"


def _torch(info: Callable[[], Info]) -> Check:
    hint = "install PyTorch: https://pytorch.org/get-started/locally"
    if not torch_installed():  # left out on purpose, on small machines
        lacking = "not installed: " + ", ".join(NEEDS_TORCH)
        return Check("torch", "missing", lacking, needed=False, hint=f"for these {hint}")

    def found() -> str:
        devices = "; ".join(f"{name}: {what}" for name, what in info().devices.items())
        return f"{info().packages['torch']}, {info().threads} threads; {devices}"

    return _try("torch", found, hint)


def _weights(info: Info) -> str:
    path = shipped_path(DEFAULT)
    bad = [w for w in info.weights if w.checksum != "ok"]
    if bad or path is None:
        raise LureError(", ".join(f"{w.name}: {w.checksum}" for w in bad), "install lure-cli again")
    return f"{', '.join(MODELS)}, checksums ok ({path.parent})"


def _text() -> str:
    from lure_cli.tasks.prompt import parse_prompt

    prompt = parse_prompt("haze")
    if prompt.vis != ("haze",):
        raise LureError("'haze' is not understood", "install lure-cli again")
    return "understands 'haze'"


def _detector() -> str:
    import numpy as np

    from lure_cli.tasks.detect import shipped_detector

    shipped_detector().detect(np.full((64, 64, 1), 0.5, np.float32), "ir")
    return "loads and judges"


def _images() -> str:
    import numpy as np

    from lure_cli.core.images.formats import SUFFIXES
    from lure_cli.core.images.picture import encode_image, read_picture

    x = np.linspace(0, 1, 16 * 16 * 3, dtype=np.float32).reshape(16, 16, 3)
    for suffix in SUFFIXES:
        back = read_picture(encode_image(x, suffix), channels=3, name=f"a {suffix} file").x
        if back.shape != x.shape or np.abs(back - x).mean() > 0.1:
            raise LureError(f"{suffix} files are not written or read rightly", "install the image packages again")
    return " ".join(suffix.removeprefix(".") for suffix in SUFFIXES)


def _fusion(weights: str = DEFAULT) -> str:
    import numpy as np

    from lure_cli.tasks.inference.fuser import Fuser

    ramp = np.linspace(0, 1, 64, dtype=np.float32)
    fuser = Fuser.from_pretrained(weights)
    fused = fuser(np.tile(ramp, (64, 1)), np.tile(ramp[:, None], (1, 64)), prompt="haze")
    if not np.isfinite(fused).all():
        raise LureError("the fused picture holds NaN or infinite values", "try --dtype fp32, or --device cpu")
    return f"a 64x64 pair, by {fuser.computed_by}"


def _folder() -> str:
    with tempfile.TemporaryFile(dir="."):
        return str(Path.cwd())


def _network() -> str:
    offline = [name for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE") if os.environ.get(name, "0") != "0"]
    if offline:
        return f"not needed; {' and '.join(offline)} keep the Hugging Face Hub's client offline"
    return "not needed: the default weights are part of the package"


def _open_clip() -> Check:
    purpose = "only for models that were trained with text_encoder = open_clip:..."
    if find_spec("open_clip") is None:
        return Check("open_clip", "missing", f"not installed: {purpose}", False, "pip install open_clip_torch")

    def found() -> str:
        importlib.import_module("open_clip")
        return f"{version('open_clip_torch')} ({purpose})"

    return _try("open_clip", found, "install torch and torchvision of matching builds", needed=False)


def _extra(extra: str, module: str, purpose: str) -> Check:
    hint = f'pip install "lure-cli[{extra}]"'
    if not torch_installed() and extra not in _WITH_TORCH:  # which that would install, too
        hint = f"pip install $(python -m lure_cli.without_torch {extra})"
    try:
        importlib.import_module(module)
    except ImportError:
        return Check(f"extra '{extra}'", "missing", f"{module} is not installed: {purpose}", False, hint)
    except Exception as error:  # installed, but of a version that cannot be loaded here
        return Check(f"extra '{extra}'", "broken", f"{module}: {type(error).__name__}", False, hint)
    return Check(f"extra '{extra}'", "ok", f"{module}: {purpose}", False)
