"""`lure bench detect`: what is asked for, and the files that it is about."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from lure_cli.core.objects.labels import Objects, no_objects, read_names, read_yolo
from lure_cli.core.pixels import CHANNELS, Modality
from lure_cli.core.text.vocabulary import DEGRADATIONS, Prompt
from lure_cli.errors import LureError
from lure_cli.tasks.evaluate.images import images_by_name
from lure_cli.tasks.paths.pairing import Pair, find_pairs
from lure_cli.tasks.weights.find import DEFAULT

SOURCES: dict[str, Modality] = {"visible": "vis", "infrared": "ir"}
"""The methods that are no fusion: name -> the image that is taken."""
FLOORS = ("mean", "maximum", "laplacian", "guided-filter")
"""The baselines that fuse."""
CLEAN = "clean"
_LAYOUT = "a folder holds ir, vi (or vis) and labels: a .txt of YOLO for each pair, of the same name; see --labels too"


@dataclass(frozen=True)
class DetectBenchOptions:
    """What `lure bench detect` was asked to do; see the command's help.

    `fused` holds (method, folder with `train` and `test`, which hold its fused images); `classes` empty: they stand in
    `classes.txt`; `cases` are `vis_` or `ir_` and a degradation.
    """

    train: Path
    test: Path
    output: Path
    _: KW_ONLY
    labels: Path | None = None
    classes: tuple[str, ...] = ()
    weights: tuple[str, ...] = (DEFAULT,)
    fused: tuple[tuple[str, Path], ...] = ()
    floors: bool = False
    cases: tuple[str, ...] = ()
    seeds: int = 3
    epochs: int = 40
    size: int = 640
    minutes: float | None = None
    device: str = "auto"
    dtype: str = "auto"


@dataclass(frozen=True)
class Case:
    """Test pairs of which one image is degraded."""

    name: str
    modality: Modality
    degradation: str

    @property
    def prompt(self) -> Prompt:
        """What is wrong with them."""
        return Prompt(**{self.modality: (self.degradation,)})


@dataclass(frozen=True)
class LabelledPairs:
    """Registered pairs and what is seen in them, by the name of the pair."""

    pairs: Mapping[str, Pair]
    objects: Mapping[str, Objects]

    @property
    def count(self) -> int:
        """How many objects there are."""
        return sum(len(each.classes) for each in self.objects.values())

    def digest(self) -> str:
        """Of the names and the labels, for telling two data sets apart."""
        all_of_it = hashlib.sha256()
        for name in sorted(self.pairs):
            all_of_it.update(name.encode() + self.objects[name].boxes.tobytes() + self.objects[name].classes.tobytes())
        return all_of_it.hexdigest()


@dataclass(frozen=True)
class DetectPlan:
    """What is to be done, its files found; `notes` say what takes no part. `fused`: method -> split -> name -> file."""

    options: DetectBenchOptions
    train: LabelledPairs
    test: LabelledPairs
    classes: tuple[str, ...]
    cases: tuple[Case, ...]
    fused: Mapping[str, Mapping[str, Mapping[str, Path]]]
    notes: tuple[str, ...]


def plan_detection(options: DetectBenchOptions) -> DetectPlan:
    """Find the files and read the labels, before a pixel is read.

    Raises:
        LureError: a missing folder, images that do not pair, labels that cannot be read, a method that lacks an image,
            an unknown case, numbers that make no sense.
    """
    o = options
    for name, value, least in (("--seeds", o.seeds, 1), ("--epochs", o.epochs, 1), ("--size", o.size, 64)):
        if value < least:
            raise LureError(f"{name} {value} is too little", f"give a number from {least} on")
    cases = tuple(map(parse_case, o.cases))
    folders = {split: _labels_of(o, split) for split in ("train", "test")}
    classes = o.classes or _class_names(*folders.values())
    if not all(classes) or len(set(classes)) < len(classes):
        raise LureError(f"classes {','.join(classes)}: one has no name, or two have the same", "name each otherwise")
    notes: list[str] = []
    train, test = (
        _read_split(folder, folders[split], len(classes), notes)
        for split, folder in (("train", o.train), ("test", o.test))
    )
    fused = {
        method: {split: _files_of(method, folder / split, pairs) for split, pairs in (("train", train), ("test", test))}
        for method, folder in o.fused
    }
    return DetectPlan(o, train, test, classes, cases, fused, tuple(notes))


def parse_case(text: str) -> Case:
    """`vis_haze` -> haze in the visible image; LureError for what is no degradation of that image."""
    side, _, degradation = text.partition("_")
    for modality in CHANNELS:
        if side == modality and degradation in DEGRADATIONS[modality]:
            return Case(text, modality, degradation)
    known = ", ".join(f"{m}_{name}" for m in ("vis", "ir") for name in DEGRADATIONS[m])
    raise LureError(f"case '{text}' is not known", f"there are {known}")


def _labels_of(options: DetectBenchOptions, split: str) -> Path:
    images: Path = getattr(options, split)
    folder = images / "labels" if options.labels is None else options.labels / split
    if not folder.is_dir():
        raise LureError(f"{folder}: no such folder", _LAYOUT)
    return folder


def _class_names(*folders: Path) -> tuple[str, ...]:
    for folder in folders:
        for place in (folder / "classes.txt", folder.parent / "classes.txt"):
            if place.is_file():
                return read_names(place)
    raise LureError(f"{folders[0]}: nothing says what the classes are called", "add classes.txt, or give --classes A,B")


def _read_split(folder: Path, labels: Path, classes: int, notes: list[str]) -> LabelledPairs:
    vis = folder / "vi" if (folder / "vi").is_dir() else folder / "vis"
    for side in (folder / "ir", vis):
        if not side.is_dir():
            raise LureError(f"{side}: no such folder", _LAYOUT)
    pairs = {pair.name: pair for pair in find_pairs(folder / "ir", vis, f"{folder / 'fused'}{os.sep}")[0]}
    files = {path.stem: path for path in sorted(labels.glob("*.txt")) if path.name != "classes.txt"}
    if not set(files) & set(pairs):
        raise LureError(f"{labels}: no file is named like a pair, such as {next(iter(pairs))}.txt", _LAYOUT)
    for what, some in (
        ("pairs without labels, so without objects", set(pairs) - set(files)),
        ("labels without a pair, left out", set(files) - set(pairs)),
    ):
        if some:
            notes.append(f"{labels}: {len(some)} {what}, such as {min(some)}")
    objects = {name: read_yolo(files[name], classes) if name in files else no_objects() for name in pairs}
    if not any(len(each.classes) for each in objects.values()):
        raise LureError(f"{labels}: no object in any file", "give labels that hold some")
    return LabelledPairs(pairs, objects)


def _files_of(method: str, folder: Path, wanted: LabelledPairs) -> dict[str, Path]:
    if not folder.is_dir():
        raise LureError(f"{folder}: no such folder", f"the folder of {method} holds train and test, with fused images")
    files = images_by_name(folder)
    missing = sorted(set(wanted.pairs) - set(files))
    if missing:
        raise LureError(
            f"{folder}: lacks {len(missing)} of {len(wanted.pairs)} images, such as {missing[0]}", "add them"
        )
    return {name: files[name] for name in wanted.pairs}
