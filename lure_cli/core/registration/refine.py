"""The fine search: mutual information, climbed from a candidate by SimpleITK."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lure_cli.core.registration.alignment import Model, require_simpleitk
from lure_cli.core.registration.edge_search import Candidate, gradient

if TYPE_CHECKING:
    import numpy as np


_RUNAWAY = 0.012
"""Share of the width that the last refinement may move."""


def _edge_strength(x: np.ndarray, sigma: float) -> np.ndarray:
    """How strong an edge is among its surroundings, float32 (H, W) in [0, 1]."""
    import numpy as np
    from scipy.ndimage import gaussian_filter

    power = np.hypot(*gradient(x, sigma))
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


FEATURES: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    lambda x: _edge_strength(x, 1.2),
    lambda x: _edge_strength(x, 2.0),
    _relief,
)
"""What of an image (H, W) the mutual information is taken of, each in a climb of its own; their median counts."""


def refine(ir: np.ndarray, vis: np.ndarray, start: Candidate, *, factor: float, model: Model) -> np.ndarray:
    """Climb the mutual information of one feature from a candidate; (2, 3), about the centres of both frames.

    Where that runs away from the start by more than `_RUNAWAY`, the start is kept: on few edges the mutual information
    may grow without end.
    """
    import numpy as np

    sitk = require_simpleitk()
    radius = factor * max(vis.shape) / 2
    # Edges that move by one pixel for a step of one in every parameter.
    turn = 0.4 * radius * radius
    if model == "affine":
        transform = sitk.AffineTransform(2)
        transform.SetParameters((*start.matrix[:, :2].ravel().tolist(), start.dx, start.dy))
        steps = [turn] * 4 + [1.0, 1.0]
    else:
        transform = sitk.Similarity2DTransform(start.scale, start.angle, (start.dx, start.dy), (0.0, 0.0))
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
        return start.matrix
    refined = np.column_stack([np.reshape(transform.GetMatrix(), (2, 2)), transform.GetTranslation()])
    moved = _distance(refined, start.matrix, vis.shape, factor)
    return start.matrix if moved > _RUNAWAY * factor * vis.shape[1] else refined


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
