"""`lure plot sheet`: sources and fused images side by side, a row for each image."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lure_cli.core.images.formats import SUFFIXES
from lure_cli.core.images.guards import MAX_PIXELS
from lure_cli.core.images.picture import quantised, read_picture, write_image
from lure_cli.core.images.value_range import ValueRange
from lure_cli.errors import LureError
from lure_cli.tasks.evaluate.images import EvaluateOptions, ImageFiles, find_images
from lure_cli.tasks.paths.outputs import check_folder

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

_GAP = 4
"""Pixels between two pictures."""
_WIDEST_NAME = 0.8
"""How wide the column of the names may be, in heights of a picture."""
_INK, _PAPER = (30, 30, 30), (255, 255, 255)


@dataclass(frozen=True, kw_only=True)
class ContactSheetOptions:
    """What `lure plot sheet` was asked to do; see the command's help. `fused` holds (name, file or folder). With
    `by_colour`, `ir` and `vis` are any two sources: they keep their colours, and are called a and b."""

    fused: tuple[tuple[str, Path], ...] = ()
    ir: Path | None = None
    vis: Path | None = None
    reference: Path | None = None
    output: Path = Path("sheet.png")
    limit: int | None = None
    height: int = 160
    rows: int = 20
    common: bool = False
    by_colour: bool = False


@dataclass(frozen=True)
class ContactSheet:
    """What was drawn: the pages, the names of the images on them, the columns, and what became of the others."""

    pages: tuple[Path, ...]
    images: tuple[str, ...]
    columns: tuple[str, ...]
    failed: tuple[LureError, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "pages": [str(p) for p in self.pages],
            "images": list(self.images),
            "columns": list(self.columns),
            "failed": [error.message for error in self.failed],
        }


def draw_contact_sheet(options: ContactSheetOptions) -> ContactSheet:
    """Draw and write the pages; an image that cannot be read costs its row.

    The infrared column is grey, 16-bit thermal images through their percentiles as `lure fuse` reads them; the others
    keep their colours. Pictures are scaled to one height, their shape is kept.

    Raises:
        LureError: files that do not pair (see `find_images`), bad options, no image could be read, or a page cannot be
            written.
    """
    import numpy as np

    _check(options)
    images, notes = find_images(
        EvaluateOptions(options.fused, options.ir, options.vis, reference=options.reference, common=options.common)
    )
    images = _spread(images, options.limit)
    parts = [images[i : i + options.rows] for i in range(0, len(images), options.rows)]
    pages = [options.output]
    if len(parts) > 1:
        stem, suffix = options.output.stem, options.output.suffix
        pages = [options.output.with_name(f"{stem}-{i + 1}{suffix}") for i in range(len(parts))]
    _check_pages(pages, images)
    columns = tuple(name for name, _, _ in _cells(images[0], options.by_colour))
    drawn: list[str] = []
    written: list[Path] = []
    failed: list[LureError] = []
    for path, part in zip(pages, parts, strict=True):
        rows: list[tuple[str, list[Image.Image]]] = []
        for files in part:
            try:
                rows.append((files.name, [_cell(*c, options.height) for c in _cells(files, options.by_colour)]))
            except LureError as error:
                failed.append(error)
        if rows:
            page = _page(rows, columns, options.height)
            write_image(path, np.asarray(page, np.float32) / 255)
            written.append(path)
            drawn += [name for name, _ in rows]
    if not drawn:
        raise failed[0]
    return ContactSheet(tuple(written), tuple(drawn), columns, tuple(failed), notes)


def _check(options: ContactSheetOptions) -> None:
    if not (options.fused or options.ir or options.vis or options.reference):
        raise LureError("there is nothing to draw", "give --ir, --vis and --fused NAME=DIR")
    for value, low, high, name in (
        (options.limit, 1, None, "--limit"),
        (options.rows, 1, None, "--rows"),
        (options.height, 16, 4096, "--height"),
    ):
        if value is not None and (value < low or (high is not None and value > high)):
            raise LureError(f"{name} {value} cannot be", f"give {name} {low} " + (f"to {high}" if high else "or more"))
    if options.output.suffix.lower() not in SUFFIXES:
        raise LureError(f"{options.output} has no known image suffix", "give a name that ends in .png or .jpg")
    check_folder(options.output.parent)


def _check_pages(pages: Sequence[Path], images: Sequence[ImageFiles]) -> None:
    inputs = {os.path.realpath(path) for files in images for _, _, path in _cells(files)}
    for page in pages:
        if os.path.realpath(page) in inputs:
            raise LureError(f"the output {page} is also an input", "write to another folder or name")


def _spread(images: tuple[ImageFiles, ...], limit: int | None) -> tuple[ImageFiles, ...]:
    """So many of them, evenly spaced, the first and the last among them."""
    if limit is None or limit >= len(images):
        return images
    if limit == 1:
        return images[:1]
    return tuple(images[round(i * (len(images) - 1) / (limit - 1))] for i in range(limit))


def _cells(files: ImageFiles, by_colour: bool = False) -> Iterator[tuple[str, Literal[1, 3], Path]]:
    """(column, channels to read, file), from left to right."""
    if files.ir:
        yield ("a", 3, files.ir) if by_colour else ("infrared", 1, files.ir)
    if files.vis:
        yield ("b" if by_colour else "visible"), 3, files.vis
    for name, path in files.fused.items():
        yield name, 3, path
    if files.reference:
        yield "reference", 3, files.reference


def _cell(column: str, channels: Literal[1, 3], path: Path, height: int) -> Image.Image:
    from PIL import Image

    visible = ValueRange(modality="vis")
    ranges = {"infrared": ValueRange(), "visible": visible, "a": visible, "b": visible}  # as they are fused
    pixels = quantised(read_picture(path, channels=channels, value_range=ranges.get(column)).x, 8)
    image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels).convert("RGB")
    width = min(max(1, round(image.width * height / image.height)), 8 * height)  # of a mere line, its shape is lost
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _page(rows: Sequence[tuple[str, list[Image.Image]]], columns: Sequence[str], height: int) -> Image.Image:
    """Names on the left, titles on top, each column as wide as its widest picture."""
    from PIL import Image, ImageDraw, ImageFont

    size = max(10, min(28, height // 10))
    font = ImageFont.load_default(size)
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    names = [_shortened(measure, name, font, int(_WIDEST_NAME * height)) for name, _ in rows]
    left = max(int(measure.textlength(name, font)) for name in names) + 2 * _GAP
    titles = [_shortened(measure, c, font, 4 * height) for c in columns]
    widths = [
        max(*(cells[i].width for _, cells in rows), int(measure.textlength(title, font)) + 1)
        for i, title in enumerate(titles)
    ]
    top = size + 3 * _GAP
    whole = left + sum(widths) + _GAP * len(widths), top + (height + _GAP) * len(rows)
    if whole[0] * whole[1] > MAX_PIXELS:
        raise LureError(f"a page of {whole[0]}x{whole[1]} pixels", "give a lower --rows or --height")
    page = Image.new("RGB", whole, _PAPER)
    draw = ImageDraw.Draw(page)
    x = left
    for i, (title, width) in enumerate(zip(titles, widths, strict=True)):
        draw.text((x + width // 2, top // 2), title, _INK, font, anchor="mm")
        for j, (_, cells) in enumerate(rows):
            page.paste(cells[i], (x + (width - cells[i].width) // 2, top + j * (height + _GAP)))
        x += width + _GAP
    for j, name in enumerate(names):
        draw.text((left - _GAP, top + j * (height + _GAP) + height // 2), name, _INK, font, anchor="rm")
    return page


def _shortened(measure: ImageDraw.ImageDraw, text: str, font: Any, room: int) -> str:
    """Text that fits, with its end kept, which tells file names apart."""
    text = "".join(c if c.isprintable() else "?" for c in text)
    if measure.textlength(text, font) <= room:
        return text
    while len(text) > 1 and measure.textlength("..." + text, font) > room:
        text = text[1:]
    return "..." + text
