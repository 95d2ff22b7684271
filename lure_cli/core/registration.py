"""Registration: the one transform that lays an infrared image onto its visible image, and warping by it.

Infrared and visible images share edges, not grey values, so the search runs on the direction of edges (a squared
complex gradient, which is blind to the sign of the contrast) over all shifts at once by FFT, coarse to fine; Mattes
mutual information (Mattes et al., IEEE TMI 2003; SimpleITK) of three looks at the pair then settles the last pixels.
Everything is deterministic: fixed grids, every pixel sampled, one thread.

numpy, scipy and SimpleITK (extra `align`) are imported where they are used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")
Model = Literal["auto", "affine"]
MODELS: tuple[str, ...] = get_args(Model)

WIDEST_SCALE = 1.25
WIDEST_ROTATION = 15.0
WIDEST_SHIFT = 0.2
"""Limits of a plausible result: factor (and its inverse), degrees, share of the width."""
LEAST_CONFIDENCE = 0.4
"""On 36 training pairs right estimates have 0.49 or more, estimates for two different scenes 0.31 or less."""
STILL = 0.0015
"""Share of the width below which a movement is within the error of the estimate and is taken for none."""
LEAST_SIDE = 32
"""Pixels."""
MOST_PAIRS = 12
"""Of more pairs for one transform, this many are looked at, evenly spread."""

_LONG_SIDES = (128, 256, 384)
"""Pixels along the longer side at each level of the search."""
_TILE_REACH = 12
_TILE_NEAR = 2.5
"""Pixels of the finest level, see `_Level.votes`."""
_RUNAWAY = 0.012
"""Share of the width that the last refinement may move."""
_OTHERWISE = "give --align none, let all pairs of a fixed rig share one transform (once), or register the pair by hand"


@dataclass(frozen=True)
class Alignment:
    """Where each pixel of the visible grid lies in the infrared image.

    matrix: 2x3, row-major: (x, y) of a pixel centre of the visible grid -> (x, y) in the infrared image.
    size: (width, height) of the grid that it was estimated for.
    confidence: 0 to 1, how sure the estimate is: see `estimate`.
    """

    matrix: tuple[float, float, float, float, float, float]
    size: tuple[int, int]
    confidence: float = 1.0

    @property
    def is_identity(self) -> bool:
        """Whether nothing moves at all."""
        return self.matrix == _IDENTITY

    @property
    def is_still(self) -> bool:
        """Whether it moves no further than an estimate errs: `STILL` of the width, at least half a pixel."""
        return self.moved <= max(0.5, STILL * self.size[0])

    @property
    def moved(self) -> float:
        """How far a pixel moves, in pixels: the mean over the frame."""
        import numpy as np

        (a, b, c, d, e, f), (w, h) = self.matrix, self.size
        x, y = np.meshgrid(np.linspace(0, w - 1, 21), np.linspace(0, h - 1, 21))
        return float(np.hypot(a * x + b * y + c - x, d * x + e * y + f - y).mean())

    @property
    def shift(self) -> tuple[float, float]:
        """How far the centre of the frame moves, (dx, dy) in pixels."""
        (a, b, c, d, e, f), (w, h) = self.matrix, self.size
        x, y = (w - 1) / 2, (h - 1) / 2
        return a * x + b * y + c - x, d * x + e * y + f - y

    @property
    def rotation(self) -> float:
        """Degrees, positive from the x axis (right) towards the y axis (down)."""
        a, b, _, d, e, _ = self.matrix
        return math.degrees(math.atan2(d - b, a + e))

    @property
    def scale(self) -> float:
        """Factor; of an affine transform the square root of how an area grows."""
        a, b, _, d, e, _ = self.matrix
        return math.sqrt(abs(a * e - b * d))

    def record(self) -> dict[str, Any]:
        """As it is written to a transform file: `matrix` (2x3), `size` (width, height), `moved` (pixels), `shift`
        (dx, dy of the centre in pixels), `rotation` (degrees), `scale` (factor), `confidence` (0 to 1)."""
        a, b, c, d, e, f = self.matrix
        return {
            "matrix": [[a, b, c], [d, e, f]],
            "size": list(self.size),
            "moved": self.moved,
            "shift": list(self.shift),
            "rotation": self.rotation,
            "scale": self.scale,
            "confidence": self.confidence,
        }

    @classmethod
    def from_record(cls, found: Mapping[str, Any]) -> Alignment:
        """From what `record` gave; only `matrix` and `size` must be there, the rest follows from them.

        Raises:
            KeyError, TypeError, ValueError: it is no such record.
        """
        (a, b, c), (d, e, f) = ((float(v) for v in row) for row in found["matrix"])
        width, height = (int(v) for v in found["size"])
        confidence = float(found.get("confidence", 1.0))
        if not all(map(math.isfinite, (a, b, c, d, e, f, confidence))) or a * e - b * d <= 0 or min(width, height) < 1:
            raise ValueError("not a transform of the plane")
        return cls((a, b, c, d, e, f), (width, height), confidence)


_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def estimate(ir: np.ndarray, vis: np.ndarray, *, model: Model = "auto") -> Alignment:
    """The transform that lays the infrared image onto the visible one.

    Args:
        ir, vis: float32 (H, W, 1) in [0, 1], of one size.
        model: `auto` is a shift, rotation and uniform scale, and no movement at all where the estimate is no further
            from it than its own error (0.15 % of the width); `affine` is any affine transform.

    Returns:
        With its confidence: the share of the frame, by what there is to see, where edges fit nowhere within 3 % of
        the width better than where the transform puts them.

    Raises:
        LureError: SimpleITK is missing, the sizes differ or are below `LEAST_SIDE`, or the result is implausible:
            scale, rotation or shift beyond `WIDEST_SCALE`, `WIDEST_ROTATION`, `WIDEST_SHIFT`, or confidence below
            `LEAST_CONFIDENCE`.
    """
    return estimate_once([(ir, vis)], model=model)


def estimate_once(pairs: Sequence[tuple[np.ndarray, np.ndarray]], *, model: Model = "auto") -> Alignment:
    """As `estimate`, one transform for several pairs of a fixed rig: all pairs vote in the search, and the median of
    their refined transforms is taken. Of more than `MOST_PAIRS` pairs, that many are used, evenly spread."""
    require_simpleitk()
    if not pairs:
        raise ValueError("no pairs")
    pairs = spread(pairs)
    sizes = {x.shape[1::-1] for pair in pairs for x in pair}
    if len(sizes) > 1:
        told = ", ".join(f"{w}x{h}" for w, h in sorted(sizes))
        raise LureError(f"the images to align differ in size: {told}", "resize them so that the views coincide")
    (size,) = sizes
    if min(size) < LEAST_SIDE:
        raise LureError(f"{size[0]}x{size[1]} is too small to align", f"at least {LEAST_SIDE} pixels a side are needed")
    found = search(pairs, model)
    refusal = judge(found)
    if refusal is not None:
        raise refusal
    if model == "auto" and found.is_still:
        return Alignment(_IDENTITY, found.size, found.confidence)
    return found


def spread(items: Sequence[T]) -> Sequence[T]:
    """All of them, or `MOST_PAIRS`, evenly spread from the first to the last."""
    if len(items) <= MOST_PAIRS:
        return items
    return [items[round(i * (len(items) - 1) / (MOST_PAIRS - 1))] for i in range(MOST_PAIRS)]


def warp(x: np.ndarray, alignment: Alignment) -> np.ndarray:
    """Resample an infrared image onto the visible grid, by cubic splines.

    Args:
        x: float32 (H, W, C) in [0, 1], of the alignment's size.

    Returns:
        float32 (H, W, C) in [0, 1]; beyond the infrared image its edge is repeated. An alignment that moves nothing
        returns x as it is.

    Raises:
        LureError: x has another size than the alignment was estimated for.
    """
    import numpy as np
    from scipy.ndimage import affine_transform

    if x.shape[1::-1] != alignment.size:
        (w, h), (wa, ha) = x.shape[1::-1], alignment.size
        raise LureError(
            f"the image is {w}x{h}, but the transform was estimated for {wa}x{ha}", "estimate it for this size"
        )
    if alignment.is_identity:
        return x
    a, b, c, d, e, f = alignment.matrix
    planes = [affine_transform(x[..., i], [[e, d], [b, a]], [f, c], order=3, mode="nearest") for i in range(x.shape[2])]
    warped: np.ndarray = np.clip(np.stack(planes, 2), 0, 1, dtype=np.float32)
    return warped


def resize(x: np.ndarray, width: int, height: int) -> np.ndarray:
    """Bring an image (H, W, C), float32 in [0, 1], to another size: (height, width, C), bicubic, antialiased."""
    import numpy as np
    from PIL import Image

    planes = [np.ascontiguousarray(x[..., i]) for i in range(x.shape[2])]
    resized = [np.asarray(Image.fromarray(p).resize((width, height), Image.Resampling.BICUBIC)) for p in planes]
    return np.clip(np.stack(resized, 2), 0, 1)


def require_simpleitk() -> Any:
    """The SimpleITK module; LureError with what to install where it is missing."""
    try:
        import SimpleITK
    except ImportError as error:
        raise LureError("aligning needs SimpleITK, which is not installed", 'pip install "lure-cli[align]"') from error
    return SimpleITK


def judge(found: Alignment) -> LureError | None:
    """Why a result is not to be used; None where it is."""
    dx, dy = found.shift
    far = (
        not 1 / WIDEST_SCALE <= found.scale <= WIDEST_SCALE
        or abs(found.rotation) > WIDEST_ROTATION
        or math.hypot(dx, dy) > WIDEST_SHIFT * found.size[0]
    )
    if far:
        return LureError(f"the estimated movement is implausible: {describe(found)}", _OTHERWISE)
    if found.confidence < LEAST_CONFIDENCE:
        return LureError(f"the estimated movement is not to be trusted: {describe(found)}", _OTHERWISE)
    return None


def describe(alignment: Alignment) -> str:
    """For a person: 'moved 12.3 px (shift 11.9, -3.1; rotation 0.8 degrees; scale 1.010), confidence 0.93'."""
    dx, dy = alignment.shift
    return (
        f"moved {alignment.moved:.1f} px (shift {dx:.1f}, {dy:.1f}; rotation {alignment.rotation:.1f} degrees; "
        f"scale {alignment.scale:.3f}), confidence {alignment.confidence:.2f}"
    )


@dataclass(frozen=True)
class _Guess:
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


def search(pairs: Sequence[tuple[np.ndarray, np.ndarray]], model: Model) -> Alignment:
    """As `estimate_once` on at least one pair of one size, without its judgement of the result."""
    import numpy as np

    height, width = pairs[0][0].shape[:2]
    planes = [(ir[..., 0], vis[..., 0]) for ir, vis in pairs]
    coarse, middle, fine = (_Level(planes, max(1.0, max(width, height) / side)) for side in _LONG_SIDES)
    grid = [_Guess(0, math.radians(a), 1.035**k, 0, 0) for a in range(-8, 9, 2) for k in range(-4, 5)]
    guesses = coarse.best(grid, reach=round(WIDEST_SHIFT * coarse.shape[1]), keep=6)
    guesses = middle.best(_around(guesses, 1.0, 1.0175), reach=4, keep=2)
    guesses = fine.best(_around(guesses, 0.5, 1.009), reach=4, keep=1)
    (guess,) = fine.best(_around(guesses, 0.25, 1.0045), reach=3, keep=1)
    refined = np.array(
        [[_refine(look(ir), look(vis), fine.factor, guess, model) for look in _LOOKS] for ir, vis in fine.images]
    )
    centred = np.median(refined, (0, 1))
    confidence = fine.votes(centred)
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    (a, b), (d, e) = centred[:, :2].tolist()
    c, f = (centre + centred[:, 2] - centred[:, :2] @ centre).tolist()
    return Alignment((a, b, c, d, e, f), (width, height), confidence)


def _around(guesses: list[_Guess], degrees: float, factor: float) -> list[_Guess]:
    """Each guess and its eight neighbours in rotation and scale."""
    turn = math.radians(degrees)
    return [
        _Guess(0, g.angle + i * turn, g.scale * factor**j, g.dx, g.dy)
        for g in guesses
        for i in (-1, 0, 1)
        for j in (-1, 0, 1)
    ]


class _Level:
    """Pairs reduced by one factor, and how well guesses fit them."""

    def __init__(self, pairs: list[tuple[np.ndarray, np.ndarray]], factor: float) -> None:
        height, width = pairs[0][0].shape
        self.factor = factor
        self.shape = max(8, int(height / factor)), max(8, int(width / factor))
        self.images = [(_reduce(ir, factor, self.shape), _reduce(vis, factor, self.shape)) for ir, vis in pairs]
        self.directions = [(_directions(ir), _directions(vis)) for ir, vis in self.images]

    def best(self, guesses: list[_Guess], reach: int, keep: int) -> list[_Guess]:
        """The guesses that fit best after each was shifted by up to `reach` pixels of this level, best first."""
        import numpy as np

        correlators = [_Correlator(vis, reach) for _, vis in self.directions]
        found = []
        for g in guesses:
            surfaces = [
                correlate(*_warp_directions(ir, g.matrix / (1, 1, self.factor)))
                for correlate, (ir, _) in zip(correlators, self.directions, strict=True)
            ]
            score, x, y = _peak(np.mean(surfaces, 0), reach)
            # The peak lies in the frame of the turned image; the shift is told in that of the infrared image.
            c, s = g.scale * math.cos(g.angle) * self.factor, g.scale * math.sin(g.angle) * self.factor
            found.append(_Guess(score, g.angle, g.scale, g.dx + c * x - s * y, g.dy + s * x + c * y))
        return sorted(found, key=lambda g: -g.score)[:keep]

    def votes(self, centred: np.ndarray) -> float:
        """The share of the frame, by what there is to see, where edges fit nowhere better than where a transform puts
        them: 4 x 3 tiles each look for their best shift of up to `_TILE_REACH` pixels, and vote if it is near zero."""
        import numpy as np

        rows, columns, reach = 3, 4, _TILE_REACH
        height, width = (n // k for n, k in zip(self.shape, (rows, columns), strict=True))
        warped = [(_warp_directions(ir, centred / (1, 1, self.factor)), vis) for ir, vis in self.directions]
        agreed = total = 0.0
        for top in range(0, rows * height, height):
            for left in range(0, columns * width, width):
                surfaces, weight = [], 0.0
                for (ir, inside), vis in warped:
                    a, b, m = (np.pad(z[top : top + height, left : left + width], reach) for z in (ir, vis, inside))
                    surfaces.append(_Correlator(b, reach)(a, m))
                    weight += float((np.abs(a) * np.abs(b)).sum())
                _, x, y = _peak(np.mean(surfaces, 0), reach)
                total += weight
                agreed += weight * (math.hypot(x, y) <= _TILE_NEAR)
        return agreed / total if total else 0.0


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


def _gradient(x: np.ndarray, sigma: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    from scipy.ndimage import gaussian_filter

    return tuple(gaussian_filter(x, sigma, order=order, mode="nearest") for order in ((0, 1), (1, 0)))


def _directions(x: np.ndarray) -> np.ndarray:
    """Squared complex gradient over its local strength, complex64 (H, W): equal for an edge and its negative.

    Taken of the logarithm, in which an edge in the shade counts as much as one in the light.
    """
    import numpy as np
    from scipy.ndimage import gaussian_filter

    gx, gy = _gradient(np.log(x + 0.02), 0.6)
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


def _strength(x: np.ndarray, sigma: float) -> np.ndarray:
    """How strong an edge is among its surroundings, float32 (H, W) in [0, 1]."""
    import numpy as np
    from scipy.ndimage import gaussian_filter

    power = np.hypot(*_gradient(x, sigma))
    strength: np.ndarray = power / (power + gaussian_filter(power, 6.0, mode="nearest") + 1e-3)
    return strength.astype(np.float32)


def _relief(x: np.ndarray) -> np.ndarray:
    """Grey values against the mean and spread of their surroundings, float32 (H, W) in [-3, 3]."""
    import numpy as np
    from scipy.ndimage import gaussian_filter

    x = gaussian_filter(x, 0.8, mode="nearest")
    above = x - gaussian_filter(x, 6.0, mode="nearest")
    relief: np.ndarray = above / np.sqrt(gaussian_filter(above * above, 6.0, mode="nearest") + 1e-4)
    return np.clip(relief, -3, 3).astype(np.float32)


_LOOKS: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    lambda x: _strength(x, 1.2),
    lambda x: _strength(x, 2.0),
    _relief,
)
"""What the mutual information is taken of, each in a climb of its own; their median is the result."""


def _refine(ir: np.ndarray, vis: np.ndarray, factor: float, guess: _Guess, model: Model) -> np.ndarray:
    """Climb the mutual information of the edge strengths from a guess; (2, 3), about the centres of both frames.

    Where that runs away from the guess by more than `_RUNAWAY`, the guess is kept: on few edges the mutual information
    may grow without end.
    """
    import numpy as np

    sitk = require_simpleitk()
    radius = factor * max(vis.shape) / 2
    # Edges that move by one pixel for a step of one in every parameter.
    turn = 0.4 * radius * radius
    start = guess.matrix
    if model == "affine":
        transform = sitk.AffineTransform(2)
        transform.SetParameters((*start[:, :2].ravel().tolist(), guess.dx, guess.dy))
        steps = [turn] * 4 + [1.0, 1.0]
    else:
        transform = sitk.Similarity2DTransform(guess.scale, guess.angle, (guess.dx, guess.dy), (0.0, 0.0))
        steps = [turn] * 2 + [1.0, 1.0]
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfWorkUnits(1)  # sums in another order would change the last digits
    method.SetMetricAsMattesMutualInformation(24)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(0.5 * factor, 0.02 * factor, 60, 0.6)
    method.SetOptimizerScales(steps)
    method.SetInitialTransform(transform, inPlace=True)
    try:
        method.Execute(_itk_image(vis, factor), _itk_image(ir, factor))
    except RuntimeError:  # nothing to climb: an image without edges, or no overlap left
        return start
    refined = np.column_stack([np.reshape(transform.GetMatrix(), (2, 2)), transform.GetTranslation()])
    return start if _distance(refined, start, vis.shape, factor) > _RUNAWAY * factor * vis.shape[1] else refined


def _distance(one: np.ndarray, other: np.ndarray, shape: tuple[int, ...], factor: float) -> float:
    """Mean distance over the frame between where two centred transforms lead, in pixels of the full image."""
    import numpy as np

    y, x = (factor * (n - 1) / 2 * np.linspace(-1, 1, 11) for n in shape)
    points = np.stack([*(g.ravel() for g in np.meshgrid(x, y)), np.ones(121)])
    return float(np.hypot(*((one - other) @ points)).mean())


def _itk_image(x: np.ndarray, factor: float) -> Any:
    """As SimpleITK's image whose physical points are pixels of the full image, from its centre."""
    sitk = require_simpleitk()
    image = sitk.GetImageFromArray(x)
    image.SetSpacing((factor, factor))
    image.SetOrigin([-factor * (n - 1) / 2 for n in x.shape[::-1]])
    return image
