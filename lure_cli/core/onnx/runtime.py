"""ONNX files of ours: what they say about themselves, and how they are run, with the same contract as the model.

One file is all that fusing needs. Its metadata hold, as JSON under the key `lure`, what the weight file's do (format,
config, provenance) and the text vector of every combination of degradations; `lure export onnx` writes the same record
beside it for programs in other languages.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lure_cli.config import ModelConfig, Provenance, from_mapping
from lure_cli.core.model.context import context_view
from lure_cli.core.onnx.graph import INPUTS, OPTIONAL
from lure_cli.core.onnx.record import HINT, KEY, PromptTable, check_graph, parse_record, vectors_of
from lure_cli.core.pixels import CHANNELS, Modality, pad_to_multiple
from lure_cli.errors import LureError

MAX_BYTES = (2 << 30) - 1
"""Larger files are refused before they are read; no ONNX file without external data is larger."""


class OnnxLure(nn.Module):
    """An exported model, run by onnxruntime; to be called as `Lure` is. It has no parameters and stays on its device.

    Args:
        session: of the graph.
        multiple, halo: as of the `Lure` that was exported.
        path: the file, for errors.
    """

    def __init__(self, session: Any, multiple: int, halo: int, path: str) -> None:
        super().__init__()
        self.session, self.multiple, self.halo, self.path = session, multiple, halo, path
        inputs = (*session.get_inputs(), *session.get_overridable_initializers())
        planes = {i.name: i.shape[1] for i in inputs if i.name.startswith("thumb_")}
        self.extremes = planes["thumb_ir"] > CHANNELS["ir"]

    @property
    def provider(self) -> str:
        """What runs it: `CPUExecutionProvider`, `CUDAExecutionProvider` .."""
        return str(self.session.get_providers()[0])

    def context_view(self, x: Tensor) -> Tensor:
        """The `context_view` of an image x (B, C, H, W), any size."""
        return context_view(pad_to_multiple(x, self.multiple), self.extremes)

    def condition_from(self, view: Tensor, t: Tensor, modality: Modality) -> Tensor:
        """The view itself, from which the graph makes the `Condition`."""
        return view

    def reach(self, conditions: Sequence[Tensor]) -> int:
        """`halo`, whatever is asked for: views do not say that."""
        return self.halo

    def forward(
        self,
        ir: Tensor,
        vis: Tensor,
        t_ir: Tensor,
        t_vis: Tensor,
        strength_ir: float | Tensor = 1.0,
        strength_vis: float | Tensor = 1.0,
        conditions: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """As `Lure.forward`; a strength may also be a tensor (B,), one an image.

        Raises:
            MemoryError: the images are too large.
            LureError: the graph cannot be run.
        """
        feed = dict(zip(INPUTS, (ir, vis, t_ir, t_vis), strict=True))
        strengths = (torch.as_tensor(s).reshape(-1) for s in (strength_ir, strength_vis))
        feed |= dict(zip(OPTIONAL[:2], strengths, strict=True))
        if conditions is not None:
            feed |= dict(zip(OPTIONAL[2:4], conditions, strict=True))
        arrays = {k: np.ascontiguousarray(v.detach().float().cpu().numpy()) for k, v in feed.items()}
        try:
            fused: np.ndarray = self.session.run(["fused"], arrays)[0]
        except Exception as error:  # its exceptions have no base class of their own
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            if any(word in reason.lower() for word in ("memory", "bad_alloc", "allocat")):
                raise MemoryError(reason) from error
            raise LureError(f"{self.path}: cannot be run ({reason})", "export it again: lure export onnx") from error
        return torch.from_numpy(fused)

    def restore(
        self, x: Tensor, t: Tensor, modality: Modality, strength: float = 1.0, condition: Tensor | None = None
    ) -> Tensor:
        """An exported file holds the fusion alone.

        Raises:
            LureError: always.
        """
        raise LureError(f"{self.path}: ONNX files fuse, they cannot restore one image", "use the .safetensors weights")


def load_onnx(path: Path, device: str = "auto") -> tuple[OnnxLure, PromptTable, Provenance]:
    """Read a file that `lure export onnx` wrote.

    Args:
        path: the file.
        device: `auto` (CUDA where onnxruntime has it), `cpu`, `cuda` or `cuda:N`.

    Raises:
        LureError: onnxruntime is not installed, the device is not there; the file is missing, damaged, too large, of a
            newer format, not one of ours, or one of ours that was changed.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise LureError(f"{path}: larger than {MAX_BYTES >> 20} MiB", HINT)
        data = path.read_bytes()
    except OSError as e:
        raise LureError(f"{path}: cannot be read ({e.strerror or e})", HINT) from e
    return open_onnx(data, str(path), device)


def open_onnx(data: bytes, name: str, device: str = "auto") -> tuple[OnnxLure, PromptTable, Provenance]:
    """As `load_onnx`, of the content of a file called `name`."""
    onnx, ort = import_onnx()
    try:
        proto = onnx.load_model_from_string(data)
    except Exception as e:  # of the protobuf library, whose implementations raise different ones
        raise LureError(f"{name}: damaged or not an ONNX file", HINT) from e
    texts = {p.key: p.value for p in proto.metadata_props}
    if KEY not in texts:
        raise LureError(f"{name}: an ONNX file, but not written by LURE", HINT)
    record = parse_record(texts[KEY], name)
    check_graph(proto, record, name)
    try:
        cfg = from_mapping(ModelConfig, record["config"], name)
        provenance = from_mapping(Provenance, record["provenance"], name)
        multiple, halo = record["multiple"], record["reach"]
        if multiple != 2 ** len(cfg.widths) or type(halo) is not int or not 0 <= halo <= 1 << 20:
            raise ValueError(f"multiple {multiple}, reach {halo}")
        text = PromptTable(vectors_of(record["prompts"], cfg.text_dim), str(record["text_encoder"]))
        provenance = dataclasses.replace(provenance, degradations=text.names)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as e:
        raise LureError(f"{name}: its record is damaged ({str(e).splitlines()[0]})", "export it again") from e
    options = ort.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # what reads and writes needs the CPU too
    options.log_severity_level = 3  # it warns of every input that may be left out
    try:
        session = ort.InferenceSession(data, options, providers=_providers(device, ort.get_available_providers()))
    except LureError:
        raise
    except Exception as e:  # its exceptions have no base class of their own
        reason = (str(e).splitlines() or [type(e).__name__])[0]
        raise LureError(f"{name}: onnxruntime cannot load it ({reason})", "export it again, or upgrade") from e
    model = OnnxLure(session, multiple, halo, name)
    if device.startswith("cuda") and model.provider != "CUDAExecutionProvider":
        raise LureError(f"device '{device}' cannot be used by onnxruntime", "check its CUDA libraries, or --device cpu")
    return model.eval(), text, provenance


def import_onnx() -> tuple[Any, Any]:
    """The packages onnx and onnxruntime; LureError says how they are installed."""
    try:
        import onnx
        import onnxruntime
    except ImportError as e:
        raise LureError(f"ONNX cannot be used ({e})", 'pip install "lure-cli[export]"') from e
    return onnx, onnxruntime


def _providers(device: str, there: Sequence[str]) -> list[Any]:
    cpu = ["CPUExecutionProvider"]
    kind, _, number = device.partition(":")
    if device == "cpu" or (device == "auto" and "CUDAExecutionProvider" not in there):
        return cpu
    if device == "auto":
        return ["CUDAExecutionProvider", *cpu]
    if kind != "cuda" or (number and not (number.isascii() and number.isdigit())):
        raise LureError(f"device '{device}' is not known to the ONNX backend", "use auto, cpu or cuda")
    if "CUDAExecutionProvider" not in there:
        raise LureError(f"device '{device}' is not available to onnxruntime", "pip install onnxruntime-gpu, or use cpu")
    return [("CUDAExecutionProvider", {"device_id": int(number or 0)}), *cpu]
