"""Weights from a hub, through the real client and a hub on loopback: see tests/helpers/hub_server.py."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lure_cli import Fuser
from lure_cli.errors import LureError
from lure_cli.tasks.weights.find import MODELS, PARTS
from lure_cli.tasks.weights.hub import cached, download
from lure_cli.tasks.weights.repo import Repo
from tests.helpers.files import save_png
from tests.helpers.hub_files import NAME, PAIR, Run, files_of, make_model
from tests.helpers.hub_server import Hub


def test_download_use_and_offline(hub: Hub, lure: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    ir, vis = (save_png(tmp_path / name, np.full((24, 32), 99, np.uint8)) for name in ("ir.png", "vis.png"))
    pair = ("--ir", ir, "--vis", vis)
    done = lure("fuse", *pair, "--weights", NAME, "-o", tmp_path / "a.png")
    assert done.code == 0, done.err
    assert f"downloading {NAME}" in done.err
    assert hub.url in done.err
    count = len(hub.seen)
    again = lure("fuse", *pair, "--weights", NAME, "-o", tmp_path / "b.png")
    assert (again.code, again.err) == (0, "")
    assert len(hub.seen) == count, "what is in the cache needs no hub"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert lure("fuse", *pair, "--weights", f"{NAME}@main", "-o", tmp_path / "c.png", "-q").err == ""
    pictures = [np.asarray(Image.open(tmp_path / f"{n}.png")) for n in "abc"]
    assert np.array_equal(pictures[0], pictures[1])
    assert np.array_equal(pictures[0], pictures[2])
    path = lure("weights", "path", NAME).out.strip()
    direct = Fuser.from_pretrained(path, device="cpu")(ir, vis)
    assert np.array_equal(Fuser.from_pretrained(NAME, device="cpu")(ir, vis), direct)


def test_quiet_says_nothing_and_the_path_is_printed(hub: Hub, lure: Run, cache: Path, model: bytes) -> None:
    assert lure("weights", "path", NAME).code == 2
    assert hub.seen == [], "path asks no hub"
    done = lure("weights", "download", "-q", NAME)
    assert (done.code, done.err) == (0, "")
    path = Path(done.out.strip())
    assert path.read_bytes() == model
    assert path.is_relative_to(cache)
    assert lure("weights", "path", NAME).out == done.out
    assert lure("weights", "download", "lure-small").out.strip().endswith("lure-small.safetensors")


def test_revisions(hub: Hub, lure: Run, tmp_path: Path) -> None:
    """A branch stays what it was until `download` is asked for the new one; tags and commits pin."""
    repo = hub.repos[NAME]
    first = repo.refs["main"]
    repo.refs["v1.0"] = first
    download(Repo(NAME))
    newer = make_model(tmp_path / "b.safetensors", seed=1)
    second = repo.commit(files_of(newer))
    assert cached(Repo(NAME)).parent.name == first
    assert lure("weights", "download", f"{NAME}@v1.0").out.strip().split(os.sep)[-2] == first
    assert lure("weights", "download", NAME).out.strip().split(os.sep)[-2] == second
    assert cached(Repo(NAME)).read_bytes() == newer
    assert cached(Repo(NAME, "v1.0")).parent.name == first
    assert cached(Repo(NAME, second)).parent.name == second
    assert cached(Repo(NAME, first[:8])) is None
    assert download(Repo(NAME, first[:8])).parent.name == first
    assert cached(Repo(NAME, first[:8])).parent.name == first
    listed = [json.loads(line) for line in lure("weights", "list", "--json").out.splitlines()]
    downloaded = {e["name"]: e["commit"] for e in listed[len(MODELS) + len(PARTS) :]}
    assert downloaded == {NAME: second, f"{NAME}@{first[:8]}": first}
    assert listed[-1]["terms"] == "MIT" and listed[-1]["parameters"] > 0


def test_a_bad_new_commit_does_not_replace_the_good_one(hub: Hub, model: bytes) -> None:
    good = download(Repo(NAME))
    hub.repos[NAME].commit(files_of(model, sha256="0" * 64))
    with pytest.raises(LureError, match="checksum"):
        download(Repo(NAME))
    assert cached(Repo(NAME)) == good


@pytest.mark.parametrize("link", [True, False], ids=["blob", "file"])
def test_a_changed_file_in_the_cache_is_refused_until_it_is_got_again(
    hub: Hub, lure: Run, tmp_path: Path, model: bytes, link: bool
) -> None:
    path = download(Repo(NAME))
    for bad, words in ((model[:-1] + bytes([model[-1] ^ 1]), "checksum"), (b"\x80\x04pickle", "8 bytes")):
        if not link:
            path.unlink()
        path.write_bytes(bad)
        for command in (
            ("fuse", *PAIR, "-o", tmp_path / "x.png", "--weights", NAME),
            ("fuse", *PAIR, "-o", tmp_path / "x.png", "--weights", path),
            ("weights", "path", NAME),
            ("weights", "info", NAME),
            ("weights", "download", NAME),
        ):
            done = lure(*command)
            assert done.code == 2
            assert [line.split(":")[0] for line in done.err.splitlines()[-2:]] == ["error", "hint"]
            assert words in done.err
            assert str(path) in done.err
        assert lure("weights", "verify", NAME).code == 1
        assert f"lure weights download --force {NAME}" in lure("weights", "verify").err
        assert not (tmp_path / "x.png").exists()
        assert lure("weights", "download", "--force", NAME).code == 0
        assert path.read_bytes() == model
    assert lure("weights", "verify", NAME).out == f"{NAME}: ok\n"


def test_a_changed_record_is_refused(hub: Hub, lure: Run) -> None:
    path = download(Repo(NAME))
    path.with_name("lure.json").write_bytes(b"{}")
    assert "no record of weights" in lure("weights", "path", NAME).err
    assert lure("weights", "download", "--force", NAME).code == 0
    assert cached(Repo(NAME)) == path


def test_half_a_model_in_the_cache_is_completed(hub: Hub) -> None:
    path = download(Repo(NAME))
    path.unlink()
    assert cached(Repo(NAME)) is None
    assert download(Repo(NAME)) == path
