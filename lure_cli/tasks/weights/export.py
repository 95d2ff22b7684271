"""`lure export onnx`: a model as one file for other programs, kept only if its pictures are the model's."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lure_cli.core.files import write_file
from lure_cli.errors import LureError
from lure_cli.tasks.weights.find import DEFAULT, resolve_weights

if TYPE_CHECKING:
    import numpy as np
    import torch

    from lure_cli.core.model.lure import Lure
    from lure_cli.core.onnx.runtime import OnnxLure
    from lure_cli.core.pixels import Modality
    from lure_cli.core.text.encoders import TextEncoder

VARIANTS = ("fp32", "fp16")
"""int8 (static, per channel, with calibration) was tried and left out: 33 dB at worst, 1.2 times as fast on a CPU."""
TOLERANCE = 1e-3
"""Largest difference of a value in [0, 1] between model and file (fp32)."""
SIMILAR = 45.0
"""Least PSNR in dB between the pictures of the model and those of another variant."""
SIZES = ((1, 1, 1), (1, 7, 9), (2, 33, 47), (1, 64, 80))
"""Batch, height and width of the images that both are tried on."""


@dataclass(frozen=True)
class ExportOptions:
    """What `lure export onnx` was asked to do; see the command's help."""

    weights: str = DEFAULT
    output: Path | None = None
    variant: str = "fp32"
    check: bool = True
    overwrite: bool = False


@dataclass(frozen=True)
class Comparison:
    """How far a file is from the model it came from: the largest difference of a value, the least PSNR of a picture in
    dB, and how many pictures that is about."""

    difference: float
    psnr: float
    pictures: int


@dataclass(frozen=True)
class Exported:
    """What was written; `comparison` is None where nothing was compared."""

    path: Path
    prompts: Path
    model: str
    variant: str
    bytes: int
    comparison: Comparison | None


def export_onnx(options: ExportOptions) -> Exported:
    """Write a model as ONNX, and its text vectors as JSON beside it.

    Raises:
        LureError: unknown weights or variant, files that exist, packages that are missing, a folder that cannot be
            written to, or a file whose pictures are not the model's (it is not written then).
    """
    if options.variant not in VARIANTS:
        raise LureError(f"variant '{options.variant}' is not known", f"use one of {', '.join(VARIANTS)}")
    source = resolve_weights(options.weights)
    if source.suffix.lower() == ".onnx":
        raise LureError(f"{source} is an ONNX file already", "give .safetensors weights, or a name")
    path = options.output or Path(f"{source.stem}.onnx")
    if path.suffix.lower() != ".onnx":
        raise LureError(f"{path}: the output's name must end in .onnx", f"for example -o {path.stem or 'model'}.onnx")
    prompts = path.with_suffix(".prompts.json")
    for file in (path, prompts):
        if os.path.lexists(file) and (not options.overwrite or file.is_dir()):
            raise LureError(f"{file} exists already", "give --overwrite, or another name")

    from lure_cli.core.files import sha256
    from lure_cli.core.model.checkpoint import load_model
    from lure_cli.core.onnx.graph import build_onnx
    from lure_cli.core.onnx.record import KEY, describe
    from lure_cli.core.onnx.runtime import MAX_BYTES, import_onnxruntime, open_onnx

    if not find_spec("onnx"):
        raise LureError("the package onnx is not installed", 'pip install "lure-cli[export]"')
    import_onnxruntime()
    model, text, provenance = load_model(source)
    proto = build_onnx(model, half=options.variant == "fp16")
    record = json.dumps(describe(proto, model, text, provenance, options.variant, sha256(source)))
    proto.metadata_props.add(key=KEY, value=record)
    data = proto.SerializeToString()
    if len(data) > MAX_BYTES:
        raise LureError(f"{source}: too large for one ONNX file", "export a smaller model")
    comparison = None
    if options.check:
        comparison = compare(model, text, open_onnx(data, str(path), "cpu")[0])
        good = comparison.difference <= TOLERANCE if options.variant == "fp32" else comparison.psnr >= SIMILAR
        if not good:  # NaN is not good either
            raise LureError(
                f"{path} would not give the model's pictures (largest difference {comparison.difference:.2g}, "
                f"PSNR {comparison.psnr:.1f} dB); nothing was written",
                "try --variant fp32; if it is that already, please report it with the weights",
            )
    write_file(prompts, record.encode())
    write_file(path, data)
    return Exported(path, prompts, model.cfg.name, options.variant, len(data), comparison)


def compare(model: Lure, text: TextEncoder, exported: OnnxLure) -> Comparison:
    """Run both on rendered images of odd sizes: without and with prompts, by strength, grey, and as parts; fuse them,
    and restore each by itself."""
    import numpy as np
    import torch

    from lure_cli.core.engine.tiling import conditions_of
    from lure_cli.core.pixels import psnr

    largest, least, count = torch.zeros(()), torch.tensor(float("inf")), 0

    def add(actual: np.ndarray, expected: torch.Tensor) -> None:
        nonlocal largest, least, count
        picture = torch.from_numpy(actual)
        largest = torch.maximum(largest, (picture - expected).abs().max())  # these two keep NaN
        least = torch.minimum(least, psnr(picture, expected).min())
        count += len(expected)

    with torch.inference_mode():
        for args, whole in _cases(text):
            expected = model(*args, whole and conditions_of(model, *whole, *args[2:4]))
            views: Any = whole and [exported.context_view(x.numpy()) for x in whole]
            given: list[Any] = [*map(np.asarray, args), views]
            add(exported(*given), expected)
            if whole:
                continue
            ir, vis, t_ir, t_vis, strength_ir, strength_vis = args
            alone: tuple[tuple[Any, Any, Modality, float], ...]
            alone = (ir, t_ir, "ir", strength_ir), (vis, t_vis, "vis", strength_vis)
            for x, t, modality, strength in alone:
                actual = exported.restore(x.numpy(), t.numpy(), modality, strength)
                add(actual, model.restore(x, t, modality, strength))
    return Comparison(float(largest), float(least), count)


Case = tuple["torch.Tensor", "torch.Tensor", "torch.Tensor", "torch.Tensor", float, float]


def _cases(text: TextEncoder) -> Iterator[tuple[Case, tuple[torch.Tensor, torch.Tensor] | None]]:
    """Arguments of a model, and the whole images where those are parts."""
    import torch

    generator = torch.Generator().manual_seed(0)

    def picture(batch: int, channels: int, height: int, width: int) -> torch.Tensor:
        coarse = torch.rand((batch, channels, 5, 5), generator=generator)
        x = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")
        return (x + 0.05 * torch.randn(x.shape, generator=generator)).clamp(0, 1)

    asked = ((), ()), (("noise", "stripe"), ("haze",)), ((), ("lowlight", "noise"))
    for size in SIZES:
        ir, vis = picture(size[0], 1, *size[1:]), picture(size[0], 3, *size[1:])
        for i, (of_ir, of_vis) in enumerate(asked):
            t_ir, t_vis = (text.encode([names] * size[0]) for names in (of_ir, of_vis))
            yield (ir, vis, t_ir, t_vis, 1.0, 1.0 if i < 2 else 0.6), None
    grey = vis[:, :1].expand_as(vis).contiguous()
    yield (ir, grey, t_ir, t_vis, 1.0, 1.0), None
    part = (..., slice(8, 48), slice(16, 72))
    yield (ir[part], vis[part], t_ir, t_vis, 1.0, 1.0), (ir, vis)
