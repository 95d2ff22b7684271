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
    rig: the transform of such cameras, known beforehand; it excludes the three before.
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
    rig: Alignment | None = None
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
        if self.rig is not None and (self.align != "none" or self.resize_ir):
            raise LureError(
                "--rig excludes --align, --align-once and --resize-ir", "a known rig is neither estimated nor resized"
            )
        if self.max_pixels < 1:
            raise LureError(f"--max-pixels {self.max_pixels} leaves no image", "give the largest width x height")
        if self.frame not in ("only", "first"):
            raise LureError(f"--frame {self.frame} is not known", "use only or first")
        self.radiometry.check()
        return parse_range(self.ir_range), parse_range(self.vis_range, "vis")


@dataclass(frozen=True)
class Note:
    """Something about a pair that its owner may want to know; notes of one kind say the same of several pairs."""

    kind: Literal["swapped", "colour", "range", "alpha", "resized", "aligned", "rig", "georeference"]
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
    temperatures on the visible grid, NaN where none was measured; None if the infrared holds none."""

    ir: np.ndarray
    vis: np.ndarray
    ir_bits: int = 8
    celsius: np.ndarray | None = None


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


def read_pair(pair: Pair, options: ReadOptions, common: Alignment | None = None) -> PairInputs:
    """Read and map one pair, and lay the infrared onto the visible grid: resized, aligned, by a rig, in one step.

    Args:
        pair: the files; `-` is standard input.
        options: see there.
        common: the transform that was estimated for all pairs, instead of one of this pair's own.

    Raises:
        LureError: a file that cannot be read, sizes that differ, or an alignment that is not plausible.
    """
    from lure_cli.core.registration.alignment import warp, warp_values

    ir, vis, notes = _read_both(pair, options)
    placed, note = _place(ir.x, vis.x, pair, options, options.rig or common)
    if note is not None:
        notes.append(note)
    return PairInputs(
        warp(ir.x, placed),
        vis.x,
        ir.bits,
        celsius=None if ir.celsius is None else warp_values(ir.celsius, placed),
        alpha=vis.alpha if options.alpha == "keep" else None,
        metadata=vis.metadata,
        notes=tuple(notes),
        alignment=None if note is None else placed,
        invalid={m: p.invalid for m, p in (("ir", ir), ("vis", vis)) if p.invalid},
    )


def _read_both(pair: Pair, options: ReadOptions) -> tuple[Picture, Picture, list[Note]]:
    """Infrared and visible image as they are filed, mapped; and what is to be said of them."""
    ir_range, vis_range = options.check()
    vis = _read(pair.vis, 3, options, vis_range)
    if options.alpha == "ir":
        ir = _of_alpha(vis if pair.ir == pair.vis else _read(pair.ir, 3, options, vis_range), pair.ir)
    else:
        ir = _read(pair.ir, 1, options, ir_range)
    notes = _notes(ir, pair.ir, "ir", options)
    if ir.colour and not vis.colour:
        notes[0] = Note("swapped", f"{pair.ir} is in colour and {pair.vis} is grey: were infrared and visible swapped?")
    return ir, vis, notes + _notes(vis, pair.vis, "vis", options)


def _place(
    ir: np.ndarray, vis: np.ndarray, pair: Pair, options: ReadOptions, known: Alignment | None
) -> tuple[Alignment, Note | None]:
    """Where the infrared (H, W, 1) goes on the grid of the visible image (H, W, 3), and what is to be said of that."""
    from lure_cli.core.registration.alignment import describe

    if known is None and options.align != "none":
        from lure_cli.core.registration.estimate import estimate

        try:
            own = estimate(ir, to_channels(vis, 1), model=cast(Model, options.align), same_view=options.resize_ir)
        except LureError as error:
            raise LureError(f"{pair.ir}: {error.message}", error.hint) from error
        return own, Note("aligned", f"{pair.ir}: {describe(own)}")
    placed = place(ir.shape[1::-1], vis.shape[1::-1], options, known, (str(pair.ir), str(pair.vis)))
    if known is not None:
        scaled = placed != known
        text = f"{pair.ir if scaled else 'all pairs'}: {fit_of(placed, known)}"
        return placed, Note("resized" if scaled else "rig", text)
    (w, h), (wv, hv) = placed.source_size, placed.size
    if placed.is_identity:
        return placed, None
    return placed, Note("resized", f"{pair.ir}: {w}x{h} resized to {wv}x{hv}")


def place(
    source: tuple[int, ...],
    size: tuple[int, ...],
    options: ReadOptions,
    known: Alignment | None,
    names: tuple[str, str],
) -> Alignment:
    """Where an infrared image goes on the visible grid, if nothing is estimated.

    Args:
        source, size: (width, height) of the infrared and of the visible image.
        options: whether the infrared may be resized.
        known: the transform, if there is one.
        names: what errors call the two images.

    Raises:
        LureError: the sizes do not fit each other, or the transform.
    """
    from lure_cli.core.registration.alignment import Alignment

    (w, h), (wv, hv) = source, size
    if known is not None:
        try:
            return known.fitted((w, h), (wv, hv))
        except LureError as error:
            raise LureError(f"{names[0]} and {names[1]}: {error.message}", error.hint) from error
    if source != size and not options.resize_ir:
        raise LureError(
            f"{names[0]} is {w}x{h} but {names[1]} is {wv}x{hv}",
            "give --resize-ir if both show the same view, --rig or --align if not, or crop one of them",
        )
    return Alignment.stretched((w, h), (wv, hv))


def fit_of(placed: Alignment, known: Alignment) -> str:
    """For a person: a known transform as it was used, and whether it was made to fit other sizes."""
    from lure_cli.core.registration.alignment import describe

    if placed == known:
        return describe(placed)
    (w, h), (wv, hv) = known.source_size, known.size
    return f"{describe(placed)}; estimated for {w}x{h} on {wv}x{hv} and scaled"


def common_alignment(
    pairs: tuple[Pair, ...], options: ReadOptions, stop: Callable[[], bool] = lambda: False
) -> Alignment | None:
    """One transform for all pairs, estimated on those that `spread` picks; what cannot be read is left out.
    None: `stop` said yes before.

    Raises:
        LureError: none of them can be read, or they do not agree on a plausible transform.
    """
    from lure_cli.core.registration.estimate import estimate_once, spread

    greys, last = [], None
    for pair in spread(pairs):
        if stop():
            return None
        try:
            ir, vis, _ = _read_both(pair, options)
        except LureError as error:
            last = error
            continue
        greys.append((ir.x, to_channels(vis.x, 1)))
    if not greys:
        assert last is not None
        raise last
    return estimate_once(greys, model=cast(Model, options.align), same_view=options.resize_ir)


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
