"""`lure weights join`: one model from parts that were trained apart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from lure_cli.config import Provenance
from lure_cli.core.model.checkpoint import load_model, save_model, with_tone
from lure_cli.core.model.lure import ANCHORED, Lure
from lure_cli.errors import LureError
from lure_cli.tasks.weights.find import resolve_weights
from lure_cli.tasks.weights.hub import Notify


@dataclass(frozen=True)
class MergeOptions:
    """Weights as users name them: where the visible encoder, the infrared encoder, and fusion module with decoder come
    from; and the file to write."""

    vis: str
    ir: str
    fusion: str
    output: Path
    overwrite: bool = False


def merge(options: MergeOptions, notify: Notify | None = None) -> Path:
    """Write a model with the encoders of two runs and the fusion module of a third; all from one start.

    A fusion module knows the latents of clean images, which stem and downsampling alone shape. Stage I leaves those as
    they are under `anchored`, so the encoders of any such run fit, if all runs began with the same ones.

    Raises:
        LureError: the weights differ in model, text encoder, pseudo prompt, or in what must be the same for the parts
            to fit; or the output exists.
    """
    if options.output.suffix != ".safetensors":
        raise LureError(f"{options.output}: not the name of a weight file", "end it in .safetensors")
    if options.output.exists() and not options.overwrite:
        raise LureError(f"{options.output}: exists already", "give another name, or --overwrite")
    named = {"vis": options.vis, "ir": options.ir, "fusion": options.fusion}
    loaded = {part: load_model(resolve_weights(name, notify)) for part, name in named.items()}
    if any(model.cfg.tone for model, *_ in loaded.values()):
        airlight = loaded["vis"][0].cfg.airlight  # no other part has anything to do with it
        loaded = {part: (with_tone(model, airlight), t, r) for part, (model, t, r) in loaded.items()}
    model, text, record = loaded["fusion"]
    for part in ("vis", "ir"):
        other, its_text, _ = loaded[part]
        if other.cfg != model.cfg:
            raise LureError(f"{named[part]} and {named['fusion']} are of different models", "join parts of one model")
        if its_text.spec != text.spec or not torch.equal(other.pseudo_prompt, model.pseudo_prompt):
            raise LureError(f"{named[part]} and {named['fusion']} differ in their text encoders", "join parts with one")
        _require_same(model, other, f"encoders.{part}.", named["fusion"], named[part])
    if all(loaded[part][2].stage == 1 for part in ("vis", "ir")):  # stage II moves it from where both started
        _require_same(loaded["vis"][0], loaded["ir"][0], "decoder.", named["vis"], named["ir"])
    state = model.state_dict()
    for part in ("vis", "ir"):
        theirs = loaded[part][0].state_dict()
        state |= {k: v for k, v in theirs.items() if k.startswith(f"encoders.{part}.")}
    model.load_state_dict(state)
    records = {part: each[2] for part, each in loaded.items()}
    provenance = Provenance(
        stage=record.stage,
        steps=record.steps,
        seed=record.seed,
        data=tuple(sorted({s for r in records.values() for s in r.data})),
        revision=record.revision,
        licence="; ".join(dict.fromkeys(r.licence for r in records.values() if r.licence)),
        parts=tuple(_describe(part, r) for part, r in records.items()),
    )
    save_model(options.output, model, text, provenance, torch.float16)
    return options.output


def _describe(part: str, r: Provenance) -> str:
    """Where a part comes from, in a line."""
    return f"{part}: stage {r.stage}, {r.steps} steps, seed {r.seed}, revision {r.revision or 'unknown'}"


def _require_same(a: Lure, b: Lure, part: str, a_name: str, b_name: str) -> None:
    """Check that what must not differ does not, among the parameters that begin with `part`."""
    theirs = b.state_dict()
    for key, value in a.state_dict().items():
        fixed = part == "decoder." or any(f in key for f in ANCHORED)
        if key.startswith(part) and fixed and not torch.equal(value, theirs[key]):
            raise LureError(
                f"{a_name} and {b_name} do not fit together: {key} differs",
                "join runs that began with the same weights or seed, trained with `anchored` and not `train_decoder`",
            )
