"""`lure plot sheet`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.files import Outcome, save_png

Run = Callable[..., Outcome]

HEIGHT = 32
SIDES = {"ir": (60, 60, 60), "vis": (250, 20, 20), "ours": (20, 250, 20), "theirs": (20, 20, 250)}


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Five images of one colour a side, 64x48, named as each side names them."""
    for side, colour in SIDES.items():
        for i in range(5):
            name = f"{i}_{side}.png" if side in ("ir", "vis") else f"{i}.png"
            x = np.full((48, 64, 3), colour, np.uint8)
            save_png(tmp_path / side / name, x[..., 0] if side == "ir" else x)
    return tmp_path


def _args(root: Path) -> list[str | Path]:
    fused = [f"--fused={name}={root / name}" for name in ("ours", "theirs")]
    return ["plot", "sheet", "--ir", root / "ir", "--vis", root / "vis", *fused, "--height", str(HEIGHT)]


def _colours(path: Path) -> list[tuple[int, ...]]:
    """The colours of the pictures in the first row, from left to right, without what is written."""
    with Image.open(path) as image:
        x = np.asarray(image.convert("RGB")).astype(int)
    line = x[x.shape[0] - HEIGHT // 2]  # through the middle of the last row
    colours: list[tuple[int, ...]] = []
    for start in range(len(line) - 20):
        window = line[start : start + 20]
        if (np.ptp(window, axis=0) <= 2).all() and window[0].min() < 200:
            colour = tuple(int(v) for v in window[0])
            if not colours or np.abs(np.subtract(colours[-1], colour)).max() > 40:
                colours.append(colour)
    return colours


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_columns_stand_in_order_and_keep_their_colours(lure: Run, folders: Path, suffix: str) -> None:
    done = lure(*_args(folders), "-o", folders / f"sheet{suffix}", "--json")
    assert done.code == 0, done.err
    record = json.loads(done.out)
    assert record["images"] == ["0", "1", "2", "3", "4"]
    assert record["columns"] == ["infrared", "visible", "ours", "theirs"]
    seen = _colours(folders / f"sheet{suffix}")
    assert len(seen) == 4
    assert all(np.abs(np.subtract(a, b)).max() <= 4 for a, b in zip(seen, SIDES.values(), strict=True))


def test_limit_is_evenly_spaced_and_pages_are_numbered(lure: Run, folders: Path) -> None:
    done = lure(*_args(folders), "-o", folders / "s.png", "--limit", "3", "--rows", "2", "--json")
    record = json.loads(done.out)
    assert record["images"] == ["0", "2", "4"]
    assert [Path(p).name for p in record["pages"]] == ["s-1.png", "s-2.png"]
    assert not (folders / "s.png").exists()
    with Image.open(folders / "s-1.png") as first, Image.open(folders / "s-2.png") as second:
        assert first.width == second.width and first.height == second.height + HEIGHT + 4


def test_an_unreadable_image_costs_its_row(lure: Run, folders: Path) -> None:
    (folders / "ours" / "1.png").write_bytes(b"no image")
    done = lure(*_args(folders), "-o", folders / "s.png", "--json")
    assert done.code == 1 and f"{folders / 'ours' / '1.png'}" in done.err
    assert json.loads(done.out)["images"] == ["0", "2", "3", "4"]


def test_a_method_that_lacks_images(lure: Run, folders: Path) -> None:
    (folders / "ours" / "1.png").unlink()
    refused = lure(*_args(folders), "-o", folders / "s.png")
    assert refused.code == 2 and "ours lacks 1 of 5 images" in refused.err and not (folders / "s.png").exists()
    done = lure(*_args(folders), "-o", folders / "s.png", "--common", "--json")
    assert done.code == 0 and json.loads(done.out)["images"] == ["0", "2", "3", "4"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["-o", "sheet.gif"], "no known image suffix"),
        (["--limit", "0"], "--limit 0"),
        (["--height", "9999"], "--height 9999"),
    ],
)
def test_bad_options(lure: Run, folders: Path, monkeypatch: pytest.MonkeyPatch, more: list[str], message: str) -> None:
    monkeypatch.chdir(folders)
    done = lure(*_args(folders), *more)
    assert done.code == 2 and message in done.err and "hint:" in done.err
    assert not list(folders.glob("sheet*"))


def test_inputs_are_not_overwritten(lure: Run, folders: Path) -> None:
    before = (folders / "ours" / "1.png").read_bytes()
    done = lure(*_args(folders), "-o", folders / "ours" / "1.png")
    assert done.code == 2 and "is also an input" in done.err
    assert (folders / "ours" / "1.png").read_bytes() == before


def test_nothing_to_draw(lure: Run) -> None:
    done = lure("plot", "sheet")
    assert done.code == 2 and "nothing to draw" in done.err
