"""What a hub, the network or the disk does wrong; tokens; the client's environment."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lure_cli.errors import LureError
from lure_cli.tasks.weights.hub import download
from lure_cli.tasks.weights.repo import parse_repo
from tests.helpers.files import ROOT
from tests.helpers.hub_files import NAME, PAIR, Run, failed
from tests.helpers.hub_server import READ_ONLY, TOKEN, Hub


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"repo": "ann/none"}, ["no such repository", "ann/none"]),
        ({"repo": f"{NAME}@v9"}, ["no revision 'v9'", NAME]),
        ({"private": True}, ["no such repository", "private ones need HF_TOKEN"]),
        ({"private": True, "token": "hf_wrong"}, ["no access", "that HF_TOKEN may read it"]),
        ({"gated": True}, ["on request only", "ask for it at http"]),
        ({"gated": True, "token": READ_ONLY}, ["on request only"]),
        ({"fail": {"GET /api/models": 500}}, ["(500)", "try again later"]),
        ({"fail": {"GET /api/models": 429}}, ["(429)"]),
        ({"fail": {"GET /api/models": 403}}, ["(403)"]),
        ({"fail": {"resolve/.*/model.safetensors": 500}}, ["(500)"]),
        ({"fail": {"GET /files/": 403}}, ["(403)"]),
        ({"fail": {"HEAD /.*lure.json": 404}}, ["(404)"]),
        ({"cuts": 99}, ["connection broke"]),
        ({"rewrite": {"sha": "../../etc"}}, ["does not answer as a hub"]),
        ({"rewrite": {"siblings": []}}, ["holds no lure.json", "no model of LURE"]),
        ({"rewrite": {"siblings": [{"rfilename": "lure.json", "size": 1 << 40}]}}, ["lure.json", "bytes"]),
        ({"files": {"lure.json": None}}, ["holds no lure.json"]),
        ({"files": {"model.safetensors": None}}, ["holds no model.safetensors"]),
    ],
    ids=str,
)
def test_faults(
    hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any], words: list[str]
) -> None:
    repo = hub.repos[NAME]
    repo.private, repo.gated = fault.get("private", False), fault.get("gated", False)
    hub.fail, hub.cuts, hub.rewrite = fault.get("fail", {}), fault.get("cuts", 0), fault.get("rewrite", {})
    for name in fault.get("files", {}):
        del repo.commits[repo.refs["main"]][name]
    if "token" in fault:
        monkeypatch.setenv("HF_TOKEN", fault["token"])
    repo_asked = parse_repo(fault.get("repo", NAME))
    assert repo_asked is not None
    with pytest.raises(LureError) as caught:
        download(repo_asked)
    for text in words:
        assert text in f"{caught.value.message}\n{caught.value.hint}"
    assert not list(cache.rglob("model.safetensors"))


def test_a_cut_connection_goes_on_where_it_broke(
    hub: Hub, lure: Run, model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By pieces of 10 MB as the client is set; smaller ones here. Some versions of it do so at the next call only."""
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1024)
    hub.cuts = 3
    for _ in range(1 + hub.cuts):
        done = lure("weights", "download", NAME)
        if done.code == 0:
            break
        failed(done, "connection broke", "try again")
    assert done.code == 0, done.err
    assert Path(done.out.strip()).read_bytes() == model
    starts = [s.headers.get("range", "bytes=0-") for s in hub.asked("GET /files/")]
    numbers = [int(start.removeprefix("bytes=").rstrip("-")) for start in starts]
    assert len(numbers) == 4
    assert numbers[0] == 0
    for before, after in pairwise(numbers):
        got = before + (len(model) - before) // 2
        assert got - 1024 < after <= got


def test_an_unreachable_hub(hub: Hub, lure: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    failed(lure("weights", "download", NAME), "cannot be reached", "127.0.0.1:9")
    failed(lure("fuse", *PAIR, "--weights", NAME), "cannot be reached", "127.0.0.1:9")


@pytest.mark.parametrize("address", ["", "nonsense", "ftp://a", "https://", "http://[a", "http://a:b", "/a"])
def test_endpoints_that_are_none(hub: Hub, lure: Run, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    failed(lure("weights", "download", NAME), "HF_ENDPOINT is no web address")


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "no room"), (errno.EACCES, "Permission denied")])
def test_a_cache_that_cannot_be_written(
    hub: Hub, lure: Run, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(number, os.strerror(number), "/cache/blob")

    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    failed(lure("weights", "download", NAME), words, "HF_HOME")


def test_the_token_goes_to_the_hub_alone(hub: Hub, lure: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repos[NAME].private = True
    monkeypatch.setenv("HF_TOKEN", READ_ONLY)
    done = lure("weights", "download", NAME)
    assert done.code == 0, done.err
    assert READ_ONLY not in done.err + done.out
    for seen in hub.seen:
        assert seen.headers.get("authorization") == (f"Bearer {READ_ONLY}" if seen.server == "hub" else None)
        assert "lure-cli" in seen.headers["user-agent"] or seen.server == "storage"
    assert hub.asked("GET /files/")


@pytest.mark.skipif(os.name == "nt", reason="limits the size of files as POSIX does")
def test_environment(hub: Hub, tmp_path: Path, model: bytes) -> None:
    """HF_ENDPOINT, HF_HOME, HF_TOKEN and HF_HUB_OFFLINE, in processes of their own; a full disk."""
    hub.repos[NAME].private = True
    home = tmp_path / "elsewhere"
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home),
        "HF_TOKEN": TOKEN,
        "HF_HUB_DISABLE_XET": "1",
    }
    env.pop("HF_HUB_CACHE", None)
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); "
    code = "from lure_cli.cli import main; main()"

    def run(*args: str, full: bool = False, **changes: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", (limit if full else "") + code, "weights", *args]
        return subprocess.run(command, env=env | changes, capture_output=True, text=True, check=False)

    full = run("download", NAME, full=True)
    assert full.returncode == 2
    assert "no room in the cache" in full.stderr
    assert not list(home.rglob("model.safetensors"))
    done = run("download", NAME)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(home)
    assert Path(done.stdout.strip()).read_bytes() == model
    offline = run("path", NAME, HF_HUB_OFFLINE="1", HF_ENDPOINT="http://127.0.0.1:9")
    assert offline.stdout == done.stdout
    for args in (("download", NAME), ("download", "--force", NAME)):
        missing = run(*args, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "empty"))
        assert missing.returncode == 2
        assert "not in the cache, and HF_HUB_OFFLINE forbids" in missing.stderr
    nonsense = run("download", NAME, HF_HUB_DOWNLOAD_TIMEOUT="soon")
    assert nonsense.returncode == 2
    assert nonsense.stderr.startswith("error: the hub's client cannot be imported")
