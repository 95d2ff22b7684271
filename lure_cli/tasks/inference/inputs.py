"""Reading images for a job: files or standard input in, arrays out (of a pair: of one size), notes on what was done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from lure_cli.core.images.picture import read_picture, to_channels
from lure_cli.core.images.value_range import ValueRange, parse_range
from lure_cli.core.registration.alignment import MODELS, Model
from lure_cli.core.thermal.radiometry import Radiometry
from lure_cli.errors import LureError
from lure_cli.tasks.paths.find import STANDARD
from lure_cli.tasks.paths.pairing import Pair

if TYPE_CHECKING:
    import numpy as np

    from lure_cli.core.images.picture import Metadata, Picture
    from lure_cli.core.pixels import Modality
    from lure_cli.core.registration.alignment import Alignment
    from lure_cli.core.thermal.painter import HeatPainter

STANDARD_BYTES = 1 << 30
"""Most that is read from standard input."""


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How the sources are read.

    ir_range, vis_range: how the numbers of either image are mapped to [0, 1]; see
        `lure_cli.core.images.value_range.ValueRange`.
    alpha: of a visible image with transparency: `keep` it in the result, `drop` it, or `ir`: it is the infrared image.
    resize_ir: bring an infrared of another size to that of the visible, instead of refusing it.
    align: register the infrared to the visible: `auto` (shift, rotation, scale), `affine`, or `none`.
    align_once: one transform for all pairs, estimated on some of them: for cameras that are fixed to each other.
    max_pixels: larger images are refused from their headers.
    frame: of an animated file: `only` (it is refused), or `first`.
    radiometry: how the infrared's numbers become temperatures.
    """

    ir_range: str = "auto"
    vis_range: str = "auto"
    alpha: str = "keep"
    resize_ir: bool = False
    align: str = "none"
    align_once: bool = False
    max_pixels: int = 200_000_000
    frame: str = "only"
    radiometry: Radiometry = field(default_factory=Radiometry)

    def check(self) -> tuple[ValueRange, ValueRange]:
        """The parsed ranges of infrared and visible; LureError on options that cannot be meant."""
        if self.alpha not in ("keep", "drop", "ir"):
            raise LureError(f"--alpha {self.alpha} is not known", "use keep, drop or ir")
        if self.align not in ("none", *MODELS):
            raise LureError(f"--align {self.align} is not known", "use auto, affine or none")
        if self.align_once and self.align == "none":
            raise LureError("--align-once needs --align", "give --align auto or --align affine as well")
        if self.max_pixels < 1:
            raise LureError(f"--max-pixels {self.max_pixels} leaves no image", "give the largest width x height")
        if self.frame not in ("only", "first"):
            raise LureError(f"--frame {self.frame} is not known", "use only or first")
        self.radiometry.check()
        return parse_range(self.ir_range), parse_range(self.vis_range, "vis")


@dataclass(frozen=True)
class Note:
    """Something about a pair that its owner may want to know; notes of one kind say the same of several pairs."""

    kind: Literal["swapped", "colour", "range", "alpha", "resized", "aligned", "rig", "georeference", "palette"]
    text: str


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What is read beside the pixels. Transparency and metadata, of a pair those of the visible image, go into the
    result; `invalid` counts the pixels without a measurement, by modality; `seconds` is how long it took."""

    alpha: np.ndarray | None
    metadata: Metadata
    notes: tuple[Note, ...] = ()
    alignment: Alignment | None = None
    invalid: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class PairInputs(Inputs):
    """A pair as it goes to the model: ir (H, W, 1), vis (H, W, 3), float32 in [0, 1]; `celsius` (H, W), float32: the
    temperatures on the visible grid, NaN where none was measured; None if the infrared holds none; `painter`: what
    colours the picture by heat, if that is wanted."""

    ir: np.ndarray
    vis: np.ndarray
    ir_bits: int = 8
    celsius: np.ndarray | None = None
    painter: HeatPainter | None = None


@dataclass(frozen=True)
class SingleInput(Inputs):
    """One image as it goes to the model: (H, W, 1) if infrared, (H, W, 3) if visible, float32 in [0, 1]."""

    x: np.ndarray


def read_single(path: Path, modality: Modality, options: ReadOptions) -> SingleInput:
    """Read and map one image.

    Args:
        path: the file; `-` is standard input.
        modality: `ir` or `vis`.
        options: the range, the alpha and the largest size.

    Raises:
        LureError: a file that cannot be read.
    """
    infrared = modality == "ir"
    ir_range, vis_range = options.check()
    picture = _read(path, 1 if infrared else 3, options, ir_range if infrared else vis_range)
    if infrared and options.alpha == "ir":
        picture = _of_alpha(picture, path)
    alpha = picture.alpha if options.alpha == "keep" else None
    notes = _notes(picture, path, "ir" if infrared else "vis", options)
    invalid: dict[str, int] = {modality: picture.invalid} if picture.invalid else {}
    return SingleInput(picture.x, alpha=alpha, metadata=picture.metadata, notes=tuple(notes), invalid=invalid)


def _notes(picture: Picture, path: Path, modality: Modality, options: ReadOptions) -> list[Note]:
    """What was done to an image when it was read, and what is odd about it."""
    notes = []
    if picture.colour and modality == "ir":
        notes.append(Note("colour", f"{path} is in colour: its luma is taken for the infrared image"))
    if picture.mapping is not None:
        notes.append(Note("range", f"{path}: {picture.mapping}"))
    if picture.alpha is not None and options.alpha == "keep" and _is_a_picture(picture.alpha):
        notes.append(
            Note(
                "alpha",
                f"{path}: its alpha channel looks like a picture of its own, and makes the result transparent; --alpha"
                " ir takes it for the infrared image, --alpha drop leaves it out",
            )
        )
    return notes


def _is_a_picture(alpha: np.ndarray) -> bool:
    """Whether opacity is neither binary nor mostly full: at least half of all pixels are partly transparent."""
    return bool(((alpha > 0) & (alpha < 1)).mean() >= 0.5)


def _of_alpha(picture: Picture, path: Path) -> Picture:
    """The alpha channel as a grey picture; LureError if there is none."""
    if picture.alpha is None:
        raise LureError(f"{path} has no alpha channel (or an opaque one)", "leave --alpha ir out")
    return replace(picture, x=picture.alpha, alpha=None, colour=False, mapping=None, invalid=0)


def read_pair(pair: Pair, options: ReadOptions, alignment: Alignment | None = None) -> PairInputs:
    """Read, map, resize and align one pair.

    Args:
        pair: the files; `-` is standard input.
        options: see there.
        alignment: the transform that holds for all pairs, instead of one of this pair's own.

    Raises:
        LureError: a file that cannot be read, sizes that differ, or an alignment that is not plausible.
    """
    ir_range, vis_range = options.check()
    vis = _read(pair.vis, 3, options, vis_range)
    if options.alpha == "ir":
        ir = _of_alpha(vis if pair.ir == pair.vis else _read(pair.ir, 3, options, vis_range), pair.ir)
    else:
        ir = _read(pair.ir, 1, options, ir_range)
    notes = _notes(ir, pair.ir, "ir", options)
    if ir.colour and not vis.colour:
        notes[0] = Note("swapped", f"{pair.ir} is in colour and {pair.vis} is grey: were infrared and visible swapped?")
    notes += _notes(vis, pair.vis, "vis", options)
    x = ir.x
    (h, w), (hv, wv) = x.shape[:2], vis.x.shape[:2]
    if (h, w) != (hv, wv):
        if not options.resize_ir:
            raise LureError(
                f"{pair.ir} is {w}x{h} but {pair.vis} is {wv}x{hv}",
                "give --resize-ir if both show the same view, or crop one of them so that they do",
            )
        from lure_cli.core.registration.alignment import resize

        x = resize(x, wv, hv)
        notes.append(Note("resized", f"{pair.ir}: {w}x{h} resized to {wv}x{hv}"))
    if options.align != "none":
        x, alignment, note = _align(x, vis.x, pair, options, alignment)
        notes.append(note)
    return PairInputs(
        x,
        vis.x,
        ir.bits,
        alpha=vis.alpha if options.alpha == "keep" else None,
        metadata=vis.metadata,
        notes=tuple(notes),
        alignment=alignment,
        invalid={m: p.invalid for m, p in (("ir", ir), ("vis", vis)) if p.invalid},
    )


def _align(
    x: np.ndarray, vis: np.ndarray, pair: Pair, options: ReadOptions, common: Alignment | None
) -> tuple[np.ndarray, Alignment, Note]:
    """The infrared (H, W, 1) laid onto the visible image (H, W, 3), by the common transform or one of its own."""
    from lure_cli.core.registration.alignment import describe, warp
    from lure_cli.core.registration.estimate import estimate

    if common is None:
        try:
            own = estimate(x, to_channels(vis, 1), model=cast(Model, options.align))
        except LureError as error:
            raise LureError(f"{pair.ir}: {error.message}", error.hint) from error
        return warp(x, own), own, Note("aligned", f"{pair.ir}: {describe(own)}")
    (h, w), (width, height) = vis.shape[:2], common.size
    if (width, height) != (w, h):
        raise LureError(
            f"{pair.vis} is {w}x{h}, but the alignment was estimated for {width}x{height}",
            "align folders with one size of images, or each pair on its own (without --align-once)",
        )
    return warp(x, common), common, Note("rig", f"all pairs: {describe(common)}")


def common_alignment(
    pairs: tuple[Pair, ...], options: ReadOptions, stop: Callable[[], bool] = lambda: False
) -> Alignment | None:
    """One transform for all pairs, estimated on those that `spread` picks; what cannot be read is left out.
    None: `stop` said yes before.

    Raises:
        LureError: none of them can be read, or they do not agree on a plausible transform.
    """
    from lure_cli.core.registration.estimate import estimate_once, spread

    plain = replace(options, align="none", align_once=False)
    greys, last = [], None
    for pair in spread(pairs):
        if stop():
            return None
        try:
            inputs = read_pair(pair, plain)
        except LureError as error:
            last = error
            continue
        greys.append((inputs.ir, to_channels(inputs.vis, 1)))
    if not greys:
        assert last is not None
        raise last
    return estimate_once(greys, model=cast(Model, options.align))


def _read(path: Path, channels: Literal[1, 3], options: ReadOptions, value_range: ValueRange) -> Picture:
    source: Path | bytes = path
    if path == STANDARD:
        source = sys.stdin.buffer.read(STANDARD_BYTES + 1)
        if len(source) > STANDARD_BYTES:
            raise LureError(f"standard input holds more than {STANDARD_BYTES >> 30} GiB", "give a file instead")
    name = "standard input" if path == STANDARD else str(path)
    return read_picture(
        source,
        channels=channels,
        value_range=value_range,
        max_pixels=options.max_pixels,
        first_frame=options.frame == "first",
        name=name,
    )
