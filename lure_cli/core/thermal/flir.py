"""Radiometric JPEGs of FLIR: the sensor's raw numbers, a photo of the same moment, and where one lies in the other.

The data stand in APP1 segments that begin with `FLIR\\0`; joined, they are one block with a directory of records
(https://exiftool.org/TagNames/FLIR.html). Sizes are checked here; then flyr, which knows the records, gets a file of
nothing but what was checked. Whatever is damaged raises an exception of any type: `core.images` says it in words.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from lure_cli.core.registration.alignment import Alignment
from lure_cli.core.thermal.radiometry import ZERO_CELSIUS, Radiometry
from lure_cli.core.thermal.segments import EXIF, app_segments
from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np

_FLIR, _PNG = b"FLIR\0", b"\x89PNG"
_RAW, _PHOTO, _CAMERA, _PLACEMENT = 1, 14, 32, 42
"""Types of records."""
_PIXELS_AT = 32
"""Where in the records of raw numbers and photo the pixels begin; their width and height stand before."""
_CHUNK = 65000
"""Bytes of a FLIR segment as it is written for flyr."""
_MAX_RAW = 1 << 23
"""Most pixels of a sensor; the largest of today have 3 million."""
_COPY = "copy the file from the camera again; some programs cut these data"


class Placement(NamedTuple):
    """Where the infrared lies in the photo: how much more the photo sees than the infrared, in width; and by how many
    pixels of the photo the infrared's centre lies right of and below the photo's."""

    ratio: float
    x: int
    y: int


@dataclass(frozen=True)
class Thermogram:
    """What a radiometric file holds.

    Attributes:
        celsius: degrees Celsius, float32 (H, W); NaN where the raw numbers give no temperature.
        photo: uint8 (H, W, 3), RGB; None if there is none.
        alignment: where each pixel of the photo lies in `celsius`, by the factory; None without photo or placement.
        placement: what the file says of that; None if it says nothing (or nothing that can be).
        make, model, date: of the camera and the picture; empty if the file does not say.
        emissivity, reflected, distance, atmosphere, humidity: what the temperatures are computed with: 0 to 1, degrees
            Celsius, metres, degrees Celsius, 0 to 1.
    """

    celsius: np.ndarray
    photo: np.ndarray | None
    alignment: Alignment | None
    placement: Placement | None
    make: str
    model: str
    date: str
    emissivity: float
    reflected: float
    distance: float
    atmosphere: float
    humidity: float

    @property
    def camera(self) -> str:
        """Make and model, as 'FLIR Systems AB Flir b60'; empty if the file does not say."""
        return " ".join(filter(None, (self.make, self.model)))


class Sizes(NamedTuple):
    """(width, height) of the raw numbers and of the photo, by their headers; None: there is no photo."""

    raw: tuple[int, int]
    photo: tuple[int, int] | None


class _Block(NamedTuple):
    """The FLIR data of a file: type of record -> its content; and its EXIF segment."""

    records: Mapping[int, bytes]
    exif: bytes


def sizes(file: BinaryIO) -> Sizes | None:
    """What a radiometric JPEG holds; None if the file is none. A FLIR JPEG without raw numbers is an ordinary JPEG.

    Raises:
        LureError: its FLIR data are damaged; without the file's name. Other exceptions: as the module says.
    """
    block = _read_block(file)
    if block is None:
        return None
    photo = block.records.get(_PHOTO)
    return Sizes(_size(block.records[_RAW]), None if photo is None else _size(photo))


def unpack(file: BinaryIO, radiometry: Radiometry | None, max_pixels: int) -> Thermogram | None:
    """Read a radiometric JPEG; None if the file is none.

    Args:
        file: at any place.
        radiometry: what is to be used instead of what the file says.
        max_pixels: larger images inside are refused from their headers.

    Raises:
        LureError: as `sizes`; also what is too large, flyr is missing, or settings of the user leave no temperature.
            Other exceptions: as the module says.
    """
    block = _read_block(file)
    if block is None:
        return None
    records = _checked(block.records, max_pixels)
    flyr = _require_flyr()
    import numpy as np

    thermogram = flyr.unpack(io.BytesIO(_file_of(records, block.exif)))
    radiometry = radiometry or Radiometry()
    changes = {"emissivity": radiometry.emissivity, "object_distance": radiometry.distance}
    if radiometry.reflected is not None:
        changes["reflected_apparent_temperature"] = radiometry.reflected + ZERO_CELSIUS
    thermogram.adjust_metadata(True, **{name: value for name, value in changes.items() if value is not None})
    with np.errstate(all="ignore"):
        celsius = thermogram.celsius.astype(np.float32)
    celsius[~np.isfinite(celsius)] = np.nan
    if any(value is not None for value in changes.values()) and np.isnan(celsius).all():
        raise LureError(
            "no pixel has a temperature with the emissivity, reflected temperature and distance that are given",
            "check --emissivity, --reflected and --distance",
        )
    photo, placement, settings = thermogram.optical, _placement(thermogram.pip_info), thermogram.metadata
    if photo is None and _PHOTO in records:
        raise LureError("the photo inside it is damaged", _COPY)
    if photo is not None:
        photo = _as_rgb(photo, is_png=records[_PHOTO].startswith(_PNG, _PIXELS_AT))
    alignment = None
    if photo is not None and placement is not None:
        alignment = _alignment(celsius.shape, photo.shape, placement)
        if not alignment.overlaps:
            alignment = placement = None
    return Thermogram(
        celsius,
        photo,
        alignment,
        placement,
        *_camera(thermogram.camera_metadata),
        emissivity=settings["emissivity"],
        reflected=settings["reflected_apparent_temperature"] - ZERO_CELSIUS,
        distance=settings["object_distance"],
        atmosphere=settings["atmospheric_temperature"] - ZERO_CELSIUS,
        humidity=settings["relative_humidity"],
    )


def _placement(info: Any) -> Placement | None:
    if info is None or not 0.1 <= info.real_to_ir <= 10:
        return None
    return Placement(info.real_to_ir, info.offset_x, info.offset_y)


def _alignment(raw: tuple[int, ...], photo: tuple[int, ...], placement: Placement) -> Alignment:
    """The infrared covers 1 / ratio of the photo's width, around its centre and the offset."""
    (h, w), (height, width) = raw[:2], photo[:2]
    scale = w * placement.ratio / width  # pixels of the infrared for one of the photo
    x = (0.5 - width / 2 - placement.x) * scale + w / 2 - 0.5
    y = (0.5 - height / 2 - placement.y) * scale + h / 2 - 0.5
    return Alignment((scale, 0.0, x, 0.0, scale, y), (width, height), source=(w, h))


def _as_rgb(photo: np.ndarray, *, is_png: bool) -> np.ndarray:
    """The photo as flyr gives it -> (H, W, 3) RGB. The three planes of a PNG are Y, Cb and Cr, although it says RGB."""
    import numpy as np
    from PIL import Image

    image = Image.fromarray(photo)
    if is_png and image.mode == "RGB":
        image = Image.merge("YCbCr", image.split())
    return np.asarray(image.convert("RGB"))


def _camera(metadata: Any) -> tuple[str, str, str]:
    date = metadata.date_time
    return metadata.make or "", metadata.model or "", date.isoformat(" ") if date is not None else ""


# --- the file --------------------------------------------------------------------------------------------------------


def _broken() -> LureError:
    return LureError("its FLIR data are damaged or cut short", _COPY)


def _read_block(file: BinaryIO) -> _Block | None:
    """The records of a JPEG with raw numbers; None if it is no JPEG, or has none."""
    chunks: dict[int, bytes] = {}
    exif, last = b"", 0
    for number, content in app_segments(file):
        if number != 1:
            continue
        if content.startswith(EXIF) and not exif:
            exif = content
        elif content.startswith(_FLIR) and len(content) > 8:
            place, last = content[6], content[7]
            if place in chunks:
                raise _broken()
            chunks[place] = content[8:]
    if not chunks:
        return None
    if sorted(chunks) != list(range(last + 1)):
        raise _broken()
    records = _records(b"".join(chunks[place] for place in sorted(chunks)))
    return _Block(records, exif) if _RAW in records else None


def _records(block: bytes) -> dict[int, bytes]:
    """The records of a block, by their type."""
    if block[:4] not in (b"FFF\0", b"AFF\0") or len(block) < 64:
        raise _broken()
    at, count = struct.unpack_from(">II", block, 24)
    records: dict[int, bytes] = {}
    for place in range(at, min(at + 32 * count, len(block) - 31), 32):
        kind, start, length = struct.unpack_from(">H10xII", block, place)
        if kind and kind not in records:
            if start + length > len(block):
                raise _broken()
            records[kind] = block[start : start + length]
    return records


def _size(record: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", record, 2)
    return width, height


def _checked(records: Mapping[int, bytes], max_pixels: int) -> dict[int, bytes]:
    """What flyr is to read; LureError if it would not fit the memory, or is not what its header says."""
    if _CAMERA not in records:
        raise _broken()
    kept = {kind: records[kind] for kind in (_RAW, _CAMERA, _PHOTO, _PLACEMENT) if kind in records}
    for kind, what in ((_RAW, "thermal image"), (_PHOTO, "photo")):
        if kind not in kept:
            continue
        width, height = _size(kept[kind])
        pixels = kept[kind][_PIXELS_AT:]
        if width * height == 0 or (kind == _RAW and width * height > _MAX_RAW):
            raise _broken()
        if width * height > max_pixels:
            raise LureError(
                f"its {what} of {width} x {height} is over the limit of {max_pixels} pixels",
                "check that the file is whole, or give a larger --max-pixels",
            )
        if kind == _RAW and not pixels.startswith(_PNG):
            if len(pixels) < 2 * width * height:
                raise _broken()
        elif _size_of_image(pixels) != (width, height):
            raise _broken()
    return kept


def _size_of_image(data: bytes) -> tuple[int, int]:
    """(width, height) of a PNG or JPEG, from its header."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
            size: tuple[int, int] = image.size
    except Exception as error:  # Pillow raises several types
        raise _broken() from error
    return size


def _file_of(records: Mapping[int, bytes], exif: bytes) -> bytes:
    """A small JPEG of these records and notes, as flyr reads it: it takes the header for the first two entries of the
    directory."""
    from PIL import Image

    start = 64 + 32 * (len(records) + 2)
    directory, content = b"", b""
    for kind, record in records.items():
        directory += struct.pack(">HHIIII12x", kind, 1, 100, 1, start + len(content), len(record))
        content += record + bytes(32)
    header = struct.pack(">4s16xIIII28x", b"FFF\0", 100, 64, len(records) + 2, 2)
    block = header + directory.ljust(start - 64, b"\0") + content
    parts = [block[i : i + _CHUNK] for i in range(0, len(block), _CHUNK)]
    bodies = [exif] if exif else []
    bodies += [_FLIR + bytes((1, number, len(parts) - 1)) + part for number, part in enumerate(parts)]
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body for body in bodies)
    buffer = io.BytesIO()
    Image.new("L", (1, 1)).save(buffer, "JPEG")
    return b"\xff\xd8" + segments + buffer.getvalue()[2:]


def _require_flyr() -> Any:
    """The flyr module; LureError with what to install where it is missing."""
    try:
        import flyr
    except ImportError as error:
        raise LureError(
            "radiometric files need flyr, which is not installed", 'pip install "lure-cli[thermal]"'
        ) from error
    return flyr
