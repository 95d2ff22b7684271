"""PNG where Pillow does not do: its chunks, and 16-bit colour, which Pillow reads with 8 bits."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from lure_cli.core.images.formats import PNG
from lure_cli.core.images.guards import EXPORT_AGAIN
from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np

(SIGNATURE,) = PNG.signatures
_BYTES_PER_PIXEL = {2: 6, 4: 4, 6: 8}
"""Of 16 bits, by colour type: RGB, grey and alpha, RGB and alpha."""
_LONGEST_PROFILE = 1 << 25


class PngHeader(NamedTuple):
    """The content of the chunk IHDR."""

    width: int
    height: int
    depth: int
    colour: int
    compression: int
    filters: int
    interlaced: int

    @property
    def is_deep(self) -> bool:
        """Whether it has several channels of 16 bits."""
        return self.depth == 16 and self.colour in _BYTES_PER_PIXEL


def png_header(file: BinaryIO) -> PngHeader:
    """Read the header of a PNG file."""
    file.seek(16)
    return PngHeader(*struct.unpack(">IIBBBBB", file.read(13)))


def decode_deep_png(file: BinaryIO) -> np.ndarray:
    """Decode 16-bit colour or alpha: uint16 (H, W, 2 to 4).

    libpng is handed only what has been checked: the header, and pixel data of exactly the right length.
    """
    import imagecodecs

    header = png_header(file)
    row = _BYTES_PER_PIXEL[header.colour]
    length = sum(h * (1 + w * row) for w, h in _passes(header) if w and h)
    inflate = zlib.decompressobj()
    rows = b"".join(_inflated(inflate, _pixel_data(file), length))
    if len(rows) != length or not inflate.eof:
        raise LureError("the file is cut short", EXPORT_AGAIN)
    header = header._replace(compression=0, filters=0)
    parts = ((b"IHDR", struct.pack(">IIBBBBB", *header)), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b""))
    pixels: np.ndarray = imagecodecs.png_decode(SIGNATURE + b"".join(png_chunk(*part) for part in parts))
    return pixels


def _passes(header: PngHeader) -> list[tuple[int, int]]:
    """(width, height) of each pass; of one, or of the seven of Adam7."""
    if not header.interlaced:
        return [(header.width, header.height)]
    steps = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    return [(-((x - header.width) // dx), -((y - header.height) // dy)) for x, y, dx, dy in steps]


def _pixel_data(file: BinaryIO) -> Iterator[bytes]:
    """The content of the IDAT chunks, their checksums checked."""
    for kind, length in png_chunks(file):
        if kind == b"IDAT":
            data = file.read(length)
            if file.read(4) != struct.pack(">I", zlib.crc32(kind + data)):
                raise LureError("damaged: a checksum is wrong", EXPORT_AGAIN)
            yield data


def _inflated(inflate: Any, parts: Iterator[bytes], length: int) -> Iterator[bytes]:
    """At most one byte more than `length`, however much the data would swell."""
    left = length + 1
    for part in parts:
        data = inflate.decompress(part, left)
        left -= len(data)
        yield data
        if left <= 0:
            return


def png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """(kind, length) of each chunk up to the end or IEND; the file then stands at its content."""
    at = len(SIGNATURE)
    while True:
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        yield kind, length
        if kind == b"IEND":
            return
        at += 12 + length


def mended_png(file: BinaryIO) -> tuple[BinaryIO, bytes | None] | None:
    """A PNG file without the notes that Pillow may stumble over: texts and colour profiles, which may be long, and
    chunks with wrong checksums, which decoders have to pass over where the pixels do not need them. And the profile;
    None if there are no such notes.

    Raises:
        LureError: the checksum of a chunk that the pixels need is wrong.
    """
    kept, icc, mended = [SIGNATURE], None, False
    for kind, length in png_chunks(file):
        data, checksum = file.read(length), file.read(4)
        if len(checksum) < 4:  # cut short
            return None
        if checksum != struct.pack(">I", zlib.crc32(kind + data)):
            if kind[0] < 97 or kind == b"tRNS":  # an upper-case letter: critical
                raise LureError("damaged: a checksum is wrong", EXPORT_AGAIN)
            mended = True
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            mended = True
        elif kind == b"iCCP":
            icc, mended = _profile(data), True
        else:
            kept.append(struct.pack(">I", length) + kind + data + checksum)
    return (io.BytesIO(b"".join(kept)), icc) if mended else None


def _profile(data: bytes) -> bytes | None:
    """The colour profile in the content of the chunk iCCP; None if it is damaged or larger than any is."""
    inflate = zlib.decompressobj()
    try:
        icc = inflate.decompress(data.partition(b"\0")[2][1:], _LONGEST_PROFILE)
    except zlib.error:
        return None
    return icc if inflate.eof else None


def png_ends(file: BinaryIO) -> bool:
    """Whether the chunks lead to the last one, and that is whole."""
    return any(kind == b"IEND" and len(file.read(4)) == 4 for kind, _ in png_chunks(file))


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG file, with its length and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_notes(png: bytes, icc: bytes | None, exif: bytes | None) -> bytes:
    """A PNG file with a colour profile and EXIF behind its header."""
    notes = b""
    if icc is not None:
        notes += png_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc))
    if exif is not None:
        notes += png_chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
    end_of_header = len(SIGNATURE) + 12 + 13
    return png[:end_of_header] + notes + png[end_of_header:]
