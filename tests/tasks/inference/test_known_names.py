"""Weights that were trained before a degradation had its name: prompts with it are refused, `auto` leaves it out."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lure_cli import Fuser
from lure_cli.config import Provenance
from lure_cli.core.model.checkpoint import load_model, load_tensors, save_model, save_tensors
from lure_cli.core.text.vocabulary import ALL, FIRST, Finding, Prompt
from lure_cli.errors import LureError
from lure_cli.tasks.inference.loading import known_degradations
from lure_cli.tasks.inference.request import Request
from lure_cli.tasks.inference.stream import fuse_stream
from tests.helpers.files import Outcome
from tests.helpers.models import TEXT, tiny

Run = Callable[..., Outcome]
PAIR = ["--ir", "examples/pairs/ir/gate.png", "--vis", "examples/pairs/vis/gate.png"]


def weights(path: Path, *names: str) -> Path:
    save_model(path, tiny(), TEXT, Provenance(stage=2, degradations=names), torch.float16)
    return path


@pytest.fixture
def old(examples: Path) -> Path:
    """As files were written before they said what they know."""
    path = examples / "old.safetensors"
    tensors, metadata = load_tensors(weights(path))
    del metadata["degradations"]
    save_tensors(path, tensors, metadata)
    return path


@pytest.fixture
def new(examples: Path) -> Path:
    return weights(examples / "new.safetensors", *ALL)


def test_what_a_file_says(old: Path, new: Path, tmp_path: Path) -> None:
    for path, names in ((old, FIRST), (new, ALL)):
        assert load_model(path)[2].degradations == known_degradations(path) == names
        assert Fuser.from_pretrained(path).degradations == names
    assert load_tensors(new)[1]["degradations"] == list(ALL)
    foreign = weights(tmp_path / "newer.safetensors", "snow", "sandstorm", "haze")  # of a version to come
    assert load_model(foreign)[2].degradations == ("haze", "snow")
    tensors, metadata = load_tensors(old)
    save_tensors(tmp_path / "bad.safetensors", tensors, metadata | {"degradations": "snow"})
    with pytest.raises(LureError, match="is no list"):
        load_model(tmp_path / "bad.safetensors")
    assert known_degradations(tmp_path / "bad.safetensors") == FIRST  # loading it will tell


@pytest.mark.parametrize("prompt", ["snow", "haze and snow", "stripes in the infrared and snow in the visible image"])
def test_refused_before_any_work(prompt: str, old: Path, new: Path, lure: Run) -> None:
    for command in (["fuse", *PAIR, "--prompt", prompt], ["restore", *PAIR[2:], "--prompt", "heavy snow"]):
        done = lure(*command, "--weights", old, "-o", "out.png")
        assert done.code == 2
        assert f"error: the weights {old} do not know 'snow'" in done.err
        assert "hint: say 'rain' instead, or give newer weights" in done.err
        assert not Path("out.png").exists()
    assert lure("fuse", *PAIR, "--prompt", prompt, "--weights", new, "-o", "out.png").code == 0
    assert lure("fuse", *PAIR, "--prompt", "rain", "--weights", old, "-o", "out.png", "--overwrite").code == 0


def test_a_file_of_prompts_is_looked_through(old: Path, lure: Run) -> None:
    Path("p.csv").write_text("stem,prompt\ndrone,haze\ngate,blizzard\nstreet,\n")
    folders = ["--ir", "examples/pairs/ir", "--vis", "examples/pairs/vis", "-o", "out"]
    done = lure("fuse", *folders, "--prompt-file", "p.csv", "--weights", old)
    assert (done.code, "do not know 'snow'" in done.err) == (2, True)
    assert not Path("out").exists()


def test_in_python(old: Path) -> None:
    fuser = Fuser.from_pretrained(old)
    pair = np.full((16, 16), 0.5), np.full((16, 16, 3), 0.5)
    for call in (
        lambda: fuser(*pair, prompt="snow"),
        lambda: fuser.restore(pair[1], "vis", prompt="snow"),
        lambda: fuser.fuse(*pair, Prompt(("snow",))),
        lambda: fuser.batch(torch.rand(2, 1, 16, 16), torch.rand(2, 3, 16, 16), prompt=[None, "snow"]),
        lambda: list(fuser.stream([pair[0]], [pair[1]], prompt="snow")),
    ):
        with pytest.raises(LureError, match="these weights do not know 'snow'"):
            call()


class Snowfall:
    """In the place of the detector: sees snow and rain in every visible image."""

    def detect(self, x: np.ndarray, modality: str) -> tuple[Finding, ...]:
        return tuple(Finding(n, 0.9, 0.5) for n in ("rain", "snow")) if modality == "vis" else ()


def test_auto_leaves_it_out_with_a_note(old: Path, new: Path, lure: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lure_cli.tasks.detect.shipped_detector", Snowfall)
    command = ["fuse", *PAIR, "--prompt", "auto", "--json", "--overwrite"]
    done = lure(*command, "--weights", old, "-o", "auto.png")
    record = json.loads(done.out)
    assert record["prompt"] == {"vis": ["rain"], "ir": []}
    assert [f["degradation"] for f in record["detected"]["vis"]] == ["rain", "snow"]
    (note,) = record["notes"]
    assert "snow was found in the visible image, but these weights were not trained on it" in note
    assert f"note: {note}" in done.err
    told = lure("fuse", *PAIR, "--prompt", "rain", "--weights", old, "-o", "rain.png")
    assert (told.code, Path("auto.png").read_bytes()) == (0, Path("rain.png").read_bytes())
    record = json.loads(lure(*command, "--weights", new, "-o", "auto.png").out)
    assert (record["prompt"]["vis"], "notes" in record) == (["rain", "snow"], False)
    with pytest.warns(UserWarning, match="snow was found in the visible image"):
        Fuser.from_pretrained(old)(PAIR[1], PAIR[3], prompt="auto")
    with pytest.warns(UserWarning, match="snow was found in the visible image") as caught:
        Fuser.from_pretrained(old).batch(torch.rand(1, 1, 16, 16), torch.rand(1, 3, 16, 16), prompt="auto")
    assert caught[0].filename == __file__  # of who called, not of the package


def test_auto_in_streams(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lure_cli.tasks.detect.shipped_detector", Snowfall)
    pairs: list[Any] = [(np.full((16, 16), 0.5), np.full((16, 16, 3), 0.5), None)] * 4
    frames = list(fuse_stream(Fuser.from_pretrained(old), pairs, Request(auto=("vis",)), 1))
    assert {f.prompt for f in frames} == {Prompt(("rain",))}
    assert [f.degradation for f in frames[0].findings["vis"]] == ["rain", "snow"]


def test_clips_note_it_once(old: Path, lure: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.helpers.clips import make_clip

    monkeypatch.setattr("lure_cli.tasks.detect.shipped_detector", Snowfall)
    make_clip(Path("ir.mkv"), 4)
    make_clip(Path("vis.mkv"), 4)
    done = lure("fuse", "--ir", "ir.mkv", "--vis", "vis.mkv", "--prompt", "auto", "--weights", old, "-o", "out.mkv")
    assert done.code == 0, done.err
    assert done.err.count("snow was found in the visible image") == 1


def test_onnx_files_know_what_their_model_knows(old: Path, new: Path, lure: Run) -> None:
    pytest.importorskip("onnxruntime")
    for source, known in ((old, FIRST), (new, ALL)):
        file = source.with_suffix(".onnx")
        assert lure("export", "onnx", "--weights", source, "-o", file).code == 0
        assert set(known_degradations(file)) == set(known)
        record = json.loads(file.with_suffix(".prompts.json").read_text())
        assert ("snow" in record["degradations"]["vis"]) == ("snow" in known)
        assert len(record["prompts"]["vis"]) == 2 ** len(record["degradations"]["vis"])
        done = lure("fuse", *PAIR, "--prompt", "snow", "--weights", file, "-o", f"{file.stem}.png")
        assert (done.code, Path(f"{file.stem}.png").exists()) == ((0, True) if "snow" in known else (2, False))


def test_benches_take_snow_and_ask_first(old: Path, new: Path, lure: Run) -> None:
    for side, name in (("ir", "ir"), ("vi", "vis")):
        for case in ("clean", "snow"):
            Path("cases", case, side).mkdir(parents=True)
            shutil.copy(f"examples/pairs/{name}/gate.png", Path("cases", case, side, "a.png"))
    Path("cases/cases.json").write_text('{"clean": "", "snow": "snow"}')
    for side in ("degraded", "clean"):
        shutil.copytree("cases/clean/vi", f"data/restoration/visible/snow/A/test/{side}")
    for command in (["fusion", "cases"], ["restore", "data"]):
        done = lure("bench", *command, "--weights", old, "--json")
        assert (done.code, "error: the weights old do not know 'snow'" in done.err) == (2, True)
        done = lure("bench", *command, "--weights", new, "--json")
        assert done.code == 0, done.err
        assert "snow" in done.out


def test_the_names_are_shown(old: Path, new: Path, lure: Run) -> None:
    listed = "degradations: " + ", ".join(FIRST)
    assert f"{listed}\n" in lure("weights", "info", old).out
    assert f"{listed}, snow\n" in lure("weights", "info", new).out
    assert json.loads(lure("weights", "info", new, "--json").out)["degradations"] == list(ALL)


def test_joined_weights_know_what_the_encoders_know(examples: Path) -> None:
    from lure_cli.tasks.weights.merge import MergeOptions, merge

    model = tiny(trained=False)
    for name, names in (("all", ALL), ("first", FIRST), ("few", ("haze", "noise", "stripe"))):
        save_model(Path(name), model, TEXT, Provenance(stage=1, degradations=names), torch.float16)
    for vis, ir, known in (
        ("all", "all", ALL),
        ("first", "all", FIRST),
        ("all", "first", ALL),  # the infrared cannot have snow
        ("all", "few", tuple(n for n in ALL if n not in ("blur", "lowres", "lowcontrast"))),
        ("few", "first", ("haze", "noise", "lowcontrast", "stripe")),
    ):
        merge(MergeOptions(vis, ir, "few", Path("joined.safetensors"), overwrite=True))
        assert load_model(Path("joined.safetensors"))[2].degradations == known


def test_nothing_else_changes_in_a_record(new: Path) -> None:
    """The names stand beside the provenance, where older versions pass them over."""
    _, metadata = load_tensors(new)
    assert metadata["provenance"].keys() == {f.name for f in dataclasses.fields(Provenance)} - {"degradations"}
