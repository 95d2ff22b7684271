"""The detector behind `--prompt auto`: which degradations an image shows, and how severe they are.

Features of the image (`core.detector.features`) go through a small perceptron per modality, several of which vote; a
degradation is found where its score reaches the threshold that is kept with the weights. numpy alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lure_cli.core.detector.features import image_features
from lure_cli.core.records import open_record
from lure_cli.core.text.vocabulary import DEGRADATIONS, Finding
from lure_cli.errors import LureError

FORMAT = 2
"""Version of the file format, which changes with the features; files of another are refused."""
MAX_BYTES = 64 << 20
"""Larger files are refused before they are read."""
LIMIT = 4.0
"""Standardised features are cut off here: an unheard-of image is judged by what it has in common with others."""
_LAYERS = ("mean", "scale", "w1", "b1", "w2", "b2", "w3", "b3")
RIVALS = (("lowlight", "overexposure"), ("blur", "lowres"))
"""Of each pair only the surer one is found: nothing is both too dark and too bright, and softness has one cause."""


def decide(scores: np.ndarray, limits: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Scores (N, L), least scores (L,), names of the L degradations -> which of them count, bool (N, L)."""
    ratio = scores / limits
    counts: np.ndarray = ratio >= 1
    for rivals in RIVALS:
        if set(rivals) <= set(names):
            a, b = (names.index(n) for n in rivals)
            counts[:, a] &= ratio[:, a] >= ratio[:, b]
            counts[:, b] &= ratio[:, b] > ratio[:, a]
    return counts


@dataclass(frozen=True)
class Detector:
    """The weights of both modalities.

    Args:
        layers: modality -> name -> array. With F features, M voters, H hidden units and L degradations: mean and
            scale (F,), w1 (M, F, H), b1 (M, H), w2 (M, H, H), b2 (M, H), w3 (M, H, 2 L), b3 (M, 2 L).
        thresholds: modality -> degradation -> least score.
        provenance: data, seed, figures; as the file holds it.
    """

    layers: Mapping[str, Mapping[str, np.ndarray]]
    thresholds: Mapping[str, Mapping[str, float]]
    provenance: Mapping[str, Any]

    def score(self, features: np.ndarray, modality: str) -> tuple[np.ndarray, np.ndarray]:
        """Features (N, F) -> scores (N, L) and severities (N, L) in [0, 1], in the order of `DEGRADATIONS`."""
        p = self.layers[modality]
        x = np.clip((features - p["mean"]) * p["scale"], -LIMIT, LIMIT)
        h = np.maximum(x @ p["w1"] + p["b1"][:, None], 0)  # (M, N, H)
        h = np.maximum(h @ p["w2"] + p["b2"][:, None], 0)
        z = (h @ p["w3"] + p["b3"][:, None]).mean(0)
        y = 1 / (1 + np.exp(-np.clip(z, -30, 30)))
        n = len(DEGRADATIONS[modality])
        return y[:, :n], y[:, n:]

    def detect(self, x: np.ndarray, modality: str) -> tuple[Finding, ...]:
        """Judge one image.

        Args:
            x: visible (H, W, 3) or infrared (H, W, 1), float32 in [0, 1], at its own resolution, any size.
            modality: `vis` or `ir`.

        Returns:
            What was found, in the order of `DEGRADATIONS`; empty for a clean image.
        """
        scores, severities = self.score(image_features(x)[None], modality)
        return self.findings(scores[0], severities[0], modality)

    def findings(self, scores: np.ndarray, severities: np.ndarray, modality: str) -> tuple[Finding, ...]:
        """Scores and severities (L,) of one image -> what of it counts."""
        names = DEGRADATIONS[modality]
        limits = np.array([self.thresholds[modality][n] for n in names])
        return tuple(
            Finding(names[i], round(float(scores[i]), 4), round(float(severities[i]), 4))
            for i in np.flatnonzero(decide(scores[None], limits, names)[0])
        )


def load_detector(path: Path) -> Detector:
    """Read a file that `tasks.train.detector` wrote.

    Raises:
        LureError: missing, unreadable, damaged, of another format, or not a detector that fits this version.
    """
    hint = "install lure-cli again"
    tensors, metadata = open_record(path, "detector", FORMAT, "a detector of LURE", hint, MAX_BYTES)
    if metadata["format"] < FORMAT:
        message = f"{path}: format {metadata['format']} is of an older version, which looked at other features"
        raise LureError(message, f"{hint}, or train it again: python -m lure_cli.tasks.train.detector")
    try:
        layers = {m: {k: tensors[f"{m}.{k}"].astype(np.float32) for k in _LAYERS} for m in DEGRADATIONS}
        thresholds = {m: {n: float(metadata["thresholds"][m][n]) for n in names} for m, names in DEGRADATIONS.items()}
        detector = Detector(layers, thresholds, metadata["provenance"])
        for m, channels in (("vis", 3), ("ir", 1)):  # shapes that do not fit show here, not in the middle of a job
            detector.detect(np.zeros((8, 8, channels), np.float32), m)
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise LureError(f"{path}: damaged or no detector that fits this version ({e})", hint) from e
    return detector
