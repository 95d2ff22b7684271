"""Image files in and out: every readable file becomes one float32 array in [0, 1].

numpy, Pillow, imagecodecs and tifffile are imported where they are used, so that a dry run, which needs only the list
of suffixes, stays free of them.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from lure_cli.core.files import write_file
from lure_cli.core.images.decode import Decoded, decode, of_thermogram
from lure_cli.core.images.encode import encode
from lure_cli.core.images.formats import check_output
from lure_cli.core.images.guards import CONVERT, FLATTEN, MAX_PIXELS, name_errors, open_image, refuse_damage
from lure_cli.core.images.pillow import exif_of
from lure_cli.core.images.radiometric import DAMAGED
from lure_cli.core.images.stored import Georeference
from lure_cli.core.images.value_range import (
    ValueRange,
    apply_range,
    fills,
    full_range,
    resolve_range,
    temperatures,
)
from lure_cli.core.thermal.flir import Thermogram, unpack
from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np

    from lure_cli.core.pixels import Modality
    from lure_cli.core.registration.alignment import Alignment
    from lure_cli.core.thermal.radiometry import Radiometry


@dataclass(frozen=True)
class Metadata:
    """What a file says about its image and still holds of one that is made from it.

    Attributes:
        icc: the embedded colour profile; None for CMYK, which is converted to sRGB.
        exif: from `Exif\\0\\0` on: camera, time, exposure, place, author; upright, without thumbnail, sizes and maker's
            note.
        georeference: the tags of a GeoTIFF, which hold for a result of the same size; see `Georeference`.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    georeference: Georeference | None = None


@dataclass(frozen=True)
class Picture:
    """An image as it is fused.

    Attributes:
        x: float32 (H, W, channels) in [0, 1].
        alpha: float32 (H, W, 1) in [0, 1], 1 being opaque; None if there is none or all of it is opaque.
        metadata: to be written into the result.
        colour: whether the stored pixels differ between channels anywhere.
        bits: as stored, 8 (or fewer), 16 or 32 (also floats of any size).
        mapping: how the file's numbers became 0 to 1 where that is not their full range, for example
            "7100..9230 of 16 bits -> 0..1 (percentiles 0.5 and 99.5)", and which pixels are invalid.
        invalid: how many pixels hold no measurement; they are black.
        celsius: of infrared images whose numbers are temperatures: degrees Celsius, float32 (H, W); NaN where invalid.
        remark: what is to be known of how a radiometric file was taken.
    """

    x: np.ndarray
    alpha: np.ndarray | None
    metadata: Metadata
    colour: bool
    bits: int
    mapping: str | None
    invalid: int = 0
    celsius: np.ndarray | None = None
    remark: str | None = None


def read_picture(
    source: str | Path | bytes,
    *,
    channels: Literal[1, 3],
    value_range: ValueRange | None = None,
    max_pixels: int = MAX_PIXELS,
    first_frame: bool = False,
    radiometry: Radiometry | None = None,
    name: str | None = None,
) -> Picture:
    """Read one still image for fusing; its content, not its suffix, says which type it is.

    Args:
        source: a file of one of `FORMATS`, or the content of one. TIFFs may also hold signed and 32-bit integers and
            floats.
        channels: 1 gives luma (0.299 R + 0.587 G + 0.114 B; equal channels keep their value), 3 gives RGB (grey is
            replicated, CMYK converted by its profile if it has one). Of a radiometric file 1 gives its temperatures,
            whose range is in degrees Celsius, and 3 the photo inside.
        value_range: which numbers become 0 and 1; None as `full`.
        max_pixels: the largest width x height, taken from the header before any pixel is decoded.
        first_frame: of an animated GIF, PNG, WebP or AVIF take the first frame, instead of refusing it.
        radiometry: of an infrared image: how its numbers become temperatures, if they do; the range is one in degrees
            Celsius then.
        name: what errors call the source, if not by its path.

    Returns:
        The picture. EXIF orientation is applied. Of a JPEG that also holds previews or gain maps (MPO), the first,
        main image is read.

    Raises:
        LureError: the file is missing, unreadable, damaged, too large, no such image, holds several frames, no finite
            number, floats outside [0, 1] without a range that says what they are, or numbers that cannot be
            temperatures as the radiometry says.
    """
    with name_errors(name or ("standard input" if isinstance(source, bytes) else source)):
        stored = _decode(source, max_pixels, first_frame, "ir" if channels == 1 else "vis", radiometry)
        return _picture(stored, channels, value_range or ValueRange("full"), radiometry)


def _picture(
    stored: Decoded, channels: Literal[1, 3], value_range: ValueRange, radiometry: Radiometry | None = None
) -> Picture:
    import numpy as np

    pixels, wanted = _by_depth(stored, _in_degrees(stored, value_range, radiometry if channels == 1 else None))
    resolved, mapping, invalid = resolve_range([pixels], wanted, stored.nodata, trusted=stored.celsius)
    x = apply_range(pixels, resolved)
    opacity = None if stored.alpha is None else full_range(stored.alpha)
    bits = 32 if pixels.dtype.kind == "f" else 8 * pixels.dtype.itemsize
    colour = pixels.shape[2] == 3 and bool(
        np.any(pixels[..., 0] != pixels[..., 1]) or np.any(pixels[..., 1] != pixels[..., 2])
    )
    return Picture(
        to_channels(x, channels),
        opacity,
        Metadata(stored.icc, stored.exif, stored.georeference),
        colour,
        bits,
        mapping,
        invalid,
        temperatures(pixels, resolved) if resolved.of_temperatures else None,
        stored.remark,
    )


@dataclass(frozen=True)
class PicturePair:
    """Both images of one radiometric file, each in its own size, and what else it says."""

    ir: Picture
    vis: Picture
    thermogram: Thermogram
    alignment: Alignment


def read_both(
    source: str | Path | bytes,
    ir_range: ValueRange,
    vis_range: ValueRange,
    *,
    radiometry: Radiometry | None = None,
    max_pixels: int = MAX_PIXELS,
    name: str | None = None,
) -> PicturePair:
    """Read a radiometric file as a pair: its temperatures and the photo inside.

    Raises:
        LureError: as `read_picture`; also an ordinary file, and one without a photo or without its placement.
    """
    hint = "give the visible image by --vis"
    with name_errors(name or ("standard input" if isinstance(source, bytes) else source)):
        with _opened(source) as file, refuse_damage(DAMAGED):
            thermogram = unpack(file, radiometry, max_pixels)
            exif = exif_of(file)
        if thermogram is None:
            raise LureError("no visible image is given, and none is inside: it is no radiometric file", hint)
        if thermogram.photo is None:
            raise LureError("no visible image is given, and this radiometric file holds no photo", hint)
        if thermogram.alignment is None:
            raise LureError("the file does not say where in its photo the infrared image lies", hint)
        ir = _picture(of_thermogram(thermogram, "ir", exif), 1, ir_range)
        vis = _picture(of_thermogram(thermogram, "vis", exif), 3, vis_range)
    return PicturePair(ir, vis, thermogram, thermogram.alignment)


def read_image(path: str | Path, *, channels: Literal[1, 3], max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read one still image to measure it: over its full range, and nothing that is not plain pixels.

    Args:
        path: a file as `read_picture` takes it, of at most 16 bits, unsigned.
        channels, max_pixels: as `read_picture`.

    Returns:
        float32 (H, W, channels) in [0, 1]: 8-bit values over 255, 16-bit values over 65535 (the full range, whatever
        range the sensor used). An opaque alpha channel is dropped.

    Raises:
        LureError: as `read_pixels`.
    """
    return to_channels(full_range(read_pixels(path, max_pixels=max_pixels)), channels)


def read_pixels(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read one still image: uint8 or uint16 over their full range, (H, W, 1) if grey, (H, W, 3) if colour.

    Args and what is read: as `read_image`.

    Raises:
        LureError: as `read_picture`; also transparent images and numbers of unknown range (signed, float, 32-bit).
    """
    pixels = _read_opaque(Path(path), max_pixels).over_full_range()
    if pixels.dtype not in ("uint8", "uint16"):
        raise LureError(f"{path}: numbers of unknown range ({pixels.dtype})", CONVERT)
    return pixels


def read_levels(path: Path, value_range: ValueRange, *, max_pixels: int = MAX_PIXELS) -> tuple[np.ndarray, str | None]:
    """Read one still image to measure it on the range on which it is fused.

    Args:
        path, value_range, max_pixels: as `read_picture`.

    Returns:
        (H, W, 1) if grey, (H, W, 3) if colour: uint8 or uint16 as stored where that is the full range, else mapped to
        0..65535; and then how.

    Raises:
        LureError: as `read_picture`; also transparent images.
    """
    stored = _read_opaque(path, max_pixels, value_range.modality)
    with name_errors(path):
        pixels, wanted = _by_depth(stored, _in_degrees(stored, value_range))
        resolved, mapping, _ = resolve_range([pixels], wanted, stored.nodata, trusted=stored.celsius)
    if mapping is None and pixels.dtype in ("uint8", "uint16"):
        return pixels, None
    return quantised(apply_range(pixels, resolved), 16), mapping


def read_raw(
    path: Path,
    *,
    modality: Modality | None = None,
    max_pixels: int = MAX_PIXELS,
    drop_alpha: bool = False,
    radiometry: Radiometry | None = None,
) -> np.ndarray:
    """Read one still image as it is stored, of any type of number: (H, W, 1) if grey, (H, W, 3) if colour; of a
    radiometric file the temperatures in degrees Celsius (by `radiometry`) if it is infrared, the photo if it is
    visible; else refused.

    Raises:
        LureError: as `read_picture`; also transparent images, unless their alpha is dropped.
    """
    with name_errors(path):
        stored = _decode(path, max_pixels, modality=modality, radiometry=radiometry)
        if stored.alpha is not None and not drop_alpha:
            raise LureError("has transparent pixels", FLATTEN)
    return stored.pixels


def _in_degrees(stored: Decoded, wanted: ValueRange, radiometry: Radiometry | None = None) -> ValueRange:
    """The range, of temperatures if the file's numbers are some; LureError of what only a radiometric file is told."""
    if stored.celsius:
        return replace(wanted, unit="c")
    if radiometry is None:
        return wanted
    radiometry.refuse_overrides()
    return replace(wanted, unit=radiometry.unit)


def _by_depth(stored: Decoded, wanted: ValueRange) -> tuple[np.ndarray, ValueRange]:
    """The pixels and the range to take them on: where the file says which number is white, that is their full range."""
    if stored.white is not None and fills(stored.pixels, wanted, stored.white):
        return stored.over_full_range(), ValueRange("full", modality=wanted.modality)
    return stored.pixels, wanted


def _read_opaque(path: Path, max_pixels: int, modality: Modality | None = None) -> Decoded:
    with name_errors(path):
        stored = _decode(path, max_pixels, modality=modality)
        if stored.alpha is not None:
            raise LureError("has transparent pixels", FLATTEN)
    return stored


def _decode(
    source: str | Path | bytes,
    max_pixels: int,
    first_frame: bool = False,
    modality: Modality | None = None,
    radiometry: Radiometry | None = None,
) -> Decoded:
    with _opened(source) as file:
        return decode(file, max_pixels, first_frame, modality, radiometry)


def _opened(source: str | Path | bytes) -> BinaryIO:
    return io.BytesIO(source) if isinstance(source, bytes) else open_image(Path(source))


def to_channels(x: np.ndarray, channels: Literal[1, 3]) -> np.ndarray:
    """(H, W, 1) or (H, W, 3) -> (H, W, channels): grey is replicated, colour becomes its luma (ITU-R BT.601)."""
    import numpy as np

    if x.shape[2] == channels:
        return x
    if channels == 3:
        return np.repeat(x, 3, axis=2)
    red, green, blue = x[..., :1], x[..., 1:2], x[..., 2:]
    # The weights sum to one; written as differences, equal channels give their exact value.
    luma: np.ndarray = green + np.float32(0.299) * (red - green) + np.float32(0.114) * (blue - green)
    return luma


def write_image(
    path: Path, x: np.ndarray, *, alpha: np.ndarray | None = None, metadata: Metadata | None = None, bits: int = 8
) -> None:
    """Write an image, whole or not at all; an existing file is replaced only once the new one is complete.

    A symbolic link at `path` is itself replaced by the new file, so that what it points to, which may be an input,
    stays as it is.

    Args:
        path: its suffix sets the type. Missing folders are made.
        x, alpha, metadata, bits: as `encode_image`.

    Raises:
        LureError: as `encode_image`, or the file cannot be written; no temporary file is left.
        ValueError: x or alpha has another shape or holds NaN or infinite values.
    """
    with name_errors(path):
        data = encode_image(x, path.suffix, alpha=alpha, metadata=metadata, bits=bits)
    write_file(path, data)


def encode_image(
    x: np.ndarray, suffix: str, *, alpha: np.ndarray | None = None, metadata: Metadata | None = None, bits: int = 8
) -> bytes:
    """The content of an image file.

    Args:
        x: float (H, W, 3), written as RGB, or (H, W, 1) or (H, W), written as grey. Values are clipped to [0, 1] and
            rounded, half up, to 0..255 or 0..65535.
        suffix: one of `SUFFIXES`, which sets the type: PNG, JPEG (quality 95, 4:4:4), TIFF (uncompressed), BMP, WebP
            (lossless) or JPEG 2000 (lossless).
        alpha: (H, W, 1) or (H, W), opacity in [0, 1]; rounded as x is.
        metadata: written as far as the type holds it: colour profile and EXIF into PNG, JPEG, TIFF (of 16 bits: the
            texts of the EXIF) and WebP; the georeference into TIFF. A profile for another number of channels is left
            out.
        bits: 8 or 16 per channel.

    Raises:
        LureError: the type is unknown or cannot hold this (see `check_output`), or not an image of this size.
        ValueError: x or alpha has another shape or holds NaN or infinite values.
    """
    import numpy as np

    check_output(suffix, bits, alpha is not None)
    parts = [quantised(x, bits)]
    if parts[0].shape[2] not in (1, 3):
        raise ValueError(f"expected (H, W), (H, W, 1) or (H, W, 3), got {x.shape}")
    if alpha is not None:
        parts.append(quantised(alpha, bits))
        if parts[1].shape != (*parts[0].shape[:2], 1):
            raise ValueError(f"expected an alpha of {(*parts[0].shape[:2], 1)}, got {alpha.shape}")
    pixels = np.ascontiguousarray(parts[0] if alpha is None else np.concatenate(parts, axis=2))
    notes = metadata or Metadata()
    try:
        return encode(pixels, suffix, notes.icc, notes.exif, notes.georeference)
    except Exception as error:  # encoders raise several types, for example at a size that the format cannot hold
        fault = str(error) or type(error).__name__
        hint = "check that the format allows this size, or choose .png"
        raise LureError(f"cannot be written ({fault})", hint) from error


def quantised(x: np.ndarray, bits: int) -> np.ndarray:
    """float (H, W) or (H, W, C) -> uint8 or uint16 (H, W, C)"""
    import numpy as np

    if x.ndim not in (2, 3) or 0 in x.shape:
        raise ValueError(f"expected (H, W), (H, W, 1) or (H, W, 3), got {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError("the image holds NaN or infinite values")
    y = np.clip(x.reshape(*x.shape[:2], -1), 0, 1).astype(np.promote_types(x.dtype, np.float32), copy=False)
    y = y * (2**bits - 1) + 0.5  # positive, so that the conversion rounds down
    return y.astype(np.uint8 if bits == 8 else np.uint16)
