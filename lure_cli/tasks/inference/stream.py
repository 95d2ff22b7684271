"""Streams: pairs that come one after another, fused one by one with a prompt that holds, or is looked for again."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from lure_cli.core.images.picture import read_picture, read_raw, to_channels
from lure_cli.core.images.value_range import ValueRange, apply_range, settle_range
from lure_cli.core.text.vocabulary import Prompt
from lure_cli.tasks.inference.pipeline import overlap

if TYPE_CHECKING:
    import numpy as np

    from lure_cli.core.text.vocabulary import Finding
    from lure_cli.tasks.inference.fuser import Source
    from lure_cli.tasks.inference.request import Request

    Findings = Mapping[str, tuple[Finding, ...]]

CHECK_EVERY = 25
"""Pairs from one look for degradations to the next, under the prompt `auto`."""
AGREE = 2
"""Looks in a row that must agree before the prompt changes."""
START = 3
"""Pairs at the beginning of which the most decide."""
FADE = 12
"""Pairs in which the picture goes over from one prompt to the next."""
_END = object()
Done = TypeVar("Done")


class _Fuses(Protocol):
    def fulfil(self, ir: Source, vis: Source, request: Request) -> tuple[np.ndarray, Prompt, Findings]: ...

    def detect(self, image: Source, modality: Any) -> tuple[Finding, ...]: ...


@dataclass(frozen=True)
class Fused:
    """One picture of a stream: float32 (H, W, 3) in [0, 1].

    `prompt` is the one that holds from here on, `found` what was found where this pair was examined; `changed`: the
    prompt is another one than before (the picture goes over to it in `FADE` steps); `extra` is what came with the pair.
    """

    picture: np.ndarray
    index: int
    prompt: Prompt
    changed: bool = False
    found: Findings = field(default_factory=dict)
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
            now, found = set(getattr(self.prompt, m)), {f.degradation for f in look[m]}
            for name in now ^ found:
                self._against[m, name] = self._against.get((m, name), 0) + 1
                if self._against[m, name] >= AGREE:
                    now ^= {name}
            for key in [k for k in self._against if k[0] == m and (k[1] in now) == (k[1] in found)]:
                del self._against[key]
            self.prompt = replace(self.prompt, **{m: _in_order(m, now)})
        return self.prompt != before


def _in_order(modality: str, names: Iterable[str]) -> tuple[str, ...]:
    from lure_cli.core.text.vocabulary import DEGRADATIONS

    wanted = set(names)
    return tuple(name for name in DEGRADATIONS[modality] if name in wanted)


class _Painter:
    """Fuses the pairs in turn; under `auto` it also looks, and goes over smoothly where the prompt changes."""

    def __init__(self, fuser: _Fuses, request: Request, check_every: int) -> None:
        self.fuser, self.request, self.every = fuser, request, check_every
        self.watch = Watch(request.prompt, request.auto)
        self.head: list[tuple[Source, Source]] = []  # the first pairs, there before the first is fused
        self._old, self._left = request.prompt, 0

    def __call__(self, index: int, ir: Source, vis: Source, extra: Any) -> Fused:
        found, changed = self._look(index, ir, vis)
        picture = self._fuse(ir, vis, self.watch.prompt)
        if self._left:
            part = self._left / (FADE + 1)
            picture = picture + (self._fuse(ir, vis, self._old) - picture) * picture.dtype.type(part)
            self._left -= 1
        return Fused(picture, index, self.watch.prompt, changed, found, extra)

    def _look(self, index: int, ir: Source, vis: Source) -> tuple[Findings, bool]:
        if not self.request.auto or index % self.every or self._left:
            return {}, False
        if index == 0:
            looks = [self._examine(*pair) for pair in self.head]
            self.watch.begin(looks)
            return looks[0], True
        look, self._old = self._examine(ir, vis), self.watch.prompt
        if changed := self.watch.see(look):
            self._left = FADE
        return look, changed

    def _examine(self, ir: Source, vis: Source) -> Findings:
        return {m: self.fuser.detect(ir if m == "ir" else vis, m) for m in self.request.auto}

    def _fuse(self, ir: Source, vis: Source, prompt: Prompt) -> np.ndarray:
        return self.fuser.fulfil(ir, vis, replace(self.request, prompt=prompt, auto=()))[0]


def fuse_stream(
    fuser: _Fuses,
    pairs: Iterable[tuple[Source, Source, Any]],
    request: Request,
    check_every: int = CHECK_EVERY,
    write: Callable[[Fused], Done] = lambda fused: fused,  # type: ignore[assignment,return-value]
    stop: Callable[[], bool] = lambda: False,
) -> Generator[Done, None, None]:
    """Fuse pairs in their order, lazily; getting the next pairs, computing and writing go on side by side.

    Args:
        fuser: fuses and examines.
        pairs: infrared, visible (see `Fuser.__call__`) and anything that goes with them; taken in a thread of its own.
        request: the prompt that holds for all of them; its `auto` modalities are examined at the start (the first
            `START` pairs) and at every `check_every`-th pair, see `Watch`.
        check_every: see `request`.
        write: what to do with each picture, in a thread of its own; its results are what is yielded.
        stop: asked before each pair; once it says yes, what was computed is still written and yielded.

    Raises:
        LureError: a pair that cannot be fused; whatever `pairs` and `write` raise.
    """
    paint, ended = _Painter(fuser, request, check_every), False
    waiting: Iterator[tuple[Source, Source, Any]] = iter(pairs)

    def read(index: int) -> Any:
        nonlocal waiting
        if index == 0 and request.auto:
            first = list(islice(waiting, START))
            paint.head = [(ir, vis) for ir, vis, _ in first]
            waiting = chain(first, waiting)
        return next(waiting, _END)

    def compute(index: int, pair: Any) -> Any:
        nonlocal ended
        if pair is _END:
            ended = True
            return _END
        fused = paint(index, *pair)
        paint.head = []
        return fused

    made = overlap(count(), read, compute, lambda _, f: f if f is _END else write(f), lambda: ended or stop())
    try:
        for done in made:
            if done is not _END:
                yield done
    finally:
        made.close()


def load_pairs(irs: Iterable[Source], viss: Iterable[Source]) -> Iterator[tuple[Source, Source, None]]:
    """Two streams of sources as pairs, up to the end of the shorter one; files are read.

    Infrared files are mapped as `ValueRange` says of `auto`, by the numbers of the first one: with a range of each
    file's own the pictures would flicker.
    """
    settled: ValueRange | None = None
    for ir, vis in zip(irs, viss, strict=False):
        if isinstance(ir, (str, Path)):
            pixels = read_raw(Path(ir))
            if settled is None:
                settled = settle_range([pixels], ValueRange())[0]
            ir = to_channels(apply_range(pixels, settled), 1)
        if isinstance(vis, (str, Path)):
            vis = read_picture(vis, channels=3).x
        yield ir, vis, None
