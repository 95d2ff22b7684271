"""Streams: pairs that come one after another, fused one by one with a prompt that holds, or is looked for again."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lure_cli.core.images.colour import opaque_value
from lure_cli.core.images.guards import name_errors
from lure_cli.core.images.picture import read_raw, to_channels
from lure_cli.core.images.value_range import ValueRange
from lure_cli.core.text.vocabulary import DEGRADATIONS, Prompt
from lure_cli.tasks.inference.pipeline import AHEAD, run_pipeline
from lure_cli.tasks.inference.request import as_they_are
from lure_cli.tasks.inference.tensors import StoredArray

if TYPE_CHECKING:
    import numpy as np

    from lure_cli.core.engine.steady import Views
    from lure_cli.core.pixels import Modality
    from lure_cli.tasks.inference.request import Findings, FuserLike, Request, Source

CHECK_EVERY = 25
"""Pairs from one look for degradations to the next, under the prompt `auto`."""
AGREE = 2
"""Looks in a row that must agree before the prompt changes."""
START = 3
"""Pairs at the beginning of which the most decide."""
FADE = 12
"""Pairs in which the picture goes over from one prompt to the next."""
Written = TypeVar("Written")


@dataclass(frozen=True)
class Fused:
    """One picture of a stream: float32 (H, W, 3) in [0, 1].

    `prompt` is the one that holds from here on, `findings` what was found where this pair was examined; `changed`: the
    prompt is another one than before (the picture goes over to it in `FADE` steps); `extra` is what came with the pair.
    """

    picture: np.ndarray
    index: int
    prompt: Prompt
    changed: bool = False
    findings: Findings = field(default_factory=dict)
    extra: Any = None


class Watch:
    """The prompt of a stream, kept steady: a degradation comes in once `AGREE` looks in a row have found it, and goes
    once as many have missed it.

    Args:
        prompt: what holds for modalities that are not examined.
        auto: the modalities that are.
    """

    def __init__(self, prompt: Prompt, auto: tuple[str, ...]) -> None:
        self.prompt, self.auto = prompt, auto
        self._against: dict[tuple[str, str], int] = {}

    def begin(self, looks: list[Findings]) -> None:
        """Set the prompt by the majority of some first looks."""
        for m in self.auto:
            names = [f.degradation for look in looks for f in look[m]]
            kept = tuple(dict.fromkeys(n for n in names if 2 * names.count(n) > len(looks)))
            self.prompt = replace(self.prompt, **{m: _in_order(m, kept)})

    def see(self, look: Findings) -> bool:
        """Take one more look into account; whether the prompt changed."""
        before = self.prompt
        for m in self.auto:
            now, seen = set(getattr(self.prompt, m)), {f.degradation for f in look[m]}
            for name in now ^ seen:
                self._against[m, name] = self._against.get((m, name), 0) + 1
                if self._against[m, name] >= AGREE:
                    now ^= {name}
            for key in [k for k in self._against if k[0] == m and (k[1] in now) == (k[1] in seen)]:
                del self._against[key]
            self.prompt = replace(self.prompt, **{m: _in_order(m, now)})
        return self.prompt != before


def _in_order(modality: str, names: Iterable[str]) -> tuple[str, ...]:
    wanted = set(names)
    return tuple(name for name in DEGRADATIONS[modality] if name in wanted)


@dataclass(frozen=True)
class _Turn:
    """One pair of a stream, and the pairs to look for degradations in before it is fused: itself, the first ones at the
    beginning, or none."""

    index: int
    ir: Source
    vis: Source
    extra: Any
    looks: tuple[tuple[Source, Source], ...]


def _turns(pairs: Iterable[tuple[Source, Source, Any]], examined: bool, every: int) -> Iterator[_Turn]:
    """The pairs in their order; those at the beginning are all there before the first one's turn, if examined."""
    pairs = iter(pairs)
    head = list(islice(pairs, START)) if examined else []
    looks = tuple((ir, vis) for ir, vis, _ in head)
    pairs = chain(head, pairs)
    del head  # or it would stay in memory to the end
    for index, (ir, vis, extra) in enumerate(pairs):
        if examined and index and index % every == 0:
            looks = ((ir, vis),)
        yield _Turn(index, ir, vis, extra, looks)
        looks = ()


class _StreamFuser:
    """Fuses the pairs in turn, what is drawn from the whole images kept steady; under `auto` it also looks, and goes
    over smoothly where the prompt changes."""

    def __init__(self, fuser: FuserLike, request: Request) -> None:
        from lure_cli.core.engine.steady import SteadyViews

        self.fuser, self.request, self.steady = fuser, request, SteadyViews()
        self.watch = Watch(request.prompt, request.auto)
        self._old, self._left = request.prompt, 0  # the prompt before, and how many steps away from it are left

    def fuse(self, turn: _Turn) -> Fused:
        findings, changed = self._look(turn)
        picture = self._fuse(turn, self.watch.prompt, self.steady.step)
        if self._left:
            part = self._left / (FADE + 1)
            picture = picture + (self._fuse(turn, self._old, self.steady.again) - picture) * picture.dtype.type(part)
            self._left -= 1
        return Fused(picture, turn.index, self.watch.prompt, changed, findings, turn.extra)

    def _look(self, turn: _Turn) -> tuple[Findings, bool]:
        if not turn.looks or self._left:
            return {}, False
        looks = [self._examine(ir, vis) for ir, vis in turn.looks]
        if turn.index == 0:
            self.watch.begin([self._known(look) for look in looks])
            return looks[0], True
        self._old = self.watch.prompt
        if changed := self.watch.see(self._known(looks[0])):
            self._left = FADE
        return looks[0], changed

    def _examine(self, ir: Source, vis: Source) -> Findings:
        sources: dict[str, Source] = {"ir": ir, "vis": vis}
        return {m: self.fuser.detect(sources[m], m) for m in self.request.auto}

    def _known(self, look: Findings) -> Findings:
        names = self.fuser.degradations
        return {m: tuple(f for f in each if f.degradation in names) for m, each in look.items()}

    def _fuse(self, turn: _Turn, prompt: Prompt, steady: Callable[[Views], Views]) -> np.ndarray:
        request = as_they_are(replace(self.request, prompt=prompt, auto=(), steady=steady))
        return self.fuser.fuse_request(turn.ir, turn.vis, request).picture


def fuse_stream(
    fuser: FuserLike,
    pairs: Iterable[tuple[Source, Source, Any]],
    request: Request,
    check_every: int = CHECK_EVERY,
    write: Callable[[Fused], Written] = lambda fused: fused,  # type: ignore[assignment,return-value]
    stop: Callable[[], bool] = lambda: False,
    ahead: int = AHEAD,
) -> Generator[Written, None, None]:
    """Fuse pairs in their order, lazily; getting the next pairs, computing and writing go on side by side.

    Args:
        fuser: fuses and examines.
        pairs: infrared, visible (see `Fuser.__call__`) and anything that goes with them; taken in a thread of its own.
        request: the prompt that holds for all of them; its `auto` modalities are examined at the start (the first
            `START` pairs) and at every `check_every`-th pair, see `Watch`.
        check_every: see `request`.
        write: what to do with each picture, in a thread of its own; its results are what is yielded.
        stop: asked before each pair; once it says yes, what was computed is still written and yielded.
        ahead: see `run_pipeline`.

    Raises:
        LureError: a pair that cannot be fused; whatever `pairs` and `write` raise.
    """
    stream = _StreamFuser(fuser, request)
    yield from run_pipeline(
        _turns(pairs, bool(request.auto), check_every),
        read=lambda turn: turn,  # read by the one that asks for the next
        compute=lambda _, turn: stream.fuse(turn),
        write=lambda _, fused: write(fused),
        stop=stop,
        ahead=ahead,
    )


def load_pairs(
    irs: Iterable[Source], viss: Iterable[Source], ir_range: ValueRange, vis_range: ValueRange
) -> Iterator[tuple[Source, Source, None]]:
    """Two streams of sources as pairs, up to the end of the shorter one; float32 (H, W, 1) and (H, W, 3) in [0, 1].

    With a range of each image's own the pictures would flicker: infrared images are mapped by the numbers of the first
    one, visible ones by the widest range so far.
    """
    of_ir: ValueRange | None = None
    of_vis: ValueRange | None = None
    for ir, vis in zip(irs, viss, strict=False):
        x, y = _stored(ir, "ir"), _stored(vis, "vis")
        with name_errors(ir if isinstance(ir, (str, Path)) else "the infrared image"):
            of_ir = of_ir or x.resolve(ir_range)[0]
            x_ir = to_channels(x.apply(of_ir), 1)
        with name_errors(vis if isinstance(vis, (str, Path)) else "the visible image"):
            wider = y.resolve(vis_range)[0]
            of_vis = wider if of_vis is None or _top(wider, y) > _top(of_vis, y) else of_vis
            x_vis = to_channels(y.apply(of_vis), 3)
        yield x_ir, x_vis, None


def _stored(source: Source, modality: Modality) -> StoredArray:
    if isinstance(source, (str, Path)):
        return StoredArray(read_raw(Path(source), modality=modality, drop_alpha=True))
    return StoredArray.of(source)


def _top(value_range: ValueRange, array: StoredArray) -> float:
    """The number that becomes 1."""
    return value_range.high if value_range.kind == "values" else opaque_value(array.pixels.dtype)
