"""Metrics: what OpenCV, Haghighat's FMI and torchmetrics say, images without contrast on a 16-bit scale, tensors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from lure_cli.core import metrics
from lure_cli.core.metrics import CONVENTIONS, METRICS
from lure_cli.core.metrics.baselines import BASELINES
from tests.helpers.files import EXAMPLES

Triple = tuple[np.ndarray, np.ndarray, np.ndarray]


def triple(name: str = "gate", baseline: str = "laplacian") -> Triple:
    """fused, ir, vis of an example pair, 320x240."""
    ir, vis = (metrics.to_grey(np.asarray(Image.open(EXAMPLES / "pairs" / s / f"{name}.png"))) for s in ("ir", "vis"))
    return BASELINES[baseline](ir, vis), ir, vis


@pytest.mark.parametrize(
    ("rgb", "grey"),
    [
        ((188, 2, 1), 58),  # 57.5 exactly; so is 127.5 etc. below
        ((194, 118, 2), 127),
        ((25, 209, 3), 131),
        ((143, 101, 4), 102),
        ((27, 211, 5), 132),
        ((97, 199, 6), 146),
        ((29, 213, 7), 134),
        ((25, 99, 8), 66),
    ],
)
def test_halves_fall_as_in_opencv(rgb: tuple[int, int, int], grey: int) -> None:
    """np.round of cv2.cvtColor of float32 BGR, opencv-python 4.11 and 5.0 on x86-64."""
    assert metrics.to_grey(np.full((1, 1, 3), rgb, np.uint8))[0, 0] == grey


def haghighat(x: np.ndarray, f: np.ndarray) -> float:
    """FMI of one source, window by window, after the description in Haghighat and Razian's Fast-FMI.

    Nine values, column by column, stretched to 0..1 and divided by their sum, are a distribution over the places 1..9.
    Their joint one is phi * B + (1 - phi) * (product of the two), B being the Frechet bound, upper for a correlation
    c >= 0 of the two, else lower, and phi = c / (the correlation of the places under B). Nothing keeps phi below 1: a
    cell of the mixture may be negative, and its -p log2 p is then taken without its imaginary part.
    """
    values = []
    for i in range(x.shape[0] - 2):
        for j in range(x.shape[1] - 2):
            w = [z[i : i + 3, j : j + 3].ravel(order="F") for z in (x, f)]
            if np.array_equal(*w):
                values.append(1.0)
                continue
            p, q = (np.full(9, 1 / 9) if np.ptp(v) == 0 else (v - v.min()) / (v - v.min()).sum() for v in w)
            c = 0.0 if np.ptp(p) == 0 or np.ptp(q) == 0 else float(np.corrcoef(p, q)[0, 1])
            k = np.arange(1, 10)
            sp, sq = (math.sqrt(max((k * k * v).sum() - (k * v).sum() ** 2, 0)) for v in (p, q))
            cp, cq = np.cumsum(p)[:, None], np.cumsum(q)[None]
            bound = np.minimum(cp, cq) if c >= 0 else np.maximum(cp + cq - 1, 0)
            phi = c * sp * sq / (bound - cp * cq).sum() if c and sp and sq else 0.0
            mass = np.diff(np.diff(np.pad(bound, ((1, 0), (1, 0))), axis=0), axis=1)
            joint = phi * mass + (1 - phi) * np.outer(p, q)
            h_p, h_q, h = (-sum(v * math.log2(abs(v)) for v in z.ravel() if v) for z in (p, q, joint))
            values.append(2 * (h_p + h_q - h) / (h_p + h_q) if h_p + h_q else 0.0)
    return float(np.mean(values))


@pytest.mark.parametrize(("name", "top", "left"), [("street", 100, 150), ("gate", 40, 60), ("drone", 150, 200)])
def test_fmi_is_haghighats(name: str, top: int, left: int) -> None:
    f, a, b = (x[top : top + 24, left : left + 31] for x in triple(name))
    expected = [haghighat(x, f) for x in (a, b)]
    assert metrics.feature_mutual_information(f, a, b) == pytest.approx((sum(expected) / 2, *expected), rel=1e-9)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("level", [100, 1000, 12345, 23456, 30001, 51413, 65535])
def test_no_correlation_with_a_constant_image_of_16_bits(level: int) -> None:
    """Their mean is not always their level to the last bit; what is left is no contrast."""
    flat = metrics.to_grey(np.full((48, 64), level, np.uint16))
    a, b = (np.random.default_rng(k).uniform(0, 255, (48, 64)) for k in (0, 1))
    assert all(math.isnan(v) for v in metrics.correlation(flat, a, b))
    assert all(math.isnan(v) for v in metrics.sum_of_correlations_of_differences(a, flat, flat))
    deep = np.random.default_rng(2).integers(0, 65536 - level + 1, (48, 64)).astype(np.uint16)
    shifted = metrics.to_grey((deep + level - 1).astype(np.uint16))  # a source plus a constant
    assert math.isnan(metrics.sum_of_correlations_of_differences(shifted, a, metrics.to_grey(deep)).ir)


def test_zoo_vif_of_constant_sources() -> None:
    """Zero padding gives the frame of a constant source contrast; only a black one has none."""
    f = triple()[0]
    assert math.isfinite(metrics.visual_information_fidelity(f, f * 0 + 9, f * 0 + 9, "zoo").both)
    assert all(math.isnan(v) for v in metrics.visual_information_fidelity(f, f * 0, f * 0, "zoo"))


def test_black_fused_image_has_no_peak() -> None:
    f, a, b = triple()
    assert metrics.peak_signal_to_noise(f * 0, a, b).both == -math.inf
    assert math.isnan(metrics.peak_signal_to_noise(f * 0, a * 0, b).ir)


def test_against_torchmetrics() -> None:
    import torch

    image = pytest.importorskip("torchmetrics.functional.image")
    f, a, _ = triple()
    x, y = (torch.from_numpy(z)[None, None] for z in (f, a))
    options = {"sigma": 1.5, "kernel_size": 11}  # torchmetrics averages over the reflected border too, 5 pixels wide
    _, local = image.structural_similarity_index_measure(x, y, data_range=1.0, return_full_image=True, **options)
    theirs = float(local[..., 5:-5, 5:-5].mean())
    assert metrics.structural_similarity(f, a, a, "zoo").ir == pytest.approx(theirs, rel=1e-9)
    theirs = float(image.multiscale_structural_similarity_index_measure(x, y, data_range=255.0, **options))
    for _ in range(4):
        x, y = (torch.nn.functional.avg_pool2d(z, 2) for z in (x, y))
    whole, local = image.structural_similarity_index_measure(x, y, data_range=255.0, return_full_image=True, **options)
    theirs *= float(local[..., 5:-5, 5:-5].mean() / whole) ** 0.1333  # only its last scale counts the border
    assert metrics.multiscale_structural_similarity(f, a, a).ir == pytest.approx(theirs, rel=1e-7)  # weights: float32
    x, y = (torch.from_numpy(z)[None, None] for z in (f, a))
    theirs = float(image.peak_signal_noise_ratio(x, y, data_range=255.0))
    assert metrics.reference_psnr(f.astype(np.uint8), a.astype(np.uint8)) == pytest.approx(theirs)
    theirs = float(image.peak_signal_noise_ratio(x, y, data_range=(0.0, float(f.max()))))
    assert metrics.peak_signal_to_noise(f, a, a).ir == pytest.approx(theirs)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_tensors_in_every_metric_and_convention(convention: metrics.Convention) -> None:
    import torch

    images = [x[:180, :180] for x in triple()]
    wanted = [c for c in metrics.columns().values() if c.metric.kind != "reference"]
    of_tensors = metrics.measure(*map(torch.from_numpy, images), wanted, convention)
    assert of_tensors == metrics.measure(*images, wanted, convention)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_every_kind_of_value_at_every_small_size(convention: metrics.Convention) -> None:
    rng = np.random.default_rng(0)
    # FMI has its own tests and costs most of the time
    wanted = [c for c in metrics.columns().values() if c.metric.kind != "reference" and c.metric.name != "FMI"]
    for size in [(1, 1), (1, 2), (2, 1), (2, 3), (3, 3), (7, 6), (7, 7), (10, 11), (11, 12), (40, 41), (41, 43)]:
        flat = np.full(size, 9.0)
        noise = [rng.integers(0, 256, size).astype(float) for _ in range(3)]
        black = 0 * flat
        for images in (noise, [flat] * 3, [flat, *noise[:2]], [noise[0], flat, flat], [black, *noise[:2]], [black] * 3):
            for name, value in metrics.measure(*images, wanted, convention).items():
                assert isinstance(value, float), (size, name)
                assert not math.isinf(value) or METRICS[name.split("_")[0]].name == "PSNR", (size, name)
