"""`lure data check`: what a data folder holds, and what training would stumble over, before it starts."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lure_cli.config import load_toml
from lure_cli.core.files import sha256
from lure_cli.core.images.header import read_header
from lure_cli.core.images.picture import read_pixels
from lure_cli.core.images.stored import Header
from lure_cli.core.pixels import Modality
from lure_cli.core.text.vocabulary import DEGRADATIONS
from lure_cli.core.training.corpus import FOLDERS
from lure_cli.errors import LureError
from lure_cli.tasks.data.layout import DataFolder, Finding, Level, Place, Use, count, scan_folder, share, some
from lure_cli.tasks.evaluate.evaluate import cores
from lure_cli.tasks.report.table import Cell, Table
from lure_cli.tasks.train.trainer import resolve_config

LOOKED = 6
"""Images of a folder whose pixels are looked at without `full`, evenly spaced."""
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
class Part:
    """One set's training or test part, as far as its headers can be read.

    Attributes:
        name: its folder, below the data folder.
        kind: `fusion`, `restoration` or `clean`.
        modality, degradation: of restoration and clean sets.
        use: whether training reads it.
        samples: number of pairs, or of images in a clean set.
        files: number of image files.
        smallest, largest: (width, height), by area; None without a readable image.
        bits: every depth found. channels: the same for channels, by side (`ir`, `vi`, `degraded`, `clean`).
        megapixels: of all its files.
    """

    name: str
    kind: str
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
    """All of it; `looked` counts the images whose pixels were decoded."""

    options: CheckOptions
    parts: tuple[Part, ...]
    findings: tuple[Finding, ...]
    looked: int

    @property
    def faults(self) -> tuple[Finding, ...]:
        """Those that training would stumble over."""
        return tuple(f for f in self.findings if f.level == "fault")

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "data": str(self.options.root),
            "crop": self.options.crop,
            "sets": [asdict(p) for p in self.parts],
            "findings": [asdict(f) for f in self.findings],
            "faults": len(self.faults),
            "warnings": len(self.findings) - len(self.faults),
            "files": sum(p.files for p in self.parts),
            "megapixels": round(sum(p.megapixels for p in self.parts), 3),
            "looked_at": self.looked,
        }


@dataclass
class _Check:
    """One run: what is known of every file."""

    options: CheckOptions
    folder: DataFolder
    headers: dict[Path, Header | LureError] = field(default_factory=dict)
    faults: dict[Path, LureError] = field(default_factory=dict)
    planes: dict[Path, tuple[bool, bool]] = field(default_factory=dict)
    """Of the images looked at: whether they are coloured, and whether 16 bits use little of their range."""


def check_options(root: Path, config: Path | None = None, full: bool = False) -> CheckOptions:
    """With the crop and the excluded sets of a training's TOML file, of either stage, or of stage I's shipped preset.

    Raises:
        LureError: as `resolve_config`.
    """
    stage = load_toml(config).get("stage", 1) if config else 1
    cfg = resolve_config(2 if stage == 2 else 1, config)
    return CheckOptions(root, cfg.crop, cfg.exclude, full)


def check_data(options: CheckOptions, progress: Callable[[int], None] | None = None) -> Report:
    """Look through a data folder of the layout that `core.data.find_corpus` reads, and list all that is wrong with it.

    Args:
        options: what to look at.
        progress: called with the number of files that were just read.

    Raises:
        LureError: no such folder.
    """
    found = scan_folder(options.root, options.exclude)
    check = _Check(options, found)
    _read(check, progress)
    for place in found.places:
        _check_images(place, check)
    _check_copies(check)
    parts = tuple(_part(place, check) for place in found.places)
    ordered = sorted(found.findings, key=lambda f: (f.level != "fault", f.folder, f.code, f.files))
    return Report(options, parts, tuple(ordered), len(check.planes))


def _read(check: _Check, progress: Callable[[int], None] | None) -> None:
    """Headers of all files, pixels of some or all; several at a time."""
    jobs = []
    for sides in check.folder.files.values():
        for found in sides.values():
            paths = list(found.values())
            step = 1 if check.options.full else max(1, len(paths) / LOOKED)
            looked = {paths[int(i * step)] for i in range(int(len(paths) / step))}
            jobs += [(path, path in looked) for path in paths]
    with ThreadPoolExecutor(min(8, cores())) as pool:
        for (path, _), (header, fault, planes) in zip(jobs, pool.map(lambda job: _read_one(*job), jobs), strict=True):
            check.headers[path] = header
            if fault:
                check.faults[path] = fault
            if planes:
                check.planes[path] = planes
            if progress:
                progress(1)


def _read_one(path: Path, look: bool) -> tuple[Header | LureError, LureError | None, tuple[bool, bool] | None]:
    """The header, what keeps the pixels from being read, and (coloured, 16 bits of little range)."""
    import numpy as np

    try:
        header = read_header(path)
    except LureError as error:
        return error, error, None
    if header.numbers != "unsigned" or header.bits > 16:
        told = f"{header.numbers} numbers of {header.bits} bits, whose range nobody says"
        return header, LureError(f"{path}: {told}", "save them as 8 or 16 bits, unsigned"), None
    if not look:
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
    return header, None, (coloured, narrow)


# --- images ----------------------------------------------------------------------------------------------------------


def _check_images(place: Place, check: _Check) -> None:
    level: Level = "fault" if place.use == "trained on" else "warning"
    crop = check.options.crop
    for side, modality, folder in place.sides:
        paths = list(check.folder.files[place.name][side].values())
        for path in paths:
            if path in check.faults:
                error = check.faults[path]
                message = error.message.removeprefix(f"{path}: ")
                check.folder.say(level, "unreadable", folder, (path.name,), f"{path.name}: {message}")
        headers = {p: h for p in paths if isinstance(h := check.headers[p], Header)}
        small = [p.name for p, h in headers.items() if min(h.width, h.height) < crop]
        if small and place.use == "trained on":
            message = f"{share(small, paths)} smaller than the crop ({crop}), and enlarged to it: {some(small)}"
            check.folder.say("warning", "small", folder, small, message)
        clear = [p.name for p, h in headers.items() if h.alpha and p not in check.planes and p not in check.faults]
        if clear:
            message = (
                f"{share(clear, paths)} with an alpha channel; refused where a pixel is transparent: {some(clear)}"
            )
            check.folder.say("warning", "alpha", folder, clear, message)
        _check_colours(modality, folder, headers, check)
    for sample in check.folder.samples[place.name]:
        sizes = [(h.width, h.height) for p in sample if isinstance(h := check.headers[p], Header)]
        if len(set(sizes)) > 1:
            told = " and ".join(f"{p.parent.name} {w}x{h}" for p, (w, h) in zip(sample, sizes, strict=True))
            check.folder.say(level, "size", place.name, [sample[0].name], f"{sample[0].stem}: sizes differ: {told}")


def _check_colours(modality: Modality, folder: Path, headers: dict[Path, Header], check: _Check) -> None:
    looked = {p: check.planes[p] for p in headers if p in check.planes}
    # Where the header says that there is but one plane, nobody needs to look.
    known = {p: False for p, h in headers.items() if h.channels == 1} | {p: c for p, (c, _) in looked.items()}
    if modality == "vis" and (grey := [p.name for p, coloured in known.items() if not coloured]):
        told = f"grey images in a visible folder, {len(grey)} of {len(known)} looked at: {some(grey)}"
        check.folder.say("warning", "grey-visible", folder, grey, told)
    if modality == "ir" and (coloured := [p.name for p, c in known.items() if c]):
        told = f"coloured images in an infrared folder, read as luma, {len(coloured)} of {len(known)} looked at"
        check.folder.say("warning", "coloured-infrared", folder, coloured, f"{told}: {some(coloured)}")
    if narrow := [p.name for p, (_, n) in looked.items() if n]:
        told = (
            "16-bit images that use less than a quarter of their range, so that they are almost flat as they are read"
        )
        told = f"{told}, {len(narrow)} of {len(looked)} looked at: {some(narrow)}"
        check.folder.say("warning", "narrow-range", folder, narrow, told)


def _check_copies(check: _Check) -> None:
    """The same file in train and in test, and samples that are there twice. Only files of equal length are hashed."""
    places, files, samples = check.folder.places, check.folder.files, check.folder.samples
    lengths: dict[int, list[Path]] = defaultdict(list)
    for sides in files.values():
        for found in sides.values():
            for path in found.values():
                try:
                    lengths[os.stat(path).st_size].append(path)
                except OSError:
                    continue  # unreadable, and said so
    digests: dict[Path, str] = {}
    for paths in lengths.values():
        for path in paths if len(paths) > 1 else ():
            if isinstance(check.headers[path], Header):
                digests[path] = sha256(path)
    in_test: dict[str, Path] = {}
    for place in places:
        if place.use == "never trained on":
            in_test |= {digests[p]: p for s in files[place.name].values() for p in s.values() if p in digests}
    for place in places:
        if place.use != "trained on":
            continue
        for _, _, folder in place.sides:
            leaks = [p for s in files[place.name].values() for p in s.values() if p.parent == folder]
            leaks = [p for p in leaks if digests.get(p) in in_test]
            if leaks:
                first = check.folder.below(in_test[digests[leaks[0]]])
                message = f"{count(leaks, 'file')} also in test: {', '.join(p.name for p in leaks)} (first: {first})"
                check.folder.say("fault", "train-in-test", folder, [p.name for p in leaks], message)
    for place in places:
        seen: dict[tuple[str, ...], Path] = {}
        twice = []
        for sample in samples[place.name]:
            if all(p in digests for p in sample):
                key = tuple(digests[p] for p in sample)
                if key in seen:
                    twice.append(f"{sample[0].name} = {seen[key].name}")
                seen.setdefault(key, sample[0])
        if twice:
            word = "pair" if len(place.sides) > 1 else "image"
            check.folder.say(
                "warning", "duplicate", place.name, twice, f"{count(twice, word)} there twice: {some(twice)}"
            )


def _part(place: Place, check: _Check) -> Part:
    files = check.folder.files[place.name]
    of_side = {
        side: [h for p in found.values() if isinstance(h := check.headers[p], Header)] for side, found in files.items()
    }
    headers = [h for found in of_side.values() for h in found]
    sizes = sorted({(h.width, h.height) for h in headers}, key=lambda s: (s[0] * s[1], s))
    return Part(
        place.name,
        place.kind,
        place.modality,
        place.degradation,
        place.use,
        len(check.folder.samples[place.name]),
        sum(map(len, files.values())),
        sizes[0] if sizes else None,
        sizes[-1] if sizes else None,
        tuple(sorted({h.bits for h in headers})),
        {side: tuple(sorted({h.channels for h in found})) for side, found in of_side.items()},
        sum(h.width * h.height for h in headers) / 1e6,
    )


# --- for people ------------------------------------------------------------------------------------------------------


def table_of_sets(report: Report) -> Table:
    """One row a part; the notes say which tasks have real pairs."""
    rows = []
    for p in report.parts:
        samples = f"{p.samples} {'image' if p.kind == 'clean' else 'pair'}{'s' * (p.samples != 1)}"
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
    for modality, word in FOLDERS.items():
        real: dict[str, int] = dict.fromkeys(DEGRADATIONS[modality], 0)
        for p in trained:
            if p.kind == "restoration" and p.modality == modality and p.degradation:
                real[p.degradation] += p.samples
        told = ", ".join(f"{name} {count}" for name, count in real.items() if count) or "none"
        rest = ", ".join(name for name, count in real.items() if not count) or "none"
        clean = sum(p.samples for p in trained if p.kind == "fusion" or (p.kind == "clean" and p.modality == modality))
        yield f"{word}: real pairs: {told}; synthesised only: {rest}; from {clean} clean images."


def verdict(report: Report) -> str:
    """The last line: how much is wrong, and how closely it was looked at."""
    faults, warnings = len(report.faults), len(report.findings) - len(report.faults)
    total = sum(p.files for p in report.parts)
    closely = f"pixels of {report.looked} of {total} files looked at (--full: of all)"
    if report.options.full or report.looked == total:
        closely = "every image decoded"
    told = f"{faults} fault{'s' * (faults != 1)}, {warnings} warning{'s' * (warnings != 1)}"
    return f"{told}; {closely}"
