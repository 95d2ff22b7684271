"""From what a user names to what is done. `plan_job` checks paths, options, prompts, existing outputs and weights in
one order for every kind of job; no torch is imported where something is refused.

Fusing and restoring images are planned here, clips in `tasks.video.plan`; nothing is carried out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from lure_cli.core.images.formats import check_output
from lure_cli.core.images.radiometric import closed_maker_of, radiometric_sizes
from lure_cli.errors import LureError
from lure_cli.tasks.inference.backend import Work, file_for, work_of
from lure_cli.tasks.inference.loading import check_prompts
from lure_cli.tasks.inference.options import ENGINES, FuseOptions, JobOptions, RestoreOptions
from lure_cli.tasks.inference.request import Request
from lure_cli.tasks.paths.find import IMAGES, STANDARD, File, is_many, search
from lure_cli.tasks.paths.outputs import (
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
from lure_cli.tasks.weights.find import detector_path, resolve_weights
from lure_cli.tasks.weights.hub import Notify

if TYPE_CHECKING:
    from lure_cli.core.pixels import Modality

RESTORED = Naming("restored", "images", "known fields: {stem} (the file's name without suffix), {folder} (sub-folder)")
Anything = TypeVar("Anything")
AnyOptions = TypeVar("AnyOptions")
AnyItem = TypeVar("AnyItem", bound="Named")


class Named(Protocol):
    """A piece of a job: a pair of images, a single image, a pair of clips."""

    @property
    def name(self) -> str: ...


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
    work: Callable[[Sequence[tuple[AnyItem, Request]]], Work] | None = None,
) -> tuple[tuple[AnyItem, ...], tuple[Request, ...], Path]:
    """Check everything but the paths, which come first: the items stand for paths that have been checked.

    Args:
        options: what they share, of all kinds of jobs.
        items: all that could be done.
        existing: the output of an item that is there already.
        limit: at most so many of this shard.
        notify: told if weights are downloaded.
        work: tells how much there is to do, which then decides what computes it; None: that is not known.

    Returns:
        The items of this shard, what is wanted of each, and the weight file.

    Raises:
        LureError: options that exclude each other or cannot be meant, a prompt that is not understood or missing, an
            output that exists (unless `overwrite` or `skip_existing` says what to do with it), weights that are missing
            or cannot do this, or were trained without what a prompt names.
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
    named = resolve_weights(options.weights, notify)
    check_prompts({request.prompt for _, request in jobs}, named, options.weights)
    how = options.backend, lambda: work and work(jobs), options.device, options.dtype, options.torch_only()
    weights = file_for(options.weights, named, *how)
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
    if o.by_colour:
        pairs = [replace(pair, by_colour=True) for pair in pairs]
    check_types(pairs, o.bits)
    job = plan_job(o, pairs, existing=_existing, limit=o.limit, notify=notify, work=_work(o))
    return Plan(o, *job, tuple(unmatched))


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
    return Plan(o, *plan_job(o, items, existing=_existing, limit=o.limit, notify=notify, work=_work(o)))


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


def _work(options: JobOptions) -> Callable[[Sequence[tuple[Item, Request]]], Work]:
    """Tells how much of a job on images is still to do."""
    return lambda jobs: work_of([job for job in jobs if not finished(job[0], options)], options.read.max_pixels)


def finished(item: Item, options: JobOptions) -> bool:
    """Whether an item is left out since all of its files are there; files are written whole or not at all."""
    return options.skip_existing and item.output != STANDARD and all(map(os.path.exists, files_of(item)))
