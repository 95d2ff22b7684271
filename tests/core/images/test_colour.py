from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from lure_cli.core.images.picture import read_image, read_picture
from tests.helpers.images import profile, save


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_becomes_rgb(tmp_path: Path, suffix: str) -> None:
    flat = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    path = save(tmp_path / f"a{suffix}", Image.fromarray(flat).convert("CMYK"))
    np.testing.assert_allclose(read_image(path, channels=3) * 255, flat, atol=3)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_converted_by_its_profile(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    used = []

    def convert(image: Image.Image, source: ImageCms.ImageCmsProfile, *_: Any, **__: Any) -> Image.Image:
        used.append(source.tobytes())
        return Image.new("RGB", image.size, (1, 2, 3))

    flat = Image.fromarray(np.full((16, 16, 3), (200, 100, 50), np.uint8)).convert("CMYK")
    buffer = io.BytesIO()
    flat.save(buffer, kind, icc_profile=profile("CMYK"))
    damaged = read_picture(buffer.getvalue(), channels=3)  # it is none, but calls itself one: as without
    np.testing.assert_allclose(damaged.x[0, 0] * 255, (200, 100, 50), atol=3)
    assert damaged.metadata.icc is None
    monkeypatch.setattr(ImageCms, "profileToProfile", convert)
    picture = read_picture(buffer.getvalue(), channels=3)
    assert (picture.x[3, 3] * 255).round().tolist() == [1, 2, 3] and picture.metadata.icc is None
    assert used == [profile("CMYK")]
