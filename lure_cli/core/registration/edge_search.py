"""The coarse search, over a pyramid: directions of edges, correlated over shifts, angles and scales.

`Candidate`s are what is compared; a `PyramidLevel` scores them over all shifts at once by FFT.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


TILE_REACH = 12
_TILE_NEAR = 2.5
"""Pixels of the finest level, see `PyramidLevel.agreement`."""


@dataclass(frozen=True)
class Candidate:
    """A similarity about the centre of the frame: radians, factor, shift in pixels of the full image."""

    score: float
    angle: float
    scale: float
    dx: float
    dy: float

    @property
    def matrix(self) -> np.ndarray:
        """(2, 3), about the centres of both frames."""
        import numpy as np

        c, s = self.scale * math.cos(self.angle), self.scale * math.sin(self.angle)
        return np.array([[c, -s, self.dx], [s, c, self.dy]])


def with_neighbours(candidates: list[Candidate], degrees: float, factor: float) -> list[Candidate]:
    """Each candidate and its eight neighbours in rotation and scale."""
    turn = math.radians(degrees)
    return [
        Candidate(0, c.angle + i * turn, c.scale * factor**j, c.dx, c.dy)
        for c in candidates
        for i in (-1, 0, 1)
        for j in (-1, 0, 1)
    ]


class PyramidLevel:
    """Pairs reduced by one factor, and how well candidates fit them.

    Args:
        pairs: infrared and visible planes, float (H, W) in [0, 1], all of one size.
        factor: by which they are reduced, at least 1.
    """

    def __init__(self, pairs: list[tuple[np.ndarray, np.ndarray]], factor: float) -> None:
        height, width = pairs[0][0].shape
        self.factor = factor
        self.shape = max(8, int(height / factor)), max(8, int(width / factor))
        self.images = [(_reduce(ir, factor, self.shape), _reduce(vis, factor, self.shape)) for ir, vis in pairs]
        self.directions = [(_directions(ir), _directions(vis)) for ir, vis in self.images]

    def best(self, candidates: list[Candidate], *, reach: int, keep: int) -> list[Candidate]:
        """Those that fit best after each was shifted by up to `reach` pixels of this level, best first."""
        import numpy as np

        correlators = [_Correlator(vis, reach) for _, vis in self.directions]
        scored = []
        for each in candidates:
            surfaces = [
                correlate(*_warp_directions(ir, each.matrix / (1, 1, self.factor)))
                for correlate, (ir, _) in zip(correlators, self.directions, strict=True)
            ]
            score, x, y = _peak(np.mean(surfaces, 0), reach)
            # The peak lies in the frame of the turned image; the shift counts in that of the infrared image.
            c, s = (f(each.angle) * each.scale * self.factor for f in (math.cos, math.sin))
            scored.append(replace(each, score=score, dx=each.dx + c * x - s * y, dy=each.dy + s * x + c * y))
        return sorted(scored, key=lambda candidate: -candidate.score)[:keep]

    def agreement(self, centred: np.ndarray) -> float:
        """The share of the frame, by what there is to see, where edges fit nowhere better than where a transform puts
        them: 4 x 3 tiles each look for their best shift of up to `TILE_REACH` pixels, and vote if it is near zero."""
        import numpy as np

        tiles = self.tiles(centred, rows=3, columns=4)
        near = np.hypot(tiles[:, 2], tiles[:, 3]) <= _TILE_NEAR
        total = tiles[:, 4].sum()
        return float(tiles[near, 4].sum() / total) if total else 0.0

    def tiles(self, centred: np.ndarray, rows: int, columns: int) -> np.ndarray:
        """How each tile of the frame would rather be shifted than where a transform puts it, all pairs voting.

        Args:
            centred: the transform (2, 3) about the centres, in pixels of the full image.
            rows, columns: of tiles.

        Returns:
            (rows * columns, 5), in pixels of this level: the centre (x, y) of what there is to see in the tile; the
            shift (x, y) of the infrared, up to `TILE_REACH`; how much there is to see.
        """
        import numpy as np

        reach = TILE_REACH
        height, width = (n // k for n, k in zip(self.shape, (rows, columns), strict=True))
        warped = [(_warp_directions(ir, centred / (1, 1, self.factor)), vis) for ir, vis in self.directions]
        y, x = np.mgrid[:height, :width]
        found = []
        for top in range(0, rows * height, height):
            for left in range(0, columns * width, width):
                surfaces, weights = [], np.zeros((height, width))
                for (ir, inside), vis in warped:
                    cut = np.s_[top : top + height, left : left + width]
                    a, b, m = (np.pad(z[cut], reach) for z in (ir, vis, inside))
                    surfaces.append(_Correlator(b, reach)(a, m))
                    weights += np.abs(ir[cut]) * np.abs(vis[cut])
                _, dx, dy = _peak(np.mean(surfaces, 0), reach)
                total = float(weights.sum())
                share = weights / total if total else np.full_like(weights, 1 / weights.size)
                found.append((left + (x * share).sum(), top + (y * share).sum(), dx, dy, total))
        return np.array(found)


class _Correlator:
    """Normalised correlation of edge directions for all shifts of up to `reach` pixels at once."""

    def __init__(self, vis: np.ndarray, reach: int) -> None:
        import numpy as np
        from scipy import fft

        self.reach = reach
        self.size = fft.next_fast_len(vis.shape[0] + reach), fft.next_fast_len(vis.shape[1] + reach)
        self.vis = np.conj(fft.fft2(vis, self.size))
        self.energy = np.conj(fft.rfft2(np.abs(vis) ** 2, self.size))
        self.frame = np.conj(fft.rfft2(np.ones(vis.shape, np.float32), self.size))
        self.total = float((np.abs(vis) ** 2).sum())

    def __call__(self, ir: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """(2 reach + 1, 2 reach + 1): entry [reach + y, reach + x] is for ir(p + (x, y)) against vis(p)."""
        import numpy as np
        from scipy import fft

        product = self._near(fft.ifft2(self.vis * fft.fft2(ir, self.size)).real)
        of_vis = self._near(fft.irfft2(self.energy * fft.rfft2(inside, self.size), self.size))
        of_ir = self._near(fft.irfft2(self.frame * fft.rfft2(np.abs(ir) ** 2, self.size), self.size))
        # The small share of the whole keeps a few pixels of overlap from scoring high.
        result: np.ndarray = product / np.sqrt(np.maximum(of_vis * of_ir, 0) + 1e-3 * self.total**2 + 1e-12)
        return result

    def _near(self, surface: np.ndarray) -> np.ndarray:
        import numpy as np

        n = 2 * self.reach + 1
        near: np.ndarray = np.roll(surface, (self.reach, self.reach), (0, 1))[:n, :n]
        return near


def _peak(surface: np.ndarray, reach: int) -> tuple[float, float, float]:
    """Height and place (x, y) of the largest entry, between pixels by a parabola through its neighbours."""
    import numpy as np

    j, i = (int(k) for k in np.unravel_index(surface.argmax(), surface.shape))
    top = float(surface[j, i])
    place = []
    for k, line in ((i, surface[j]), (j, surface[:, i])):
        offset = 0.0
        if 0 < k < len(line) - 1:
            before, after = float(line[k - 1]), float(line[k + 1])
            bend = before - 2 * top + after
            offset = 0.5 * (before - after) / bend if bend < 0 else 0.0
        place.append(k - reach + offset)
    return top, place[0], place[1]


def _reduce(x: np.ndarray, factor: float, shape: tuple[int, int]) -> np.ndarray:
    """Shrink by any factor about the centre of the frame, so that the centre stays the centre at every level."""
    from scipy.ndimage import affine_transform, gaussian_filter

    smooth = gaussian_filter(x, 0.5 * factor, mode="nearest") if factor > 1 else x
    offset = [(n - 1) / 2 - factor * (m - 1) / 2 for n, m in zip(x.shape, shape, strict=True)]
    reduced: np.ndarray = affine_transform(smooth, [factor] * 2, offset, output_shape=shape, order=1, mode="nearest")
    return reduced


def gradient(x: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives (along x, along y) of an image (H, W) smoothed by a Gaussian of `sigma` pixels."""
    from scipy.ndimage import gaussian_filter

    return tuple(gaussian_filter(x, sigma, order=order, mode="nearest") for order in ((0, 1), (1, 0)))


def _directions(x: np.ndarray) -> np.ndarray:
    """Squared complex gradient over its local strength, complex64 (H, W): equal for an edge and its negative.

    Taken of the logarithm, in which an edge in the shade counts as much as one in the light.
    """
    import numpy as np
    from scipy.ndimage import gaussian_filter

    gx, gy = gradient(np.log(x + 0.02), 0.6)
    power = gx * gx + gy * gy
    directions: np.ndarray = (gx + 1j * gy) ** 2 / (power + gaussian_filter(power, 6.0, mode="nearest") + 1e-3)
    return directions.astype(np.complex64)


def _warp_directions(z: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edge directions (H, W) warped by a (2, 3) transform about the centre, and 1 where a pixel lies inside, else 0."""
    import numpy as np
    from scipy.ndimage import affine_transform

    turn = matrix[::-1, 1::-1]  # rows first: (y, x)
    centre = (np.array(z.shape) - 1) / 2
    offset = centre + matrix[::-1, 2] - turn @ centre

    def warped(plane: np.ndarray) -> np.ndarray:
        result: np.ndarray = affine_transform(plane, turn, offset, order=1, mode="constant")
        return result

    angle = math.atan2(matrix[1, 0] - matrix[0, 1], matrix[0, 0] + matrix[1, 1])
    turned = (warped(z.real) + 1j * warped(z.imag)) * np.exp(-2j * angle)
    y, x = (np.arange(n, dtype=np.float32) for n in z.shape)
    inside = np.ones(z.shape, bool)
    for row, start, n in zip(turn.astype(np.float32), offset, z.shape, strict=True):
        at = (row[0] * y + np.float32(start))[:, None] + row[1] * x
        inside &= (at >= 0) & (at <= n - 1)
    return turned.astype(np.complex64), inside.astype(np.float32)
