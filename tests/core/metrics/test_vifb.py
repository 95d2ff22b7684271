"""The `vifb` convention: VIFB's own values, loops after its formulas, planes, and what a picture's size does to it.

Its agreement with the values that VIFB publishes for 25 methods, image by image, is measured by
`examples/vifb_values.py` and recorded in the guide `examples/guides/peers.md`; their images are no part of the project.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from lure_cli.core import metrics
from lure_cli.core.metrics import METRICS
from tests.helpers.files import ROOT

Triple = tuple[np.ndarray, np.ndarray, np.ndarray]
THIRTEEN = "AG CE EI EN MI PSNR Qabf Qcb Qcv RMSE SF SSIM SD".split()


def colours(height: int = 37, width: int = 50) -> Triple:
    """fused (colour), ir (grey), vis (colour): uint8, with edges, flat and clipped parts; no whole blocks."""
    y, x = np.mgrid[:height, :width]
    rng = np.random.default_rng(3)
    ir = 40 + 160 * ((x - 20) ** 2 + (y - 15) ** 2 < 80) + rng.normal(0, 6, (height, width))
    vis = np.stack(
        [90 + 70 * np.sin(x / (3 + k)) + 30 * (y > 20) + rng.normal(0, 9, (height, width)) for k in range(3)], 2
    )
    vis[30:, :12] = 128
    fused = 0.6 * vis + 0.5 * ir[..., None] + rng.normal(0, 2, vis.shape)
    fused[30:, :12] = 64
    return tuple(np.clip(np.rint(z), 0, 255).astype(np.uint8) for z in (fused, ir, vis))  # type: ignore[return-value]


def measured(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray, names: list[str] = THIRTEEN) -> dict[str, float]:
    return metrics.measure_stored(fused, ir, vis, [metrics.columns()[n] for n in names], "vifb")


# --- VIFB's formulas, pixel by pixel; nothing here is shared with the package ----------------------------------------


def filtered(x: np.ndarray, kernel: np.ndarray, border: str) -> np.ndarray:
    """Correlation of the same size: borders of zeros or replicated."""
    half = kernel.shape[0] // 2
    wide = np.pad(x.astype(float), half, mode="edge") if border == "replicate" else np.pad(x.astype(float), half)
    out = np.zeros(x.shape)
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            out += kernel[i, j] * wide[i : i + x.shape[0], j : j + x.shape[1]]
    return out


DOWN = np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1.0]])


def levels(x: np.ndarray) -> list[float]:
    counts = [0] * 256
    for value in x.ravel():
        counts[int(value)] += 1
    return [c / x.size for c in counts]


def whole(x: np.ndarray) -> np.ndarray:
    y = (x.astype(float) - float(x.min())) / (float(x.max()) - float(x.min())) * 255
    return np.array([[math.floor(v + 0.5) for v in row] for row in y], float)


def ag(f: np.ndarray) -> float:
    h, w = f.shape
    total = 0.0
    for i in range(h):
        for j in range(w):
            up, down, left, right = max(i - 1, 0), min(i + 1, h - 1), max(j - 1, 0), min(j + 1, w - 1)
            dy = (float(f[down, j]) - float(f[up, j])) / (down - up)
            dx = (float(f[i, right]) - float(f[i, left])) / (right - left)
            total += math.sqrt((dx * dx + dy * dy) / 2)
    return total / ((h - 1) * (w - 1))


def ce(x: np.ndarray, f: np.ndarray) -> float:
    return sum(p * math.log2(p / q) for p, q in zip(levels(x), levels(f), strict=True) if p and q)


def en(f: np.ndarray) -> float:
    return -sum(p * math.log2(p) for p in levels(f) if p)


def ei(f: np.ndarray) -> float:
    across, down = (filtered(f, k, "replicate") for k in (DOWN.T, DOWN))
    return float(np.mean(np.sqrt(across**2 + down**2)))


def mi(x: np.ndarray, f: np.ndarray) -> float:
    joint: dict[tuple[float, float], int] = {}
    for pair in zip(whole(x).ravel(), whole(f).ravel(), strict=True):
        joint[pair] = joint.get(pair, 0) + 1
    one, other = (
        [sum(c for key, c in joint.items() if key[k] == v) for v in {key[k] for key in joint}] for k in (0, 1)
    )

    def h(counts: list[int]) -> float:
        return -sum(c / x.size * math.log(c / x.size) for c in counts)

    return h(one) + h(other) - h(list(joint.values()))


def error(x: np.ndarray, f: np.ndarray) -> float:
    return math.sqrt(sum((float(p) - float(q)) ** 2 for p, q in zip(x.ravel(), f.ravel(), strict=True))) / x.size


def qabf(sources: list[np.ndarray], f: np.ndarray) -> float:
    def gradient(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sx, sy = (filtered(255 * x.astype(float), -k, "zeros") for k in (-DOWN.T, DOWN))
        angle = np.array(
            [
                [math.pi / 2 if p == 0 else math.atan(q / p) for p, q in zip(*r, strict=True)]
                for r in zip(sx, sy, strict=True)
            ]
        )
        return np.sqrt(sx**2 + sy**2), angle

    g_f, a_f = gradient(f)
    kept = weight = 0.0
    for x in sources:
        g, a = gradient(x)
        for i in range(f.shape[0]):
            for j in range(f.shape[1]):
                p, q = g[i, j], g_f[i, j]
                ratio = q if p == q else min(p, q) / max(p, q)
                turned = 1 - abs(a[i, j] - a_f[i, j]) / (math.pi / 2)
                strength = 0.9994 / (1 + math.exp(max(-15 * (ratio - 0.5), -700)))
                kept += strength * 0.9879 / (1 + math.exp(-22 * (turned - 0.8))) * p
                weight += p
    return kept / weight


def seen(x: np.ndarray, sensitivity: str) -> np.ndarray:
    """Through the eye's contrast sensitivity, by a plain discrete Fourier transform."""
    h, w = x.shape
    rows, columns = (np.exp(-2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n) for n in (h, w))
    spectrum = rows @ x @ columns
    scale = 30 if sensitivity == "Chen, Blum" else 8
    for i in range(h):
        for j in range(w):
            v, u = ((k if k < (n + 1) // 2 else k - n) * 2 / n * n / scale for k, n in ((i, h), (j, w)))
            r = math.hypot(u, v)
            if sensitivity == "Chen, Blum":
                spectrum[i, j] *= math.exp(-((r / 15.3870) ** 2)) - 0.7622 * math.exp(-((r / 1.3456) ** 2))
            else:
                spectrum[i, j] *= 2.6 * (0.0192 + 0.144 * r) * math.exp(-((0.144 * r) ** 1.1))
    return (rows.conj() @ spectrum @ columns.conj()).real / (h * w)


def qcb(sources: list[np.ndarray], f: np.ndarray) -> float:
    y, x = np.mgrid[-15:16, -15:16]

    def contrast(z: np.ndarray) -> np.ndarray:
        z = seen(whole(z), "Chen, Blum")
        near, far = (filtered(z, np.exp(-(x * x + y * y) / (2 * s * s)) / (2 * np.pi * s * s), "zeros") for s in (2, 4))
        c = np.abs(near / far - 1)
        return c**3 / (c**2 + 0.0001)

    c_f, (c_a, c_b) = contrast(f), [contrast(z) for z in sources]
    q_a, q_b = (np.where(c < c_f, c / c_f, c_f / c) for c in (c_a, c_b))
    return float(np.mean((c_a**2 * q_a + c_b**2 * q_b) / (c_a**2 + c_b**2)))


def qcv(sources: list[np.ndarray], f: np.ndarray) -> float:
    lost = weight = 0.0
    for x in map(whole, sources):
        strength = np.sqrt(filtered(x, DOWN, "zeros") ** 2 + filtered(x, DOWN.T, "zeros") ** 2)
        difference = seen(x - whole(f), "Mannos, Sakrison")
        for i in range(0, x.shape[0], 16):
            for j in range(0, x.shape[1], 16):
                block = slice(i, i + 16), slice(j, j + 16)
                of_block = float((strength[block] ** 5).sum())
                lost += of_block * float((difference[block] ** 2).sum()) / 256
                weight += of_block
    return lost / weight


def sf(fused: np.ndarray) -> float:
    """Of all planes, written side by side."""
    wide = np.concatenate([fused[..., k] for k in range(3)], axis=1).astype(float)
    h, w = wide.shape
    rows = sum((wide[i, j] - wide[i, j - 1]) ** 2 for i in range(h) for j in range(1, w))
    columns = sum((wide[i, j] - wide[i - 1, j]) ** 2 for i in range(1, h) for j in range(w))
    return math.sqrt(rows / (h * w) + columns / (h * w))


def ssim(x: np.ndarray, f: np.ndarray) -> float:
    y, z = np.mgrid[-5:6, -5:6]
    window = np.exp(-(y * y + z * z) / 4.5)
    window /= window.sum()

    def smooth(image: np.ndarray) -> np.ndarray:
        return filtered(image, window, "zeros")[5:-5, 5:-5]

    x, f = x.astype(float), f.astype(float)
    m, n, c1, c2 = smooth(x), smooth(f), (0.01 * 255) ** 2, (0.03 * 255) ** 2
    vx, vf, cov = smooth(x * x) - m * m, smooth(f * f) - n * n, smooth(x * f) - m * n
    return float(np.mean((2 * m * n + c1) * (2 * cov + c2) / ((m * m + n * n + c1) * (vx + vf + c2))))


def plain(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> dict[str, float]:
    """All thirteen, plane by plane."""
    each: list[dict[str, float]] = []
    for k in range(3):
        f, sources = fused[..., k], [ir if ir.ndim == 2 else ir[..., k], vis[..., k]]
        rmse = sum(error(x, f) for x in sources) / 2
        each.append(
            {
                "AG": ag(f),
                "CE": sum(ce(x, f) for x in sources) / 2,
                "EI": ei(f),
                "EN": en(f),
                "MI": sum(mi(x, f) for x in sources),
                "PSNR": 20 * math.log10(255 / math.sqrt(rmse)),
                "Qabf": qabf(sources, f),
                "Qcb": qcb(sources, f),
                "Qcv": qcv(sources, f),
                "RMSE": rmse,
                "SSIM": sum(ssim(x, f) for x in sources),
                "SD": math.sqrt(float(np.mean((f - np.mean(f.astype(float))) ** 2))),
            }
        )
    return {name: sum(values[name] for values in each) / 3 for name in each[0]} | {"SF": sf(fused)}


def test_the_thirteen_are_those_of_plain_loops() -> None:
    fused, ir, vis = colours()
    assert measured(fused, ir, vis) == pytest.approx(plain(fused, ir, vis), rel=1e-9)


def test_the_thirteen_with_an_infrared_of_three_planes() -> None:
    fused, ir, vis = colours(33, 48)
    ir = np.stack([ir, np.roll(ir, 2, 0), 255 - ir], 2)
    assert measured(fused, ir, vis) == pytest.approx(plain(fused, ir, vis), rel=1e-9)


# --- published values ------------------------------------------------------------------------------------------------

PUBLISHED = json.loads((ROOT / "tests" / "golden" / "vifb.json").read_text())["images"]


@pytest.mark.parametrize("entry", PUBLISHED, ids=lambda e: f"{e['image']}_{e['method']}")
def test_published_values_of_histograms(entry: dict[str, Any]) -> None:
    """What depends on histograms alone needs no picture: any arrangement of the same levels has VIFB's five digits."""

    def arranged(side: str) -> np.ndarray:
        planes = [np.repeat(np.arange(256, dtype=np.uint8), counts)[None] for counts in entry[side]]
        return np.stack(planes, 2) if len(planes) > 1 else planes[0]

    values = measured(*map(arranged, ("fused", "ir", "vis")), list(entry["published"]))
    for name, expected in entry["published"].items():
        assert float(f"{values[name]:.5g}") == expected, name


# --- planes ----------------------------------------------------------------------------------------------------------


def test_a_coloured_picture_is_measured_by_its_planes() -> None:
    fused, ir, vis = colours()
    planes = metrics.to_planes(fused, ir, vis[..., :1], "vifb")
    for k, (f, a, b) in enumerate(planes):
        assert a is not None
        assert b is not None
        assert np.array_equal(f, fused[..., k])
        assert np.array_equal(a, ir)
        assert np.array_equal(b, vis[..., 0])
    assert metrics.to_planes(fused, None, None, "vifb")[1][1:] == (None, None)


def test_a_grey_picture_is_measured_once_against_grey_sources() -> None:
    fused, ir, vis = colours()
    [(f, a, b)] = metrics.to_planes(fused[..., 0], ir, vis, "vifb")
    assert np.array_equal(f, fused[..., 0])
    assert np.array_equal(a, ir)  # type: ignore[arg-type]
    assert np.array_equal(b, metrics.to_grey(vis, "matlab"))  # type: ignore[arg-type]


@pytest.mark.parametrize("convention", ["cddfuse", "matlab", "zoo"])
def test_the_other_conventions_measure_in_grey(convention: metrics.Convention) -> None:
    fused, ir, vis = colours()
    wanted = [metrics.columns()[name] for name in ("EN", "SF", "MI", "RMSE", "RMSE_max", "SSIM_min")]
    grey = [metrics.to_grey(x, convention) for x in (fused, ir, vis)]
    assert metrics.measure_stored(fused, ir, vis, wanted, convention) == metrics.measure(*grey, wanted, convention)


def test_the_worse_served_source_is_that_of_the_means() -> None:
    """Of the means over the planes, not the mean of what is worse in each."""
    fused, ir, vis = colours()
    fused[..., 0], fused[..., 1] = ir, vis[..., 1]  # one plane serves the infrared alone, another the visible alone
    names = ["SSIM_ir", "SSIM_vis", "SSIM_min", "RMSE_ir", "RMSE_vis", "RMSE_max"]
    values = measured(fused, ir, vis, names)
    assert values["SSIM_min"] == min(values["SSIM_ir"], values["SSIM_vis"])
    assert values["RMSE_max"] == max(values["RMSE_ir"], values["RMSE_vis"])


# --- by hand ---------------------------------------------------------------------------------------------------------


def test_its_error_depends_on_the_size_of_the_picture() -> None:
    """Off by 6 and by 2 everywhere, n x n pixels: roots of the summed squares 6 n and 2 n, over n x n 6/n and 2/n."""
    f = np.full((4, 4), 100.0)
    scores = metrics.root_mean_squared_error(f, f - 6, f + 2, "vifb")
    assert scores == pytest.approx((1, 1.5, 0.5))
    assert metrics.peak_signal_to_noise(f, f - 6, f + 2, "vifb").both == pytest.approx(20 * math.log10(255))
    big = np.full((8, 8), 100.0)
    assert metrics.root_mean_squared_error(big, big - 6, big + 2, "vifb").both == pytest.approx(0.5)
    assert metrics.root_mean_squared_error(big, big - 6, big + 2) == pytest.approx((4, 6, 2))
    assert metrics.root_mean_squared_error(big, big - 6, big + 2, "zoo").both == pytest.approx(4 / 255)


def test_edge_intensity_of_a_step() -> None:
    """A step of 10: both columns at it have strength 4 x 10, the other two none; at the frame nothing is added."""
    step = np.tile([0.0, 0.0, 10.0, 10.0], (5, 1))
    assert metrics.edge_intensity(step) == pytest.approx(20)


def test_stretching_hides_an_offset_from_mutual_information() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 100, (40, 40)).astype(float)
    assert metrics.mutual_information(x, x, 2 * x + 7, "vifb") == pytest.approx(
        (2 * metrics.entropy(x) * math.log(2), *[metrics.entropy(x) * math.log(2)] * 2)
    )


def test_differences_that_the_eye_sees() -> None:
    fused, ir, vis = (x[..., 0].astype(float) if x.ndim == 3 else x.astype(float) for x in colours())
    assert metrics.seen_differences(ir, ir, vis).ir == 0
    flat = np.full_like(ir, 9.0)
    assert all(math.isnan(v) for v in metrics.seen_differences(fused, 0 * flat, 0 * flat))
    both, of_ir, of_vis = metrics.seen_differences(fused, ir, vis)
    assert min(of_ir, of_vis) < both < max(of_ir, of_vis)
    assert METRICS["Qcv"].better == "lower"
