"""One folder with everything that can be wrong with files: each bad pair is named, each good one is fused."""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.files import Outcome, save_png

Run = Callable[..., Outcome]
RNG = np.random.default_rng(0)
H, W = 32, 40


def picture(path: Path) -> None:
    save_png(path, RNG.integers(0, 256, (H, W, 3), np.uint8))


def bomb(path: Path) -> None:
    """A PNG of a few bytes whose header says 60000 x 60000."""
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunks = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b""))
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def cut(path: Path) -> None:
    picture(path)
    path.write_bytes(path.read_bytes()[:200])


def transparent(path: Path) -> None:
    save_png(path, RNG.integers(0, 256, (H, W, 4), np.uint8))


def other_size(path: Path) -> None:
    save_png(path, np.zeros((H + 1, W, 3), np.uint8))


def frames(path: Path) -> None:
    images = [Image.fromarray(RNG.integers(0, 256, (H, W, 3), np.uint8)) for _ in range(3)]
    images[0].save(path, "TIFF", save_all=True, append_images=images[1:])


def not_a_number(path: Path) -> None:
    import tifffile

    tifffile.imwrite(path, np.full((H, W, 3), np.nan, np.float32), photometric="rgb")


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty.png": (lambda p: p.write_bytes(b""), "the file is empty"),
    "cut.png": (cut, "cut short"),
    "text.png": (lambda p: p.write_text("no picture"), "no image"),
    "zeros.jpg": (lambda p: p.write_bytes(bytes(500)), "no image"),
    "bomb.png": (bomb, "60000 x 60000 is over the limit"),
    "frames.tif": (frames, "3 frames or pages"),
    "nan.tif": (not_a_number, "nan.tif"),
    "size.png": (other_size, "is 40x32 but"),
    "gone.png": (lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n"), "gone.png"),
}
"""Name of a visible file, how it is made, what the error says."""

GOOD = (
    "plain.png",
    "wrong_suffix.jpg",
    "ß 夜 😀.png",
    "n" * 251 + ".png",
    "-o.png",
    "{stem}.png",
    "tab\t.png",
    "see.png",
)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`i` and `v` with good and bad pairs."""
    monkeypatch.chdir(tmp_path)
    for name in (*FAULTS, *GOOD):
        save_png(Path("i", f"{Path(name).stem}.png"), RNG.integers(0, 256, (H, W), np.uint8))
    Path("v").mkdir()
    for name, (make, _) in FAULTS.items():
        make(Path("v", name))
    for name in GOOD:
        picture(Path("v", name).with_suffix(".png"))
    os.rename("v/wrong_suffix.png", "v/wrong_suffix.jpg")  # what a file is shows in its content
    transparent(Path("v/see.png"))
    Path("v/folder.png").mkdir()
    Path("v/dangling.png").symlink_to("nowhere.png")
    Path("v/circle.png").symlink_to("circle.png")
    os.mkfifo("v/pipe.png")
    return tmp_path


def test_every_fault_is_named_and_the_rest_is_done(lure: Run, folders: Path) -> None:
    before = {p: p.lstat().st_mtime_ns for p in folders.rglob("*")}
    done = lure("fuse", "--ir", "i", "--vis", "v", "-o", "out")
    assert done.code == 1
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    hints = [line for line in done.err.splitlines() if line.startswith("hint: ")]
    assert len(errors) == len(hints) == len(FAULTS)
    for name, (_, text) in FAULTS.items():
        assert any(f"v/{name}" in line and text in line for line in errors), (name, errors)
    written = {p.name: p for p in Path("out").iterdir()}
    assert set(written) == {f"{Path(name).stem}.png" for name in GOOD}
    for path in written.values():
        with Image.open(path) as image:
            image.load()
            assert image.size == (W, H)
            assert image.mode == ("RGBA" if path.name == "see.png" else "RGB")
    assert f"{len(GOOD)} done, 0 skipped, {len(FAULTS)} failed of {len(GOOD) + len(FAULTS)} pairs" in done.err
    after = {p: p.lstat().st_mtime_ns for p in folders.rglob("*") if "out" not in p.relative_to(folders).parts}
    assert after == before
    assert lure("fuse", "--ir", "i", "--vis", "v", "-o", "out", "--skip-existing").code == 1


def test_the_limit_of_pixels_can_be_set(lure: Run, folders: Path) -> None:
    pair = ["fuse", "--ir", "i/plain.png", "--vis", "v/plain.png", "-o", "x.png"]
    refused = lure(*pair, "--max-pixels", str(H * W - 1))
    assert refused.code == 1
    assert f"{W} x {H} is over the limit of {H * W - 1} pixels" in refused.err
    assert lure(*pair, "--max-pixels", str(H * W)).code == 0


@pytest.mark.parametrize(
    ("vis", "text"),
    [
        ("v/pipe.png", "not a regular file"),
        ("v/dangling.png", "no such file"),
        ("v/circle.png", "no such file"),
        ("v/bomb.png", "over the limit"),
        ("v/empty.png", "empty"),
    ],
)
def test_single_files(vis: str, text: str, lure: Run, folders: Path) -> None:
    done = lure("fuse", "--ir", "i/plain.png", "--vis", vis, "-o", "x.png")
    assert done.code in (1, 2)
    assert text in done.err
    assert [line.split(":")[0] for line in done.err.splitlines()] == ["error", "hint"]
    assert not Path("x.png").exists()


def test_transparency_that_the_output_cannot_hold(lure: Run, folders: Path) -> None:
    done = lure("fuse", "--ir", "i/see.png", "--vis", "v/see.png", "-o", "x.jpg")
    assert done.code == 1
    assert "error: x.jpg: " in done.err and "transparency, which v/see.png has" in done.err
    assert not Path("x.jpg").exists()


def test_an_unreadable_file(lure: Run, folders: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("the superuser reads everything")
    shutil.copy("v/plain.png", "v/locked.png")
    Path("v/locked.png").chmod(0)
    done = lure("fuse", "--ir", "i/plain.png", "--vis", "v/locked.png", "-o", "x.png")
    assert done.code == 1 and "cannot be opened" in done.err
