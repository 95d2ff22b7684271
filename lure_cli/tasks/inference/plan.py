"""From what a user names to what is done: paths, options, prompts and weights of fusing and restoring."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypeVar

from lure_cli.config import nearest
from lure_cli.core.text.vocabulary import Prompt
from lure_cli.errors import LureError
from lure_cli.tasks.inference.fuser import pick_backend
from lure_cli.tasks.inference.inputs import ReadOptions
from lure_cli.tasks.inference.job import (
    JobOptions,
    check_options,
    check_types,
    part_of,
    refuse_existing,
)
from lure_cli.tasks.inference.request import Request, request_of
from lure_cli.tasks.paths.pairing import Pair, Pairing, find_pairs
from lure_cli.tasks.prompt import read_prompt_file
from lure_cli.tasks.weights.find import detector_path, resolve_weights

Job = tuple[Pair, Request]


AnyPair = TypeVar("AnyPair", bound="_Named")
ENGINES = ("local", "ray")


class _Named(Protocol):
    @property
    def name(self) -> str: ...


@dataclass(frozen=True)
class FuseOptions(JobOptions):
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
    check_types(pairs, o.bits)
    jobs = plan_requests(o, pairs)[: o.limit]
    refuse_existing((pair for pair, _ in jobs), o)
    weights = resolve_weights(o.weights, say)
    pick_backend(o.backend, weights)
    return Plan(o, tuple(r for _, r in jobs), tuple(p for p, _ in jobs), tuple(unmatched), weights)


def plan_requests(options: FuseOptions, pairs: list[AnyPair]) -> Sequence[tuple[AnyPair, Request]]:
    """What is wanted of each pair of images or clips, for those of this shard; checks what both have in common.

    Raises:
        LureError: options that exclude each other or cannot be meant, a prompt that is not understood or missing.
    """
    o = options
    check_options(o)
    said = (o.prompt, o.prompt_ir, o.prompt_vis)
    if o.prompt_file is not None and any(s is not None for s in said):
        raise LureError("--prompt-file excludes --prompt, --prompt-ir and --prompt-vis", "write all into the file")
    o.read.check()
    request = request_of(*said, o.strength, o.strength_ir, o.strength_vis)
    if request.auto:
        detector_path()
    requests = [request] * len(pairs)
    if o.prompt_file is not None:
        prompts = read_prompt_file(o.prompt_file)
        names = [pair.name for pair in pairs]
        requests = [replace(request, prompt=p) for p in _prompts_of(names, prompts, str(o.prompt_file))]
    return part_of(list(zip(pairs, requests, strict=True)), o.shard)


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
