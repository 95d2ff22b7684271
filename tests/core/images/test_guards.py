from __future__ import annotations

import os
import struct
import time
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lure_cli.core.images.picture import read_image, read_picture
from lure_cli.errors import LureError
from tests.helpers.images import HUGE_TIFF, PAIR_OF_WIDTHS, RGB, encoded, png, refused, save, tiff


@pytest.mark.parametrize("content", [png(60_000, 60_000, 8, 2), HUGE_TIFF, PAIR_OF_WIDTHS], ids=["png", "tiff", "pair"])
def test_huge_dimensions_are_refused_before_memory_is_taken(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    refused(tmp_path / "a")  # imports what the measured call needs
    tracemalloc.start()
    refused(tmp_path / "a")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_the_limit_counts_pixels(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / name, RGB)
    assert read_image(path, channels=3, max_pixels=12 * 17).shape == (12, 17, 3)
    assert "17 x 12" in refused(path, max_pixels=12 * 17 - 1).message


@pytest.mark.parametrize("limit", [150, 10])  # Pillow warns above its limit and fails above twice that
def test_pillows_own_limit_does_not_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    path = save(tmp_path / "a.png", RGB)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(path, channels=3).shape == (12, 17, 3)
    assert limit == Image.MAX_IMAGE_PIXELS


def animation(path: Path) -> Path:
    frames = [Image.fromarray(np.full((8, 8, 3), v, np.uint8)) for v in (0, 90, 200)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return path


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_several_frames_are_refused(tmp_path: Path, suffix: str) -> None:
    error = refused(animation(tmp_path / f"a{suffix}"))
    assert "3 frames" in error.message and "one frame" in error.hint


def test_missing_files_and_folders(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "none.png").message
    assert "folder" in refused(tmp_path).message
    (tmp_path / "file").touch()
    assert "no such file" in refused(tmp_path / "file" / "a.png").message
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    refused(tmp_path / "loop.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert "not a regular file" in refused(tmp_path / "pipe.png").message


def test_permission_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = save(tmp_path / "a.png", RGB)
    monkeypatch.setattr(Path, "open", deny)
    assert "Permission denied" in refused(path).message


def huge_webp(kind: bytes) -> bytes:
    if kind == b"VP8X":
        body = b"\0\0\0\0" + (2**24 - 1).to_bytes(3, "little") * 2
    elif kind == b"VP8L":
        body = b"\x2f" + (0x0FFFFFFF).to_bytes(4, "little")
    else:
        body = b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", 16383, 16383)
    chunk = kind + struct.pack("<I", len(body)) + body.ljust(len(body) + len(body) % 2, b"\0")
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def huge_jpeg2000() -> bytes:
    content = bytearray(encoded(RGB, "JPEG2000", no_jp2=True))
    content[8:16] = struct.pack(">II", 60_000, 60_000)
    return bytes(content)


def huge_jpeg() -> bytes:
    content = bytearray(encoded(RGB, "JPEG"))
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", 60_000, 60_000)
    return bytes(content)


def huge_bmp() -> bytes:
    content = bytearray(encoded(RGB, "BMP"))
    content[18:26] = struct.pack("<II", 60_000, 60_000)
    return bytes(content)


HUGE_TILE = tiff({256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 277: 1, 322: 65_536, 323: 65_536, 324: 8, 325: 1})

HUGE = {
    "png": png(60_000, 60_000, 8, 2),
    "png 16": png(60_000, 60_000, 16, 2),
    "tiff": HUGE_TIFF,
    "tile": HUGE_TILE,
    "jpeg": huge_jpeg(),
    "bmp": huge_bmp(),
    "j2k": huge_jpeg2000(),
    "jp2": encoded(RGB, "JPEG2000").replace(struct.pack(">II", 17, 12), struct.pack(">II", 60_000, 60_000)),
    "webp": huge_webp(b"VP8X"),
    "webp lossless": huge_webp(b"VP8L"),
    "webp lossy": huge_webp(b"VP8 "),
}


def test_huge_sizes_are_refused_from_the_header_within_a_second_and_100_mb() -> None:
    resource = pytest.importorskip("resource")
    for content in HUGE.values():  # imports what is needed
        with pytest.raises(LureError):
            read_picture(content, channels=3)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    for content in HUGE.values():
        with pytest.raises(LureError, match="over the limit"):
            read_picture(content, channels=3)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB, whatever a peak before was
    assert time.process_time() - started < len(HUGE)
