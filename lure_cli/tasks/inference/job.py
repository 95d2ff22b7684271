"""What jobs on many images have in common, whether pairs are fused or single images restored: options, the three steps
of each item (read, compute, write), and what became of it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from lure_cli.core.files import sweep
from lure_cli.core.images.picture import check_output, encode_image, write_image
from lure_cli.core.text.vocabulary import Prompt
from lure_cli.errors import LureError
from lure_cli.tasks.inference.fuser import Fuser
from lure_cli.tasks.inference.inputs import Note
from lure_cli.tasks.inference.pipeline import overlap
from lure_cli.tasks.inference.request import Request
from lure_cli.tasks.paths.find import STANDARD
from lure_cli.tasks.paths.outputs import Item
from lure_cli.tasks.weights.find import DEFAULT

if TYPE_CHECKING:
    import numpy as np

    from lure_cli.core.registration.alignment import Alignment
    from lure_cli.core.text.vocabulary import Finding
    from lure_cli.tasks.inference.inputs import Kept

AnyItem = TypeVar("AnyItem", bound=Item)
Read = TypeVar("Read", bound="Kept")
Anything = TypeVar("Anything")
Stop = Callable[[], bool]


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """How a job on images is computed and written; see the commands' help."""

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


def check_options(options: JobOptions) -> None:
    """LureError on options that exclude each other or cannot be meant."""
    o = options
    if o.overwrite and o.skip_existing:
        raise LureError("--overwrite and --skip-existing exclude each other", "give one of them")
    if o.limit is not None and o.limit < 1:
        raise LureError(f"--limit {o.limit} leaves nothing to do", "give a number from 1 on")
    if o.threads is not None and o.threads < 1:
        raise LureError(f"--threads {o.threads} cannot compute anything", "give a number from 1 on")
    tile_of(o)


def tile_of(options: JobOptions) -> int | Literal["auto"]:
    """The tile size as the model takes it; LureError if it makes no sense."""
    if options.overlap is not None and options.overlap < 0:
        raise LureError(f"--overlap {options.overlap} is negative", "give pixels, from 0 on")
    if options.tile == "auto":
        return "auto"
    if not options.tile.isascii() or not options.tile.isdigit() or 0 < int(options.tile) < 64:
        raise LureError(f"--tile {options.tile} is no tile size", "give auto, 0 (one piece), or pixels from 64 on")
    return int(options.tile)


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


def refuse_existing(items: Iterable[Item], options: JobOptions) -> None:
    """LureError if an output exists and nothing was said about that."""
    if options.overwrite or options.skip_existing:
        return
    for item in items:
        if os.path.lexists(item.output) and item.output != STANDARD:
            raise LureError(f"{item.output} exists already", "give --overwrite or --skip-existing, or another name")


def finished(item: Item, options: JobOptions) -> bool:
    """Whether an item is left out since its output is there; files are written whole or not at all."""
    return options.skip_existing and item.output != STANDARD and os.path.exists(item.output)


@dataclass(frozen=True)
class Result(Generic[AnyItem]):
    """What became of one item. `seconds` is the work of reading, computing and writing; size is (width, height) in
    pixels; `prompt` is the one that was used, `found` holds what was found in the images that were examined (keys
    `vis`, `ir`); `data` is the file's content where it goes to standard output."""

    item: AnyItem
    request: Request
    prompt: Prompt
    status: Literal["done", "skipped", "failed"]
    seconds: float = 0.0
    size: tuple[int, int] | None = None
    error: LureError | None = None
    found: Mapping[str, tuple[Finding, ...]] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    alignment: Alignment | None = None
    data: bytes | None = field(default=None, repr=False)

    def record(self) -> dict[str, Any]:
        """What a script may want to know, ready for JSON."""
        item = self.item
        sides = [side for side in ("vis", "ir") if side in item.sources]
        record: dict[str, Any] = {"name": item.name, "status": self.status, "output": str(item.output)}
        record |= {side: str(path) for side, path in item.sources.items()}
        record |= {"seconds": round(self.seconds, 4), "size": self.size}
        record |= {"prompt": {m: getattr(self.prompt, m) for m in sides}}
        record |= {"strength": {m: getattr(self.request, f"strength_{m}") for m in sides}}
        if self.found:
            record |= {"detected": {m: [asdict(f) for f in found] for m, found in self.found.items()}}
        if self.notes:
            record |= {"notes": [note.text for note in self.notes]}
        if self.alignment is not None:
            record |= {"alignment": self.alignment.record()}
        if self.error:
            record |= {"error": self.error.message, "hint": self.error.hint}
        return record


@dataclass(frozen=True)
class Made(Generic[AnyItem]):
    """A picture, float32 (H, W, 1) or (H, W, 3) in [0, 1], with what it was read with and what is known of it."""

    picture: np.ndarray
    kept: Kept
    result: Result[AnyItem]


class ImageWorker(Generic[AnyItem, Read]):
    """Does the items of a job; loads the model once, when the first item needs it. A job says how an item is loaded
    (`load`) and what is made of it (`make`).

    Args:
        options: those of the job.
        weights: the weight file.
    """

    def __init__(self, options: JobOptions, weights: Path) -> None:
        self.options, self.weights = options, weights

    def load(self, item: AnyItem) -> Read:
        """The files of an item -> arrays; LureError if they cannot be read."""
        raise NotImplementedError

    def make(self, inputs: Read, request: Request) -> tuple[np.ndarray, Prompt, Mapping[str, tuple[Finding, ...]]]:
        """Arrays -> the picture, the prompt that was used, and what was found in images that were examined."""
        raise NotImplementedError

    @cached_property
    def fuser(self) -> Fuser:
        """The model; LureError if the weights or the device cannot be used."""
        o = self.options
        return Fuser.from_pretrained(
            self.weights, o.device, o.dtype, tile_of(o), o.overlap, o.threads, o.compiled, o.backend
        )

    def run(self, job: tuple[AnyItem, Request]) -> Result[AnyItem]:
        """All of one item; LureError only for what holds for all of them."""
        return self.write(job, self.compute(job, self.read(job)))

    def read(self, job: tuple[AnyItem, Request]) -> Read | Result[AnyItem]:
        """First step: the files -> arrays, or already the result."""
        item, request = job
        if finished(item, self.options):
            return Result(item, request, request.prompt, "skipped")
        started = time.perf_counter()
        try:
            inputs = self.load(item)
            if inputs.alpha is not None and item.output != STANDARD:
                _check_alpha(item, self.options.bits)
            return replace(inputs, seconds=time.perf_counter() - started)
        except LureError as error:
            return _failed(job, error, started)

    def compute(self, job: tuple[AnyItem, Request], inputs: Read | Result[AnyItem]) -> Made[AnyItem] | Result[AnyItem]:
        """Second step: arrays -> the picture."""
        if isinstance(inputs, Result):
            return inputs
        item, request = job
        if finished(item, self.options):  # since it was read, by another process on the same folder
            return Result(item, request, request.prompt, "skipped")
        _ = self.fuser  # loaded before the clock starts
        started = time.perf_counter()
        try:
            picture, prompt, found = self.make(inputs, request)
        except LureError as error:
            return _failed(job, LureError(f"{_last(item)}: {error.message}", error.hint), started, inputs)
        result = Result(
            item,
            request,
            prompt,
            "done",
            inputs.seconds + time.perf_counter() - started,
            (picture.shape[1], picture.shape[0]),
            found=found,
            notes=inputs.notes,
            alignment=inputs.alignment,
        )
        return Made(picture, inputs, result)

    def write(self, job: tuple[AnyItem, Request], made: Made[AnyItem] | Result[AnyItem]) -> Result[AnyItem]:
        """Last step: the picture -> its file."""
        if isinstance(made, Result):
            return made
        item, started = job[0], time.perf_counter()
        kept: dict[str, Any] = {"alpha": made.kept.alpha, "metadata": made.kept.metadata, "bits": self.options.bits}
        data = None
        try:
            if item.output == STANDARD:
                data = encode_image(made.picture, ".png", **kept)
            elif not self.options.overwrite and os.path.lexists(item.output):  # made by another process meanwhile
                if self.options.skip_existing:
                    return replace(made.result, status="skipped")
                raise LureError(f"{item.output} has come into being meanwhile", "give --overwrite to replace it")
            else:
                write_image(item.output, made.picture, **kept)
        except LureError as error:
            return replace(made.result, status="failed", error=error)
        return replace(made.result, seconds=made.result.seconds + time.perf_counter() - started, data=data)


def _last(item: Item) -> Path:
    """What errors of computing name: the visible file, if there is one."""
    return item.sources.get("vis") or item.sources["ir"]


def _check_alpha(item: Item, bits: int) -> None:
    """Before the work: whether the output can hold the image's transparency."""
    try:
        check_output(item.output.suffix, bits, True)
    except LureError as error:
        raise LureError(f"{item.output}: {error.message}, which {_last(item)} has", error.hint) from error


def _failed(
    job: tuple[AnyItem, Request], error: LureError, started: float, inputs: Kept | None = None
) -> Result[AnyItem]:
    seconds, notes = (inputs.seconds, inputs.notes) if inputs else (0.0, ())
    seconds += time.perf_counter() - started
    return Result(*job, job[1].prompt, "failed", seconds, error=error, notes=notes)


def clean_up(items: Iterable[Item]) -> None:
    """Remove what killed processes left where a job writes."""
    for folder in {item.output.parent for item in items if item.output != STANDARD}:
        sweep(folder)


def run_here(
    worker: ImageWorker[AnyItem, Read], jobs: Iterable[tuple[AnyItem, Request]], stop: Stop
) -> Generator[Result[AnyItem], None, None]:
    """Do every item of a job in this process, in order; reading, computing and writing overlap."""
    return overlap(jobs, worker.read, worker.compute, worker.write, stop)


def until_failed(results: Generator[Result[AnyItem], None, None], fail_fast: bool) -> Iterator[Result[AnyItem]]:
    """The results, up to the first failed one where that ends the job."""
    with closing(results):
        for result in results:
            yield result
            if result.status == "failed" and fail_fast:
                return
