"""`--strength`: the plain fusion at 0, the whole prompt at 1, and a steady way between the two."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lure_cli import Fuser
from lure_cli.config import ModelConfig
from lure_cli.core.images.picture import read_image
from lure_cli.core.model.lure import Lure
from lure_cli.errors import LureError
from lure_cli.tasks.inference.request import request_of
from tests.helpers.files import EXAMPLES, Outcome

Run = Callable[..., Outcome]

STREET, PAIRS = EXAMPLES / "street", EXAMPLES / "pairs"
CASES = {
    "haze": (STREET / "ir.png", STREET / "vis_hazy.png", {"prompt": "haze"}),
    "noise": (STREET / "ir_noisy.png", STREET / "vis.png", {"prompt_ir": "noise"}),
    "lowlight": (PAIRS / "ir" / "gate.png", PAIRS / "vis" / "gate.png", {"prompt": "low light"}),
    "both": (STREET / "ir_noisy.png", STREET / "vis_hazy.png", {"prompt_vis": "haze", "prompt_ir": "noise"}),
}


@pytest.fixture(scope="module")
def fuser() -> Fuser:
    return Fuser.from_pretrained("lure-small", device="cpu", dtype="fp32")


def crops(ir: Path, vis: Path) -> tuple[np.ndarray, np.ndarray]:
    part = slice(60, 236), slice(40, 280)
    return read_image(ir, channels=1)[part], read_image(vis, channels=3)[part]


@pytest.mark.parametrize("case", CASES)
def test_the_output_moves_steadily_from_plain_to_restored(case: str, fuser: Fuser) -> None:
    ir, vis, prompts = CASES[case]
    pair = crops(ir, vis)
    plain, full = fuser(*pair), fuser(*pair, **prompts)
    steps = [fuser(*pair, **prompts, strength=s) for s in (0, 0.25, 0.5, 0.75, 1, 1.5, 2)]
    assert np.array_equal(steps[0], plain)
    assert np.array_equal(steps[4], full)
    away = [float(np.sqrt(np.mean((s - plain) ** 2))) for s in steps]
    assert away == sorted(away), away
    assert all(b - a > 0.1 * away[4] for a, b in pairwise(away[:5])), away  # no jump, no standstill
    left = [float(np.sqrt(np.mean((s - full) ** 2))) for s in steps[:5]]
    assert left == sorted(left, reverse=True), left


def test_each_image_has_its_own_strength(fuser: Fuser) -> None:
    ir, vis, prompts = CASES["both"]
    pair = crops(ir, vis)
    only_vis = fuser(*pair, prompt_vis="haze")
    assert np.array_equal(fuser(*pair, **prompts, strength_ir=0), only_vis)
    assert np.array_equal(fuser(*pair, **prompts, strength=0, strength_vis=1), only_vis)
    half = fuser(*pair, **prompts, strength=0.5)
    assert np.array_equal(fuser(*pair, **prompts, strength_ir=0.5, strength_vis=0.5), half)
    assert not np.array_equal(fuser(*pair, **prompts, strength_ir=0.5), half)


def test_without_a_prompt_strength_does_nothing(fuser: Fuser) -> None:
    pair = crops(*CASES["haze"][:2])
    assert np.array_equal(fuser(*pair, strength=2), fuser(*pair))


@pytest.mark.parametrize("strength", [-0.1, 2.01, float("nan"), float("inf")])
def test_outside_of_the_range_is_refused(strength: float) -> None:
    for given in ({"strength": strength}, {"strength_ir": strength}, {"strength_vis": strength}):
        with pytest.raises(LureError, match="outside 0 to 2"):
            request_of("haze", **given)


def test_the_latent_moves_on_a_straight_line() -> None:
    torch.manual_seed(0)
    model = Lure(ModelConfig(widths=(16, 16, 16)), torch.eye(32)[0]).eval()
    for p in model.encoders["vis"].parameters():
        torch.nn.init.normal_(p, std=0.1)
    x, t = torch.rand(1, 3, 32, 32), torch.eye(32)[1:2]
    with torch.inference_mode():
        at = {s: model.encode(x, t, "vis", s) for s in (0.0, 0.5, 1.0, 2.0)}
        plain = model.encode(x, torch.eye(32)[:1], "vis")
    assert all(torch.equal(a, b) for a, b in zip(at[0.0], plain, strict=True))
    for start, half, end, beyond in zip(*at.values(), strict=True):
        assert (end - start).abs().max() > 0.01
        torch.testing.assert_close(half, (start + end) / 2)
        torch.testing.assert_close(beyond, 2 * end - start)


def test_command_line(lure: Run, examples: Path) -> None:
    pair = ["fuse", "--ir", "examples/pairs/ir/gate.png", "--vis", "examples/pairs/vis/gate.png"]
    assert lure(*pair, "-o", "plain.png").code == 0
    done = lure(*pair, "--prompt", "low light", "--strength", "0", "-o", "zero.png", "--json")
    assert json.loads(done.out)["strength"] == {"vis": 0, "ir": 0}
    assert Path("zero.png").read_bytes() == Path("plain.png").read_bytes()
    means = []
    for s in ("0.5", "1", "1.5"):
        assert lure(*pair, "--prompt", "low light", "--strength", "0", "--strength-vis", s, "-o", f"{s}.png").code == 0
        means.append(np.asarray(Image.open(f"{s}.png")).mean())
    assert means == sorted(means)
    refused = lure(*pair, "--strength-ir", "3", "-o", "no.png")
    assert refused.code == 2
    assert "error: strength 3 is outside 0 to 2" in refused.err
    assert not Path("no.png").exists()
