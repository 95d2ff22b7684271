"""Publishing weights."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from lure_cli.tasks.weights.hub import download
from lure_cli.tasks.weights.record import read_record
from lure_cli.tasks.weights.repo import Repo
from tests.helpers.hub_files import NAME, Run, failed, make_model
from tests.helpers.hub_server import READ_ONLY, TOKEN, Hub


def test_push_and_get_back(hub: Hub, lure: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: bytes) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    path = tmp_path / "weights.safetensors"
    path.write_bytes(model)
    done = lure("weights", "push", path, "ann/new", "--private")
    assert done.code == 0, done.err
    repo = hub.repos["ann/new"]
    assert repo.private
    assert done.out == f"ann/new@{repo.refs['main']}\n"
    files = repo.commits[repo.refs["main"]]
    assert files["model.safetensors"] == model
    card = files["README.md"].decode()
    front = card.split("---\n")[1]
    for line in ("license: mit", "library_name: lure-cli", "pipeline_tag: image-to-image", "- image-fusion"):
        assert line in front.splitlines()
    assert "--weights ann/new" in card
    assert hashlib.sha256(model).hexdigest() in card
    assert Path(lure("weights", "download", done.out.strip()).out.strip()).read_bytes() == model
    assert lure("weights", "verify", done.out.strip()).code == 0
    shown = json.loads(lure("weights", "info", done.out.strip(), "--json").out)
    assert shown["checksum"] == "ok"
    assert shown["config"]["name"] == "tiny"
    assert shown["provenance"]["licence"] == "MIT"
    assert all(s.headers.get("authorization") is None for s in hub.seen if s.server == "storage")


def test_push_again_keeps_the_card_and_branches_are_made(
    hub: Hub, lure: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    path = tmp_path / "weights.safetensors"
    second = make_model(path, seed=1, licence="not stated")
    repo = hub.repos[NAME]
    first = repo.refs["main"]
    done = lure("weights", "push", path, NAME, "--branch", "v2", "-m", "second try")
    assert done.code == 0, done.err
    assert "--new-card" in done.err
    assert "state no licence" in done.err
    assert repo.refs["main"] == first
    files = repo.commits[repo.refs["v2"]]
    assert files["model.safetensors"] == second
    assert files["README.md"] == b"# tiny\n"
    assert read_record(download(Repo(NAME, "v2")).with_name("lure.json")).size == len(second)
    assert lure("weights", "push", path, NAME, "--new-card", "-q").code == 0
    card = repo.commits[repo.refs["main"]]["README.md"].decode()
    assert "license" not in card.split("---")[1]
    assert lure("weights", "push", path, NAME, "-q").code == 0  # nothing has changed


def test_push_refusals(hub: Hub, lure: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: bytes) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(model)
    failed(lure("weights", "push", path, "ann/new"), "needs a token", "HF_TOKEN")
    failed(lure("weights", "push", path, "new"), "no name of a repository")
    failed(lure("weights", "push", path, "ann/new@v1"), "--branch")
    failed(lure("weights", "push", "lure-text", "ann/new"), "text encoder")
    failed(lure("weights", "push", "bob/other", "ann/new"), "no such weight file")
    failed(lure("weights", "push", path, "ann/new", "--branch", "a b"), "no revision")
    assert hub.seen == []
    dry = lure("weights", "push", path, "ann/new", "--dry-run")
    assert dry.code == 0
    assert "license: mit" in dry.out
    assert hub.seen == []
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    failed(lure("weights", "push", path, NAME, "--private"), "is there already, and public")
    assert not hub.asked("commit")
    monkeypatch.setenv("HF_TOKEN", READ_ONLY)
    failed(lure("weights", "push", path, "ann/new"), "refuses this token (403)", "right to write")
    failed(lure("weights", "push", path, NAME), "refuses this token (403)")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.fail = {"POST /.*/commit/": 500}
    failed(lure("weights", "push", path, "ann/new"), "(500)")


def test_control_characters_do_not_reach_the_terminal(lure: Run, tmp_path: Path) -> None:
    make_model(tmp_path / "a.safetensors", licence="\x1b[2J\x07\nnone")
    done = lure("weights", "info", tmp_path / "a.safetensors")
    assert done.code == 0
    assert "\x1b" not in done.out
    assert r"terms: \x1b[2J\x07\nnone" in done.out
    assert "no record" in done.out
