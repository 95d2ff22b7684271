"""Reading images for a job: files or standard input in, arrays out (of a pair: of one size), notes on what was done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from lure_cli.core.images.guards import MAX_PIXELS
from lure_cli.core.images.picture import read_both, read_picture, to_channels
from lure_cli.core.images.radiometric import closed_maker_of
from lure_cli.core.images.value_range import ValueRange, parse_range
from lure_cli.core.registration.alignment import Model, lay
from lure_cli.core.thermal.makers import closed_hint
from lure_cli.core.thermal.radiometry import Radiometry
from lure_cli.core.thermal.temperature import Temperatures
from lure_cli.errors import LureError
from lure_cli.tasks.inference.options import ReadOptions
from lure_cli.tasks.inference.placement import fit_of, place, what_is_beyond
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


@dataclass(frozen=True)
class Note:
    """Something about a pair that its owner may want to know; notes of one kind say the same of several pairs."""

    kind: Literal[
        "swapped",
        "colour",
        "range",
        "alpha",
        "resized",
        "aligned",
        "rig",
        "georeference",
        "radiometric",
        "one file",
        "palette",
        "untrained",
    ]
    text: str


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What is read beside the pixels. Transparency and metadata, of a pair those of the visible image, go into the
    result; `invalid` counts the pixels without a measurement, by modality; `seconds` is how long it took. `celsius`
    (H, W), float32: the temperatures on the grid of the result, NaN where none was measured; None if the infrared holds
    none. `temperatures`: what is told of them."""

    alpha: np.ndarray | None
    metadata: Metadata
    notes: tuple[Note, ...] = ()
    alignment: Alignment | None = None
    invalid: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    celsius: np.ndarray | None = None
    temperatures: Temperatures | None = None


@dataclass(frozen=True)
class PairInputs(Inputs):
    """A pair as it goes to the model: ir (H, W, 1), vis (H, W, 3), float32 in [0, 1]; `painter`: what colours the
    picture by heat, if that is wanted; `ir_colours` (H, W, 3): what stands in `ir`, where it has colours that count."""

    ir: np.ndarray
    vis: np.ndarray
    ir_bits: int = 8
    painter: HeatPainter | None = None
    ir_colours: np.ndarray | None = None


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
    return SingleInput(
        picture.x,
        alpha=alpha,
        metadata=picture.metadata,
        notes=tuple(notes),
        invalid=invalid,
        celsius=picture.celsius,
        temperatures=None if picture.celsius is None else Temperatures.of(picture.celsius),
    )


def read_temperature(
    path: str | Path,
    unit: str = "auto",
    emissivity: float | None = None,
    reflected: float | None = None,
    distance: float | None = None,
) -> np.ndarray:
    """Read the temperatures of a thermal file.

    Args:
        path: the file.
        unit: of plain numbers: `ck` (hundredths of a kelvin), `k` or `c`.
        emissivity, reflected, distance: of radiometric files; see `Radiometry`.

    Returns:
        float32 (H, W), degrees Celsius; NaN where nothing was measured.

    Raises:
        LureError: a file that cannot be read, or holds no temperatures.
    """
    radiometry = Radiometry(unit=unit, emissivity=emissivity, reflected=reflected, distance=distance)
    options = ReadOptions(radiometry=radiometry)
    picture = _read(Path(path), 1, options, options.check()[0])
    if picture.celsius is None:
        raise no_temperatures(path)
    return picture.celsius


def no_temperatures(path: str | Path) -> LureError:
    """Of an infrared file whose temperatures are wanted."""
    maker = closed_maker_of(Path(path))
    if maker is not None:
        return LureError(f"{path}: holds temperatures that only {maker}'s own software reads", closed_hint(maker))
    return LureError(f"{path}: holds no temperatures", "say what its numbers are: --unit ck (centikelvin), k or c")


def _notes(picture: Picture, path: Path, modality: Modality, options: ReadOptions) -> list[Note]:
    """What was done to an image when it was read, and what is odd about it."""
    notes = []
    if picture.remark is not None:
        notes.append(Note("radiometric", f"{path}: {picture.remark}"))
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


def read_pair(
    pair: Pair, options: ReadOptions, common: Alignment | None = None, *, surrounded: bool = True
) -> PairInputs:
    """Read and map one pair, and lay the infrared onto the visible grid: resized, aligned, by a rig or as a radiometric
    file says, in one step.

    Args:
        pair: the files; `-` is standard input. One file for both is radiometric (or, with the option, its alpha channel
            is the infrared image).
        options: see there.
        common: the transform that was estimated for all pairs, instead of one of this pair's own.
        surrounded: beyond the infrared's edge the visible image stands in it, see `lay`; else its edge is repeated.

    Raises:
        LureError: a file that cannot be read, sizes that differ, or an alignment that is not plausible.
    """
    from lure_cli.core.registration.alignment import warp

    if pair.ir == pair.vis and options.alpha != "ir":
        return _read_one_file(pair.ir, options)
    ir, vis, notes = _read_both(pair, options)
    placed, note = _place(ir.x, vis.x, pair, options, options.rig or common)
    if note is not None:
        notes.append(replace(note, text=note.text + what_is_beyond(placed)) if surrounded else note)
    celsius, told = _laid(ir.celsius, placed)
    return PairInputs(
        lay(ir.x, to_channels(vis.x, 1), placed) if surrounded else warp(ir.x, placed),
        vis.x,
        ir.bits,
        celsius=celsius,
        temperatures=told,
        alpha=vis.alpha if options.alpha == "keep" else None,
        metadata=vis.metadata,
        notes=tuple(notes),
        alignment=None if note is None else placed,
        invalid={m: p.invalid for m, p in (("ir", ir), ("vis", vis)) if p.invalid},
    )


def read_by_colour(pair: Pair, options: ReadOptions, common: Alignment | None = None) -> PairInputs:
    """As `read_pair`, for two images of which nobody says that they are infrared and visible, such as PET and MRI, or
    two focuses; the colours decide.

    The first one, `pair.ir`, is laid onto the grid of the second one. If it alone is in colour, it takes the visible
    image's place; else it takes the infrared's, with its own colours beside it if both are. Numbers are read as those
    of visible images, so that grey levels of both mean the same.

    Raises:
        LureError: as `read_pair`.
    """
    ranges = (parse_range(text, "vis") for text in (options.ir_range, options.vis_range))
    a, b = (_read(path, 3, options, each) for path, each in zip((pair.ir, pair.vis), ranges, strict=True))
    placed, note = _place(to_channels(a.x, 1), b.x, pair, options, options.rig or common)
    notes = [*_notes(a, pair.ir, "vis", replace(options, alpha="drop")), *_notes(b, pair.vis, "vis", options)]
    x = lay(a.x, b.x if a.colour else to_channels(to_channels(b.x, 1), 3), placed)
    swapped = a.colour and not b.colour
    return PairInputs(
        to_channels(b.x if swapped else x, 1),
        x if swapped else b.x,
        (b if swapped else a).bits,
        ir_colours=x if a.colour and b.colour else None,
        alpha=b.alpha if options.alpha == "keep" else None,
        metadata=replace(b.metadata, icc=a.metadata.icc) if swapped else b.metadata,
        notes=tuple(notes if note is None else [note, *notes]),
        alignment=None if note is None else placed,
        invalid={side: p.invalid for side, p in (("a", a), ("b", b)) if p.invalid},
    )


def _laid(celsius: np.ndarray | None, placed: Alignment) -> tuple[np.ndarray | None, Temperatures | None]:
    """Temperatures on the grid of the result, and what is told of them."""
    from lure_cli.core.registration.alignment import nearest_values, warp_values

    if celsius is None:
        return None, None
    laid = warp_values(celsius, placed)
    return laid, Temperatures.of(laid, None if placed.is_identity else nearest_values(celsius, placed))


def _read_one_file(path: Path, options: ReadOptions) -> PairInputs:
    """A radiometric file as a pair: its temperatures, laid into its photo as the file says."""
    both = read_one_file(_source(path), *options.check(), options.radiometry, options.max_pixels, name=_name(path))
    if options.align != "none" or options.rig is not None:
        other = "--align" if options.rig is None else "--rig"
        both = replace(both, notes=(*both.notes, Note("aligned", f"{path}: its own alignment is taken, not {other}")))
    return both


def read_one_file(
    source: Path | bytes,
    ir_range: ValueRange,
    vis_range: ValueRange,
    radiometry: Radiometry | None = None,
    max_pixels: int = MAX_PIXELS,
    *,
    name: str,
) -> PairInputs:
    """Read a radiometric file as a pair: the infrared, resampled once, on the grid of the photo.

    The photo sees more than the infrared does; beyond the infrared's edge nothing is measured: `celsius` is NaN, and
    the result is the photo, see `lay`.

    Raises:
        LureError: as `read_both`.
    """
    both = read_both(source, ir_range, vis_range, radiometry=radiometry, max_pixels=max_pixels, name=name)
    ir, vis, placed = both.ir, both.vis, both.alignment
    assert ir.celsius is not None
    (w, h), (wv, hv), placement = placed.source_size, placed.size, both.thermogram.placement
    assert placement is not None
    text = (
        f"{name}: {both.thermogram.camera or 'radiometric'}; infrared of {w}x{h} laid into the photo of {wv}x{hv}"
        f" inside, by the file's own alignment (ratio {placement.ratio:.3f}, offset {placement.x}, {placement.y})"
    )
    notes = [Note("one file", text + what_is_beyond(placed))]
    if ir.mapping is not None:
        notes.append(Note("range", f"{name}: {ir.mapping}"))
    celsius, told = _laid(ir.celsius, placed)
    return PairInputs(
        lay(ir.x, to_channels(vis.x, 1), placed),
        vis.x,
        ir.bits,
        celsius=celsius,
        temperatures=told,
        alpha=None,
        metadata=vis.metadata,
        notes=tuple(notes),
        alignment=placed,
        invalid={"ir": ir.invalid} if ir.invalid else {},
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
        notes = [note for note in notes if note.kind != "colour"]
        notes.insert(
            0, Note("swapped", f"{pair.ir} is in colour and {pair.vis} is grey: were infrared and visible swapped?")
        )
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


def common_alignment(
    pairs: tuple[Pair, ...], options: ReadOptions, stop: Callable[[], bool] = lambda: False
) -> Alignment | None:
    """One transform for all pairs, estimated on those that `spread` picks; what cannot be read is left out.
    None: `stop` said yes before, or no pair needs one.

    Raises:
        LureError: none of them can be read, or they do not agree on a plausible transform.
    """
    from lure_cli.core.registration.estimate import estimate_once, spread

    pairs = tuple(pair for pair in pairs if pair.ir != pair.vis or options.alpha == "ir")
    if not pairs:  # files that bring their own
        return None
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
    return read_picture(
        _source(path),
        channels=channels,
        value_range=value_range,
        max_pixels=options.max_pixels,
        first_frame=options.frame == "first",
        radiometry=options.radiometry,
        name=_name(path),
    )


def _source(path: Path) -> Path | bytes:
    """The file, or the content of standard input."""
    if path != STANDARD:
        return path
    data = sys.stdin.buffer.read(STANDARD_BYTES + 1)
    if len(data) > STANDARD_BYTES:
        raise LureError(f"standard input holds more than {STANDARD_BYTES >> 30} GiB", "give a file instead")
    return data


def _name(path: Path) -> str:
    return "standard input" if path == STANDARD else str(path)
