"""From a weight file to an engine, a model that is ready to run: which backend, device and number type. Torch is loaded
where it computes alone."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from lure_cli.core.records import read_metadata
from lure_cli.core.text.vocabulary import FIRST, Prompt, known_names
from lure_cli.errors import LureError
from lure_cli.tasks.inference.backend import file_for, torch_only
from lure_cli.tasks.inference.request import check_known
from lure_cli.tasks.weights.find import resolve_weights

if TYPE_CHECKING:
    from lure_cli.config import Provenance
    from lure_cli.core.engine.base import Engine
    from lure_cli.core.model.lure import Lure


class Loaded(NamedTuple):
    """A model that is ready to run, and its origin."""

    engine: Engine
    provenance: Provenance


def pick_backend(name: str, weights: Path) -> Literal["torch", "onnx"]:
    """What runs a file from `file_for`: `auto` goes by its suffix; LureError if the backend that is named cannot."""
    fits: Literal["torch", "onnx"] = "onnx" if weights.suffix.lower() == ".onnx" else "torch"
    if name == "onnx" != fits:
        raise LureError(
            f"--backend onnx needs an ONNX file, not {weights}",
            "make one with `lure export onnx --weights .. -o model.onnx`, then give --weights model.onnx",
        )
    if name == "torch" != fits:
        raise LureError(f"--backend torch cannot run {weights}", "leave --backend out, or give .safetensors weights")
    return fits


def known_degradations(weights: Path) -> tuple[str, ...]:
    """What a weight file was trained to restore, without loading its network; `FIRST` where it does not say.

    Raises:
        LureError: an ONNX file that cannot be used. Other files are looked into when they are loaded.
    """
    if weights.suffix.lower() == ".onnx":
        from lure_cli.core.onnx.runtime import load_onnx

        return load_onnx(weights, "cpu")[2].degradations
    try:
        return known_names(read_metadata(weights).get("degradations", ()))
    except TypeError:
        return FIRST


def check_prompts(prompts: Collection[Prompt], weights: Path, name: str) -> None:
    """LureError, about the weights called `name`, if a prompt speaks of what they were not trained to restore."""
    if all(n in FIRST for prompt in prompts for n in (*prompt.vis, *prompt.ir)):
        return  # the file need not be opened
    known = known_degradations(weights)
    for prompt in prompts:
        check_known(prompt, known, f"the weights {name}")


def check_machine(device: str, dtype: str) -> None:
    """LureError if this machine has no such device or number type; torch is loaded unless both are `auto`."""
    if (device, dtype) != ("auto", "auto"):
        from lure_cli.core.devices import pick_device, pick_dtype

        pick_dtype(dtype, pick_device(device))


def load(weights: str | Path, *, device: str, dtype: str, threads: int | None, compiled: bool, backend: str) -> Loaded:
    """Load weights; see `Fuser.from_pretrained` for arguments and errors."""
    if threads is not None and threads < 1:
        raise LureError(f"{threads} threads cannot compute anything", "give a number from 1 on")
    path = resolve_weights(str(weights))
    path = file_for(str(weights), path, backend, lambda: None, device, dtype, torch_only(device, dtype, compiled))
    if pick_backend(backend, path) == "torch":
        return _load_torch(path, device, dtype, threads, compiled=compiled)
    if compiled:
        raise LureError("--compile: an ONNX file is not torch's to compile", "leave it out")
    return _load_onnx(path, device, dtype, threads)


def _load_torch(path: Path, device: str, dtype: str, threads: int | None, *, compiled: bool) -> Loaded:
    import torch

    from lure_cli.core.devices import pick_device, pick_dtype
    from lure_cli.core.model.checkpoint import load_model
    from lure_cli.core.model.engine import TorchEngine
    from lure_cli.core.model.precision import resolve_dtype

    if threads is not None:
        torch.set_num_threads(threads)
    where = pick_device(device)
    pick_dtype(dtype, where)  # a wrong one shows before anything is loaded
    model, text, provenance = load_model(path)
    engine = TorchEngine(model, text, where, torch.float32)
    engine.dtype = resolve_dtype(dtype, engine.model, text)
    if compiled:
        compile_parts(engine.model)
    return Loaded(engine, provenance)


def _load_onnx(path: Path, device: str, dtype: str, threads: int | None) -> Loaded:
    from lure_cli.core.onnx.runtime import OnnxEngine, load_onnx

    model, text, provenance = load_onnx(path, device, threads)
    if dtype not in ("auto", model.variant):
        raise LureError(f"--dtype {dtype}: an ONNX file computes as exported", "see `lure export onnx --variant`")
    return Loaded(OnnxEngine(model, text), provenance)


def compile_parts(model: Lure) -> None:
    """Have the encoders, the fusion module and the decoder compiled at their first use; what chooses between them by
    the images' values stays as it is.

    Raises:
        LureError: compiling does not work here; it is tried on a sum.
    """
    import torch

    try:
        torch.compile(lambda x: x + 1)(torch.zeros(2, device=model.pseudo_prompt.device))
    except Exception as error:  # whatever the compiler's many parts raise
        raise LureError(
            f"torch.compile does not work here ({str(error).splitlines()[0]})",
            "on a CPU it needs a C++ compiler (g++ or clang); or leave --compile out",
        ) from error
    for part in (*model.encoders.values(), model.fusion, model.decoder):
        part.compile()
