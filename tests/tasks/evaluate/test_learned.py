"""Metrics whose models are not shipped: pyiqa's through a module that stands for it, and what is said without them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lure_cli.core.metrics import Column
from lure_cli.errors import LureError
from lure_cli.tasks.evaluate import learned
from lure_cli.tasks.evaluate.columns import find_columns
from lure_cli.tasks.evaluate.evaluate import evaluate, plan_evaluation
from lure_cli.tasks.evaluate.images import EvaluateOptions
from tests.helpers.files import EXAMPLES

PAIRS = EXAMPLES / "pairs"


class Judge:
    """A metric of pyiqa's: the mean of an image, or of its difference to the reference."""

    def __init__(self, mode: str, lower: bool) -> None:
        self.metric_mode, self.lower_better = mode, lower

    def __call__(self, image: Any, reference: Any = None) -> Any:
        assert image.shape[:2] == (1, 3)
        assert image.min() >= 0
        assert image.max() <= 1
        return (image if reference is None else image - reference).abs().mean()[None, None]


@pytest.fixture
def pyiqa(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of that name with three metrics; one cannot be downloaded."""
    module: Any = ModuleType("pyiqa")
    judges = {"bright": Judge("NR", False), "far": Judge("FR", True), "odd": Judge("FID", True)}
    module.list_models = lambda: [*judges, "away"]
    module.create_metric = lambda name, device: judges[name]
    monkeypatch.setitem(sys.modules, "pyiqa", module)
    learned._pyiqa.cache_clear()
    yield module
    learned._pyiqa.cache_clear()


def columns(*names: str, reference: bool = False) -> tuple[Column, ...]:
    return find_columns(names, reference=reference)


def test_metrics_of_pyiqa_measure_what_is_stored(pyiqa: ModuleType) -> None:
    options = EvaluateOptions(
        (("vis", PAIRS / "vis"),), metrics=("pyiqa:bright", "pyiqa:far"), reference=PAIRS / "ir", jobs=1
    )
    result = evaluate(plan_evaluation(options))
    assert [(c.name, c.better) for c in result.columns] == [("pyiqa:bright", "higher"), ("pyiqa:far", "lower")]
    for i, files in enumerate(result.images):
        vis, ir = (np.asarray(Image.open(PAIRS / s / f"{files.name}.png")) / 255 for s in ("vis", "ir"))
        assert result.methods[0].values["pyiqa:bright"][i] == pytest.approx(vis.mean(), abs=1e-6)
        assert result.methods[0].values["pyiqa:far"][i] == pytest.approx(np.abs(vis - ir[..., None]).mean(), abs=1e-6)


def test_what_pyiqa_cannot_do_is_said(pyiqa: ModuleType) -> None:
    with pytest.raises(LureError, match="pyiqa:far compares with a reference"):
        columns("pyiqa:far")
    with pytest.raises(LureError, match="pyiqa has no metric 'brigth'") as caught:
        columns("pyiqa:brigth")
    assert "bright" in caught.value.hint
    with pytest.raises(LureError, match="judges neither"):
        columns("pyiqa:odd")
    with pytest.raises(LureError, match="pyiqa:away cannot be loaded"):
        columns("pyiqa:away")


def test_without_pyiqa(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(LureError, match="pyiqa cannot be imported") as caught:
        columns("pyiqa:musiq")
    assert "non-commercial" in caught.value.hint


def test_without_clip_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    import open_clip

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(open_clip, "create_model", refuse)
    learned._clip.cache_clear()
    with pytest.raises(LureError, match=r"CLIP-IQA's model RN50-quickgelu/openai .* cannot be had") as caught:
        columns("CLIP-IQA")
    assert "download" in caught.value.hint


def test_clip_iqa_goes_through_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learned, "_clip", lambda: ("model", "tokenizer"))
    monkeypatch.setattr("lure_cli.core.metrics.clip_iqa", lambda image, *clip: float(image.mean()) + len(clip))
    options = EvaluateOptions((("vis", PAIRS / "vis"),), metrics=("clip_iqa", "NIQE"), jobs=1)
    result = evaluate(plan_evaluation(options))
    means = [np.asarray(Image.open(PAIRS / "vis" / f"{files.name}.png")).mean() + 2 for files in result.images]
    assert result.methods[0].values["CLIP-IQA"] == pytest.approx(means)


def test_the_list_loads_no_model(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from lure_cli.tasks.evaluate.columns import explain\n"
        "assert any(entry['name'] == 'CLIP-IQA' for entry in explain('cddfuse'))\n"
        "assert not {'torch', 'open_clip', 'pyiqa', 'skimage'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
