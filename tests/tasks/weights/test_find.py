"""What a name of weights means."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lure_cli.errors import LureError
from lure_cli.tasks.weights import find
from lure_cli.tasks.weights.find import SHIPPED, TERMS, find_weights, weights_label
from tests.helpers.hub_files import NAME, Run, files_of
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


def test_the_list_tells_sizes_arithmetic_and_terms(lure: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = {e["name"]: e for e in map(json.loads, lure("weights", "list", "--json").out.splitlines())}
    small, base = (listed[name] for name in SHIPPED)
    assert all(e["state"] == "ok" and e["terms"] == TERMS and e["seconds"] is None for e in (small, base))
    assert 15 < small["gflop_prompts"] <= 25 < base["gflop_plain"] < base["gflop_prompts"] <= 200
    assert small["parameters"] < 2e6 < 14e6 < base["parameters"]
    assert (listed["lure-text"]["gflop_plain"], listed["lure-text"]["parameters"] > 0) == (0, True)
    monkeypatch.setattr(find, "locate", lambda file, found=find.locate: None if "base" in file else found(file))
    done = lure("weights", "list")
    (line,) = (line for line in done.out.splitlines() if line.startswith("lure-base"))
    assert "missing" in line and TERMS in line
    assert "--time" in done.err
    done = lure("weights", "info", "lure-base")
    assert done.code == 2
    assert "missing" in done.err and "or use lure-small" in done.err


def test_the_list_can_time_each_model(lure: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from lure_cli.tasks.bench import glance
    from lure_cli.tasks.weights import inspect

    monkeypatch.setattr(glance, "COUNTED", (48, 64))  # the same on fewer pixels
    monkeypatch.setattr(find, "locate", lambda file, found=find.locate: None if "base" in file else found(file))
    assert inspect.COUNTED == (480, 640)
    listed = {e["name"]: e for e in map(json.loads, lure("weights", "list", "--time", "--json").out.splitlines())}
    seconds = listed["lure-small"]["seconds"]
    assert seconds["plain"] > 0 and seconds["prompts"] > 0 and seconds["dtype"] in ("float32", "bfloat16", "float16")
    assert listed["lure-base"]["seconds"] is None and listed["lure-text"]["seconds"] is None
    small, base = lure("weights", "list", "--time").out.splitlines()[1:3]
    assert small.count(" / ") == 2 and " / " not in base
