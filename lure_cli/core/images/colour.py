"""Alpha and CMYK, brought to what the model takes."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image


def opaque_value(dtype: np.dtype[Any]) -> int:
    """The alpha of an opaque pixel: the largest integer of a type, 1 of floats."""
    import numpy as np

    return int(np.iinfo(dtype).max) if dtype.kind in "iu" else 1


def cmyk_to_rgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """By the embedded profile, so that the result is sRGB; without a usable one as Pillow does it."""
    from PIL import ImageCms

    if icc and icc[16:20] == b"CMYK":
        with suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
            source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            rgb = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if rgb is not None:
                return rgb
    return image.convert("RGB")
