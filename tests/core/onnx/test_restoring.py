"""Restoring one image with the graph that fuses: the same values as the model's, and nothing of the other image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from lure_cli.core.model.lure import Lure
from lure_cli.core.onnx.graph import build_onnx
from lure_cli.core.pixels import CHANNELS, Modality
from tests.helpers.models import texts, tiny

Feed = dict[str, np.ndarray]
OUTPUT: dict[Modality, int] = {"vis": 1, "ir": 2}
ASKED: dict[Modality, str] = {"vis": "haze", "ir": "noise"}
OTHER: dict[Modality, Modality] = {"vis": "ir", "ir": "vis"}


def session(model: Lure, half: bool = False) -> Callable[[Feed], np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    data = build_onnx(model, half=half).SerializeToString()
    run = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"]).run
    return lambda feed: run(None, feed)[0]  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def model() -> Lure:
    return tiny()


@pytest.fixture(scope="module")
def run(model: Lure) -> Callable[[Feed], np.ndarray]:
    return session(model)


def picture(batch: int, modality: Modality, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height * width)
    return torch.rand((batch, CHANNELS[modality], height, width), generator=generator)


def feed_of(x: torch.Tensor, modality: Modality, text: torch.Tensor, **more: Any) -> Feed:
    """The image, what it is asked for, and a black one of 8x8 in the place of the other."""
    other = OTHER[modality]
    feed = {modality: x, f"prompt_{modality}": text, other: torch.zeros(1, CHANNELS[other], 8, 8)}
    feed |= {f"prompt_{other}": texts()} | {k: torch.as_tensor(v) for k, v in more.items()}
    return {k: v.numpy() for k, v in feed.items()} | {"output": np.array([OUTPUT[modality]])}


@torch.inference_mode()
@pytest.mark.parametrize("modality", OUTPUT)
@pytest.mark.parametrize("size", [(1, 1, 1), (1, 5, 1), (2, 33, 47), (1, 8, 8), (3, 16, 24)])
def test_any_size_and_batch(
    size: tuple[int, int, int], modality: Modality, model: Lure, run: Callable[[Feed], np.ndarray]
) -> None:
    x, plain = picture(size[0], modality, *size[1:]), texts(batch=size[0])
    asked = texts(ASKED[modality], batch=size[0])
    for t in (plain, asked):
        restored = torch.from_numpy(run(feed_of(x, modality, t)))
        expected = model.restore(x, t, modality)
        assert restored.shape == (size[0], 3, *size[1:])
        torch.testing.assert_close(restored, expected.expand_as(restored), atol=1e-5, rtol=0)
    assert (expected - model.restore(x, plain, modality)).abs().max() > 1e-3  # the prompt does something


@torch.inference_mode()
@pytest.mark.parametrize("modality", OUTPUT)
@pytest.mark.parametrize(
    "changes",
    [
        {"text_guided_attention": False},
        {"tone": False},
        {"airlight": False},
        {"inner_residual": False},
        {"expansions": (2, 1, 1), "decoder_blocks": (1, 0, 2), "encoder_blocks": (0, 2, 1)},
    ],
    ids=lambda c: "-".join(c)[:40],
)
def test_every_switch_strengths_and_parts(changes: dict[str, Any], modality: Modality) -> None:
    model = tiny(**changes)
    run, x, t = session(model), picture(1, modality, 40, 56), texts(ASKED[modality])
    for strength in (0.0, 0.6, 1.0, 1.7):
        restored = torch.from_numpy(run(feed_of(x, modality, t, **{f"strength_{modality}": [strength]})))
        expected = model.restore(x, t, modality, strength)
        torch.testing.assert_close(restored, expected.expand_as(restored), atol=1e-5, rtol=0)
    view, part = model.context_view(x), x[..., 8:32, 16:40].contiguous()
    expected = model.restore(part, t, modality, 1.0, model.condition_from(view, t, modality))
    restored = torch.from_numpy(run(feed_of(part, modality, t, **{f"thumb_{modality}": view})))
    torch.testing.assert_close(restored, expected.expand_as(restored), atol=1e-5, rtol=0)
    assert (expected - model.restore(part, t, modality)).abs().max() > 1e-6


@torch.inference_mode()
def test_grey_stays_grey(model: Lure, run: Callable[[Feed], np.ndarray]) -> None:
    """The visible image by its own planes, the infrared always."""
    x, t = picture(2, "vis", 24, 24), texts("haze", batch=2)
    x[1] = x[1, :1]
    restored = run(feed_of(x, "vis", t))
    assert (restored[1] == restored[1, :1]).all()
    assert (restored[0] != restored[0, :1]).any()
    np.testing.assert_allclose(restored, model.restore(x, t, "vis").numpy(), atol=1e-5)
    x, t = picture(1, "ir", 24, 24), texts("noise")
    for colour in (torch.zeros(1, 3, 1, 1), picture(1, "vis", 8, 16)):  # the other image, grey or not
        restored = run(feed_of(x, "ir", t) | {"vis": colour.numpy()})
        np.testing.assert_allclose(restored, model.restore(x, t, "ir").expand(1, 3, -1, -1).numpy(), atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("modality", OUTPUT)
def test_fusion_module_and_other_encoder_are_not_run(modality: Modality) -> None:
    """Were they run, what is not a number would reach the picture."""
    broken = tiny()
    for part in (broken.fusion, broken.encoders[OTHER[modality]].layers):  # type: ignore[union-attr]
        for p in part.parameters():
            p.fill_(float("nan"))
    run, x, t = session(broken), picture(1, modality, 24, 24), texts(ASKED[modality])
    assert np.isfinite(run(feed_of(x, modality, t))).all()
    feed = feed_of(x, modality, t) | {OTHER[modality]: picture(1, OTHER[modality], 24, 24).numpy()}
    assert not np.isfinite(run(feed | {"output": np.array([0])})).all()


@torch.inference_mode()
@pytest.mark.parametrize("modality", OUTPUT)
def test_half_precision_is_close(modality: Modality, model: Lure) -> None:
    x, t = picture(1, modality, 33, 47), texts(ASKED[modality])
    restored = torch.from_numpy(session(model, half=True)(feed_of(x, modality, t)))
    assert 1e-6 < (restored - model.restore(x, t, modality)).abs().max() < 1e-2
