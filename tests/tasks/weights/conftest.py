"""A hub on loopback with one model, and the real client turned to it: see tests/helpers/hub_server.py."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.hub_files import NAME, files_of, make_model
from tests.helpers.hub_server import Hub, serve


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
