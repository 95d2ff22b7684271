"""Which infrared file belongs to which visible file, and where the fused image goes; reads names, never pixels."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

from lure_cli.core.images import SUFFIXES, has_image_suffix
from lure_cli.errors import LureError

_MARKERS = "ir|infrared|thermal|tir|lwir|nir|vis|vi|visible|rgb|color|colour"
_MARKER = re.compile(_MARKERS, re.IGNORECASE)
_ENDS = re.compile(rf"(.+)[-_. ](?:{_MARKERS})", re.IGNORECASE | re.DOTALL)
_STARTS = re.compile(rf"(?:{_MARKERS})[-_. ](.+)", re.IGNORECASE | re.DOTALL)
_FIELDS = "known fields: {stem} (name of the pair), {ir} and {vis} (the files' own names without suffix)"


@dataclass(frozen=True)
class Pair:
    """One infrared file, its visible file, the name that they share and the file to write."""

    name: str
    ir: Path
    vis: Path
    output: Path


def list_images(folder: Path) -> list[Path]:
    """The image files directly in the folder, by suffix, sorted by name; hidden files are left out.

    Raises:
        LureError: the folder cannot be read.
    """
    try:
        entries = [p for p in folder.iterdir() if not p.name.startswith(".") and has_image_suffix(p) and p.is_file()]
    except OSError as error:
        raise LureError(
            f"{folder}: cannot be read ({error.strerror})", "give an existing folder that you may read"
        ) from error
    return sorted(entries)


def pair_stem(stem: str) -> str:
    """The stem without one infrared or visible marker: 'street_ir', 'VIS-street' and 'street' all give 'street'.

    A marker stands at the end or, failing that, at the start, set off by '_', '-', '.' or a space, in any case.
    A stem that is nothing but a marker stays as it is.
    """
    match = _ENDS.fullmatch(stem) or _STARTS.fullmatch(stem)
    return match[1] if match else stem


def find_pairs(ir: Path, vis: Path, output: str | Path | None) -> tuple[list[Pair], list[Path]]:
    """Pair two files, or the files of two folders by `pair_stem` (never by position), and name the outputs.

    Args:
        ir: an infrared file or folder.
        vis: a visible file or folder, of the same kind as `ir`.
        output: one of
            - None: `<name>_fused.png` for two files, `fused/<name>.png` for folders, in the current directory;
            - a folder (it exists, has no suffix, or is a string that ends with a separator): `<folder>/<name>.png`;
            - a file with an image suffix, for two files only;
            - a template with an image suffix and the fields {stem} (name of the pair), {ir}, {vis} (stems of the
              files), for example `out/{stem}_fused.jpg`.

    Returns:
        The pairs, sorted by name, and the files of either folder that have no partner, infrared ones first.
        A pair is named after `pair_stem`. The stems of two given files need not match: the visible one names the
        pair, or the infrared one if the visible one is only a marker; if both are (ir.png, vis.png), the folder that
        holds both does, or else the name is 'pair'.

    Raises:
        LureError: a path is missing, a file meets a folder, both inputs are the same, nothing pairs, two files of a
            folder have one `pair_stem`, the template is malformed, or an output is ambiguous or is an input.
    """
    for path in (ir, vis):
        if not os.path.exists(path):
            raise LureError(f"{path}: no such file or folder", "check the spelling of the path")
    if ir.is_dir() != vis.is_dir():
        folder, file = (ir, vis) if ir.is_dir() else (vis, ir)
        raise LureError(f"{folder} is a folder but {file} is a file", "give two files or two folders")
    if ir.samefile(vis):
        raise LureError(f"{ir} is given as both the infrared and the visible input", "give two different inputs")
    many = ir.is_dir()
    if many:
        matched, unmatched = _match_folders(ir, vis)
    else:
        matched, unmatched = [(_name_of_two(ir, vis), ir, vis)], []
    pairs = [Pair(name, i, v, _output(output, name, i, v, many)) for name, i, v in matched]
    _check_outputs(pairs, unmatched)
    return pairs, unmatched


def _match_folders(ir: Path, vis: Path) -> tuple[list[tuple[str, Path, Path]], list[Path]]:
    irs, viss = _by_stem(ir), _by_stem(vis)
    names = sorted(irs.keys() & viss.keys())
    if not names:
        raise LureError(
            f"no file in {ir} pairs with one in {vis}: {_examples(irs)} against {_examples(viss)}",
            "partners share a name up to a marker such as _ir or _vis: street_ir.png and street_vis.jpg",
        )
    lone = [p for s, p in irs.items() if s not in viss] + [p for s, p in viss.items() if s not in irs]
    return [(name, irs[name], viss[name]) for name in names], lone


def _by_stem(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in list_images(folder):
        stem = pair_stem(path.stem)
        if stem in found:
            raise LureError(
                f"{found[stem]} and {path} both stand for '{stem}'",
                "keep one of the two; infrared and visible images belong in two separate folders",
            )
        found[stem] = path
    if not found:
        raise LureError(f"{folder}: holds no image files", f"known suffixes: {', '.join(SUFFIXES)}")
    return found


def _examples(stems: dict[str, Path]) -> str:
    return ", ".join(f"'{stem}'" for stem in list(stems)[:3]) + (", ..." if len(stems) > 3 else "")


def _name_of_two(ir: Path, vis: Path) -> str:
    for path in (vis, ir):
        if not _MARKER.fullmatch(path.stem):
            return pair_stem(path.stem)
    folders = {path.absolute().parent.resolve() for path in (ir, vis)}
    return folders.pop().name or "pair" if len(folders) == 1 else "pair"


def _output(output: str | Path | None, name: str, ir: Path, vis: Path, many: bool) -> Path:
    if output is None:
        return Path("fused", f"{name}.png") if many else Path(f"{name}_fused.png")
    path, text = Path(output), str(output)
    template = "{" in text or "}" in text
    if os.path.isdir(path) or not (template or (path.suffix and not text.endswith(("/", os.sep)))):
        return path / f"{name}.png"
    if template:
        path = Path(_fill(text, {"stem": name, "ir": ir.stem, "vis": vis.stem}))
    if not has_image_suffix(path):
        raise LureError(
            f"the output {text} has no known image suffix",
            f"use one of {', '.join(SUFFIXES)}, or end a folder's name with '/'",
        )
    if many and not template:
        raise LureError(f"the output {text} is one file for several pairs", f"give a folder or a template; {_FIELDS}")
    return path


def _fill(template: str, values: dict[str, str]) -> str:
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise LureError(f"the output template {template} is malformed ({error})", _FIELDS) from error
    for _, field, spec, conversion in parts:
        if field is not None and (field not in values or spec or conversion):
            raise LureError(f"the output template {template} has an unknown field", _FIELDS)
        if field is not None and values[field] in (".", ".."):  # as a whole path component it would leave the folder
            raise LureError(f"the name '{values[field]}' cannot stand in an output", "rename the input files")
    return template.format_map(values)


def _check_outputs(pairs: list[Pair], unmatched: list[Path]) -> None:
    inputs = {os.path.realpath(path) for pair in pairs for path in (pair.ir, pair.vis)}
    inputs.update(map(os.path.realpath, unmatched))
    taken: dict[str, str] = {}
    for pair in pairs:
        target = os.path.realpath(pair.output)
        if target in inputs:
            raise LureError(f"the output {pair.output} is also an input", "write to another folder or name")
        if target in taken:
            raise LureError(
                f"'{taken[target]}' and '{pair.name}' would both be written to {pair.output}",
                f"tell them apart with a field in the template; {_FIELDS}",
            )
        taken[target] = pair.name
