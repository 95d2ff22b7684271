"""What a name of weights means."""

from __future__ import annotations

from pathlib import Path

import pytest

from lure_cli.errors import LureError
from lure_cli.tasks.weights.find import find_weights, weights_label
from tests.helpers.hub_files import NAME, files_of
from tests.helpers.hub_server import Hub


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
