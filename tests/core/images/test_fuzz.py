"""Damaged files, thousands of them: a LureError or a result, never another exception, a warning or a crash."""

from __future__ import annotations

import io
import json
import struct
import sys
import warnings
import zlib
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo
from safetensors.numpy import save

from lure_cli.config import ModelConfig, Provenance
from lure_cli.core.images.picture import encode_image, read_picture
from lure_cli.core.images.value_range import ValueRange
from lure_cli.core.model.checkpoint import load_model, new_model, save_model
from lure_cli.core.text.encoders import VocabularyEncoder
from lure_cli.core.text.parser import PromptParser
from lure_cli.errors import LureError
from tests.helpers.files import ROOT
from tests.helpers.flir import flir_jpeg
from tests.helpers.tiffs import GEO, packed_tiff, pages_tiff, palette_tiff, ycbcr_tiff

IMAGES, WEIGHTS, TEXTS = 2500, 1000, 250

# --- files that are whole ------------------------------------------------------------------------------------------

RNG = np.random.default_rng(11)
RGB = RNG.integers(0, 256, (24, 19, 3), dtype=np.uint8)
GREY = RGB[..., 0].copy()
RGBA = np.dstack([RGB, GREY])
RGB16 = RNG.integers(0, 65536, (24, 19, 3), dtype=np.uint16)
GREY16 = RGB16[..., 0].copy()
RGBA16 = np.dstack([RGB16, GREY16])
PALETTE = Image.fromarray(RGB).convert("P", palette=Image.Palette.ADAPTIVE)
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exif() -> bytes:
    notes = Image.Exif()
    notes[271], notes[274] = "Camera", 6
    notes[34665], notes[34853] = {33434: (1, 50)}, {1: "N"}
    return notes.tobytes()


NOTES: dict[str, Any] = {"icc_profile": ICC, "exif": exif()}


def pillow(image: np.ndarray | Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(image: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, image, **options)
    return buffer.getvalue()


def frames(kind: str) -> bytes:
    return pillow(Image.fromarray(RGB), kind, save_all=True, append_images=[Image.fromarray(RGB[::-1])])


def bit_fields() -> bytes:
    masks = (0x3FF, 0xFFC00, 0x3FF00000)
    header = struct.pack("<IHHI IiiHHIIiiII 3I", 0, 0, 0, 66, 40, 19, 24, 1, 32, 3, 0, 0, 0, 0, 0, *masks)
    return b"BM" + header + RNG.integers(0, 1 << 30, (24, 19), dtype=np.uint32).tobytes()


def long_text() -> PngInfo:
    text = PngInfo()
    text.add_text("settings", "x" * 1_100_000, zip=True)
    return text


def whole_images() -> dict[str, bytes]:
    bilevel, cmyk = Image.fromarray(GREY).convert("1"), Image.fromarray(RGB).convert("CMYK")
    images = {
        "png": pillow(RGB, "PNG", **NOTES),
        "png alpha": pillow(RGBA, "PNG"),
        "png key": pillow(GREY, "PNG", transparency=7),
        "png palette": pillow(PALETTE, "PNG", transparency=b"\0\x80" * 100),
        "png bilevel": pillow(bilevel, "PNG"),
        "png grey 16": imagecodecs.png_encode(GREY16),
        "png 16": imagecodecs.png_encode(RGB16),
        "png alpha 16": imagecodecs.png_encode(RGBA16),
        "png frames": frames("PNG"),
        "jpeg": pillow(RGB, "JPEG", **NOTES),
        "jpeg progressive": pillow(RGB, "JPEG", progressive=True, quality=50),
        "jpeg grey": pillow(GREY, "JPEG"),
        "jpeg cmyk": pillow(cmyk, "JPEG"),
        "jpeg previews": frames("MPO"),
        "flir": flir_jpeg(),
        "flir png": flir_jpeg(png=True),
        "webp": pillow(RGB, "WEBP", **NOTES),
        "webp lossless": pillow(RGBA, "WEBP", lossless=True),
        "webp frames": frames("WEBP"),
        "bmp": pillow(RGB, "BMP"),
        "bmp alpha": pillow(RGBA, "BMP"),
        "bmp palette": pillow(PALETTE, "BMP"),
        "bmp bilevel": pillow(bilevel, "BMP"),
        "jp2": pillow(RGB, "JPEG2000"),
        "jp2 alpha": pillow(RGBA, "JPEG2000"),
        "jp2 grey 16": pillow(GREY16, "JPEG2000"),
        "jp2 tiles": pillow(RGB, "JPEG2000", irreversible=True, quality_layers=[20], tile_size=(16, 16)),
        "j2k": pillow(GREY, "JPEG2000", no_jp2=True),
        "j2k 16": imagecodecs.jpeg2k_encode(RGB16, level=0, reversible=True),
        "j2k alpha 16": imagecodecs.jpeg2k_encode(RGBA16, level=0, reversible=True),
        "jp2 12": imagecodecs.jpeg2k_encode(RGB16 >> 4, level=0, reversible=True, bitspersample=12),
        "pgm": pillow(GREY, "PPM"),
        "pgm text": b"P2 19 2 300 " + b" ".join(b"%d" % n for n in range(38)),
        "pgm 12": b"P5 19 24 4095\n" + (GREY16 >> 4).astype(">u2").tobytes(),
        "pbm": pillow(bilevel, "PPM"),
        "ppm 16": b"P6 19 24 65535\n" + RGB16.astype(">u2").tobytes(),
        "bmp bit fields": bit_fields(),
        "gif": pillow(PALETTE, "GIF", transparency=3),
        "gif frames": frames("GIF"),
        "avif": pillow(RGB, "AVIF", **NOTES),
        "avif alpha": pillow(RGBA, "AVIF"),
        "avif 10": imagecodecs.avif_encode(RGB16 >> 6, bitspersample=10, level=90),
        "avif frames": frames("AVIF"),
        "jxl": imagecodecs.jpegxl_encode(RGB),
        "jxl alpha": imagecodecs.jpegxl_encode(RGBA, lossless=True, usecontainer=True),
        "jxl 12": imagecodecs.jpegxl_encode(RGB16 >> 4, bitspersample=12, lossless=True),
        "jxl float": imagecodecs.jpegxl_encode(GREY16.astype(np.float32) / 65535, lossless=True),
        "jpeg without end": pillow(RGB, "JPEG", **NOTES)[:-2],
        "png text": pillow(RGB, "PNG", pnginfo=long_text()),
        "tiff": pillow(RGB, "TIFF", **NOTES),
        "tiff palette": pillow(PALETTE, "TIFF", compression="tiff_lzw"),
        "tiff bilevel": pillow(bilevel, "TIFF"),
        "tiff cmyk": pillow(cmyk, "TIFF"),
        "tiff fax": pillow(bilevel, "TIFF", compression="group4"),
        "tiff jpeg": pillow(RGB, "TIFF", compression="jpeg"),
        "tiff jpeg tiles": tiff(np.tile(RGB, (2, 2, 1)), tile=(16, 16), compression="jpeg", photometric="rgb"),
        "tiff planes": tiff(RGB16.transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate"),
        "tiff big": tiff(RGB16, photometric="rgb", bigtiff=True),
        "tiff strips": tiff(GREY16, byteorder=">", compression="zlib", rowsperstrip=4),
        "tiff tiles": tiff(RGB, tile=(16, 16), compression="lzw", photometric="rgb"),
        "tiff associated": tiff(RGBA, photometric="rgb", extrasamples=["assocalpha"]),
        "tiff palette 8": palette_tiff(bits=8),
        "tiff palette 1": palette_tiff(bits=1),
        "tiff subsampled": ycbcr_tiff(RGB, (2, 2), compression=32773, reference=(15, 235, 128, 240, 128, 240)),
        "tiff ycbcr": ycbcr_tiff(RGB, (1, 1), coefficients=(0.2125, 0.7154, 0.0721)),
        "tiff cmyk jpeg": tiff(np.asarray(cmyk), photometric="separated", compression="jpeg"),
        "tiff overviews": pages_tiff((0, RGB), (1, RGB[::2, ::2])),
        "tiff mask first": pages_tiff((4, GREY), (0, RGB)),
        "tiff imagej": tiff(np.stack([GREY16] * 3), imagej=True),
        "tiff float predicted": tiff(GREY16.astype(np.float32) / 65535, compression="zlib", predictor=3),
    }
    images |= {f"tiff {c}": tiff(RGB16, photometric="rgb", compression=c) for c in ("lzw", "zstd", "packbits", "lzma")}
    images |= {f"tiff packed {bits}": packed_tiff(GREY16 >> (16 - bits), bits) for bits in (6, 10, 12, 14)}
    images["tiff packed zlib"] = packed_tiff(RGB16 >> 4, 12, compression=8)
    images["tiff geo"] = tiff(RGB, photometric="rgb", extratags=GEO)
    kinds = (np.uint16, np.int8, np.int16, np.int32, np.uint32, np.float16, np.float32, np.float64)
    return images | {f"tiff {np.dtype(k)}": tiff(GREY.astype(k)) for k in kinds}


# --- damage --------------------------------------------------------------------------------------------------------

Damage = Callable[[bytearray], None]
EXTREMES = [0, 1, 2, 3, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
# Half of the places in the first 200 bytes, where the headers are; whatever lies beyond the end wraps around.
PLACE = st.one_of(st.integers(0, 200), st.integers(0, 100_000))


def flip(place: int, bit: int) -> Damage:
    def damage(data: bytearray) -> None:
        data[place % len(data)] ^= 1 << bit

    return damage


def number(place: int, width: int, value: int, big_endian: bool) -> Damage:
    def damage(data: bytearray) -> None:
        at = place % len(data)
        data[at : at + width] = (value % 256**width).to_bytes(width, "big" if big_endian else "little")

    return damage


def cut(place: int, tail: bool) -> Damage:
    def damage(data: bytearray) -> None:
        at = place % len(data)
        data[:] = data[at:] if tail else data[: max(at, 1)]

    return damage


def copy(source: int, place: int, length: int, insert: bool) -> Damage:
    def damage(data: bytearray) -> None:
        at, start = place % len(data), source % len(data)
        data[at : at if insert else at + length] = data[start : start + length]

    return damage


def splice(place: int, piece: bytes) -> Damage:
    def damage(data: bytearray) -> None:
        at = place % len(data)
        data[at : at + len(piece)] = piece

    return damage


def with_checksums(data: bytes) -> bytes:
    """A PNG whose chunks fit their checksums again, so that its decoder gets to see the damage."""
    mended, at = bytearray(data), 8
    while at + 12 <= len(mended) and at + 12 + (length := int.from_bytes(mended[at : at + 4], "big")) <= len(mended):
        check = zlib.crc32(bytes(mended[at + 4 : at + 8 + length]))
        mended[at + 8 + length : at + 12 + length] = struct.pack(">I", check)
        at += 12 + length
    return bytes(mended)


def byte_damage(pieces: list[bytes]) -> st.SearchStrategy[Damage]:
    bits, flag = st.integers(0, 7), st.booleans()
    return st.one_of(
        st.builds(flip, PLACE, bits),
        st.builds(number, PLACE, st.sampled_from((1, 2, 4)), st.sampled_from(EXTREMES), flag),
        st.builds(cut, PLACE, flag),
        st.builds(copy, PLACE, PLACE, st.integers(1, 64), flag),
        st.builds(splice, PLACE, st.sampled_from(pieces)),
    )


def damaged(whole: bytes, damages: list[Damage]) -> bytes:
    data = bytearray(whole)
    for damage in damages:
        damage(data)
    return bytes(data)


# --- weight files --------------------------------------------------------------------------------------------------

WEIRD: list[Any] = [
    *(None, True, -1, 0, 1, 3, 10**12, 2**64, 1e308, float("nan"), "", "x", "\ud800", "vocabulary"),
    *("F64", "I8", "BOOL", "F8_E4M3", "U64", "BF16", "C64"),
    *([], {}, [1], [0], [2**40], [[1]], [0, 0], [16, 16, 16], [-1, 5], {"a": 1}),
]
RAW = ["[" * 100_000, "9" * 5000, "1e999", "NaN", "", "{", "\0"]


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to everything inside a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [q for k, v in inside for q in ((*path, k), *leaves(v, (*path, k)))]


def edited(whole: bytes, edits: list[tuple[bool, int, Any, str]], raw: tuple[int, str] | None) -> bytes:
    """A safetensors file with other things in its header: (in the metadata, which one, what instead, how)."""
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    metadata = {k: json.loads(v) for k, v in header.pop("__metadata__").items()}
    for in_metadata, which, value, how in edits:
        root = metadata if in_metadata else header
        places = leaves(root)
        if not places:
            continue
        *path, last = places[which % len(places)]
        parent: Any = root
        for key in path:
            parent = parent[key]
        if how == "drop":
            del parent[last]
        elif how == "double" and isinstance(parent, dict):
            parent[f"{last}x"] = parent[last]
        else:
            parent[last] = deepcopy(value)  # a later edit may go into it
    texts = {k: json.dumps(v) for k, v in metadata.items()}
    if raw is not None and texts:
        texts[sorted(texts)[raw[0] % len(texts)]] = raw[1]
    content = json.dumps(header | {"__metadata__": texts}).encode()
    return struct.pack("<Q", len(content)) + content + whole[8 + length :]


def damaged_weights(whole: bytes) -> st.SearchStrategy[bytes]:
    index = st.integers(0, 10_000)
    edit = st.tuples(st.booleans(), index, st.sampled_from(WEIRD), st.sampled_from(("set", "set", "drop", "double")))
    raw = st.one_of(st.none(), st.none(), st.none(), st.tuples(index, st.sampled_from(RAW)))
    bytes_ = byte_damage([b'"', b"{", b"}", b",", b"\\", b"9", b"F16"])
    return st.one_of(
        st.builds(edited, st.just(whole), st.lists(edit, min_size=1, max_size=2), raw),
        st.builds(damaged, st.just(whole), st.lists(bytes_, min_size=1, max_size=3)),
    )


def tiny_model() -> tuple[Any, VocabularyEncoder]:
    sizes: dict[str, Any] = {"widths": (16, 16), "encoder_blocks": (0, 1), "refine_blocks": (0,), "text_dim": 16}
    blocks: dict[str, Any] = {"decoder_blocks": (0, 0), "fusion_blocks": (0, 0), "expansions": (1, 2)}
    text = VocabularyEncoder(16)
    return new_model(ModelConfig(**sizes, **blocks, condition_dim=4), text), text


def tiny_parser() -> bytes:
    """The shipped prompt parser, with 30 words left."""
    from safetensors import safe_open

    with safe_open(ROOT / "weights" / "lure-text.safetensors", "np") as f:
        tensors = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118 (safe_open is no dict)
        metadata = f.metadata()
    words = tensors["words"].tobytes().split(b"\n")[:30]
    tensors |= {"words": np.frombuffer(b"\n".join(words), np.uint8)}
    return save(tensors | {k: tensors[k][:30].copy() for k in ("vectors", "scales")}, metadata)


# --- the campaigns -------------------------------------------------------------------------------------------------


def peak() -> int:
    """The most memory this process ever took, in MiB; 0 on systems that do not say so."""
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1 << 20 if sys.platform == "darwin" else 1 << 10)


def campaign(strategy: Any, count: int, try_one: Callable[[Any], None]) -> int:
    """Try `count` files; how many of them were refused."""
    refused, before = 0, peak()

    @settings(
        max_examples=count, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(strategy)
    def run(case: Any) -> None:
        nonlocal refused
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                try_one(case)
            except LureError as error:
                assert "\n" not in error.message and error.hint
                refused += 1

    run()
    assert peak() - before < 300  # of which torch and the libraries take most
    return refused


def test_damaged_images(capfd: pytest.CaptureFixture[str]) -> None:
    whole = whole_images()
    ranges = (None, ValueRange(), ValueRange(modality="vis"), ValueRange("percentile"), ValueRange("values", 0, 100))
    pieces = [data[at : at + 40] for data in whole.values() for at in (0, len(data) // 3, len(data) // 2)]
    damages = st.lists(byte_damage(pieces), min_size=1, max_size=3)
    written = st.sampled_from(((".png", 8), (".jpg", 8), (".tif", 8), (".tif", 16)))
    case = st.tuples(st.sampled_from(sorted(whole)), damages, st.booleans(), st.sampled_from(ranges), written)

    def try_one(case: tuple[str, list[Damage], bool, ValueRange | None, tuple[str, int]]) -> None:
        kind, damages, mend, value_range, (suffix, bits) = case
        data = damaged(whole[kind], damages)
        if mend and data.startswith(b"\x89PNG"):
            data = with_checksums(data)
        temperatures = mend and kind.startswith("flir")
        picture = read_picture(data, channels=1 if temperatures else 3, value_range=value_range, max_pixels=100_000)
        h, w = picture.x.shape[:2]
        assert h * w <= 100_000 and picture.x.dtype == np.float32
        assert picture.x.min() >= 0 and picture.x.max() <= 1  # also: no NaN
        if picture.alpha is not None:
            assert picture.alpha.shape == (h, w, 1) and picture.alpha.min() >= 0 and picture.alpha.max() <= 1
        encode_image(picture.x, suffix, metadata=picture.metadata, bits=bits)  # damaged notes do no harm

    refused = campaign(case, IMAGES, try_one)
    assert IMAGES * 0.4 < refused < IMAGES * 0.9
    assert capfd.readouterr() == ("", "")  # what libraries in C print


def test_damaged_weights(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.safetensors"
    model, text = tiny_model()
    save_model(path, model, text, Provenance(), torch.float16)

    def try_one(data: bytes) -> None:
        path.write_bytes(data)
        loaded, _, _ = load_model(path)
        assert sum(p.numel() for p in loaded.parameters()) < 1_000_000

    assert campaign(damaged_weights(path.read_bytes()), WEIGHTS, try_one) > WEIGHTS / 2
    assert capfd.readouterr() == ("", "")


def test_damaged_text_encoders(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.safetensors"

    def try_one(data: bytes) -> None:
        path.write_bytes(data)
        PromptParser.load(path).parse("the")

    assert campaign(damaged_weights(tiny_parser()), TEXTS, try_one) > TEXTS / 4
    assert capfd.readouterr() == ("", "")
