"""Radiometric FLIR JPEGs, written by hand: raw numbers, camera, photo and placement as records in APP1 segments."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CAMERA: dict[str, float] = {
    "emissivity": 0.95,
    "distance": 2.0,
    "reflected": 295.15,
    "atmosphere": 293.15,
    "window": 293.15,
    "window_transmission": 1.0,
    "humidity": 0.5,
    "r1": 15000.0,
    "r2": 0.0125,
    "b": 1400.0,
    "f": 1.0,
    "o": -6000,
    "alpha1": 0.006569,
    "alpha2": 0.01262,
    "beta1": -0.002276,
    "beta2": -0.00667,
    "x": 1.9,
}
"""Settings and constants of a camera, near those of real ones; temperatures in kelvin."""
_PLACES = {
    "emissivity": 32,
    "distance": 36,
    "reflected": 40,
    "atmosphere": 44,
    "window": 48,
    "window_transmission": 52,
    "humidity": 60,
    "r1": 88,
    "b": 92,
    "f": 96,
    "alpha1": 112,
    "alpha2": 116,
    "beta1": 120,
    "beta2": 124,
    "x": 128,
    "r2": 780,
}
"""Where each float stands in the camera's record."""
RAW = (13000 + 40 * np.indices((24, 32)).sum(0)).astype(np.uint16)
PHOTO = np.stack([np.indices((60, 80))[1] * 3, np.indices((60, 80))[0] * 4, np.full((60, 80), 90)], 2).astype(np.uint8)
CHUNK = 4000
"""Bytes of a segment; small, so that there are several."""


def flir_jpeg(
    raw: np.ndarray | None = RAW,
    photo: np.ndarray | None = PHOTO,
    placement: tuple[float, int, int] | None = (1.6, 3, -2),
    *,
    png: bool = False,
    camera: dict[str, float] | None = None,
    rendering: np.ndarray | None = None,
) -> bytes:
    """The content of a file.

    Args:
        raw: uint16 (H, W).
        photo: uint8 (H, W, 3), RGB.
        placement: ratio, and offset of the infrared in pixels of the photo.
        png: whether raw numbers and photo are filed as PNG, the former with swapped bytes, the latter as YCbCr; else
            the numbers are plain and the photo is a JPEG.
        camera: what differs from `CAMERA`.
        rendering: uint8 (H, W, 3): what viewers show; magenta if it is not given.
    """
    records = []
    if raw is not None:
        pixels = raw.astype("<u2").tobytes()
        if png:
            pixels = _encoded(Image.fromarray(raw.byteswap()), "PNG")
        records.append((1, _sized(raw.shape) + pixels))
    records.append((32, _camera({**CAMERA, **(camera or {})})))
    if photo is not None:
        image = Image.fromarray(photo)
        if png:
            content = _encoded(Image.merge("RGB", image.convert("YCbCr").split()), "PNG")
        else:
            content = _encoded(image, "JPEG", quality=98, subsampling=0)
        records.append((14, _sized(photo.shape) + content))
    if placement is not None:
        records.append((42, struct.pack("<fhhhhhh", *placement, 0, 32, 0, 24).ljust(96, b"\0")))
    return with_segments(segments(block(records)), rendering)


def block(records: list[tuple[int, bytes]]) -> bytes:
    """The FLIR data: a header, a directory of sixteen entries, the records."""
    entries, content, start = b"", b"", 64 + 16 * 32
    for kind, record in records:
        entries += struct.pack(">HHIIII12x", kind, 1, 100, 1, start + len(content), len(record))
        content += record + bytes(8)
    header = struct.pack(">4s16sIIII28x", b"FFF\0", b"TESTS", 100, 64, 16, 2)
    return header + entries.ljust(16 * 32, b"\0") + content + bytes(64)


def segments(data: bytes) -> bytes:
    """The FLIR data as APP1 segments."""
    parts = [data[i : i + CHUNK] for i in range(0, len(data), CHUNK)]
    last = len(parts) - 1
    return b"".join(segment(1, b"FLIR\0\x01" + bytes((i, last)) + part) for i, part in enumerate(parts))


def segment(number: int, content: bytes) -> bytes:
    """An APP segment."""
    return bytes((0xFF, 0xE0 + number)) + struct.pack(">H", len(content) + 2) + content


def with_segments(those: bytes, rendering: np.ndarray | None = None, make: str = "LURE tests") -> bytes:
    """A JPEG with such segments, and EXIF of that make."""
    if rendering is None:
        rendering = np.full((24, 32, 3), (255, 0, 255), np.uint8)
    exif = Image.Exif()
    exif[271], exif[272], exif[306] = make, "Model 1", "2024:05:06 07:08:09"
    plain = _encoded(Image.fromarray(rendering), "JPEG", exif=exif)
    return plain[:2] + _exif_segment(plain) + those + plain[2:].replace(_exif_segment(plain), b"")


def write_flir(path: Path, **how: Any) -> Path:
    """Write such a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(flir_jpeg(**how))
    return path


def _exif_segment(jpeg: bytes) -> bytes:
    at = jpeg.index(b"Exif\0\0") - 4
    return jpeg[at : at + 2 + struct.unpack_from(">H", jpeg, at + 2)[0]]


def _sized(shape: tuple[int, ...]) -> bytes:
    return struct.pack("<HHH26x", 2, shape[1], shape[0])


def _camera(values: dict[str, float]) -> bytes:
    record = bytearray(1200)
    for name, place in _PLACES.items():
        struct.pack_into("<f", record, place, values[name])
    struct.pack_into("<i", record, 776, int(values["o"]))
    return bytes(record)


def _encoded(image: Image.Image, kind: str, **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()
