"""NIQE and BRISQUE: values of an independent implementation given the same parameters, and properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from lure_cli.core.metrics import METRICS, brisque, columns, measure, niqe, to_grey
from lure_cli.core.metrics.baselines import guided_filter_fusion
from lure_cli.core.metrics.natural import _halved, brisque_features
from lure_cli.core.metrics.table import UNDER_NOISE
from tests.helpers.files import EXAMPLES


def picture(height: int, width: int, seed: int, channels: int = 3) -> np.ndarray:
    """Noise whose amplitude falls with the frequency as that of photographs does, uint8 (H, W, C)."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing="ij"))
    frequency[0, 0] = 1
    layers = []
    for _ in range(channels):
        x = np.fft.ifft2(np.fft.fft2(rng.normal(size=(height, width))) / frequency**1.1).real
        layers.append(128 + 45 * x / x.std())
    return np.clip(np.rint(np.stack(layers, -1)), 0, 255).astype(np.uint8)


def noisy() -> np.ndarray:
    x = picture(200, 300, 0) + np.random.default_rng(5).normal(0, 15, (200, 300, 3))
    return np.clip(np.rint(x), 0, 255).astype(np.uint8)


PYIQA = [
    (picture(200, 300, 0), 5.611535375992459, 20.585054403257686),
    (picture(193, 311, 1), 5.669450412937113, 18.619457595742006),
    (picture(240, 320, 2, 1), 6.394711582668381, 20.20576996957618),
    (noisy(), 9.214450710732358, 37.44801127595463),
]
"""What the functions `niqe` and `brisque` of pyiqa 0.1.16 give, handed the grey image and our parameters; it computes
some of the fit in single precision."""


@pytest.mark.parametrize(("image", "of_niqe", "of_brisque"), PYIQA, ids=["even", "odd", "grey", "noisy"])
def test_against_pyiqa(image: np.ndarray, of_niqe: float, of_brisque: float) -> None:
    assert niqe(image) == pytest.approx(of_niqe, rel=1e-5)
    assert brisque(image) == pytest.approx(of_brisque, rel=1e-5)


def test_halving_against_its_definition() -> None:
    """MATLAB's imresize: each half-size pixel is a weighted mean over the kernel, stretched to twice its width."""

    def cubic(x: float) -> float:
        x = abs(x)
        if x <= 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0

    x = np.random.default_rng(0).random((7, 10)) * 255
    for axis in (0, 1):
        n = x.shape[axis]
        weights = np.zeros((math.ceil(n / 2), n))
        for i in range(len(weights)):
            for k in range(-12, n + 12):
                mirrored = k % (2 * n)
                weights[i, mirrored if mirrored < n else 2 * n - 1 - mirrored] += cubic((k - (2 * i + 0.5)) / 2) / 2
        weights /= weights.sum(axis=1, keepdims=True)
        expected = np.tensordot(weights, x, (1, axis))
        other = x if axis == 0 else x.T
        got = _halved(other)
        assert got.shape == (math.ceil(x.shape[axis] / 2), math.ceil(other.shape[1] / 2))
        assert _halved(np.repeat(other[:, :1], 4, axis=1))[:, 0] == pytest.approx(expected[:, 0])


def test_what_is_undefined_is_nan() -> None:
    assert math.isnan(niqe(picture(96, 190, 0)))
    assert not math.isnan(niqe(picture(96, 192, 0)))
    flat = np.full((200, 300), 90, np.uint8)
    assert math.isnan(niqe(flat))
    assert math.isnan(brisque(flat))
    assert np.isnan(brisque_features(flat)).any()


def test_16_bits_are_the_same_picture() -> None:
    x = picture(200, 300, 3, 1)
    assert niqe(x.astype(np.uint16) * 257) == pytest.approx(niqe(x))
    assert brisque(x.astype(np.uint16) * 257) == pytest.approx(brisque(x))


def test_nothing_of_the_image_is_written_to() -> None:
    x = picture(200, 300, 0)
    x.flags.writeable = False
    assert METRICS["NIQE"].compute(x) == niqe(x)
    assert METRICS["BRISQUE"].compute(x) == brisque(x)


def test_what_is_said_about_noise_holds_on_the_examples() -> None:
    """Of an example pair fused by the guided filter, with and without noise in the visible source."""
    images = [np.asarray(Image.open(EXAMPLES / "pairs" / side / "street.png")) for side in ("ir", "vis")]
    noise = np.random.default_rng(0).normal(0, 20, images[1].shape[:2])[..., None]
    noisy_vis = np.clip(np.rint(images[1] + noise), 0, 255).astype(np.uint8)
    wanted = [c for n, c in columns().items() if n in UNDER_NOISE and c.metric.kind in ("fused", "sources")]
    values = []
    for vis in (images[1], noisy_vis):
        ir_grey, vis_grey = to_grey(images[0]), to_grey(vis)
        fused = guided_filter_fusion(ir_grey, vis_grey)
        blind = {"NIQE": niqe(fused.astype(np.uint8)), "BRISQUE": brisque(fused.astype(np.uint8))}
        values.append(measure(fused, ir_grey, vis_grey, wanted) | blind)
    assert set(UNDER_NOISE) <= set(values[0])
    sign = {name: 1 if METRICS[name].better == "higher" else -1 for name in UNDER_NOISE}
    better = {name for name in UNDER_NOISE if sign[name] * (values[1][name] - values[0][name]) > 0}
    said = {w: {n for n, u in UNDER_NOISE.items() if u.verdict.startswith(w)} for w in ("rewarded", "punished")}
    assert {"SF", "AG", "Qabf"} <= said["rewarded"] <= better
    assert {"NIQE", "SSIM", "MSE", "PSNR"} <= said["punished"] - better
    assert UNDER_NOISE["AG"].verdict == "rewarded"
    assert UNDER_NOISE["SSIM"].verdict == "punished"
    assert UNDER_NOISE["NIQE"].verdict == "punished in the visible source, mixed in the infrared"
