"""How batches travel: packed, in 8 bits, drawn by threads or processes, from images that are read once."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lure_cli.config import TrainConfig
from lure_cli.core.training import loader
from lure_cli.core.training.batches import Draw, Packed, pack, pack_images, unpack_images
from lure_cli.core.training.corpus import find_corpus
from lure_cli.core.training.crops import CropReader
from lure_cli.core.training.loader import affordable, drawn
from lure_cli.core.training.sampler import Sampler
from lure_cli.errors import LureError

CPU = torch.device("cpu")


def sampler(data: Path, **changes: Any) -> Sampler:
    cfg = TrainConfig(data=str(data), crop=32, batch_vis=3, batch_ir=2, light_ramp=0, threads=1, **changes)
    return Sampler(find_corpus(data), cfg)


def same(a: Any, b: Any) -> bool:
    """Whether two batches are equal to the last bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, Packed):
        return a.names == b.names and all(torch.equal(getattr(a, k), getattr(b, k)) for k in ("x", "y", "whole"))
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_what_is_in_8_bits_arrives_as_it_was() -> None:
    levels = (torch.arange(256) / 255).view(1, 16, 16)
    packed = pack_images([levels, levels.flip(1)], eight_bits=True)
    assert packed.dtype == torch.uint8
    assert torch.equal(unpack_images(packed, CPU), torch.stack([levels, levels.flip(1)]))
    odd = torch.rand(2, 3, 8, 8)
    assert torch.equal(unpack_images(pack_images(odd, False), CPU), odd)
    assert (unpack_images(pack_images(odd, True), CPU) - odd).abs().max() < 0.501 / 255
    assert unpack_images(odd, CPU).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("eight_bits", [False, True])
@pytest.mark.parametrize("stage", [1, 2])
def test_a_batch_is_that_of_the_sampler(stage: int, eight_bits: bool, data: Path) -> None:
    source = sampler(data, stage=stage, eight_bits=eight_bits)
    batch, size = Draw(source, slice(None))(7), Draw(source, slice(None)).nbytes()
    if isinstance(batch, dict):
        for m, samples in source.stage1(7).items():
            assert same(batch[m], pack(samples, eight_bits))
            assert len(batch[m]) == len(samples)
            assert same(batch[m][1::2], pack(samples[1::2], eight_bits))
            torch.testing.assert_close(
                unpack_images(batch[m].x, CPU)[0], samples[0].x, atol=0.51 / 255 * eight_bits, rtol=0
            )
        assert size == sum(p.x.nbytes + p.y.nbytes + p.whole.nbytes for p in batch.values())
        assert same(Draw(source, slice(1, None, 2))(7), {m: p[1::2] for m, p in batch.items()})
    else:
        assert same(batch, [pack_images(images, eight_bits) for images in source.stage2(7)])
        assert size == sum(images.nbytes for images in batch)
    dtypes = {t.dtype for t in ([p.x for p in batch.values()] if isinstance(batch, dict) else batch)}
    assert dtypes == {torch.uint8 if eight_bits else torch.float32}


def test_whoever_draws_a_batch_it_is_the_same(data: Path) -> None:
    draw = Draw(sampler(data), slice(None))
    steps = range(3, 9)
    torch.set_num_threads(1)
    expected = [draw(step) for step in steps]
    state = torch.get_rng_state()
    for workers in (0, 1, 3):
        with drawn(draw, steps, workers) as batches:
            got = list(batches)
        assert len(got) == len(expected)
        assert all(same(a, b) for a, b in zip(got, expected, strict=True)), workers
    assert torch.equal(state, torch.get_rng_state())  # the model's random numbers are its own
    with drawn(draw, range(5, 5), 2) as batches:
        assert list(batches) == []


class Failing:
    """Draws numbers, and fails at a step."""

    def __init__(self, step: int, how: str) -> None:
        self.step, self.how = step, how

    def __call__(self, step: int) -> tuple[Tensor]:
        if step == self.step and self.how == "raise":
            raise LureError(f"file {step} is damaged", "get it again")
        if step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)
        return (torch.tensor([float(step), float(os.getpid())]),)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_comes_when_its_batch_does(workers: int) -> None:
    seen = []
    draw = Failing(5, "raise")
    with pytest.raises(LureError, match="file 5 is damaged") as caught, drawn(draw, range(50), workers) as batches:
        for batch in batches:
            seen.append(int(batch[0][0]))
    assert caught.value.hint == "get it again"
    assert seen == [0, 1, 2, 3, 4]


@pytest.mark.skipif(sys.platform != "linux", reason="kill -9 and sessions")
def test_a_worker_that_dies_is_told_of_and_none_is_left() -> None:
    with drawn(Failing(-1, ""), range(10**9), 3) as batches:
        workers = {int(next(batches)[0][1]) for _ in range(12)}
        assert len(workers) == 3 and os.getpid() not in workers
        assert all(os.getsid(pid) == pid for pid in workers)  # Ctrl-C in the terminal does not reach them
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    with pytest.raises(LureError, match="has died") as caught, drawn(Failing(3, "die"), range(50), 2) as batches:
        for _ in batches:
            time.sleep(0.01)
    assert "workers" in caught.value.hint


def test_workers_are_as_many_as_shared_memory_has_room_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(64 << 20, 0, 64 << 20))
    monkeypatch.setattr(loader, "SHARED", tmp_path)
    assert affordable(4, 1 << 20) == 4
    assert affordable(15, 4 << 20) == 2
    assert affordable(15, 1 << 30) == 1
    monkeypatch.setattr(loader, "SHARED", tmp_path / "none")
    assert affordable(15, 1 << 30) == 15


def test_images_are_read_once(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, other = sampler(data), sampler(data)
    files = {p for pairs in source.corpus.fusion.values() for pair in pairs for p in pair}
    files |= {p for sets in source.corpus.restoration.values() for s in sets.values() for pair in s for p in pair}
    files |= {p for sets in source.corpus.clean.values() for s in sets.values() for image in s for p in image}
    source.preload(2)
    assert {path for path, _ in source.reader._cache} == files
    monkeypatch.setattr("lure_cli.core.training.crops.read_pixels", None)  # nothing is read any more
    batches = [Draw(source, slice(None))(step) for step in range(4)]
    monkeypatch.undo()
    assert all(same(batch, Draw(other, slice(None))(step)) for step, batch in enumerate(batches))


def test_a_full_cache_stays_as_it_is(data: Path) -> None:
    files = [(p, 3) for p in sorted(data.rglob("fusion/**/vi/*.png"))]
    one = CropReader(32, 4.0)
    one.preload(files[:1], 1)
    small = CropReader(32, one._cached_bytes / 2**30)
    small.preload(files, 1)
    kept = dict(small._cache)
    assert 1 <= len(kept) < len(files)
    crops = small.draw((files[-1][0],), (3,), torch.Generator().manual_seed(0), 1.0)
    again = CropReader(32, 4.0).draw((files[-1][0],), (3,), torch.Generator().manual_seed(0), 1.0)
    assert torch.equal(crops[0].pixels, again[0].pixels)
    assert dict(small._cache) == kept


def test_damaged_files_are_left_to_who_draws_them(data: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(next(data.rglob("*.png")).read_bytes()[:100])
    reader = CropReader(32, 4.0)
    reader.preload([(broken, 3)], 2)
    with pytest.raises(LureError, match=r"broken\.png"):
        reader.draw((broken,), (3,), torch.Generator(), 1.0)
