"""Conventions of `lure eval`: which reading of a coloured picture each one measures, from file to table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lure_cli.core import metrics
from lure_cli.core.images.picture import read_pixels
from lure_cli.tasks.evaluate.evaluate import evaluate, plan_evaluation
from lure_cli.tasks.evaluate.images import EvaluateOptions
from tests.helpers.files import EXAMPLES, Outcome

NAMES = ("EN", "EI", "SF", "MI", "RMSE", "RMSE_max", "SSIM_min", "Qcv")
STREET = EXAMPLES / "street"


@pytest.fixture
def fused(tmp_path: Path) -> Path:
    """Coloured, 640x480."""
    ir, vis = (np.asarray(Image.open(STREET / f"{n}.png").convert("RGB"), float) for n in ("ir", "vis"))
    Image.fromarray(np.clip(0.7 * vis + 0.4 * ir, 0, 255).astype(np.uint8)).save(tmp_path / "fused.png")
    return tmp_path / "fused.png"


@pytest.mark.parametrize("convention", metrics.CONVENTIONS)
def test_files_are_measured_as_the_convention_reads_them(fused: Path, convention: metrics.Convention) -> None:
    ir, vis = STREET / "ir.png", STREET / "vis.png"
    options = EvaluateOptions((("m", fused),), ir, vis, metrics=NAMES, convention=convention, jobs=1)
    [method] = evaluate(plan_evaluation(options)).methods
    pixels = [read_pixels(path) for path in (fused, ir, vis)]
    wanted = [metrics.columns()[name] for name in NAMES]
    in_grey = metrics.measure(*(metrics.to_grey(x, convention) for x in pixels), wanted, convention)
    colours = [[x[..., min(k, x.shape[2] - 1)].astype(float) for x in pixels] for k in range(3)]
    by_colour = [metrics.measure(*images, wanted, convention) for images in colours]
    for name in ("EN", "EI", "MI", "RMSE", "Qcv"):
        expected = np.mean([of[name] for of in by_colour]) if convention == "vifb" else in_grey[name]
        assert method.values[name][0] == pytest.approx(expected, rel=1e-12), name
    assert by_colour[0]["EN"] != pytest.approx(in_grey["EN"], rel=1e-4)  # colour matters here


def test_the_list_tells_what_each_convention_does(lure: Callable[..., Outcome]) -> None:
    listed = lure("eval", "--list", "--convention", "vifb").out
    assert "vifb: sum of two, Gaussian without border, data range 255" in listed
    assert "vifb: sum / ((H-1)(W-1))" not in listed
    assert "vifb: as matlab, mean of three colours" in listed
    assert "Qcv: differences that the eye sees, where the edges are\n    lower is better" in listed
