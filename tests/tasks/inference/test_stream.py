"""Streams: order, laziness, the prompt that is looked for again and holds, going over smoothly, the Python API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lure_cli import Fuser
from lure_cli.core.text.vocabulary import FIRST, Finding, Prompt
from lure_cli.errors import LureError
from lure_cli.tasks.inference.request import ModelOutput, Request
from lure_cli.tasks.inference.stream import AGREE, FADE, START, Fused, Watch, fuse_stream
from tests.helpers.files import EXAMPLES, save_png


class Levels:
    """In the place of the model: a flat picture of the number of degradations in the prompt; finds what it is given."""

    degradations = FIRST

    def __init__(self, findings: dict[int, tuple[str, ...]]) -> None:
        self.findings, self.looked = findings, []

    def fuse_request(self, ir: np.ndarray, vis: np.ndarray, request: Request) -> ModelOutput:
        assert not request.auto
        return ModelOutput(np.full((2, 2, 3), len(request.prompt.vis), np.float32), request.prompt, {})

    def detect(self, image: np.ndarray, modality: str) -> tuple[Finding, ...]:
        at = int(image[0, 0])
        self.looked.append(at)
        last = max((k for k in self.findings if k <= at), default=0)
        return tuple(Finding(name, 0.9, 0.5) for name in self.findings.get(last, ()))


def numbered(count: int) -> Iterator[tuple[Any, Any, int]]:
    return ((np.zeros((2, 2)), np.full((2, 2), i), i) for i in range(count))


def run(fuser: Levels, count: int, every: int = 5) -> list[Fused]:
    return list(fuse_stream(fuser, numbered(count), Request(auto=("vis",)), every))


def test_prompt_comes_in_when_looks_agree_and_holds() -> None:
    fuser = Levels({0: (), 10: ("haze",)})
    frames = run(fuser, 60)
    changes = [f.index for f in frames if f.changed]
    assert changes == [0, 10 + 5 * (AGREE - 1)]
    assert frames[-1].prompt == Prompt(vis=("haze",))
    assert fuser.looked[:START] == [0, 1, 2]
    assert set(fuser.looked[START:]) <= set(range(0, 60, 5))


def test_one_odd_look_changes_nothing() -> None:
    frames = run(Levels({0: ("haze",), 10: (), 15: ("haze",), 25: ("haze", "rain"), 30: ("haze",)}), 60)
    assert [f.index for f in frames if f.changed] == [0]
    assert {f.prompt for f in frames} == {Prompt(vis=("haze",))}


def test_the_picture_goes_over_in_small_steps() -> None:
    frames = run(Levels({0: (), 10: ("haze",)}), 60)
    levels = np.array([f.picture.mean() for f in frames])
    steps = np.diff(levels)
    assert levels[0] == 0
    assert levels[-1] == 1
    assert (steps >= 0).all()
    assert steps.max() <= 1 / (FADE + 1) + 1e-6
    assert np.count_nonzero(steps) == FADE + 1


def test_the_first_looks_vote() -> None:
    assert run(Levels({0: ("haze",), 1: ()}), 4)[0].prompt == Prompt()
    assert run(Levels({0: (), 1: ("haze",)}), 4)[0].prompt == Prompt(vis=("haze",))
    assert run(Levels({0: ("rain",)}), 1)[0].prompt == Prompt(vis=("rain",))


def test_watch_leaves_what_the_user_said() -> None:
    watch = Watch(Prompt(vis=("rain",)), ("ir",))
    watch.begin([{"ir": (Finding("noise", 1, 1),)}] * 3)
    assert watch.prompt == Prompt(vis=("rain",), ir=("noise",))
    assert not watch.see({"ir": ()})
    assert not watch.see({"ir": (Finding("noise", 1, 1),)})
    assert not watch.see({"ir": ()})
    assert watch.see({"ir": ()})
    assert watch.prompt == Prompt(vis=("rain",))


def test_streams_are_lazy_and_end_when_given_up() -> None:
    taken = 0

    def endless() -> Iterator[tuple[Any, Any, None]]:
        nonlocal taken
        while True:
            taken += 1
            yield np.zeros((2, 2)), np.zeros((2, 2)), None

    frames = fuse_stream(Levels({}), endless(), Request())
    assert taken == 0
    for _ in range(10):
        next(frames)
    frames.close()
    before = taken
    assert before <= 10 + 8
    assert taken == before


def test_no_pairs() -> None:
    assert run(Levels({}), 0) == []


class Viewing(Levels):
    """Its picture is the level that it sees of the visible image as a whole; `seen` are the levels, frame by frame."""

    def __init__(self, findings: dict[int, tuple[str, ...]]) -> None:
        super().__init__(findings)
        self.seen: list[tuple[int, float]] = []

    def fuse_request(self, ir: np.ndarray, vis: np.ndarray, request: Request) -> ModelOutput:
        import torch

        assert request.steady is not None
        at = int(vis[0, 0])
        # within a scene the level goes up and down; at the fortieth pair another begins
        level = 0.5 + 0.01 * (at % 2) if at < 40 else 0.9
        views = torch.full((1, 3, 4, 4), 0.5), torch.full((1, 9, 4, 4), level)
        self.seen.append((at, float(request.steady(views)[1].mean())))
        return super().fuse_request(ir, vis, request)


def test_what_is_seen_of_the_whole_is_steady_and_cuts_begin_anew() -> None:
    fuser = Viewing({})
    list(fuse_stream(fuser, numbered(50), Request()))
    levels = np.array([level for _, level in fuser.seen])
    assert [at for at, _ in fuser.seen] == list(range(50))  # each once, in their order
    assert levels[0] == 0.5
    assert np.abs(np.diff(levels[:40])).max() < 0.002
    np.testing.assert_allclose(levels[40:], 0.9, rtol=1e-6)


def test_both_prompts_go_by_the_same_views_while_they_change() -> None:
    fuser, plain = Viewing({0: (), 10: ("haze",)}), Viewing({})
    run(fuser, 40)
    list(fuse_stream(plain, numbered(40), Request()))
    twice = [at for at, _ in fuser.seen if [a for a, _ in fuser.seen].count(at) == 2]
    assert len(twice) == 2 * FADE
    assert sorted(set(fuser.seen)) == plain.seen  # and neither was a frame of its own


@pytest.fixture(scope="module")
def fuser() -> Fuser:
    return Fuser.from_pretrained()


def test_stream_of_the_fuser(fuser: Fuser, tmp_path: Path) -> None:
    """The same pictures as one by one; arrays and files; the shorter stream ends it."""
    rng = np.random.default_rng(0)
    irs = [rng.integers(0, 256, (32, 40), np.uint8) for _ in range(3)]
    viss = [rng.integers(0, 256, (32, 40, 3), np.uint8) for _ in range(4)]
    alone = [fuser(i, v, prompt="haze") for i, v in zip(irs, viss, strict=False)]
    streamed = list(fuser.stream(iter(irs), iter(viss), prompt="haze"))
    assert len(streamed) == 3
    for a, b in zip(alone, streamed, strict=True):
        assert np.array_equal(a, b)
    files = [save_png(tmp_path / f"{i}.png", v) for i, v in enumerate(viss)]
    again = list(fuser.stream(irs, files, prompt="haze"))
    assert np.array_equal(again[2], streamed[2])


def test_a_stream_is_steady_and_a_still_one_gives_the_pictures_of_its_pairs(fuser: Fuser) -> None:
    """Black spots that come and go make the tone curve of each pair by itself jump."""
    ir, vis = (np.asarray(Image.open(EXAMPLES / "street" / n))[:120, :160] for n in ("ir.png", "vis_hazy.png"))
    ir = ir.reshape(120, 160, -1)[..., :1]
    marked = vis.copy()
    marked[60:64, 60:64] = 0
    viss = [vis, vis, vis, marked, vis, marked]
    alone = [fuser(ir, v, prompt="haze") for v in viss]
    streamed = list(fuser.stream([ir] * 6, viss, prompt="haze"))
    for i in range(3):
        assert np.array_equal(streamed[i], alone[i])

    def jump(pictures: list[np.ndarray]) -> float:
        return float(np.abs(np.diff([p.mean() for p in pictures])).max())

    assert jump(alone) > 0.01
    assert jump(streamed) < 0.3 * jump(alone)


def test_deep_infrared_files_share_one_range(fuser: Fuser, tmp_path: Path) -> None:
    import tifffile

    base = np.random.default_rng(0).integers(7000, 9000, (32, 40)).astype(np.uint16)
    files = [tmp_path / f"{i}.tif" for i in range(2)]
    tifffile.imwrite(files[0], base)
    tifffile.imwrite(files[1], base + 400)
    vis = np.full((32, 40, 3), 100, np.uint8)
    first, second = fuser.stream(files, [vis, vis])
    assert second.mean() > first.mean() + 0.02  # each on its own they would be the same picture
    assert np.array_equal(first, fuser(files[0], vis))


def test_what_cannot_be_streamed(fuser: Fuser) -> None:
    with pytest.raises(LureError, match="check_every"):
        fuser.stream([], [], check_every=0)
    with pytest.raises(LureError, match="strength"):
        fuser.stream([], [], strength=3)
    pairs = fuser.stream([np.zeros((8, 8))], [np.zeros((9, 8))])
    with pytest.raises(LureError, match="8x8"):
        next(pairs)
