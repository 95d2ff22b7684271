"""ONNX files of ours: what they say about themselves, and how they are run, with the same contract as the model.

One file is all that fusing needs. Its metadata hold, as JSON under the key `lure`, what the weight file's do (format,
config, provenance) and the text vector of every combination of degradations; `lure export onnx` writes the same record
beside it for programs in other languages.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lure_cli.config import ModelConfig, Provenance, from_mapping
from lure_cli.core.cpu import keep_buffers, thread_count
from lure_cli.core.onnx.interface import INPUTS, OPTIONAL, OUTPUT
from lure_cli.core.onnx.record import HINT, KEY, PromptTable, check_graph, parse_record, vectors_of
from lure_cli.core.onnx.views import context_view
from lure_cli.core.onnx.wire import ForeignField, read_message
from lure_cli.core.pixels import CHANNELS, Modality, is_grey, luma
from lure_cli.errors import LureError

if TYPE_CHECKING:
    import torch

MAX_BYTES = (2 << 30) - 1
"""Larger files are refused before they are read; no ONNX file without external data is larger."""


class OnnxLure:
    """An exported model, run by onnxruntime; to be called as `Lure` is, with arrays of numpy instead of tensors.

    Args:
        session: of the graph.
        multiple, halo: as of the `Lure` that was exported.
        path: the file, for errors.
        pseudo_prompt: p0 (D,), the text vector that says that nothing is wrong.
        variant: the number type that the layers compute in, `fp32` or `fp16`.
    """

    def __init__(
        self, session: Any, multiple: int, halo: int, path: str, pseudo_prompt: np.ndarray, variant: str = "fp32"
    ) -> None:
        self.session, self.multiple, self.halo, self.path, self.variant = session, multiple, halo, path, variant
        self.pseudo_prompt = pseudo_prompt
        inputs = (*session.get_inputs(), *session.get_overridable_initializers())
        planes = {i.name: i.shape[1] for i in inputs if i.name.startswith("thumb_")}
        self.extremes = planes["thumb_ir"] > CHANNELS["ir"]
        self.restores = any(i.name == "output" for i in inputs)

    @property
    def provider(self) -> str:
        """What runs it: `CPUExecutionProvider`, `CUDAExecutionProvider` .."""
        return str(self.session.get_providers()[0])

    def context_view(self, x: np.ndarray) -> np.ndarray:
        """The `context_view` of an image x (B, C, H, W), any size."""
        return context_view(x, self.multiple, self.extremes)

    def condition_from(self, view: np.ndarray, t: np.ndarray, modality: Modality) -> np.ndarray:
        """The view itself, from which the graph makes the `Condition`."""
        return view

    def reach(self, conditions: Sequence[np.ndarray]) -> int:
        """`halo`, whatever is asked for: views do not say that."""
        return self.halo

    def empty_like(self, x: np.ndarray) -> np.ndarray:
        """See `TileableModel`."""
        return np.empty(x.shape, np.float32)

    def grey_as(self, vis: np.ndarray, y: np.ndarray) -> np.ndarray:
        """See `TileableModel`."""
        grey = is_grey(vis)
        return np.where(grey, luma(y), y) if grey.any() else y

    def __call__(
        self,
        ir: np.ndarray,
        vis: np.ndarray,
        t_ir: np.ndarray,
        t_vis: np.ndarray,
        strength_ir: float | np.ndarray = 1.0,
        strength_vis: float | np.ndarray = 1.0,
        conditions: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> np.ndarray:
        """As `Lure.forward`; a strength may also be an array (B,), one an image.

        Raises:
            MemoryError: the images are too large.
            LureError: the graph cannot be run.
        """
        feed: dict[str, Any] = dict(zip(INPUTS, (ir, vis, t_ir, t_vis), strict=True))
        strengths = (np.reshape(s, -1) for s in (strength_ir, strength_vis))
        feed |= dict(zip(OPTIONAL[:2], strengths, strict=True))
        if conditions is not None:
            feed |= dict(zip(OPTIONAL[2:4], conditions, strict=True))
        return self._run(feed)

    def _run(self, feed: dict[str, Any], output: int = 0) -> np.ndarray:
        arrays = {k: np.ascontiguousarray(v, np.float32) for k, v in feed.items()}
        if output:
            arrays["output"] = np.array([output])
        try:
            fused: np.ndarray = self.session.run(["fused"], arrays)[0]
        except Exception as error:  # its exceptions have no base class of their own
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            if any(word in reason.lower() for word in ("memory", "bad_alloc", "allocat")):
                raise MemoryError(reason) from error
            raise LureError(f"{self.path}: cannot be run ({reason})", "export it again: lure export onnx") from error
        return fused

    def restore(
        self,
        x: np.ndarray,
        t: np.ndarray,
        modality: Modality,
        strength: float = 1.0,
        condition: np.ndarray | None = None,
    ) -> np.ndarray:
        """As `Lure.restore`: the other image is a tiny one, which nothing is asked of.

        Raises:
            MemoryError, LureError: as calling it; LureError also of files of version 0.2, which hold the fusion alone.
        """
        if not self.restores:
            raise LureError(
                f"{self.path}: this ONNX file fuses, it cannot restore one image",
                "export it again: lure export onnx; or use the .safetensors weights",
            )
        other: Modality = "ir" if modality == "vis" else "vis"
        feed: dict[str, Any] = {modality: x, f"prompt_{modality}": t, f"strength_{modality}": np.reshape(strength, -1)}
        feed |= {other: np.zeros((1, CHANNELS[other], 1, 1)), f"prompt_{other}": self.pseudo_prompt[None]}
        if condition is not None:
            feed[f"thumb_{modality}"] = condition
        return self._run(feed, OUTPUT[modality])[:, : CHANNELS[modality]]


class OnnxEngine:
    """See `Engine`; its arrays are numpy's, from and to the CPU whatever computes."""

    def __init__(self, model: OnnxLure, text: PromptTable) -> None:
        keep_buffers()
        self.model, self.text = model, text

    @property
    def computed_by(self) -> str:
        """See `Engine`."""
        device = self.model.provider.removesuffix("ExecutionProvider").lower()
        return f"onnxruntime {device} {self.model.variant}"

    @property
    def device(self) -> torch.device:
        """See `Engine`; imports torch."""
        import torch

        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        """See `Engine`; imports torch."""
        import torch

        return torch.float16 if self.model.variant == "fp16" else torch.float32

    def image(self, pixels: np.ndarray) -> np.ndarray:
        """See `Engine`."""
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))[None]

    def adopt(self, x: torch.Tensor) -> np.ndarray:
        """See `Engine`."""
        array: np.ndarray = x.numpy()
        return array

    def array(self, x: np.ndarray) -> np.ndarray:
        """See `Engine`."""
        return x[0].transpose(1, 2, 0)

    def vectors(self, names: Sequence[Sequence[str]]) -> np.ndarray:
        """See `Engine`."""
        return self.text.encode(names)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """See `Engine`."""
        yield


def load_onnx(path: Path, device: str = "auto", threads: int | None = None) -> tuple[OnnxLure, PromptTable, Provenance]:
    """Read a file that `lure export onnx` wrote.

    Args:
        path: the file.
        device: `auto` (CUDA where onnxruntime has it), `cpu`, `cuda` or `cuda:N`.
        threads: that compute, on a CPU; None: see `thread_count`.

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
    return open_onnx(data, str(path), device, threads)


def open_onnx(
    data: bytes, name: str, device: str = "auto", threads: int | None = None
) -> tuple[OnnxLure, PromptTable, Provenance]:
    """As `load_onnx`, of the content of a file called `name`."""
    ort = import_onnxruntime()
    try:
        if not data:  # to protobuf that is a message, of which nothing is there
            raise ValueError("empty")
        model = read_message(data)
        texts = {p["key"]: p["value"] for p in model["metadata_props"]}
        if KEY not in texts or model["graph"] is None:
            raise ForeignField("no record")
        record = parse_record(texts[KEY], name)
        check_graph(model, record, name)
    except ForeignField as e:
        raise LureError(f"{name}: an ONNX file, but not written by LURE", HINT) from e
    except ValueError as e:
        raise LureError(f"{name}: damaged or not an ONNX file", HINT) from e
    try:
        cfg = from_mapping(ModelConfig, record["config"], name)
        provenance = from_mapping(Provenance, record["provenance"], name)
        multiple, halo = record["multiple"], record["reach"]
        if multiple != 2 ** len(cfg.widths) or type(halo) is not int or not 0 <= halo <= 1 << 20:
            raise ValueError(f"multiple {multiple}, reach {halo}")
        variant = {"fp16": "fp16"}.get(record["variant"], "fp32")
        text = PromptTable(vectors_of(record["prompts"], cfg.text_dim), str(record["text_encoder"]))
        provenance = dataclasses.replace(provenance, degradations=text.names)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as e:
        raise LureError(f"{name}: its record is damaged ({str(e).splitlines()[0]})", "export it again") from e
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or thread_count()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # what reads and writes needs the CPU too
    options.enable_mem_pattern = False  # one block for a whole picture, planned ahead: a third more memory, no quicker
    options.log_severity_level = 3  # it warns of every input that may be left out
    try:
        session = ort.InferenceSession(data, options, providers=_providers(device, ort.get_available_providers()))
    except LureError:
        raise
    except Exception as e:  # its exceptions have no base class of their own
        reason = (str(e).splitlines() or [type(e).__name__])[0]
        raise LureError(f"{name}: onnxruntime cannot load it ({reason})", "export it again, or upgrade") from e
    exported = OnnxLure(session, multiple, halo, name, text.vectors_of[frozenset()], variant)
    if device.startswith("cuda") and exported.provider != "CUDAExecutionProvider":
        raise LureError(f"device '{device}' cannot be used by onnxruntime", "check its CUDA libraries, or --device cpu")
    return exported, text, provenance


def import_onnxruntime() -> Any:
    """The package; LureError says how it is installed."""
    try:
        import onnxruntime
    except ImportError as e:
        raise LureError(f"ONNX cannot be used ({e})", "pip install onnxruntime") from e
    return onnxruntime


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
