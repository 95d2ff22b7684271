"""Alpha and CMYK, made what the model takes."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image


FLATTEN = "flatten the image or save it without the extra channel"


def opaque_value(dtype: np.dtype[Any]) -> int:
    import numpy as np

    return int(np.iinfo(dtype).max) if dtype.kind in "iu" else 1


def cmyk_to_rgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """By the embedded profile, so that the result is sRGB; without a usable one as Pillow does it."""
    from PIL import ImageCms

    if icc and icc[16:20] == b"CMYK":
        with suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
            source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            made = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if made is not None:
                return made
    return image.convert("RGB")
