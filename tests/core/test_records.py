"""Files of tensors with a record: what is written comes back, and what is not one of ours is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lure_cli.core.files import whole_file
from lure_cli.core.records import open_record, save_record
from lure_cli.errors import LureError

TENSORS = {"a": np.arange(6, dtype=np.float16).reshape(2, 3)}
RECORD = {"format": 2, "kind": "thing", "names": ["x", "y"]}


def read(path: Path, **changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    arguments: dict[str, Any] = {"kind": "thing", "version": 2, "what": "a thing of LURE", "hint": "get it again"}
    return open_record(path, **arguments | changes)


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "t.safetensors"
    save_record(path, TENSORS, RECORD)
    assert path.stat().st_mode & 0o777 == 0o644
    tensors, metadata = read(path)
    assert metadata == RECORD and np.array_equal(tensors["a"], TENSORS["a"])
    assert read(path, kind=None)[1] == RECORD
    save_record(path, {"a": torch.ones(2, dtype=torch.bfloat16)}, RECORD, "pt")
    assert torch.equal(read(path, framework="pt")[0]["a"], torch.ones(2, dtype=torch.bfloat16))


@pytest.mark.parametrize(
    ("record", "changes", "message"),
    [
        (RECORD, {"kind": "other"}, "not a thing of LURE"),
        ({"kind": "thing"}, {}, "not a thing of LURE"),
        (RECORD, {"version": 1}, "format 2 is newer than this version knows"),
        ({**RECORD, "format": True}, {}, "format True is newer"),
        ({**RECORD, "format": "2"}, {}, "format 2 is newer"),
        (RECORD, {"largest": 16}, "larger than 0 MiB"),
    ],
)
def test_others_are_refused(record: dict[str, Any], changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    save_record(tmp_path / "t.safetensors", TENSORS, record)
    with pytest.raises(LureError, match=message):
        read(tmp_path / "t.safetensors", **changes)


def test_no_json_and_no_file(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file(TENSORS, tmp_path / "t.safetensors", {"format": "1", "names": "[" * 100_000})
    for name, message in (("t.safetensors", "damaged or not"), ("none.safetensors", "cannot be read"), (".", "cannot")):
        with pytest.raises(LureError, match=message):
            read(tmp_path / name)


def test_what_cannot_be_written_leaves_all_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(LureError, match=r"cannot be written \(Not a directory\)|cannot be written \(File exists\)"):
        save_record(tmp_path / "file" / "t.safetensors", TENSORS, RECORD)
    old = tmp_path / "old.txt"
    old.write_text("old")
    with pytest.raises(LureError, match=r"old\.txt: cannot be written \(No space left"), whole_file(old) as temporary:
        temporary.write_text("ne")
        raise OSError(28, "No space left on device")
    with pytest.raises(KeyError), whole_file(old) as temporary:  # not of writing
        temporary.write_text("ne")
        raise KeyError
    assert old.read_text() == "old" and sorted(p.name for p in tmp_path.iterdir()) == ["file", "old.txt"]
