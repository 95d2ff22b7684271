"""Weights from a hub, through the real client and a hub on loopback: see hub_server.py."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lure_cli import Fuser
from lure_cli.config import ModelConfig, Provenance
from lure_cli.core.model.checkpoint import new_model, save_model, save_tensors
from lure_cli.core.text.encoders import VocabularyEncoder
from lure_cli.errors import LureError
from lure_cli.tasks.weights.find import find_weights, local_weights, resolve_weights, update_weights, weights_label
from lure_cli.tasks.weights.hub import cached, download
from lure_cli.tasks.weights.record import read_record
from lure_cli.tasks.weights.repo import Repo, parse_repo
from tests.helpers.files import EXAMPLES, ROOT, Outcome, save_png
from tests.helpers.hub_server import READ_ONLY, TOKEN, Hub, serve

Run = Callable[..., Outcome]
PAIR = ["--ir", EXAMPLES / "pairs" / "ir" / "gate.png", "--vis", EXAMPLES / "pairs" / "vis" / "gate.png"]
"""For commands that fail before they read it."""
NAME = "ann/tiny"


def make_model(path: Path, seed: int = 0, licence: str = "MIT") -> bytes:
    """A whole weight file of a few kilobytes."""
    torch.manual_seed(seed)
    text = VocabularyEncoder(16)
    sizes: dict[str, Any] = {"widths": (16, 16), "encoder_blocks": (0, 1), "refine_blocks": (0,), "text_dim": 16}
    blocks: dict[str, Any] = {"decoder_blocks": (0, 0), "fusion_blocks": (0, 0), "expansions": (1, 2)}
    model = new_model(ModelConfig(name="tiny", **sizes, **blocks, condition_dim=4), text)
    save_model(path, model, text, Provenance(stage=2, seed=seed, licence=licence), torch.float16)
    return path.read_bytes()


def record_of(content: bytes, **changes: Any) -> bytes:
    record = {"format": 1, "name": "tiny", "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return json.dumps(record | changes).encode()


def files_of(content: bytes, **changes: Any) -> dict[str, bytes]:
    return {"model.safetensors": content, "lure.json": record_of(content, **changes), "README.md": b"# tiny\n"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make_model(tmp_path_factory.mktemp("model") / "a.safetensors")


@pytest.fixture(scope="module")
def server() -> Iterator[Hub]:
    """The hub on loopback; the client's session is made anew, as it remembers proxies."""
    import huggingface_hub
    from huggingface_hub import utils

    reset = getattr(huggingface_hub, "close_session", None) or getattr(utils, "reset_sessions", None)
    with pytest.MonkeyPatch.context() as patch, serve() as server:
        for name in ("NO_PROXY", "no_proxy"):
            patch.setenv(name, "127.0.0.1,localhost")
        if reset is not None:
            reset()
        yield server


@pytest.fixture
def hub(server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: bytes) -> Hub:
    """A hub with one model, and the client turned to it, with an empty cache and no token."""
    from huggingface_hub import constants

    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    for handler in logging.getLogger("huggingface_hub").handlers:  # the stream of the test that imported it is closed
        monkeypatch.setattr(handler, "stream", sys.__stderr__)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between the client's attempts
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "home" / "token"))
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    address = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
    server.clear()
    server.add(NAME, files_of(model))
    return server


@pytest.fixture
def cache(hub: Hub, tmp_path: Path) -> Path:
    return tmp_path / "home" / "hub"


# --- getting and using ----------------------------------------------------------------------------------------------


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
    assert {e["name"]: e["commit"] for e in listed[3:]} == {NAME: second, f"{NAME}@{first[:8]}": first}
    assert "lure-small" in lure("weights", "list").out


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


# --- a hub or network that fails ------------------------------------------------------------------------------------


def failed(done: Outcome, *words: str) -> None:
    """One error, one hint, nothing on stdout."""
    lines = done.err.splitlines()
    assert done.code == 2
    assert done.out == ""
    assert [line.split(":")[0] for line in lines[-2:]] == ["error", "hint"], done.err
    assert sum(line.startswith("error:") for line in lines) == 1
    for text in words:
        assert text in done.err


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


# --- repositories that lie ------------------------------------------------------------------------------------------

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


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a/b", "org.name/re_po-1.0", "a/b@v1.0", "a/b@refs/pr/3", "a/b@" + "0" * 40])
def test_names_of_repositories(name: str) -> None:
    repo = parse_repo(name)
    assert repo is not None
    assert str(repo) == name
    assert find_weights(name) == repo


@pytest.mark.parametrize(
    "name", ["a", "a/b/c", "./a/b", "../a", "/a/b", "~/a", "a\\b", "a /b", "a/b c", "-a/b", "", "a/"]
)
def test_other_names_are_none(name: str) -> None:
    assert parse_repo(name) is None
    with pytest.raises(LureError):
        find_weights(name)


@pytest.mark.parametrize(
    "name",
    ["a/b@", "a/b@../c", "a/b@-x", "a/b@a b", "a/b@a\nb", "a/b@/x", "a/b@x/", "a--b/c", "a/..b", "a/b.git", "a/b."],
)
def test_bad_names(name: str, hub: Hub) -> None:
    for use in (resolve_weights, local_weights, update_weights):
        with pytest.raises(LureError):
            use(name)
    assert hub.seen == []


def test_what_is_here_comes_before_the_hub(
    hub: Hub, model: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ann").mkdir()
    Path(NAME).write_bytes(model)
    assert find_weights(NAME) == Path(NAME)
    Path(NAME).unlink()
    Path(NAME).mkdir()
    with pytest.raises(LureError, match=r"a folder without model.safetensors") as caught:
        find_weights(NAME)
    assert "hides" in caught.value.hint
    for name, content in files_of(model).items():
        (Path(NAME) / name).write_bytes(content)
    assert find_weights(NAME) == Path(NAME) / "model.safetensors"
    (Path(NAME) / "model.safetensors").write_bytes(model + b"\0")
    with pytest.raises(LureError, match="bytes long, but its record says"):
        find_weights(NAME)
    Path("lure-small").mkdir()
    assert isinstance(find_weights("lure-small"), Path)
    assert weights_label("ann/other@v1.0") == "ann-other@v1.0"
    assert weights_label("runs/mine.safetensors") == "mine"


# --- tokens ---------------------------------------------------------------------------------------------------------


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


# --- publishing -----------------------------------------------------------------------------------------------------


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
    assert r"licence: \x1b[2J\x07\nnone" in done.out
    assert "no record" in done.out


# --- the client's environment, which it reads when it is imported --------------------------------------------------


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
