"""From what a user names to what is done. `plan_job` checks paths, options, prompts, existing outputs and weights in
one order for every kind of job; no torch is imported where something is refused.

Fusing and restoring images are planned here, clips in `tasks.video.plan`; nothing is carried out.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, Protocol, TypeVar

from lure_cli.config import nearest
from lure_cli.core.images.formats import check_output
from lure_cli.core.images.radiometric import closed_maker_of, radiometric_sizes
from lure_cli.core.text.vocabulary import Prompt
from lure_cli.core.thermal.colouring import HeatColours
from lure_cli.core.thermal.radiometry import Radiometry
from lure_cli.errors import LureError
from lure_cli.tasks.inference.inputs import ReadOptions
from lure_cli.tasks.inference.loading import pick_backend
from lure_cli.tasks.inference.request import Request, no_provenance, request_of, request_of_one
from lure_cli.tasks.paths.find import IMAGES, STANDARD, File, is_many, search
from lure_cli.tasks.paths.outputs import (
    EXTRAS,
    Item,
    Names,
    Naming,
    check_outputs,
    extras_of,
    files_of,
    folders_of_outputs,
    output_of,
)
from lure_cli.tasks.paths.pairing import FUSED, Pair, Pairing, find_pairs, make_pair
from lure_cli.tasks.prompt import read_prompt_file
from lure_cli.tasks.weights.find import DEFAULT, detector_path, resolve_weights
from lure_cli.tasks.weights.hub import Notify

if TYPE_CHECKING:
    from lure_cli.core.pixels import Modality

ENGINES = ("local", "ray")
RESTORED = Naming("restored", "images", "known fields: {stem} (the file's name without suffix), {folder} (sub-folder)")
Anything = TypeVar("Anything")
AnyOptions = TypeVar("AnyOptions")
AnyItem = TypeVar("AnyItem", bound="Named")


class Named(Protocol):
    """A piece of a job: a pair of images, a single image, a pair of clips."""

    @property
    def name(self) -> str: ...


# --- options ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """How a job is read, computed and written; see the commands' help."""

    read: ReadOptions = field(default_factory=ReadOptions)
    temperature: str | None = None
    bits: int = 8
    weights: str = DEFAULT
    device: str = "auto"
    dtype: str = "auto"
    threads: int | None = None
    compiled: bool = False
    backend: str = "auto"
    tile: str = "auto"
    overlap: int | None = None
    overwrite: bool = False
    skip_existing: bool = False
    limit: int | None = None
    shard: str | None = None
    fail_fast: bool = False

    def check(self) -> None:
        """LureError on options that exclude each other or cannot be meant."""
        if self.overwrite and self.skip_existing:
            raise LureError("--overwrite and --skip-existing exclude each other", "give one of them")
        if self.limit is not None and self.limit < 1:
            raise LureError(f"--limit {self.limit} leaves nothing to do", "give a number from 1 on")
        if self.threads is not None and self.threads < 1:
            raise LureError(f"--threads {self.threads} cannot compute anything", "give a number from 1 on")
        if self.temperature is not None and self.read.alpha == "ir":
            raise LureError("an alpha channel holds no temperatures", "leave --temperature out")
        self.tile_size()
        self.read.check()

    @property
    def extras(self) -> Mapping[str, str]:
        """What is wanted beside the pictures and where that goes, by the options of `EXTRAS`."""
        given = {what: getattr(self, what, None) for what in EXTRAS}
        return {what: output for what, output in given.items() if output is not None}

    def tile_size(self) -> int | Literal["auto"]:
        """The tile size as the model takes it; LureError if it makes no sense."""
        if self.overlap is not None and self.overlap < 0:
            raise LureError(f"--overlap {self.overlap} is negative", "give pixels, from 0 on")
        if self.tile == "auto":
            return "auto"
        if not self.tile.isascii() or not self.tile.isdigit() or 0 < int(self.tile) < 64:
            raise LureError(f"--tile {self.tile} is no tile size", "give auto, 0 (one piece), or pixels from 64 on")
        return int(self.tile)

    def requests(self, names: Sequence[str]) -> Sequence[Request]:
        """What is wanted of each item, by its name; LureError if that is not understood."""
        raise NotImplementedError

    def check_weights(self, path: Path) -> None:
        """LureError if the weights cannot do such a job."""
        pick_backend(self.backend, path)


@dataclass(frozen=True)
class FuseOptions(JobOptions):
    """What `lure fuse` was asked to do; see the command's help. Without `vis`, files of `ir` hold both images."""

    ir: Path
    vis: Path | None = None
    output: str | None = None
    _: KW_ONLY
    prompt: str | None = None
    prompt_ir: str | None = None
    prompt_vis: str | None = None
    prompt_file: Path | None = None
    strength: float = 1.0
    strength_ir: float | None = None
    strength_vis: float | None = None
    pairing: Pairing = field(default_factory=Pairing)
    provenance: str | None = None
    heat: HeatColours | None = None
    engine: str = "local"
    workers: int | None = None

    @property
    def in_one(self) -> bool:
        """Whether each file is both images of a pair."""
        return self.vis is None or (self.read.alpha == "ir" and self.ir == self.vis)

    def check(self) -> None:
        """See `JobOptions`."""
        super().check()
        if self.prompt_file is not None and (self.prompt, self.prompt_ir, self.prompt_vis) != (None, None, None):
            raise LureError("--prompt-file excludes --prompt, --prompt-ir and --prompt-vis", "write all into the file")

    def check_weights(self, path: Path) -> None:
        """See `JobOptions`."""
        if pick_backend(self.backend, path) == "onnx" and self.provenance is not None:
            raise no_provenance(f"--provenance: ONNX files such as {path}")

    def requests(self, names: Sequence[str]) -> Sequence[Request]:
        """See `JobOptions`; a file of prompts has one for each pair, and no other."""
        request = request_of(
            self.prompt, self.prompt_ir, self.prompt_vis, self.strength, self.strength_ir, self.strength_vis
        )
        if self.prompt_file is None:
            return [request] * len(names)
        prompts = _prompts_of(names, read_prompt_file(self.prompt_file), self.prompt_file)
        return [replace(request, prompt=prompt) for prompt in prompts]


def _prompts_of(names: Sequence[str], prompts: Mapping[str, Prompt], file: Path) -> list[Prompt]:
    """The prompt of each pair; every pair has one, and every one a pair."""
    composed = [unicodedata.normalize("NFC", name) for name in names]
    for name in composed:
        if name not in prompts:
            raise LureError(
                f"{file}: no prompt for '{name}'", "give every pair a line; an empty prompt is plain fusion"
            )
    known = set(composed)
    for stem in prompts:
        if stem not in known:
            raise LureError(f"{file}: there is no pair '{stem}'", f"pairs: {nearest(stem, list(names))}")
    return [prompts[name] for name in composed]


@dataclass(frozen=True, kw_only=True)
class RestoreOptions(JobOptions):
    """What `lure restore` was asked to do; see the command's help. Exactly one of `ir` and `vis` is given."""

    ir: Path | None = None
    vis: Path | None = None
    output: str | None = None
    prompt: str | None = None
    strength: float = 1.0
    recursive: bool = False

    def source(self) -> tuple[Modality, Path]:
        """The one that is given; LureError if that is none or both, or if options do not fit it."""
        if self.ir is not None and self.vis is not None:
            raise LureError("--ir and --vis are two images, but one is restored", "give one; `lure fuse` takes pairs")
        if self.ir is not None:
            if self.read.vis_range != ReadOptions().vis_range:
                raise LureError("--vis-range is for visible images", "give --ir-range, or give the image to --vis")
            return "ir", self.ir
        if self.vis is None:
            raise LureError("no image is given", "name it by what it shows: --vis hazy.png, or --ir FOLDER")
        if self.read.ir_range != ReadOptions().ir_range:
            raise LureError("--ir-range is for infrared images", "give --vis-range, or give the image to --ir")
        if self.read.alpha == "ir":
            raise LureError("--alpha ir is for infrared images", "give the image to --ir")
        if self.read.radiometry != Radiometry() or self.temperature is not None:
            raise LureError("temperatures are those of infrared images", "give the image to --ir")
        return "vis", self.vis

    def requests(self, names: Sequence[str]) -> Sequence[Request]:
        """See `JobOptions`."""
        return [request_of_one(self.source()[0], self.prompt, self.strength)] * len(names)

    def check_weights(self, path: Path) -> None:
        """See `JobOptions`."""
        if path.suffix.lower() == ".onnx":
            raise LureError(f"{path}: ONNX files fuse, they cannot restore one image", "use the .safetensors weights")


# --- plans -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan(Generic[AnyOptions, AnyItem]):
    """A job that has been checked as far as that goes without reading pixels: what is made, one request for each, the
    weight file, and input files that have no partner."""

    options: AnyOptions
    items: tuple[AnyItem, ...]
    requests: tuple[Request, ...]
    weights: Path
    unmatched: tuple[Path, ...] = ()

    @property
    def jobs(self) -> Iterator[tuple[AnyItem, Request]]:
        """Each item with what is wanted of it."""
        return zip(self.items, self.requests, strict=True)


@dataclass(frozen=True)
class RestoreItem:
    """One image, its name (that of the file without suffix, with the sub-folder), the file to write, and further ones,
    by what they hold."""

    name: str
    modality: Modality
    image: Path
    output: Path
    extras: Mapping[str, Path] = field(default_factory=dict, hash=False)

    @property
    def sources(self) -> Mapping[str, Path]:
        """The one file."""
        return {self.modality: self.image}


FusePlan = Plan[FuseOptions, Pair]
RestorePlan = Plan[RestoreOptions, RestoreItem]


def plan_job(
    options: JobOptions,
    items: Sequence[AnyItem],
    *,
    existing: Callable[[AnyItem], Path | None],
    limit: int | None = None,
    notify: Notify | None = None,
) -> tuple[tuple[AnyItem, ...], tuple[Request, ...], Path]:
    """Check everything but the paths, which come first: the items stand for paths that have been checked.

    Args:
        options: what they share, of all kinds of jobs.
        items: all that could be done.
        existing: the output of an item that is there already.
        limit: at most so many of this shard.
        notify: told if weights are downloaded.

    Returns:
        The items of this shard, what is wanted of each, and the weight file.

    Raises:
        LureError: options that exclude each other or cannot be meant, a prompt that is not understood or missing, an
            output that exists (unless `overwrite` or `skip_existing` says what to do with it), weights that are missing
            or cannot do this.
    """
    options.check()
    requests = options.requests([item.name for item in items])
    if any(request.auto for request in requests):
        detector_path()
    jobs = part_of(list(zip(items, requests, strict=True)), options.shard)[:limit]
    if not (options.overwrite or options.skip_existing):
        for item, _ in jobs:
            if (path := existing(item)) is not None:
                raise LureError(f"{path} exists already", "give --overwrite or --skip-existing, or another name")
    weights = resolve_weights(options.weights, notify)
    options.check_weights(weights)
    return tuple(item for item, _ in jobs), tuple(request for _, request in jobs), weights


def plan_fuse(options: FuseOptions, notify: Notify | None = None) -> FusePlan:
    """Check everything that can be checked before the model loads; no torch is imported.

    Args:
        options: the job.
        notify: told if weights are downloaded, and of files in folders that are left out.

    Raises:
        LureError: inputs that do not pair, outputs that collide or cannot be written, an engine that cannot be meant;
            also as `plan_job`.
    """
    o = options
    if o.engine not in ENGINES:
        raise LureError(f"engine '{o.engine}' is not known", f"use one of {', '.join(ENGINES)}")
    if o.workers is not None and (o.engine != "ray" or o.workers < 1):
        raise LureError("--workers needs --engine ray and a number from 1 on", "leave it out, or add --engine ray")
    pairs, unmatched = _pairs(o, notify)
    if o.engine == "ray" and any(STANDARD in (pair.ir, pair.vis, pair.output) for pair in pairs):
        raise LureError("--engine ray takes files, not standard input or output", "leave --engine out")
    check_types(pairs, o.bits)
    return Plan(o, *plan_job(o, pairs, existing=_existing, limit=o.limit, notify=notify), tuple(unmatched))


def _pairs(o: FuseOptions, notify: Notify | None) -> tuple[list[Pair], list[Path]]:
    """What is fused with what, and the files that have no partner."""
    if o.vis is None or o.in_one:
        return _pairs_in_one(o, notify), []
    pairs, unmatched = find_pairs(o.ir, o.vis, o.output, o.pairing, notify=notify, extras=o.extras)
    alone = {path for path in unmatched if holds_both(path, damaged=False)} if o.read.alpha != "ir" else set()
    if alone:
        files = search(o.ir, o.pairing.recursive, folders_of_outputs(o.output, o.extras, FUSED), IMAGES)
        own = _in_one([file for file in files if file.path in alone], o)
        pairs = sorted([*pairs, *own], key=lambda pair: pair.name)
        taken = {pair.ir for pair in own}
        unmatched = [path for path in unmatched if path not in taken]
        check_outputs(pairs, unmatched, FUSED)
        if own and notify is not None:
            notify(f"{o.ir}: {len(own)} without a partner, but with a photo inside, such as {own[0].ir}")
    return pairs, unmatched


def _pairs_in_one(o: FuseOptions, notify: Notify | None) -> list[Pair]:
    """Files that are both images of a pair: radiometric ones with a photo, or the infrared one in an alpha channel."""
    many = is_many(o.ir)
    refuse_pairing(o.pairing, many)
    if not many:
        if o.vis is None and o.ir != STANDARD and not holds_both(o.ir, damaged=True):
            raise _needs_visible(o.ir)
        names = Names("image" if o.ir == STANDARD else o.ir.stem)
        pairs = [make_pair(names, o.ir, o.ir, o.output, o.extras, False)]
    else:
        files = search(o.ir, o.pairing.recursive, folders_of_outputs(o.output, o.extras, FUSED), IMAGES, notify)
        both = [file for file in files if holds_both(file.path, damaged=True)] if o.vis is None else files
        if not both:
            raise _needs_visible(o.ir)
        if len(both) < len(files) and notify is not None:
            other = min(file.below for file in set(files) - set(both))
            notify(f"{o.ir}: {len(files) - len(both)} without a photo inside left out, such as {other}")
        pairs = sorted(_in_one(both, o), key=lambda pair: pair.name)
    check_outputs(pairs, (), FUSED)
    return pairs


def _in_one(files: Sequence[File], o: FuseOptions) -> list[Pair]:
    return [pair_in_one(file, o) for file in files]


def pair_in_one(file: File, o: FuseOptions) -> Pair:
    """A file of a folder that is both images of a pair."""
    names = Names(file.below.stem, file.below.parent.parts)
    return make_pair(names, file.path, file.path, o.output, o.extras, True)


def refuse_pairing(pairing: Pairing, many: bool) -> None:
    """LureError on options of pairing where there is nothing to pair; sub-folders may be searched (`many`)."""
    if pairing != Pairing(recursive=pairing.recursive and many):
        raise LureError("files that hold both images need no pairing", "leave the options of pairing out")


def holds_both(path: Path, *, damaged: bool) -> bool:
    """Whether a file is radiometric and has a photo inside; `damaged` is the answer where that cannot be told."""
    try:
        sizes = radiometric_sizes(path)
    except LureError:
        return damaged
    return sizes is not None and sizes.photo is not None


def _needs_visible(ir: Path) -> LureError:
    if not ir.is_file():
        what = "no file there is a radiometric one with a photo inside"
    elif (maker := closed_maker_of(ir)) is not None:
        what = f"none is read from files of {maker}"
    elif radiometric_sizes(ir) is None:
        what = "the infrared file is not a radiometric one, with a photo inside"
    else:
        what = "this radiometric file holds no photo"
    return LureError(f"{ir}: no visible image is given, and {what}", "give it by --vis")


def plan_restore(options: RestoreOptions, notify: Notify | None = None) -> RestorePlan:
    """As `plan_fuse`, for single images.

    Raises:
        LureError: a folder without images, outputs that collide or cannot be written; also as `plan_job`.
    """
    o = options
    modality, source = o.source()
    many = is_many(source)
    if o.recursive and not many:
        raise LureError("--recursive is for folders", "leave it out")
    items = _restore_items(source, modality, many, o, notify)
    check_outputs(items, (), RESTORED)
    check_types(items, o.bits)
    return Plan(o, *plan_job(o, items, existing=_existing, limit=o.limit, notify=notify))


def _restore_items(
    source: Path, modality: Modality, many: bool, o: RestoreOptions, notify: Notify | None
) -> list[RestoreItem]:
    """The images that are meant, sorted by name. What lies in the output's folder is no input."""
    if not many:
        names = Names("image" if source == STANDARD else source.stem)
        files = [(source, names)]
    else:
        skip = folders_of_outputs(o.output, o.extras, RESTORED)
        found = search(source, o.recursive, skip, IMAGES, notify)
        files = [(file.path, Names(file.below.stem, file.below.parent.parts)) for file in found]
    items = [
        RestoreItem(
            names.name,
            modality,
            path,
            output_of(o.output, names, many, RESTORED),
            extras_of(o.extras, names, many, RESTORED),
        )
        for path, names in files
    ]
    return sorted(items, key=lambda item: item.name)


def part_of(items: Sequence[Anything], shard: str | None) -> Sequence[Anything]:
    """'2/5': the second of five equal parts, by every fifth item; all without a shard."""
    if shard is None:
        return items
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", shard, re.ASCII)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise LureError(f"--shard {shard} is not i/n", "for example 1/4, 2/4, 3/4 and 4/4 on four machines")
    return items[int(match[1]) - 1 :: int(match[2])]


def check_types(items: Sequence[Item], bits: int) -> None:
    """LureError if a type of output cannot hold so many bits."""
    for suffix in {item.output.suffix.lower() for item in items if item.output != STANDARD} or {".png"}:
        check_output(suffix, bits, False)


def _existing(item: Item) -> Path | None:
    return next(filter(os.path.lexists, files_of(item)), None)


def finished(item: Item, options: JobOptions) -> bool:
    """Whether an item is left out since all of its files are there; files are written whole or not at all."""
    return options.skip_existing and item.output != STANDARD and all(map(os.path.exists, files_of(item)))
