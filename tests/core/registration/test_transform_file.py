"""Transform files: what is read back, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lure_cli.core.registration.alignment import Alignment
from lure_cli.core.registration.transform_file import KIND, LARGEST, VERSION, read_transform, write_transform
from lure_cli.errors import LureError

RIG = Alignment((0.52, 0.01, -4.0, -0.01, 0.5, 6.0), (320, 240), 0.9, (160, 128), (0.04, -0.01))


def test_a_file_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "rig.json"
    write_transform(path, RIG)
    record = json.loads(path.read_text())
    assert (record["kind"], record["version"]) == (KIND, VERSION)
    assert read_transform(path) == RIG


def test_files_from_before_versions_are_read(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text('{"matrix": [[1, 0, 2], [0, 1, 3]], "size": [320, 240], "confidence": 0.8}')
    assert read_transform(path) == Alignment((1, 0, 2, 0, 1, 3), (320, 240), 0.8)


BAD = {
    "another kind": {"kind": "something else"},
    "later version": {"version": VERSION + 1},
    "version of text": {"version": "new"},
    "no source": {"source": [0, 5]},
    "source of text": {"source": "big"},
    "endless size": {"size": [float("inf"), 3]},
    "three terms": {"distortion": [0, 0, 0]},
    "not finite": {"distortion": [float("nan"), 0]},
    "no lens": {"distortion": [-0.5, 0]},
    "size of truth": {"size": [True, True]},
    "size of parts": {"size": [320.5, 240]},
    "size beyond all images": {"size": [1 << 40, 1 << 40]},
    "confidence beyond 1": {"confidence": 3},
    "version of truth": {"version": True},
    "a speck": {"matrix": [[1e6, 0, 0], [0, 1e6, 0]]},
    "beyond all numbers": {"matrix": [[1e300, 0, 0], [0, 1e300, 0]]},
    "spread over all": {"matrix": [[1e-9, 0, 0], [0, 1e-9, 0]]},
    "sheared": {"matrix": [[0.5, 1e9, 0], [0, 0.5, 0]]},
    "far away": {"matrix": [[0.5, 0, 1e6], [0, 0.5, 0]]},
}


@pytest.mark.parametrize("change", BAD.values(), ids=BAD.keys())
def test_what_is_no_transform_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "bad.json"
    path.write_text(json.dumps({"kind": KIND, "version": VERSION} | RIG.record() | change))
    with pytest.raises(LureError, match=r"bad\.json"):
        read_transform(path)


def test_the_error_says_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "far.json"
    path.write_text(json.dumps(RIG.record() | {"matrix": [[0.5, 0, 1e6], [0, 0.5, 0]]}))
    with pytest.raises(LureError, match="beside the visible one"):
        read_transform(path)
    path.write_text('{"matrix": [[1, 0, 0], [0, 1, 0]]}')
    with pytest.raises(LureError, match="'size' is missing"):
        read_transform(path)


def test_a_telephoto_infrared_is_a_rig(tmp_path: Path) -> None:
    path = tmp_path / "tele.json"
    tele = Alignment((10.0, 0.0, -1500.0, 0.0, 10.0, -1100.0), (640, 480), source=(320, 240))
    write_transform(path, tele)
    assert read_transform(path) == tele


def test_a_later_version_asks_for_an_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "new.json"
    path.write_text(json.dumps({"version": VERSION + 1}))
    with pytest.raises(LureError) as caught:
        read_transform(path)
    assert "upgrade" in caught.value.hint


@pytest.mark.parametrize("content", [b"[" * 100_000, b" " * (LARGEST + 1), b"\xff\xfe\x00", b""])
def test_damaged_and_endless_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(LureError, match=r"bad\.json"):
        read_transform(path)
