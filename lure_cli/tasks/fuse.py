"""`lure fuse`: files and folders in, fused files out; planned first, then carried out pair by pair."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from lure_cli.config import nearest
from lure_cli.core.files import sweep
from lure_cli.core.images import check_output, encode_image, write_image
from lure_cli.core.text import Prompt
from lure_cli.errors import LureError
from lure_cli.tasks.fuser import Fuser, Request, pick_backend, request_of
from lure_cli.tasks.inputs import Inputs, Note, ReadOptions, common_alignment, read_inputs
from lure_cli.tasks.pairing import STANDARD, Pair, Pairing, find_pairs
from lure_cli.tasks.pipeline import overlap
from lure_cli.tasks.prompt import read_prompt_file
from lure_cli.tasks.weights import DEFAULT, detector_path, resolve_weights

if TYPE_CHECKING:
    import numpy as np

    from lure_cli.core.detect import Finding
    from lure_cli.core.images import Metadata
    from lure_cli.core.registration import Alignment

Job = tuple[Pair, Request]
AnyPair = TypeVar("AnyPair", bound="_Named")
ENGINES = ("local", "ray")
Stop = Callable[[], bool]


class _Named(Protocol):
    @property
    def name(self) -> str: ...


@dataclass(frozen=True)
class FuseOptions:
    """What `lure fuse` was asked to do; see the command's help."""

    ir: Path
    vis: Path
    output: str | None = None
    prompt: str | None = None
    prompt_ir: str | None = None
    prompt_vis: str | None = None
    prompt_file: Path | None = None
    strength: float = 1.0
    strength_ir: float | None = None
    strength_vis: float | None = None
    pairing: Pairing = field(default_factory=Pairing)
    read: ReadOptions = field(default_factory=ReadOptions)
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
    engine: str = "local"
    workers: int | None = None


@dataclass(frozen=True)
class Plan:
    """A job that has been checked as far as that goes without reading pixels."""

    options: FuseOptions
    requests: tuple[Request, ...]  # one a pair
    pairs: tuple[Pair, ...]
    unmatched: tuple[Path, ...]
    weights: Path

    @property
    def jobs(self) -> Iterator[Job]:
        """Each pair with what is wanted of it."""
        return zip(self.pairs, self.requests, strict=True)


@dataclass(frozen=True)
class Result:
    """What became of one pair. `seconds` is the work of reading, computing and writing; size is (width, height) in
    pixels; `prompt` is the one that was used, `found` holds what was found in the images that were examined (keys
    `vis`, `ir`); `data` is the file's content where it goes to standard output."""

    pair: Pair
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
        pair = self.pair
        record: dict[str, Any] = {"name": pair.name, "status": self.status, "output": str(pair.output)}
        record |= {"ir": str(pair.ir), "vis": str(pair.vis)}
        record |= {"seconds": round(self.seconds, 4), "size": self.size}
        record |= {"prompt": {"vis": self.prompt.vis, "ir": self.prompt.ir}}
        record |= {"strength": {"vis": self.request.strength_vis, "ir": self.request.strength_ir}}
        if self.found:
            record |= {"detected": {m: [asdict(f) for f in found] for m, found in self.found.items()}}
        if self.notes:
            record |= {"notes": [note.text for note in self.notes]}
        if self.alignment is not None:
            record |= {"alignment": self.alignment.record()}
        if self.error:
            record |= {"error": self.error.message, "hint": self.error.hint}
        return record


def plan_fuse(options: FuseOptions, say: Callable[[str], None] | None = None) -> Plan:
    """Check everything that can be checked before the model loads; no torch is imported.

    Args:
        options: the job.
        say: told if weights are downloaded.

    Raises:
        LureError: a prompt that is not understood, inputs that do not pair, outputs that collide, cannot be written or
            exist (unless `overwrite` or `skip_existing` says what to do with them), missing weights.
    """
    o = options
    if o.engine not in ENGINES:
        raise LureError(f"engine '{o.engine}' is not known", f"use one of {', '.join(ENGINES)}")
    if o.workers is not None and (o.engine != "ray" or o.workers < 1):
        raise LureError("--workers needs --engine ray and a number from 1 on", "leave it out, or add --engine ray")
    pairs, unmatched = find_pairs(o.ir, o.vis, o.output, o.pairing)
    for suffix in {pair.output.suffix.lower() for pair in pairs if pair.output != STANDARD} or {".png"}:
        check_output(suffix, o.bits, False)
    jobs = plan_requests(o, pairs)[: o.limit]
    if not (o.overwrite or o.skip_existing):
        for pair, _ in jobs:
            if os.path.lexists(pair.output) and pair.output != STANDARD:
                raise LureError(f"{pair.output} exists already", "give --overwrite or --skip-existing, or another name")
    weights = resolve_weights(o.weights, say)
    pick_backend(o.backend, weights)
    return Plan(o, tuple(r for _, r in jobs), tuple(p for p, _ in jobs), tuple(unmatched), weights)


def plan_requests(options: FuseOptions, pairs: list[AnyPair]) -> list[tuple[AnyPair, Request]]:
    """What is wanted of each pair of images or clips, for those of this shard; checks what both have in common.

    Raises:
        LureError: options that exclude each other or cannot be meant, a prompt that is not understood or missing.
    """
    o = options
    if o.overwrite and o.skip_existing:
        raise LureError("--overwrite and --skip-existing exclude each other", "give one of them")
    said = (o.prompt, o.prompt_ir, o.prompt_vis)
    if o.prompt_file is not None and any(s is not None for s in said):
        raise LureError("--prompt-file excludes --prompt, --prompt-ir and --prompt-vis", "write all into the file")
    if o.limit is not None and o.limit < 1:
        raise LureError(f"--limit {o.limit} leaves nothing to do", "give a number from 1 on")
    if o.threads is not None and o.threads < 1:
        raise LureError(f"--threads {o.threads} cannot compute anything", "give a number from 1 on")
    o.read.check()
    tile_of(o)
    request = request_of(*said, o.strength, o.strength_ir, o.strength_vis)
    if request.auto:
        detector_path()
    requests = [request] * len(pairs)
    if o.prompt_file is not None:
        prompts = read_prompt_file(o.prompt_file)
        names = [pair.name for pair in pairs]
        requests = [replace(request, prompt=p) for p in _prompts_of(names, prompts, str(o.prompt_file))]
    return list(zip(pairs, requests, strict=True))[_shard(o.shard)]


def tile_of(options: FuseOptions) -> int | Literal["auto"]:
    """The tile size as the model takes it; LureError if it makes no sense."""
    if options.overlap is not None and options.overlap < 0:
        raise LureError(f"--overlap {options.overlap} is negative", "give pixels, from 0 on")
    if options.tile == "auto":
        return "auto"
    if not options.tile.isascii() or not options.tile.isdigit() or 0 < int(options.tile) < 64:
        raise LureError(f"--tile {options.tile} is no tile size", "give auto, 0 (one piece), or pixels from 64 on")
    return int(options.tile)


def _shard(text: str | None) -> slice:
    """'2/5': the second of five equal parts, by every fifth pair."""
    if text is None:
        return slice(None)
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise LureError(f"--shard {text} is not i/n", "for example 1/4, 2/4, 3/4 and 4/4 on four machines")
    return slice(int(match[1]) - 1, None, int(match[2]))


def _prompts_of(names: list[str], prompts: dict[str, Prompt], file: str) -> tuple[Prompt, ...]:
    """The prompt of each pair; every pair has one, and every one a pair."""
    known = set(names)
    for name in names:
        if name not in prompts:
            raise LureError(
                f"{file}: no prompt for '{name}'", "give every pair a line; an empty prompt is plain fusion"
            )
    for stem in prompts:
        if stem not in known:
            raise LureError(f"{file}: there is no pair '{stem}'", f"pairs: {nearest(stem, names)}")
    return tuple(prompts[name] for name in names)


def finished(pair: Pair, options: FuseOptions) -> bool:
    """Whether a pair is left out since its output is there; files are written whole or not at all."""
    return options.skip_existing and pair.output != STANDARD and os.path.exists(pair.output)


class Worker:
    """Does the pairs of a job; loads the model once, when the first pair needs it.

    Args:
        options: those of the job.
        weights: the weight file.
        alignment: the transform that all pairs share, if they do.
    """

    def __init__(self, options: FuseOptions, weights: Path, alignment: Alignment | None = None) -> None:
        self.options, self.weights, self.alignment = options, weights, alignment

    @cached_property
    def fuser(self) -> Fuser:
        """The model; LureError if the weights or the device cannot be used."""
        o = self.options
        return Fuser.from_pretrained(
            self.weights, o.device, o.dtype, tile_of(o), o.overlap, o.threads, o.compiled, o.backend
        )

    def run(self, job: Job) -> Result:
        """All of one pair; LureError only for what holds for all pairs."""
        return self.write(job, self.compute(job, self.read(job)))

    def read(self, job: Job) -> Inputs | Result:
        """First step: the files -> arrays, or already the result."""
        pair, request = job
        if finished(pair, self.options):
            return Result(pair, request, request.prompt, "skipped")
        started = time.perf_counter()
        try:
            inputs = read_inputs(pair, self.options.read, self.alignment)
            if inputs.alpha is not None and pair.output != STANDARD:
                _check_alpha(pair, self.options.bits)
            return replace(inputs, seconds=time.perf_counter() - started)
        except LureError as error:
            return _failed(job, error, started)

    def compute(self, job: Job, inputs: Inputs | Result) -> Made | Result:
        """Second step: arrays -> the fused picture."""
        if isinstance(inputs, Result):
            return inputs
        pair, request = job
        if finished(pair, self.options):  # since it was read, by another process on the same folder
            return Result(pair, request, request.prompt, "skipped")
        fuser, started = self.fuser, time.perf_counter()
        try:
            fused, prompt, found = fuser.fulfil(inputs.ir, inputs.vis, request)
        except LureError as error:
            return _failed(job, LureError(f"{pair.vis}: {error.message}", error.hint), started, inputs)
        result = Result(
            pair,
            request,
            prompt,
            "done",
            inputs.seconds + time.perf_counter() - started,
            (fused.shape[1], fused.shape[0]),
            found=found,
            notes=inputs.notes,
            alignment=inputs.alignment,
        )
        return Made(fused, inputs.alpha, inputs.metadata, result)

    def write(self, job: Job, made: Made | Result) -> Result:
        """Last step: the picture -> its file."""
        if isinstance(made, Result):
            return made
        pair, started = job[0], time.perf_counter()
        kept: dict[str, Any] = {"alpha": made.alpha, "metadata": made.metadata, "bits": self.options.bits}
        data = None
        try:
            if pair.output == STANDARD:
                data = encode_image(made.fused, ".png", **kept)
            elif not self.options.overwrite and os.path.lexists(pair.output):  # made by another process meanwhile
                if self.options.skip_existing:
                    return replace(made.result, status="skipped")
                raise LureError(f"{pair.output} has come into being meanwhile", "give --overwrite to replace it")
            else:
                write_image(pair.output, made.fused, **kept)
        except LureError as error:
            return replace(made.result, status="failed", error=error)
        return replace(made.result, seconds=made.result.seconds + time.perf_counter() - started, data=data)


@dataclass(frozen=True)
class Made:
    """A fused picture, (H, W, 3) float32 in [0, 1], with what is written beside it."""

    fused: np.ndarray
    alpha: np.ndarray | None
    metadata: Metadata
    result: Result


def _check_alpha(pair: Pair, bits: int) -> None:
    """Before the work of fusing: whether the output can hold the visible image's transparency."""
    try:
        check_output(pair.output.suffix, bits, True)
    except LureError as error:
        raise LureError(f"{pair.output}: {error.message}, which {pair.vis} has", error.hint) from error


def _failed(job: Job, error: LureError, started: float, inputs: Inputs | None = None) -> Result:
    seconds, notes = (inputs.seconds, inputs.notes) if inputs else (0.0, ())
    seconds += time.perf_counter() - started
    return Result(*job, job[1].prompt, "failed", seconds, error=error, notes=notes)


def fuse(plan: Plan, stop: Stop = lambda: False) -> Iterator[Result]:
    """Fuse every pair of a plan, one result at a time; a pair that fails does not stop the others, unless the options
    say `fail_fast`. In order, but for the engine `ray`.

    Args:
        plan: from `plan_fuse`.
        stop: asked before each pair; once it says yes, what is in hand is finished and the rest left.

    Raises:
        LureError: the weights, the device, the engine or a common alignment cannot be used at all.
    """
    options, alignment = plan.options, None
    for folder in {pair.output.parent for pair in plan.pairs if pair.output != STANDARD}:
        sweep(folder)
    if options.read.align_once and not all(finished(pair, options) for pair in plan.pairs):
        alignment = common_alignment(plan.pairs, options.read, stop)
    if options.engine == "ray":
        from lure_cli.tasks.cluster import fuse_on_ray

        results = fuse_on_ray(plan, alignment, stop)
    else:
        worker = Worker(options, plan.weights, alignment)
        results = overlap(plan.jobs, worker.read, worker.compute, worker.write, stop)
    with closing(results):
        for result in results:
            yield result
            if result.status == "failed" and options.fail_fast:
                return
