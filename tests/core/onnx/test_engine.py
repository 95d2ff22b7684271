"""A `Fuser` gives the same pictures whatever computes them: torch, or onnxruntime and numpy."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from lure_cli import Fuser
from lure_cli.config import Provenance
from lure_cli.core.model.engine import TorchEngine
from lure_cli.core.model.lure import Lure
from lure_cli.core.onnx.graph import build_onnx
from lure_cli.core.onnx.record import KEY, describe
from lure_cli.core.onnx.runtime import OnnxEngine, open_onnx
from lure_cli.core.pixels import Modality
from lure_cli.errors import LureError
from tests.helpers.models import TEXT, tiny

EXACT = {"atol": 2e-5, "rtol": 0.0}
SIZES = [(1, 1), (1, 9), (7, 1), (33, 47), (64, 64), (90, 131)]
Pair = tuple[np.ndarray, np.ndarray]


@pytest.fixture(autouse=True)
def _one_thread(_same_number_of_threads: None) -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model() -> Lure:
    return tiny()


@pytest.fixture(scope="module")
def engine(model: Lure) -> OnnxEngine:
    proto = build_onnx(model)
    record = json.dumps(describe(proto, model, TEXT, Provenance(), "fp32", ""))
    proto.metadata_props.add(key=KEY, value=record)
    return OnnxEngine(*open_onnx(proto.SerializeToString(), "tiny.onnx", "cpu")[:2])


@pytest.fixture
def by_torch(model: Lure) -> Fuser:
    return Fuser(TorchEngine(model, TEXT, torch.device("cpu"), torch.float32), Provenance())


@pytest.fixture
def by_onnx(engine: OnnxEngine) -> Fuser:
    return Fuser(engine, Provenance())


def pair(height: int, width: int, grey: bool = False, light: float = 1.0) -> Pair:
    rng = np.random.default_rng(height * width)
    ir, vis = (light * rng.random((height, width, c), np.float32) for c in (1, 3))
    return ir, vis[..., :1].repeat(3, axis=2) if grey else vis


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("tile", [0, 64])
@pytest.mark.parametrize("grey", [False, True])
def test_pairs(size: tuple[int, int], tile: int, grey: bool, by_torch: Fuser, by_onnx: Fuser) -> None:
    by_torch.tile = by_onnx.tile = tile
    images = pair(*size, grey)
    pictures = []
    for asked in (
        {},
        {"prompt": "haze, stripes"},
        {"prompt_vis": "rain", "strength": 0.4},
        {"prompt": "noise", "strength_ir": 1.7},
    ):
        expected = by_torch(*images, **asked, ir_range="full")  # type: ignore[arg-type]
        pictures.append(by_onnx(*images, **asked, ir_range="full"))  # type: ignore[arg-type]
        np.testing.assert_allclose(pictures[-1], expected, **EXACT)
        assert pictures[-1].dtype == expected.dtype == np.float32
        assert not grey or (pictures[-1] == pictures[-1][..., :1]).all()
    assert np.abs(pictures[1] - pictures[0]).max() > 1e-3  # the prompts do something


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("tile", [0, 64])
@pytest.mark.parametrize("modality", ["ir", "vis"])
def test_single_images(size: tuple[int, int], tile: int, modality: Modality, by_torch: Fuser, by_onnx: Fuser) -> None:
    by_torch.tile = by_onnx.tile = tile
    image, prompt = (pair(*size)[0], "stripes") if modality == "ir" else (pair(*size)[1], "haze")
    pictures = []
    for asked in ((None, 1.0), (prompt, 1.0), (prompt, 0.5), (prompt, 0.0)):
        expected = by_torch.restore(image, modality, *asked, "full")
        pictures.append(by_onnx.restore(image, modality, *asked, "full"))
        assert pictures[-1].shape == image.shape
        np.testing.assert_allclose(pictures[-1], expected, **EXACT)
    assert np.abs(pictures[1] - pictures[0]).max() > 1e-3
    assert np.array_equal(pictures[3], pictures[0])


@pytest.mark.parametrize("tile", [0, 64])
def test_streams(tile: int, by_torch: Fuser, by_onnx: Fuser) -> None:
    """Steady; alone the pairs give other pictures."""
    by_torch.tile = by_onnx.tile = tile
    pairs = [pair(70, 81, light=1 - 0.02 * i) for i in range(4)]

    def stream(fuser: Fuser) -> Iterator[np.ndarray]:
        return fuser.stream(*zip(*pairs, strict=True), prompt="haze, low contrast", ir_range="full")  # type: ignore[arg-type]

    for i, (a, b) in enumerate(zip(stream(by_onnx), stream(by_torch), strict=True)):
        np.testing.assert_allclose(a, b, **EXACT)
        alone = by_onnx(*pairs[i], prompt="haze, low contrast", ir_range="full")
        assert (np.abs(a - alone).max() > 1e-4) == (i > 0)


def test_batches(by_torch: Fuser, by_onnx: Fuser) -> None:
    """Tensors in, a tensor out; each with its prompt, and in tiles."""
    x_ir, x_vis = (torch.rand(3, c, 70, 90, generator=torch.Generator().manual_seed(c)) for c in (1, 3))
    x_vis[1] = x_vis[1, :1]
    for tile in (0, 64):
        by_torch.tile = by_onnx.tile = tile
        asked = {"prompt": ["haze", None, "auto"], "strength": 0.7}
        fused = by_onnx.batch(x_ir, x_vis, **asked)  # type: ignore[arg-type]
        torch.testing.assert_close(fused, by_torch.batch(x_ir, x_vis, **asked), **EXACT)  # type: ignore[arg-type]
        assert (fused[1] == fused[1, :1]).all()


def test_what_computes_has_a_name(by_torch: Fuser, by_onnx: Fuser) -> None:
    assert (by_torch.computed_by, by_onnx.computed_by) == ("torch cpu fp32", "onnxruntime cpu fp32")
    assert by_torch.device == by_onnx.device == torch.device("cpu")
    assert by_torch.dtype == by_onnx.dtype == torch.float32


def test_memory_that_does_not_last(by_torch: Fuser, by_onnx: Fuser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever says so, and however."""

    def fail(kind: type[Exception], text: str) -> None:
        raise kind(text)

    errors = [(RuntimeError, "DefaultCPUAllocator: not enough memory"), (MemoryError, "")]
    for fuser in (by_torch, by_onnx):
        for kind, text in errors if fuser is by_torch else errors[1:]:
            monkeypatch.setattr(fuser.engine.model, "context_view", lambda *_, k=kind, t=text: fail(k, t))
            fuser.tile = 64
            with pytest.raises(LureError, match="not enough memory"):
                fuser(*pair(90, 90))


def test_an_onnx_file_does_not_say_where_a_picture_comes_from(by_onnx: Fuser) -> None:
    with pytest.raises(LureError, match="do not show where a picture comes from"):
        by_onnx.provenance_map(*pair(8, 8))
