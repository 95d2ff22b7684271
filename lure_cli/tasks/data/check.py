"""`lure data check`: what a data folder holds, and what training would stumble over, before it starts."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from lure_cli.config import load_toml
from lure_cli.core.files import sha256
from lure_cli.core.images.header import read_header
from lure_cli.core.images.picture import read_pixels
from lure_cli.core.images.stored import Header
from lure_cli.core.pixels import MODALITY_NAMES, Modality
from lure_cli.core.text.vocabulary import DEGRADATIONS
from lure_cli.core.training.layout import DataFolder, Kind, Part, Side, Use, read_layout
from lure_cli.errors import LureError
from lure_cli.tasks.data.layout import Issue, count, layout_issues, level_of, share, some
from lure_cli.tasks.evaluate.evaluate import cores
from lure_cli.tasks.report.table import Cell, Table
from lure_cli.tasks.train.config import resolve_config

DECODED = 6
"""Images of a folder whose pixels are decoded without `full`, evenly spaced."""
_GREY = 3
"""Planes that differ by no more grey levels than this (of 255) are one grey image that a JPEG has tinted."""


@dataclass(frozen=True)
class CheckOptions:
    """What `lure data check` was asked to do.

    root: the data folder. crop: side of training's crops. exclude: names of sets that are not trained on.
    full: decode every image, instead of every header and a few images a folder.
    """

    root: Path
    crop: int = 128
    exclude: tuple[str, ...] = ()
    full: bool = False


@dataclass(frozen=True)
class PartSummary:
    """One set's training or test part, as far as its headers can be read.

    Attributes:
        name: its folder, below the data folder.
        kind: `fusion`, `restoration`, `clean` or `labelled`.
        modality, degradation: of restoration and clean sets.
        use: whether training reads it.
        samples: number of pairs, or of images in a clean or labelled set.
        files: number of image files.
        smallest, largest: (width, height), by area; None without a readable image.
        bits: every depth there is. channels: the same for channels, by side (`ir`, `vi`, `degraded`, `clean`).
        megapixels: of all its files.
    """

    name: str
    kind: Kind
    modality: Modality | None
    degradation: str | None
    use: Use
    samples: int
    files: int
    smallest: tuple[int, int] | None
    largest: tuple[int, int] | None
    bits: tuple[int, ...]
    channels: dict[str, tuple[int, ...]]
    megapixels: float


@dataclass(frozen=True)
class Report:
    """All of it; `decoded` counts the images whose pixels were decoded."""

    options: CheckOptions
    parts: tuple[PartSummary, ...]
    issues: tuple[Issue, ...]
    decoded: int

    @property
    def faults(self) -> tuple[Issue, ...]:
        """Those that training would stumble over."""
        return tuple(issue for issue in self.issues if issue.level == "fault")

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "data": str(self.options.root),
            "crop": self.options.crop,
            "sets": [asdict(p) for p in self.parts],
            "findings": [asdict(issue) for issue in self.issues],
            "faults": len(self.faults),
            "warnings": len(self.issues) - len(self.faults),
            "files": sum(p.files for p in self.parts),
            "megapixels": round(sum(p.megapixels for p in self.parts), 3),
            "looked_at": self.decoded,
        }


@dataclass
class _Check:
    """One run: what is known of every file."""

    options: CheckOptions
    data: DataFolder
    headers: dict[Path, Header] = field(default_factory=dict)
    faults: dict[Path, LureError] = field(default_factory=dict)
    pixels: dict[Path, _Pixels] = field(default_factory=dict)
    """Of the images that were decoded."""

    def headers_of(self, side: Side) -> dict[Path, Header]:
        """Of those images of a folder whose header can be read."""
        return {p: self.headers[p] for p in side.files.values() if p in self.headers}


class _Pixels(NamedTuple):
    """What decoding an image has shown: colours, and 16 bits of which little of the range is used."""

    coloured: bool
    narrow: bool


def check_options(root: Path, config: Path | None = None, full: bool = False) -> CheckOptions:
    """With the crop and the excluded sets of a training's TOML file, of either stage, or of stage I's shipped preset.

    Raises:
        LureError: as `resolve_config`.
    """
    stage = load_toml(config).get("stage", 1) if config else 1
    cfg = resolve_config(2 if stage == 2 else 1, config)
    return CheckOptions(root, cfg.crop, cfg.exclude, full)


def check_data(options: CheckOptions, progress: Callable[[int], None] | None = None) -> Report:
    """Look through a data folder (its layout: `core.training.layout`), and list all that is wrong with it.

    Args:
        options: what to look at.
        progress: called with the number of files that were just read.

    Raises:
        LureError: no such folder.
    """
    data = read_layout(options.root, options.exclude)
    check = _Check(options, data)
    _read(check, progress)
    issues = [*layout_issues(data), *_copies(check)]
    for part in data.parts:
        issues += _image_issues(part, check)
    issues.sort(key=lambda issue: (issue.level != "fault", issue.folder, issue.code, issue.files))
    return Report(options, tuple(_summary(part, check) for part in data.parts), tuple(issues), len(check.pixels))


def _read(check: _Check, progress: Callable[[int], None] | None) -> None:
    """Headers of all files, pixels of some or all; several at a time."""
    jobs: list[tuple[Path, bool]] = []
    for side in (side for part in check.data.parts for side in part.sides):
        paths = list(side.files.values())
        step = 1 if check.options.full else max(1, len(paths) / DECODED)
        chosen = {paths[int(i * step)] for i in range(int(len(paths) / step))}
        jobs += [(path, path in chosen) for path in paths]
    with ThreadPoolExecutor(min(8, cores())) as pool:
        for (path, _), (header, fault, pixels) in zip(jobs, pool.map(lambda job: _read_one(*job), jobs), strict=True):
            if header:
                check.headers[path] = header
            if fault:
                check.faults[path] = fault
            if pixels:
                check.pixels[path] = pixels
            if progress:
                progress(1)


def _read_one(path: Path, decode: bool) -> tuple[Header | None, LureError | None, _Pixels | None]:
    """The header, what keeps the pixels from being read, and what they show."""
    import numpy as np

    try:
        header = read_header(path)
    except LureError as error:
        return None, error, None
    if header.numbers != "unsigned" or header.bits > 16:
        message = f"{path}: {header.numbers} numbers of {header.bits} bits, whose range nobody says"
        return header, LureError(message, "save them as 8 or 16 bits, unsigned"), None
    if not decode:
        return header, None, None
    try:
        x = read_pixels(path)
    except LureError as error:
        return header, error, None
    scale = np.iinfo(x.dtype).max
    coloured = False
    if x.shape[2] == 3:
        spread = x.max(2).astype(np.int32) - x.min(2)
        coloured = bool(np.percentile(spread, 99.9) * 255 > _GREY * scale)
    narrow = False
    if x.dtype == np.uint16:
        low, high = np.percentile(x, (0.5, 99.5))
        narrow = bool(high - low < scale / 4)
    return header, None, _Pixels(coloured, narrow)


# --- images ----------------------------------------------------------------------------------------------------------


def _image_issues(part: Part, check: _Check) -> Iterator[Issue]:
    crop = check.options.crop
    for side in part.sides:
        folder, paths, headers = check.data.below(side.folder), list(side.files.values()), check.headers_of(side)
        for path in paths:
            if error := check.faults.get(path):
                message = f"{path.name}: {error.message.removeprefix(f'{path}: ')}"
                yield Issue(level_of(part), "unreadable", folder, (path.name,), message)
        small = tuple(p.name for p, h in headers.items() if min(h.width, h.height) < crop)
        if small and part.use == "trained on" and part.kind != "labelled":
            message = f"{share(small, paths)} smaller than the crop ({crop}), and enlarged to it: {some(small)}"
            yield Issue("warning", "small", folder, small, message)
        unseen = (p for p, h in headers.items() if h.alpha and p not in check.pixels and p not in check.faults)
        if alpha := tuple(p.name for p in unseen):
            message = f"{share(alpha, paths)} with an alpha channel; refused where a pixel is transparent"
            yield Issue("warning", "alpha", folder, alpha, f"{message}: {some(alpha)}")
        yield from _colour_issues(side, folder, headers, check)
    for sample in part.samples:
        sizes = {p: (h.width, h.height) for p in sample if (h := check.headers.get(p))}
        if len(set(sizes.values())) > 1:
            each = " and ".join(f"{p.parent.name} {w}x{h}" for p, (w, h) in sizes.items())
            message = f"{sample[0].stem}: sizes differ: {each}"
            yield Issue(level_of(part), "size", part.name, (sample[0].name,), message)


def _colour_issues(side: Side, folder: str, headers: dict[Path, Header], check: _Check) -> Iterator[Issue]:
    decoded = {p: check.pixels[p] for p in headers if p in check.pixels}
    # Where the header says that there is but one plane, nobody needs to look.
    coloured = {p: False for p, h in headers.items() if h.channels == 1} | {p: x.coloured for p, x in decoded.items()}
    grey, bright = (tuple(p.name for p, c in coloured.items() if c == wanted) for wanted in (False, True))
    if side.modality == "vis" and grey:
        message = f"grey images in a visible folder, {len(grey)} of {len(coloured)} looked at: {some(grey)}"
        yield Issue("warning", "grey-visible", folder, grey, message)
    if side.modality == "ir" and bright:
        message = f"coloured images in an infrared folder, read as luma, {len(bright)} of {len(coloured)} looked at"
        yield Issue("warning", "coloured-infrared", folder, bright, f"{message}: {some(bright)}")
    if narrow := tuple(p.name for p, x in decoded.items() if x.narrow):
        message = (
            "16-bit images that use less than a quarter of their range, so that they are almost flat as they are read, "
            f"{len(narrow)} of {len(decoded)} looked at: {some(narrow)}"
        )
        yield Issue("warning", "narrow-range", folder, narrow, message)


def _copies(check: _Check) -> Iterator[Issue]:
    """The same file in train and in test, and samples that are there twice. Only files of equal length are hashed."""
    parts = check.data.parts
    files = {part.name: [p for side in part.sides for p in side.files.values()] for part in parts}
    lengths: dict[int, list[Path]] = defaultdict(list)
    for path in (p for paths in files.values() for p in paths):
        with suppress(OSError):  # unreadable, and said so
            lengths[os.stat(path).st_size].append(path)
    same = [p for paths in lengths.values() if len(paths) > 1 for p in paths]
    digests = {p: sha256(p) for p in same if p in check.headers}
    tests = (part for part in parts if part.use == "never trained on")
    in_test = {digests[p]: p for part in tests for p in files[part.name] if p in digests}
    for part in (part for part in parts if part.use == "trained on"):
        for side in part.sides:
            if leaks := [p for p in side.files.values() if digests.get(p) in in_test]:
                copy = check.data.below(in_test[digests[leaks[0]]])
                names = tuple(p.name for p in leaks)
                message = f"{count(leaks, 'file')} also in test: {', '.join(names)} (first: {copy})"
                yield Issue("fault", "train-in-test", check.data.below(side.folder), names, message)
    for part in parts:
        firsts: dict[tuple[str, ...], Path] = {}
        twice = []
        for sample in part.samples:
            if all(p in digests for p in sample):
                first = firsts.setdefault(tuple(digests[p] for p in sample), sample[0])
                if first != sample[0]:
                    twice.append(f"{sample[0].name} = {first.name}")
        if twice:
            message = f"{count(twice, 'pair' if len(part.sides) > 1 else 'image')} there twice: {some(twice)}"
            yield Issue("warning", "duplicate", part.name, tuple(twice), message)


def _summary(part: Part, check: _Check) -> PartSummary:
    of_side = {side.name: list(check.headers_of(side).values()) for side in part.sides}
    headers = [h for each in of_side.values() for h in each]
    sizes = sorted({(h.width, h.height) for h in headers}, key=lambda s: (s[0] * s[1], s))
    return PartSummary(
        part.name,
        part.kind,
        part.modality,
        part.degradation,
        part.use,
        len(part.samples),
        sum(len(side.files) for side in part.sides),
        sizes[0] if sizes else None,
        sizes[-1] if sizes else None,
        tuple(sorted({h.bits for h in headers})),
        {name: tuple(sorted({h.channels for h in each})) for name, each in of_side.items()},
        sum(h.width * h.height for h in headers) / 1e6,
    )


# --- for people ------------------------------------------------------------------------------------------------------


def table_of_sets(report: Report) -> Table:
    """One row a part; the notes say which tasks have real pairs."""
    rows = []
    for p in report.parts:
        samples = f"{p.samples} {'image' if p.kind in ('clean', 'labelled') else 'pair'}{'s' * (p.samples != 1)}"
        sizes = list(dict.fromkeys(f"{w}x{h}" for w, h in filter(None, (p.smallest, p.largest))))
        channels = " + ".join("/".join(map(str, c)) for c in p.channels.values())
        trained = {"trained on": "yes", "never trained on": "never (test)"}.get(p.use, p.use)
        cells = (trained, samples, "..".join(sizes), "/".join(map(str, p.bits)), channels)
        rows.append((p.name, tuple(map(Cell, cells))))
    head = ("set", "trained on", "holds", "size", "bits", "channels")
    total = sum(p.megapixels for p in report.parts)
    count = sum(p.files for p in report.parts)
    title = f"{report.options.root}: {count} files, {total:.0f} megapixels"
    return Table(title, head, tuple(rows), tuple(_tasks(report)))


def _tasks(report: Report) -> Iterator[str]:
    trained = [p for p in report.parts if p.use == "trained on"]
    for modality, word in MODALITY_NAMES.items():
        real: dict[str, int] = dict.fromkeys(DEGRADATIONS[modality], 0)
        for p in trained:
            if p.kind == "restoration" and p.modality == modality and p.degradation:
                real[p.degradation] += p.samples
        pairs = ", ".join(f"{name} {count}" for name, count in real.items() if count) or "none"
        rest = ", ".join(name for name, count in real.items() if not count) or "none"
        clean = sum(p.samples for p in trained if p.kind == "fusion" or (p.kind == "clean" and p.modality == modality))
        yield f"{word}: real pairs: {pairs}; synthesised only: {rest}; from {clean} clean images."


def verdict(report: Report) -> str:
    """The last line: how much is wrong, and how closely it was looked at."""
    faults, warnings = len(report.faults), len(report.issues) - len(report.faults)
    total = sum(p.files for p in report.parts)
    closely = f"pixels of {report.decoded} of {total} files looked at (--full: of all)"
    if report.options.full or report.decoded == total:
        closely = "every image decoded"
    counts = f"{faults} fault{'s' * (faults != 1)}, {warnings} warning{'s' * (warnings != 1)}"
    return f"{counts}; {closely}"
