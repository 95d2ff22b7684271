"""Records that lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lure_cli import Fuser
from lure_cli.core.model.checkpoint import save_tensors
from lure_cli.errors import LureError
from lure_cli.tasks.weights.hub import download
from lure_cli.tasks.weights.repo import Repo
from tests.helpers.hub_files import NAME, PAIR, Run, failed, files_of, record_of
from tests.helpers.hub_server import Hub

LIES: dict[str, tuple[bytes | dict[str, Any], str]] = {
    "no json": (b"\x80\x04", "not JSON"),
    "not a record": (b"[1]", "no record"),
    "nested": (b"[" * 100_000, "not JSON"),
    "endless number": (b'{"format": ' + b"9" * 100_000 + b"}", "not JSON"),
    "huge": (b" " * (1 << 20) + b"{}", "bytes"),
    "newer": ({"format": 2}, "upgrade lure-cli"),
    "far newer": ({"format": 10**400}, "upgrade lure-cli"),
    "format true": ({"format": True}, "no record"),
    "format text": ({"format": "1"}, "no record"),
    "format minus": ({"format": -1}, "no record"),
    "bytes text": ({"bytes": "12"}, "no record"),
    "bytes negative": ({"bytes": -1}, "no record"),
    "bytes giant": ({"bytes": 1 << 60}, "no record"),
    "bytes other": ({"bytes": 12}, "but its lure.json says 12"),
    "digest path": ({"sha256": "../../../etc/passwd"}, "no record"),
    "digest other": ({"sha256": "0" * 64}, "checksum"),
    "name missing": ({"name": None}, "no record"),
}


@pytest.mark.parametrize("case", LIES)
def test_records_that_lie(hub: Hub, model: bytes, case: str) -> None:
    lie, words = LIES[case]
    hub.repos[NAME].commit({"lure.json": record_of(model, **lie) if isinstance(lie, dict) else lie})
    for get in (lambda: download(Repo(NAME)), lambda: Fuser.from_pretrained(NAME)):
        with pytest.raises(LureError) as caught:
            get()
        assert words in f"{caught.value.message}\n{caught.value.hint}"


def test_a_record_cannot_point_elsewhere(hub: Hub, model: bytes) -> None:
    hub.repos[NAME].commit({"lure.json": record_of(model, file="../../../../outside")})
    assert download(Repo(NAME)).name == "model.safetensors"
    assert not hub.asked("outside")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x80\x04\x95pickled", "damaged or not a safetensors"),
        (b"\xff" * 64, "damaged or not a safetensors"),
        ("newer", "newer than this version knows"),
        ("state", "training state"),
        ("foreign", "not a LURE weight file"),
        ("cut", "damaged"),
    ],
    ids=lambda x: x if isinstance(x, str) else x[:3].hex(),
)
def test_files_that_are_as_recorded_but_no_models(
    hub: Hub, lure: Run, tmp_path: Path, model: bytes, content: bytes | str, words: str
) -> None:
    path = tmp_path / "a.safetensors"
    if content == "newer":
        save_tensors(path, {"a": torch.zeros(1)}, {"format": 99, "kind": "model"})
    elif content == "state":
        save_tensors(path, {"a": torch.zeros(1)}, {"format": 1, "kind": "state"})
    elif content == "foreign":
        from safetensors.torch import save_file

        save_file({"a": torch.zeros(1)}, path)
    else:
        path.write_bytes(model[:-8] if isinstance(content, str) else content)
    hub.add("ann/bad", files_of(path.read_bytes()))
    failed(lure("fuse", *PAIR, "--weights", "ann/bad", "-o", tmp_path / "x.png", "-q"), words)
    assert lure("weights", "verify", "ann/bad").code == 1
    failed(lure("weights", "push", path, "ann/new"), words)
    assert not hub.asked("POST")
