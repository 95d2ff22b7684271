"""One file is one model: safetensors whose metadata holds the config, the text encoder and the provenance.

Never pickle. Training state (optimiser, step) is a safetensors file as well.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from lure_cli.config import ModelConfig, Provenance, from_mapping
from lure_cli.core.model.lure import Lure
from lure_cli.core.records import open_record, save_record
from lure_cli.core.text.encoders import TextEncoder, build_text_encoder
from lure_cli.core.text.vocabulary import NONE
from lure_cli.errors import LureError

FORMAT = 1
"""Version of the file format; a newer one is refused."""


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write a safetensors file under a temporary name and move it into place; metadata values are stored as JSON.

    Raises:
        LureError: it cannot be written; what was there before still is.
    """
    save_record(path, {k: v.detach().contiguous().cpu() for k, v in tensors.items()}, metadata, "pt")


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file that `save_tensors` wrote.

    Raises:
        LureError: missing, unreadable, damaged, too large, or not one of our files.
    """
    hint = "give a .safetensors file written by lure, or the name of shipped weights"
    return open_record(path, None, FORMAT, "a LURE weight file", hint, framework="pt")


def new_model(cfg: ModelConfig, text: TextEncoder) -> Lure:
    """A freshly initialised model (from torch's global generator) for a text encoder."""
    return Lure(cfg, text.encode([(NONE,)])[0])


def save_model(path: Path, model: Lure, text: TextEncoder, provenance: Provenance, dtype: torch.dtype) -> None:
    """Write a model's weights; the parameters are stored as `dtype`, buffers as they are: the pseudo prompt must be the
    text encoder's to the last bit, as what differs from it is a request."""
    tensors = {k: v.to(dtype) for k, v in model.named_parameters()} | dict(model.named_buffers())
    metadata = {
        "format": FORMAT,
        "kind": "model",
        "config": dataclasses.asdict(model.cfg),
        "text_encoder": text.spec,
        "provenance": dataclasses.asdict(provenance),
    }
    save_tensors(path, tensors, metadata)


class _NoInit(TorchFunctionMode):
    """Leaves out `torch.nn.init`: what is filled from a file needs no numbers before, and random ones on "meta" would
    load torch's compiler, which takes a second."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def load_model(path: Path) -> tuple[Lure, TextEncoder, Provenance]:
    """Read a weight file, in float32 on the CPU, ready for inference.

    Raises:
        LureError: as `load_tensors`, or the tensors do not fit the config that the file names.
    """
    tensors, metadata = load_tensors(path)
    if metadata.get("kind") == "state":
        raise LureError(f"{path}: training state, not weights", "give the file named weights.safetensors beside it")
    if metadata.get("kind") != "model":
        raise LureError(f"{path}: holds no fusion model", "give a file that `lure train` wrote as weights.safetensors")
    try:
        cfg = from_mapping(ModelConfig, metadata["config"], str(path))
        text = build_text_encoder(metadata["text_encoder"], cfg.text_dim)
        provenance = from_mapping(Provenance, metadata["provenance"], str(path))
        # On "meta" it takes no memory before the file has shown tensors of the sizes that it names; torch has warnings
        # for odd ones, which are refused below.
        with torch.device("meta"), _NoInit(), warnings.catch_warnings(action="ignore"):
            model = Lure(cfg, torch.empty(cfg.text_dim))
        model.load_state_dict({k: v.float() for k, v in tensors.items()}, assign=True)
        p0 = text.encode([(NONE,)])[0]
        if torch.allclose(model.pseudo_prompt, p0, atol=1e-3):  # files may hold it rounded; what differs is a request
            model.pseudo_prompt = p0
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError, AttributeError) as e:
        reason = str(e).splitlines()[0]
        raise LureError(
            f"{path}: weights do not fit their config ({reason})", "the file is damaged: get it again"
        ) from e
    return model.eval(), text, provenance


def with_tone(model: Lure, airlight: bool | None = None) -> Lure:
    """The model with tone curves; where it has none, they are added and change nothing until they are trained.

    Args:
        airlight: whether the visible's curve sees the haze's light; None leaves that as it is. A trained curve gives
            another picture where this changes, and is to be trained on.
    """
    airlight = model.cfg.airlight if airlight is None else airlight
    if model.cfg.tone and airlight == model.cfg.airlight:
        return model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        grown = Lure(dataclasses.replace(model.cfg, tone=True, airlight=airlight), model.pseudo_prompt)
    grown.load_state_dict(model.state_dict(), strict=False)
    return grown.eval()


def save_state(
    path: Path,
    model: Lure,
    average: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    metadata: Mapping[str, Any],
) -> None:
    """Write a training state: model, averaged weights (by parameter name) and the optimiser's moments."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.items()}
    for name, p in model.named_parameters():
        for key, value in optimizer.state.get(p, {}).items():
            tensors[f"optimizer.{key}.{name}"] = torch.as_tensor(value)
    save_tensors(path, tensors, {"format": FORMAT, "kind": "state", **metadata})


def load_state(
    tensors: Mapping[str, Tensor], model: Lure, average: Mapping[str, Tensor], optimizer: torch.optim.Optimizer
) -> None:
    """Put the tensors of a training state where they belong.

    Raises:
        KeyError, RuntimeError: they do not fit the model, or what of it is averaged.
    """
    groups: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for key, value in tensors.items():
        part, _, name = key.partition(".")
        groups[part][name] = value
    model.load_state_dict(groups["model"])
    parameters = dict(model.named_parameters())
    for name, mean in average.items():
        mean.copy_(groups["average"][name])
    for key, value in groups["optimizer"].items():
        kind, _, name = key.partition(".")
        p = parameters[name]
        # As the parameter lies in memory: lists of tensors that lie alike are computed at once.
        optimizer.state[p][kind] = torch.empty_like(p).copy_(value) if value.dim() else value.to(p.device)
