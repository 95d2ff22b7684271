from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from lure_cli.core.images.picture import read_picture
from lure_cli.errors import LureError


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"msf1"])
def test_heif_without_its_package_says_what_to_install(brand: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(LureError, match="pi-heif") as caught:
        read_picture(b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1heic", channels=3)
    assert "lure-cli[heif]" in caught.value.hint


def test_damaged_heif() -> None:
    pytest.importorskip("pi_heif")
    with pytest.raises(LureError, match="damaged"):
        read_picture(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50), channels=3)


def test_ten_bits_are_kept_over_the_range_of_their_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = np.linspace(0, 1023, 4 * 6 * 3).round().astype(np.uint16).reshape(4, 6, 3)

    class Decoded:
        """What pi-heif gives of a file of 10 bits."""

        size, mode, has_alpha, premultiplied_alpha = (6, 4), "RGB;10", False, False
        info: ClassVar = {"bit_depth": 10}

        def __array__(self, *_args: object, **_more: object) -> np.ndarray:
            return numbers

    monkeypatch.setitem(sys.modules, "pi_heif", SimpleNamespace(open_heif=lambda *_args, **_more: Decoded()))
    x = read_picture(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50), channels=3).x
    np.testing.assert_allclose(x, numbers / 1023, atol=1e-4)
