"""A file of any known type -> its pixels as they are stored, alpha apart. Each type's own reader stands in a module of
its own; sizes are checked in the header, before a decoder takes memory for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from lure_cli.core.images.colour import opaque_value
from lure_cli.core.images.formats import HEIF, JPEG, JPEGXL, PNM, TIFF, identify
from lure_cli.core.images.guards import refuse_damage
from lure_cli.core.images.heif import decode_heif
from lure_cli.core.images.jpegxl import decode_jpegxl
from lure_cli.core.images.pillow import decode_pillow, exif_of
from lure_cli.core.images.pnm import decode_pnm
from lure_cli.core.images.stored import Georeference, RawPicture
from lure_cli.core.images.tiff import decode_tiff
from lure_cli.core.thermal.flir import Thermogram, unpack
from lure_cli.core.thermal.makers import closed_maker, closed_note
from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np

    from lure_cli.core.pixels import Modality
    from lure_cli.core.thermal.radiometry import Radiometry


_DECODERS: dict[str, Callable[[BinaryIO, int], RawPicture]] = {
    TIFF.name: decode_tiff,
    PNM.name: decode_pnm,
    HEIF.name: decode_heif,
    JPEGXL.name: decode_jpegxl,
}
"""Of the types that Pillow does not open."""


@dataclass(frozen=True)
class Decoded:
    """A still image, upright.

    Attributes:
        pixels: (H, W, 1) if grey, (H, W, 3) if colour; any integer or float type, in the machine's byte order.
        alpha: (H, W, 1) of the same type; None if there is none or all of it is opaque.
        icc, exif, georeference, nodata, white: as `RawPicture`.
        celsius: whether the pixels are temperatures, in degrees Celsius; NaN where there is none.
        remark: what is to be known of how a radiometric file was taken.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    icc: bytes | None
    exif: bytes | None
    georeference: Georeference | None = None
    nodata: float | None = None
    white: int | None = None
    celsius: bool = False
    remark: str | None = None

    def over_full_range(self) -> np.ndarray:
        """The pixels, stretched to the whole range of their type where the file's depth is less."""
        return self.pixels if self.white is None else stretched(self.pixels, self.white)


def stretched(numbers: np.ndarray, white: int) -> np.ndarray:
    """Unsigned integers of 0 to `white` -> of the same type, over its whole range, rounded."""
    import numpy as np

    most = np.iinfo(numbers.dtype).max
    table = (np.arange(most + 1, dtype=np.int64).clip(max=white) * most + white // 2) // white
    return table.astype(numbers.dtype)[numbers]


def decode(
    file: BinaryIO,
    max_pixels: int,
    first_frame: bool = False,
    modality: Modality | None = None,
    radiometry: Radiometry | None = None,
) -> Decoded:
    """Decode a file, of an animated one the first frame if that is wanted; its content says which type it is.

    Args:
        file, max_pixels, first_frame: see above.
        modality: what is wanted of a radiometric file: `ir`, its temperatures, or `vis`, the photo inside; never its
            coloured rendering. None: nothing, as grey levels are wanted, and it is refused.
        radiometry: how temperatures are computed.

    Raises:
        LureError: no image, too large, several frames, numbers that are not understood, damaged, or too large for the
            memory; a radiometric file without a photo, if that is wanted; without the file's name.
    """
    import numpy as np

    with refuse_damage("damaged or cut short, it cannot be decoded"):
        file_format = identify(file)
        thermogram = unpack(file, radiometry, max_pixels) if file_format is JPEG else None
        if thermogram is not None:
            return of_thermogram(thermogram, modality, exif_of(file))
        maker = closed_maker(file) if file_format is JPEG and modality == "ir" else None
        decoder = _DECODERS.get(file_format.name)
        raw = decoder(file, max_pixels) if decoder else decode_pillow(file, file_format, max_pixels, first_frame)
        pixels = raw.pixels.reshape(*raw.pixels.shape[:2], -1)
        pixels, alpha = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("=")), None
        if pixels.shape[2] in (2, 4):
            pixels, alpha = np.ascontiguousarray(pixels[..., :-1]), pixels[..., -1:]
            if raw.white is not None:
                alpha = stretched(alpha, raw.white)
            if (alpha == opaque_value(alpha.dtype)).all():
                alpha = None
    remark = None if maker is None else closed_note(maker)
    return Decoded(pixels, alpha, raw.icc, raw.exif, raw.georeference, raw.nodata, raw.white, remark=remark)


def of_thermogram(thermogram: Thermogram, modality: Modality | None, exif: bytes | None) -> Decoded:
    """What is wanted of a radiometric file; see `decode`."""
    if modality == "ir":
        return Decoded(thermogram.celsius[..., None], None, None, exif, celsius=True)
    if modality is None:
        raise LureError(
            "a radiometric file holds temperatures, but grey levels are wanted here",
            "use what lure fuse or lure restore makes of it",
        )
    if thermogram.photo is None:
        raise LureError(
            "a radiometric file without a photo inside, it holds no visible image",
            "give it to --ir, and a photo to --vis",
        )
    return Decoded(thermogram.photo, None, None, exif, remark="a radiometric file: the photo inside it is taken")
