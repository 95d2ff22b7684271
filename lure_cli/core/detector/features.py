"""Features of one image that tell degradations apart, at its own resolution; numpy alone, a few milliseconds.

At most nine windows of 128x128 pixels are looked at, spread over the image, so that the cost is the same for every
size. What is measured, and what for:

    light       quantiles of luma, clipped shares, dark channel, saturation  low light, over-exposure, haze, contrast
    detail      Haar wavelet energies of blocks, at three scales             noise (quiet blocks), blur (edges)
    spectrum    power in radial bands                                        blur, low resolution
    grain       autocorrelation of what a small mean leaves over             noise against texture
    lines       sign agreement of differences along columns and rows         stripes
    streaks     second difference across slanted lines                       rain
    resampling  periods in the second differences' size                      low resolution against blur

Dark channel: He et al., "Single image haze removal using dark channel prior", CVPR 2009. Noise from the wavelets'
diagonal detail: Donoho and Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 1994. Resampling:
Gallagher, "Detection of linear and cubic interpolation in JPEG compressed images", CRV 2005.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from lure_cli.core.detector.marks import spot_features, stripe_features
from lure_cli.core.detector.scene import scene_features
from lure_cli.core.pixels import LUMA

WINDOW = 128
"""Side of a window in pixels."""
_WINDOWS = 3
"""At most that many windows below and beside each other."""
_SAMPLES = 12_000
"""About that many pixels, evenly spread, stand for the light of the whole image."""
_BLOCK = 16
"""Side in pixels of the blocks over which local energies are taken."""
_LUMA = np.array(LUMA, np.float32)
_SLANTS = (-0.6, -0.3, 0.0, 0.3, 0.6)
"""Pixels to the side per pixel down, of the lines on which streaks are looked for."""
_LEVELS = 3
_QUANTILES = np.array([0.05, 0.25, 0.5, 0.75, 0.95], np.float32)
_LIGHT_QUANTILES = np.array([0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999], np.float32)
_BANDS = 12
_FLOOR = 1e-3
"""A quarter of an 8-bit step: keeps logarithms of vanishing energies finite."""


def image_features(x: np.ndarray) -> np.ndarray:
    """(H, W, 3) visible or (H, W, 1) infrared, float32 in [0, 1], any size -> one float32 vector, finite.

    Its length depends on the number of channels alone. An image smaller than a window is continued by reflection.
    """
    every = max(1, round((x.shape[0] * x.shape[1] / _SAMPLES) ** 0.5))
    planes, thin = _windows(x), np.ascontiguousarray(x[::every, ::every].transpose(2, 0, 1))
    if len(planes) == 3:
        y = np.tensordot(_LUMA, planes, 1)
        parts = [_light(np.tensordot(_LUMA, thin, 1), y), _colour(thin, planes), spot_features(y)]
    else:
        y = planes[0]
        parts = [_light(thin[0], y), stripe_features(x[..., 0])]
    parts += [scene_features(thin), _detail(y), _spectrum(y), _grain(y), _lines(y), _streaks(y), _resampling(y)]
    return np.concatenate(parts).astype(np.float32)


def _windows(x: np.ndarray) -> np.ndarray:
    """(H, W, C) -> (C, K, 128, 128)."""
    h, w = x.shape[:2]
    if h < WINDOW or w < WINDOW:
        x = np.pad(x, ((0, max(0, WINDOW - h)), (0, max(0, WINDOW - w)), (0, 0)), mode="symmetric")
        h, w = x.shape[:2]
    rows, columns = (min(_WINDOWS, -(-n // WINDOW)) for n in (h, w))
    tops, lefts = (np.linspace(0, n - WINDOW, k).astype(int) for n, k in ((h, rows), (w, columns)))
    windows = [x[t : t + WINDOW, s : s + WINDOW] for t in tops for s in lefts]
    return np.stack([[w[..., c] for w in windows] for c in range(x.shape[2])])


def _blocks(x: np.ndarray, size: int) -> np.ndarray:
    """(K, H, W) -> (K * blocks, size * size)."""
    k, h, w = x.shape
    return x.reshape(k, h // size, size, w // size, size).swapaxes(2, 3).reshape(-1, size * size)


def _log(x: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.log(x + _FLOOR)
    return result


def _spread(values: np.ndarray) -> np.ndarray:
    """Lowest, middle and highest of a value per window."""
    return np.quantile(values, [0.0, 0.5, 1.0])


def _light(thin: np.ndarray, y: np.ndarray) -> np.ndarray:
    q = np.quantile(thin, _LIGHT_QUANTILES)
    shares = [(thin < 2 / 255).mean(), (thin > 253 / 255).mean()]
    middle = np.quantile(y[:, ::4, ::4].reshape(len(y), -1), [0.05, 0.5, 0.95], axis=1)
    return np.concatenate(
        (
            q,
            np.log(q + 0.01),
            [thin.mean(), thin.std(), q[-1] - q[0], np.log(q[-2] - q[1] + 0.01), np.log(q[5] - q[3] + 0.01)],
            shares,
            _spread(middle[0]),
            _spread(middle[1]),
            _spread(middle[2] - middle[0]),
        )
    )


def _colour(thin: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """Dark channel, saturation, cast, and noise of the colour differences."""
    least, most = thin.min(0), thin.max(0)
    lowest = np.minimum(np.minimum(planes[0], planes[1]), planes[2]).reshape(-1, 16, 8, WINDOW)
    dark = lowest.min(2).reshape(len(lowest), 16, 16, 8).min(3)
    saturation = (most - least) / (most + 0.02)
    parts: list[np.ndarray] = [
        np.quantile(dark, _QUANTILES),
        _spread(np.median(dark.reshape(len(dark), -1), 1)),
        np.quantile(saturation, _QUANTILES),
        np.quantile(most - least, _QUANTILES),
        np.quantile(thin.reshape(3, -1), 0.99, axis=1),
        thin.mean((1, 2)) - thin.mean(),
        np.array([(most > 253 / 255).mean(), (least > 253 / 255).mean(), (least < 2 / 255).mean()]),
    ]
    for other in (0, 2):
        c = planes[1] - planes[other]
        diagonal = (c[:, ::2, ::2] - c[:, 1::2, ::2] - c[:, ::2, 1::2] + c[:, 1::2, 1::2]) / 2
        parts.append(np.quantile(_log(_rms(_blocks(diagonal, _BLOCK // 2))), _QUANTILES[[0, 2, 4]]))
    return np.concatenate(parts)


def _cell_means(x: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """(K, H, W) -> (K, H // rows, W // columns): means over cells of rows by columns; what is left over is cut off."""
    k, h, w = len(x), x.shape[1] // rows, x.shape[2] // columns
    mean: np.ndarray = x[:, : h * rows, : w * columns].reshape(k, h, rows, w, columns).mean((2, 4))
    return mean


def _rms(blocks: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("ij,ij->i", blocks, blocks) / blocks.shape[1])


def _detail(y: np.ndarray) -> np.ndarray:
    """Haar energies of blocks: quantiles, what they are in the flattest and the strongest blocks, and their tails."""
    energies, tails, low = [], [], y
    for level in range(_LEVELS):
        a, b, c, d = low[:, ::2, ::2], low[:, ::2, 1::2], low[:, 1::2, ::2], low[:, 1::2, 1::2]
        ab, cd, amb, cmd = a + b, c + d, a - b, c - d
        for band in ((ab - cd) / 2, (amb + cmd) / 2, (amb - cmd) / 2):
            blocks = _blocks(band, _BLOCK >> (level + 1))
            rms = _rms(blocks)
            energies.append(_log(rms))
            mean = np.abs(blocks).mean(1)
            tails.append(np.log((np.sqrt((rms**2).mean()) + _FLOOR) / (mean.mean() + _FLOOR)))
        low = (ab + cd) / 4  # the mean, so that grey values keep their scale
    e = np.stack(energies)  # (9, blocks)
    brightness = _blocks(low, _BLOCK >> _LEVELS).mean(1)
    strength = np.exp(2 * e[3:]).sum(0)
    order = np.argsort(strength)
    n = max(1, len(order) // 8)
    flat, strong = order[: 2 * n], order[-n:]
    by_light = np.argsort(brightness)
    dark, bright = by_light[: 2 * n], by_light[-2 * n :]
    grain = [np.quantile(e[2, part], 0.25) for part in (dark, bright)]  # noise grows with light, or does not
    relative = e[2] - np.log(brightness + 0.02)
    return np.concatenate(
        (
            np.quantile(e, _QUANTILES, axis=1).T.ravel(),
            e[:, flat].mean(1),
            e[:, strong].mean(1),
            tails,
            grain,
            np.quantile(relative, _QUANTILES[[0, 2, 4]]),
        )
    )


@cache
def _rings() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which band each frequency of a window belongs to, how often each band is hit, and the taper."""
    fy, fx = np.fft.fftfreq(WINDOW)[:, None], np.fft.rfftfreq(WINDOW)[None]
    radius = np.hypot(fy, fx)
    ring = np.minimum((radius / 0.5 * _BANDS).astype(int), _BANDS).ravel()
    hann = np.hanning(WINDOW + 2)[1:-1].astype(np.float32)
    return ring, np.bincount(ring, minlength=_BANDS + 1), hann[:, None] * hann


def _spectrum(y: np.ndarray) -> np.ndarray:
    """Log power in rings of frequency, of windows from above and below the middle; the last ring holds the corners."""
    ring, count, taper = _rings()
    power = np.abs(np.fft.rfft2((y - y.mean((1, 2), keepdims=True)) * taper)).astype(np.float32) ** 2
    rings = np.stack([np.bincount(ring, p.ravel(), minlength=_BANDS + 1) for p in power]) / count / WINDOW**2
    logs = np.log(rings + _FLOOR**2)
    middle = np.quantile(logs, 0.5, axis=0)
    return np.concatenate((middle, np.quantile(logs, 0.9, axis=0), middle[1:] - middle[:-1]))


def _grain(y: np.ndarray) -> np.ndarray:
    """Correlation of neighbours in what a 3x3 mean leaves over, large values cut off: white noise has -1/8."""
    s = y[:, :-2] + y[:, 1:-1] + y[:, 2:]
    r = y[:, 1:-1, 1:-1] - (s[:, :, :-2] + s[:, :, 1:-1] + s[:, :, 2:]) / 9
    limit = 3 * np.abs(r[:, ::3, ::3]).mean() + 1e-6
    r = np.clip(r, -limit, limit)
    power = float(np.einsum("ijk,ijk->", r, r)) / r.size + 1e-9
    pairs = (
        (r[:, :, 1:], r[:, :, :-1]),
        (r[:, 1:], r[:, :-1]),
        (r[:, 1:, 1:], r[:, :-1, :-1]),
        (r[:, :, 2:], r[:, :, :-2]),
        (r[:, 2:], r[:, :-2]),
    )
    correlations = [float(np.einsum("ijk,ijk->", a, b)) / a.size / power for a, b in pairs]
    return np.array([*correlations, np.log(power + _FLOOR**2)])


def _lines(y: np.ndarray) -> np.ndarray:
    """How much the differences along a column (row) agree in sign, and how rough column (row) means are."""
    directions = []
    for z in (y, y.swapaxes(1, 2)):
        step = np.diff(z, axis=2)
        agree = np.abs(np.sign(step).mean(1))
        means = z.mean(1)
        rough = np.abs(means[:, 1:-1] - (means[:, :-2] + means[:, 2:]) / 2)
        directions.append(
            [
                *_spread(agree.mean(1)),
                *_spread(np.quantile(agree, 0.25, axis=1)),
                *_spread(_log(np.median(rough, 1))),
                *_spread(_log(rough.mean(1))),
            ]
        )
    return np.array([*directions[0], *directions[1], *np.subtract(directions[0], directions[1])])


def _streaks(y: np.ndarray) -> np.ndarray:
    """Bright, thin, steep lines: the second difference across slanted means, its size and its tails, over blocks."""
    reach, length, down = 8, 6, 7
    inner = WINDOW - 2 * reach
    sizes, skews, tails = [], [], []
    for z in (y, y.swapaxes(1, 2).copy()):
        size, skew, tail = [], [], []
        for slant in _SLANTS:
            line = np.zeros((len(z), inner // down, inner), np.float32)
            for step in range(-length, length + 1):
                top, left = reach + step, reach + round(slant * step)
                line += z[:, top : top + inner : down, left : left + inner]
            r = (line[:, :, 3:-3] - (line[:, :, :-6] + line[:, :, 6:]) / 2) / (2 * length + 1)
            absolute = np.abs(r)
            cells = _cell_means(absolute, rows=4, columns=16)
            size.append(_log(cells).ravel())
            spread = np.sqrt(np.einsum("ijk,ijk->i", r, r) / r[0].size) + _FLOOR
            bounded = np.clip(r / spread[:, None, None], -4, 4)
            skew.append(np.einsum("ijk,ijk,ijk->i", bounded, bounded, bounded) / r[0].size)
            tail.append(np.log(spread / (absolute.mean((1, 2)) + _FLOOR)))
        sizes.append(np.sort(np.stack(size), axis=0))
        skews.append(np.sort(np.stack(skew), axis=0))
        tails.append(np.stack(tail))
    steep, level = sizes
    return np.concatenate(
        (
            np.quantile(steep[-1], _QUANTILES),
            np.quantile(level[-1], _QUANTILES),
            np.quantile(steep[-1] - level[-1], _QUANTILES),
            np.quantile(steep[-1] - steep[0], _QUANTILES),
            _spread(skews[0][-1]),
            _spread(skews[0][-1] - skews[0][0]),
            _spread(skews[1][-1]),
            _spread(tails[0].max(0)),
        )
    )


def _resampling(y: np.ndarray) -> np.ndarray:
    """An enlarged picture is smoother between the old pixels than on them, so that its second differences swing with
    the period of the enlargement: the highest peaks of their spectrum, apart from those of JPEG's blocks."""
    spectra = []
    for z in (y, y.swapaxes(1, 2)):
        bend = np.abs(2 * z[:, :, 1:-1] - z[:, :, :-2] - z[:, :, 2:])
        size = np.log(bend.mean(1) + _FLOOR)
        size = np.pad(size - size.mean(1, keepdims=True), ((0, 0), (1, 1)))
        spectra.append((np.abs(np.fft.rfft(size, axis=1)) ** 2).mean(0))
    first, blocks = WINDOW // 5, np.arange(WINDOW // 2 + 1) % (WINDOW // 8) == 0
    peaks: list[float] = []
    for power in (spectra[0], spectra[1], spectra[0] + spectra[1]):
        upper = np.log(power[first:] + 1e-6)
        free = np.sort(upper[~blocks[first:]])
        peaks += [free[-1] - free[len(free) // 2], free[-3] - free[len(free) // 2], float(free[len(free) // 2])]
        peaks += [float(upper[blocks[first:]].max()), float(upper[-1])]
    return np.array(peaks)
