"""Metrics: published values, an independent plain implementation, other libraries, cases by hand, properties.

`python tests/test_metrics.py` writes the project's own golden values (tests/golden/metrics.json) anew.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lure_cli.core import metrics
from lure_cli.core.metrics import CONVENTIONS, METRICS, Convention, Scores
from lure_cli.core.metrics.baselines import BASELINES
from tests.helpers import naive_metrics
from tests.helpers.files import EXAMPLES, ROOT, SHARED

GOLDEN = ROOT / "tests" / "golden" / "metrics.json"
PUBLISHED = SHARED / "golden"
ALL = [c for c in metrics.columns().values() if c.metric.kind in ("fused", "sources")]
TWELVE = "EN SD SF AG MI MSE PSNR CC SCD VIF Qabf SSIM".split()

Triple = tuple[np.ndarray, np.ndarray, np.ndarray]


@functools.cache
def triple(name: str = "gate", baseline: str = "laplacian") -> Triple:
    """fused, ir, vis of an example pair, 320x240; not to be written to."""
    ir, vis = (metrics.to_grey(np.asarray(Image.open(EXAMPLES / "pairs" / s / f"{name}.png"))) for s in ("ir", "vis"))
    images = BASELINES[baseline](ir, vis), ir, vis
    for x in images:
        x.flags.writeable = False
    return images


def measured(images: Triple, convention: Convention = "cddfuse") -> dict[str, float]:
    return metrics.measure(*images, ALL, convention)


@functools.cache
def measured_triple(name: str, convention: Convention = "cddfuse") -> dict[str, float]:
    return measured(triple(name), convention)


def own_golden() -> dict[str, dict[str, dict[str, float | None]]]:
    return {
        convention: {
            name: {k: v if math.isfinite(v) else None for k, v in measured_triple(name, convention).items()}
            for name in ("drone", "gate", "street")
        }
        for convention in CONVENTIONS
    }


# --- published values ------------------------------------------------------------------------------------------------


def published() -> list[Any]:
    if not PUBLISHED.is_dir():
        return [pytest.param({}, id="none")]
    entries = json.loads((PUBLISHED / "golden.json").read_text())["triples"]
    return [pytest.param(entry, id=entry["tag"]) for entry in entries]


RENAMED = {"MI_bits": "MI", "MSE_01": "MSE", "PSNR_plus48": "PSNR", "VIF_sum": "VIF", "MEF_MS_SSIM": "MS-SSIM"}
SINGLE_PRECISION = {"VIF": 1e-4, "SSIM": 2e-3, "MS-SSIM": 1e-3}
"""IVIF_ZOO computes in single precision, which these three, unstabilised as they are there, show; we in double."""


@pytest.mark.shared
@pytest.mark.parametrize("convention", ["cddfuse", "matlab", "zoo"])
@pytest.mark.parametrize("entry", published())
def test_published_values(entry: dict[str, Any], convention: Convention) -> None:
    f, a, b = (np.asarray(Image.open(PUBLISHED / f"{entry['tag']}_{k}.png"), float) for k in ("fused", "ir", "vis"))
    values, compared = measured((f, a, b), convention), 0
    for name, expected in entry[convention].items():
        if isinstance(expected, str):  # the evaluator itself gave up
            continue
        name = RENAMED.get(name, name).replace("MS_", "MS-")
        within = SINGLE_PRECISION.get(name, 1e-6) if convention == "zoo" else 1e-6
        assert values[name] == pytest.approx(expected, rel=within), name
        compared += 1
    assert compared >= 11


def test_own_golden_values() -> None:
    kept = json.loads(GOLDEN.read_text())
    for convention, names in own_golden().items():
        for name, values in names.items():
            for column, value in values.items():
                assert value == pytest.approx(kept[convention][name][column], rel=1e-7), (convention, name, column)


# --- independent implementations -------------------------------------------------------------------------------------


@pytest.mark.parametrize("floor", ["laplacian", "maximum", "guided-filter"])
@pytest.mark.parametrize("size", [(240, 320), (61, 47), (42, 128)])
def test_the_twelve_against_the_plain_way(floor: str, size: tuple[int, int]) -> None:
    f, a, b = (x[: size[0], -size[1] :] for x in triple("street", floor))
    sobel = naive_metrics.loops if size[0] < 100 else naive_metrics.vectorised
    values = metrics.measure(f, a, b, [metrics.columns()[name] for name in TWELVE])
    assert values == pytest.approx(naive_metrics.measure(f, a, b, sobel), rel=1e-8)


def test_plain_filters_agree() -> None:
    x = triple()[0][:20, :30]
    kernel = np.arange(9.0).reshape(3, 3)
    assert np.allclose(naive_metrics.loops(x, kernel), naive_metrics.vectorised(x, kernel))


def test_mutual_information_against_scikit_learn() -> None:
    learn = pytest.importorskip("sklearn.metrics")
    f, a, b = triple()
    expected = [learn.mutual_info_score(x.ravel(), f.ravel()) for x in (a, b)]
    scores = metrics.mutual_information(f, a, b)
    assert scores == pytest.approx((sum(expected), *expected))
    normalised = [learn.normalized_mutual_info_score(x.ravel(), f.ravel()) for x in (a, b)]  # arithmetic mean
    assert metrics.normalised_mutual_information(f, a, b) == pytest.approx((sum(normalised), *normalised))


def test_entropy_against_scikit_image() -> None:
    from skimage.measure import shannon_entropy

    f = triple()[0]
    assert metrics.entropy(f) == pytest.approx(shannon_entropy(f))
    assert metrics.entropy(f, "zoo") == pytest.approx(shannon_entropy(f), rel=1e-4)


def test_ssim_of_each_convention_against_scikit_image() -> None:
    from skimage.metrics import structural_similarity

    f, a, _ = triple()
    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    assert metrics.structural_similarity(f, a, a).ir == pytest.approx(structural_similarity(f, a, data_range=255))
    of_zoo = structural_similarity(f, a, data_range=1, **gaussian)  # crops what does not fit
    assert metrics.structural_similarity(f, a, a, "zoo").ir == pytest.approx(of_zoo)
    padded = [np.pad(x, 5, mode="edge") for x in (f, a)]  # so that only the replicated border is cropped
    of_matlab = structural_similarity(*padded, data_range=1, **gaussian)
    assert metrics.structural_similarity(f, a, a, "matlab").ir == pytest.approx(of_matlab)


def test_ms_ssim_against_scikit_image_scale_by_scale() -> None:
    """With an endless K1 the luminance factor is 1, which leaves the contrast and structure of a scale."""
    from skimage.metrics import structural_similarity

    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    f, a, _ = triple()
    x, y, expected = f[:, :319], a[:, :319], 1.0
    weights = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    for scale, weight in enumerate(weights):
        expected *= structural_similarity(x, y, K1=0.01 if scale == 4 else 1e9, **gaussian) ** weight
        x, y = (z[: z.shape[0] // 2 * 2, : z.shape[1] // 2 * 2] for z in (x, y))
        x, y = (z.reshape(z.shape[0] // 2, 2, z.shape[1] // 2, 2).mean((1, 3)) for z in (x, y))
    assert metrics.multiscale_structural_similarity(f[:, :319], a[:, :319], a[:, :319]).ir == pytest.approx(expected)


def test_vif_against_torchmetrics() -> None:
    import torch

    functional = pytest.importorskip("torchmetrics.functional.image")
    f, a, _ = triple()
    x, y = (torch.tensor(z)[None, None] for z in (f, a))
    theirs = float(functional.visual_information_fidelity(x, y))
    assert metrics.visual_information_fidelity(f, a, a).ir == pytest.approx(theirs, rel=1e-4)


def test_references_against_scikit_image() -> None:
    from skimage.color import deltaE_ciede2000, rgb2lab
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    x, y = (np.asarray(Image.open(EXAMPLES / "street" / f"{n}.png")) for n in ("vis_hazy", "vis"))
    assert metrics.reference_psnr(x, y) == pytest.approx(peak_signal_noise_ratio(y, x))
    assert metrics.reference_ssim(x, y) == pytest.approx(structural_similarity(y, x, channel_axis=2))
    assert metrics.ciede2000(x, y) == pytest.approx(deltaE_ciede2000(rgb2lab(y), rgb2lab(x)).mean())
    assert math.isnan(metrics.ciede2000(x[..., 0], y))
    assert metrics.reference_psnr(x, x) == math.inf
    grey = metrics.to_grey(y)
    assert metrics.reference_psnr(x[..., 0], y) == pytest.approx(
        peak_signal_noise_ratio(grey, x[..., 0], data_range=255)
    )


def fmi_by_loops(x: np.ndarray, f: np.ndarray) -> float:
    """Window by window, cell by cell."""

    def h(p: np.ndarray) -> float:
        return -sum(v * math.log2(abs(v)) for v in p.ravel() if v)

    values = []
    for i in range(x.shape[0] - 2):
        for j in range(x.shape[1] - 2):
            w = [z[i : i + 3, j : j + 3].ravel(order="F") for z in (x, f)]
            if np.array_equal(*w):
                values.append(1.0)
                continue
            p, q = (np.ones(9) / 9 if np.ptp(v) == 0 else (v - v.min()) / (v - v.min()).sum() for v in w)
            k = np.arange(1, 10)
            sp, sq = (math.sqrt(max((k * k * v).sum() - (k * v).sum() ** 2, 0)) for v in (p, q))
            rho = 0.0 if np.ptp(p) == 0 or np.ptp(q) == 0 else float(np.corrcoef(p, q)[0, 1])
            cp, cq = np.cumsum(p), np.cumsum(q)

            def bound(s: int, t: int, cp: np.ndarray = cp, cq: np.ndarray = cq, rho: float = rho) -> float:
                if s < 0 or t < 0:
                    return 0.0
                return min(cp[s], cq[t]) if rho >= 0 else max(cp[s] + cq[t] - 1, 0)

            cov = sum(bound(s, t) - cp[s] * cq[t] for s in range(9) for t in range(9))
            mix = rho * sp * sq / cov if cov else 0.0
            cells = np.empty((9, 9))
            for s in range(9):
                for t in range(9):
                    extreme = bound(s, t) - bound(s - 1, t) - bound(s, t - 1) + bound(s - 1, t - 1)
                    cells[s, t] = mix * extreme + (1 - mix) * p[s] * q[t]
            values.append(2 * (h(p) + h(q) - h(cells)) / (h(p) + h(q)) if h(p) + h(q) else 0.0)
    return float(np.mean(values))


def test_fmi_against_loops() -> None:
    f, a, b = (x[100:112, 150:166] for x in triple("street"))
    expected = [fmi_by_loops(x, f) for x in (a, b)]
    assert metrics.feature_mutual_information(f, a, b) == pytest.approx((sum(expected) / 2, *expected), rel=1e-6)


def test_qcb_against_direct_convolution() -> None:
    from scipy.signal import convolve2d

    images = [x[60:115, 90:151] for x in triple("street")]
    h, w = images[0].shape
    v, u = np.meshgrid(np.fft.fftfreq(h) * 2 * h / 30, np.fft.fftfreq(w) * 2 * w / 30, indexing="ij")
    seen = np.exp(-(u**2 + v**2) / 15.3870**2) - 0.7622 * np.exp(-(u**2 + v**2) / 1.3456**2)
    y, x = np.mgrid[-15:16, -15:16]
    near, far = (np.exp(-(x**2 + y**2) / (2 * s**2)) / (2 * np.pi * s**2) for s in (2, 4))
    c = []
    for z in images:
        z = np.fft.ifft2(np.fft.fft2((z - z.min()) / np.ptp(z)) * seen).real
        k = np.abs(convolve2d(z, near, "same") / convolve2d(z, far, "same") - 1)
        c.append(k**3 / (k**2 + 1e-4))
    q = [np.minimum(k, c[0]) / np.maximum(k, c[0]) for k in c[1:]]
    share = c[1] ** 2 / (c[1] ** 2 + c[2] ** 2)
    expected = (np.mean(share * q[0] + (1 - share) * q[1]), q[0].mean(), q[1].mean())
    assert metrics.contrast_preservation(*images) == pytest.approx(expected, rel=1e-6)


def test_qy_against_direct_convolution() -> None:
    from scipy.signal import convolve2d

    y, x = np.mgrid[-3:4, -3:4]
    window = np.exp(-(x**2 + y**2) / 4.5)
    window /= window.sum()

    def smooth(z: np.ndarray) -> np.ndarray:
        return convolve2d(z, window, "valid")

    def variance(z: np.ndarray) -> np.ndarray:
        return smooth(z * z) - smooth(z) ** 2

    def similarity(p: np.ndarray, q: np.ndarray) -> np.ndarray:
        m, n = smooth(p), smooth(q)
        return 4 * m * n * (smooth(p * q) - m * n) / ((m**2 + n**2) * (variance(p) + variance(q)))

    rng = np.random.default_rng(0)
    f, a, b = (rng.uniform(0, 255, (30, 40)) for _ in range(3))
    b[:, :20] = a[:, :20] + rng.normal(0, 2, (30, 20))  # alike on the left
    share = variance(a) / (variance(a) + variance(b))
    of_a, of_b = similarity(a, f), similarity(b, f)
    alike = similarity(a, b) >= 0.75
    assert 0.2 < alike.mean() < 0.8
    both = np.where(alike, share * of_a + (1 - share) * of_b, np.maximum(of_a, of_b))
    expected = (both.mean(), of_a.mean(), of_b.mean())
    assert metrics.similarity_of_yang(f, a, b) == pytest.approx(expected, rel=1e-9)


# --- by hand ---------------------------------------------------------------------------------------------------------


def test_two_levels_in_equal_parts_are_one_bit() -> None:
    assert metrics.entropy(np.array([[0, 255], [255, 0]])) == 1


def test_a_ramp() -> None:
    """Rising by 3 to the right: gradients 3 and 0 everywhere, so AG = sqrt(9 / 2) and SF = 3; HW = 20, 3 x 4 = 12."""
    ramp = np.tile(3.0 * np.arange(5), (4, 1))
    assert metrics.spatial_frequency(ramp) == pytest.approx(3)
    assert metrics.average_gradient(ramp) == pytest.approx(math.sqrt(4.5))
    assert metrics.average_gradient(ramp, "matlab") == pytest.approx(math.sqrt(4.5) * 20 / 12)


def test_errors_and_peaks_of_each_convention() -> None:
    """F - A = 4, F - B = 2: MSE (16 + 4) / 2 = 10 and 10 / 255^2; peaks 100, and 255 with an MSE on 0..1."""
    f = np.array([[100.0, 50.0]])
    a, b = f - 4, f - 2
    assert metrics.mean_squared_error(f, a, b) == (10, 16, 4)
    assert metrics.mean_squared_error(f, a, b, "matlab").both == pytest.approx(10 / 65025)
    assert metrics.peak_signal_to_noise(f, a, b).both == pytest.approx(10 * math.log10(100**2 / 10))
    proper = 10 * math.log10(255**2 / 10)
    for convention in ("matlab", "zoo"):
        assert metrics.peak_signal_to_noise(f, a, b, convention).both == pytest.approx(proper + 48.1308, abs=1e-4)  # type: ignore[arg-type]


def test_information_of_a_copy_is_its_entropy() -> None:
    f, _, b = triple()
    nats = metrics.entropy(b) * math.log(2)
    assert metrics.mutual_information(b, b, b) == pytest.approx((2 * nats, nats, nats))
    assert metrics.mutual_information(f, b, b, "zoo").both == pytest.approx(
        metrics.mutual_information(f, b, b).both / math.log(2)
    )


def test_matlab_counts_255_as_254_in_the_joint_histogram() -> None:
    """Four levels in equal parts, a copy: H = 2 bits each; jointly 254 and 255 fall together, H = 1.5: MI = 2.5."""
    x = np.array([[0, 100], [254, 255]])
    assert metrics.mutual_information(x, x, x, "matlab").ir == pytest.approx(2.5)
    assert metrics.mutual_information(x, x, x, "zoo").ir == pytest.approx(2)


def test_cross_entropy() -> None:
    """p_A = (1/2, 1/2) on levels 0, 9; p_F = (1/4, 3/4): 1/2 log2 2 + 1/2 log2 (2/3) = 0.2075; level 7 is left out."""
    f, a = np.array([[0, 9, 9, 9]]), np.array([[0, 0, 9, 9]])
    expected = 0.5 * math.log2(2) + 0.5 * math.log2(2 / 3)
    assert metrics.cross_entropy(f, a, f) == pytest.approx((expected / 2, expected, 0))
    assert metrics.cross_entropy(f, np.array([[7, 7, 7, 0]]), f).ir == pytest.approx(0.25 * math.log2(1))


def test_correlations() -> None:
    """F = A + B: both differences are the other source, so SCD = 2."""
    rng = np.random.default_rng(0)
    a, b = rng.uniform(0, 100, (2, 20, 20))
    assert metrics.sum_of_correlations_of_differences(a + b, a, b) == pytest.approx((2, 1, 1))
    assert metrics.correlation(200 - a, a, a) == pytest.approx((-1, -1, -1))


def test_a_copy_of_one_source() -> None:
    _, a, b = triple()
    for function in (metrics.visual_information_fidelity, metrics.structural_similarity):
        scores = function(a, a, b)
        assert scores.ir == pytest.approx(1, abs=1e-9)
        assert scores.both == pytest.approx(1 + scores.vis, abs=1e-9)
    assert metrics.feature_mutual_information(a, a, b).ir == 1
    assert metrics.contrast_preservation(a, a, b).ir == 1
    assert metrics.similarity_of_yang(a, a, b) == pytest.approx(
        (1, 1, metrics.similarity_of_yang(a, a, b).vis), abs=0.02
    )
    assert metrics.normalised_mutual_information(a, a, a) == pytest.approx((2, 1, 1))
    assert metrics.edge_artifacts(a, a, b) == (0, 0, 0)
    assert metrics.cross_entropy(a, a, b).ir == 0
    assert metrics.multiscale_structural_similarity(a, a, b).ir == pytest.approx(1)
    assert metrics.multiscale_structural_similarity(a, a, a, "matlab").both == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("convention", "rgb", "grey"),
    [
        ("cddfuse", (10, 0, 0), 3),  # 2.99
        ("cddfuse", (0, 500 // 2, 0), 147),  # 146.75
        ("cddfuse", (255, 255, 255), 255),
        ("matlab", (100, 0, 0), 30),  # 29.89; the four-digit weights give the same
        ("matlab", (0, 0, 100), 11),  # 11.40
        ("zoo", (100, 0, 0), 30),  # 29.90
        ("zoo", (1, 2, 3), 2),  # 1.81
        ("zoo", (255, 255, 255), 255),
    ],
)
def test_grey_readings(convention: Convention, rgb: tuple[int, int, int], grey: int) -> None:
    assert metrics.to_grey(np.full((1, 1, 3), rgb, np.uint8), convention)[0, 0] == grey


def test_the_zoo_reads_as_pillow_does() -> None:
    image = Image.open(EXAMPLES / "street" / "vis.png").convert("RGB")
    assert np.array_equal(metrics.to_grey(np.asarray(image), "zoo"), np.asarray(image.convert("L"), float))


def test_sixteen_bits() -> None:
    eight = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.allclose(metrics.to_grey(eight.astype(np.uint16) * 257), eight, atol=1e-12)
    assert metrics.to_grey(np.array([[1]], np.uint16))[0, 0] == pytest.approx(1 / 257)  # not cut to 0
    colour = np.full((1, 1, 3), (65535, 0, 0), np.uint16)
    assert metrics.to_grey(colour)[0, 0] == pytest.approx(0.299 * 255)
    f, a, b = triple()
    deep = [metrics.to_grey(x.astype(np.uint16) * 257) for x in (f, a, b)]
    assert measured((deep[0], deep[1], deep[2])) == pytest.approx(measured_triple("gate"), nan_ok=True, rel=1e-6)


# --- properties ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_swapping_the_sources_swaps_their_values_and_nothing_else(convention: Convention) -> None:
    f, a, b = (x[:180, :190] for x in triple("street"))
    one, other = measured((f, a, b), convention), measured((f, b, a), convention)
    swapped = {"ir": "vis", "vis": "ir"}
    for column in ALL:
        partner = f"{column.metric.name}_{swapped[column.part]}" if column.part in swapped else column.name
        assert one[column.name] == pytest.approx(other[partner], rel=1e-9, nan_ok=True), column.name


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_forms_are_the_parts(convention: Convention) -> None:
    values = measured_triple("drone", convention)
    for metric in METRICS.values():
        if metric.kind == "sources":
            parts = values[f"{metric.name}_ir"], values[f"{metric.name}_vis"]
            assert values[f"{metric.name}_{metric.worse}"] == (min if metric.worse == "min" else max)(parts)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_noise_makes_it_worse_and_blur_softer(convention: Convention) -> None:
    from scipy.ndimage import gaussian_filter

    f, a, b = (x[:180, 70:260] for x in triple("street", "mean"))
    grain = np.random.default_rng(0).normal(0, 1, f.shape)
    falling = "VIF", "Qabf", "SSIM", "MI", "MS-SSIM", "CC", "FMI", "NMI", "VIF_min", "SSIM_min"
    columns = [metrics.columns()[name] for name in (*falling, "MSE", "AG", "SF", "EN", "SD")]

    def of(fused: np.ndarray) -> dict[str, float]:
        return metrics.measure(fused, a, b, columns, convention)

    noisy = [of(np.clip(np.rint(f + s * grain), 0, 255)) for s in (0, 4, 12, 30)]
    for name in falling:
        values = [x[name] for x in noisy]
        assert values == sorted(values, reverse=True), name
    for name in ("MSE", "AG", "SF", "EN"):
        values = [x[name] for x in noisy]
        assert values == sorted(values), name
    columns = [metrics.columns()[name] for name in ("AG", "SF", "Qabf", "VIF", "SD")]
    blurred = [of(gaussian_filter(f, s)) for s in (0.1, 1, 2, 4)]
    for name in ("AG", "SF", "Qabf", "VIF", "SD"):
        values = [x[name] for x in blurred]
        assert values == sorted(values, reverse=True), name


FLAT = np.full((180, 180), 7.0)
CASES: dict[str, Callable[[], Triple]] = {
    "constant fused": lambda: (FLAT, *(np.tile(triple()[1], (1, 1))[:180, :180] for _ in range(2))),
    "constant source": lambda: (triple()[0][:180, :180], FLAT, triple()[2][:180, :180]),
    "constant sources": lambda: (triple()[0][:180, :180], FLAT, FLAT),
    "all constant": lambda: (FLAT, FLAT, FLAT),
    "all black": lambda: (0 * FLAT, 0 * FLAT, 0 * FLAT),
    "one pixel": lambda: (FLAT[:1, :1], FLAT[:1, :1] + 1, FLAT[:1, :1]),
    "one row": lambda: tuple(x[:1, :50] for x in triple()),  # type: ignore[dict-item,return-value]
    "two by two": lambda: tuple(x[50:52, 50:52] for x in triple()),  # type: ignore[dict-item,return-value]
    "five by nine": lambda: tuple(x[50:55, 50:59] for x in triple()),  # type: ignore[dict-item,return-value]
    "sixteen by sixteen": lambda: tuple(x[50:66, 50:66] for x in triple()),  # type: ignore[dict-item,return-value]
    "forty by forty": lambda: tuple(x[50:90, 50:90] for x in triple()),  # type: ignore[dict-item,return-value]
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("case", CASES)
def test_odd_images_give_a_number_or_nan_and_no_warning(case: str, convention: Convention) -> None:
    values = measured(CASES[case](), convention)
    assert all(isinstance(v, float) for v in values.values())
    assert math.isfinite(values["MSE"])


def test_what_is_undefined_is_nan() -> None:
    constant = measured(CASES["constant fused"]())
    assert math.isnan(constant["CC"])
    assert constant["MI"] == pytest.approx(0, abs=1e-12)
    assert constant["EN"] == 0
    assert math.isnan(measured(CASES["all black"]())["Qabf"])
    everything = measured(CASES["all constant"]())
    assert everything["VIF"] == 2  # as the reference evaluator has it
    assert everything["SSIM"] == pytest.approx(2)
    assert everything["PSNR"] == math.inf
    small = measured(CASES["forty by forty"]())
    assert math.isnan(small["VIF"])
    assert math.isnan(small["MS-SSIM"])
    copied = triple()
    assert math.isnan(measured((copied[1], copied[1], copied[2]))["SCD_vis"])


def test_tensors_are_taken() -> None:
    import torch

    f, a, b = triple()
    tensors = [torch.tensor(x).float() for x in (f, a, b)]
    for metric in METRICS.values():
        if metric.kind == "sources":
            assert metric.compute(*tensors) == pytest.approx(metric.compute(f, a, b), rel=1e-6)
            assert isinstance(metric.compute(*tensors), Scores)


def test_the_table_is_whole() -> None:
    assert list(METRICS)[:12] == TWELVE
    assert set(metrics.DEFAULT) - set(TWELVE) == {"MS-SSIM", "Nabf", "FMI", "NMI", "CE", "Qcb", "Qy"}
    of = {kind: {m.name for m in METRICS.values() if m.kind == kind} for kind in ("blind", "clip")}
    assert of == {"blind": {"NIQE", "BRISQUE", "CLIP-IQA"}, "clip": {"flowD", "BiSWE", "MS2R"}}
    for metric in METRICS.values():
        assert metric.title
        assert metric.source
        assert metric.bounds
        assert (metric.compute.__doc__ or "").strip() or metric.name == "SSIM_dr2"
        assert set(metric.conventions) in (set(), set(CONVENTIONS))


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(own_golden(), indent=1) + "\n")
