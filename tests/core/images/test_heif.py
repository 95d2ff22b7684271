from __future__ import annotations

import sys

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
