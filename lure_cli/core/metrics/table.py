"""`METRICS`, the table of all metrics, and measuring several at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from lure_cli.core.metrics.base import Array, Convention, Scores, to_planes
from lure_cli.core.metrics.fidelity import (
    contrast_preservation,
    edge_artifacts,
    edge_preservation,
    feature_mutual_information,
    seen_differences,
    visual_information_fidelity,
)
from lure_cli.core.metrics.flicker import flow_difference, motion_smoothness, self_warping_error
from lure_cli.core.metrics.information import (
    average_gradient,
    correlation,
    cross_entropy,
    edge_intensity,
    entropy,
    mean_squared_error,
    mutual_information,
    normalised_mutual_information,
    peak_signal_to_noise,
    root_mean_squared_error,
    spatial_frequency,
    standard_deviation,
    sum_of_correlations_of_differences,
)
from lure_cli.core.metrics.learned import clip_iqa
from lure_cli.core.metrics.natural import brisque, niqe
from lure_cli.core.metrics.reference import ciede2000, reference_ms_ssim, reference_psnr, reference_ssim
from lure_cli.core.metrics.similarity import (
    multiscale_structural_similarity,
    similarity_of_yang,
    structural_similarity,
)

Better: TypeAlias = Literal["higher", "lower"]


@dataclass(frozen=True)
class Metric:
    """One row of `METRICS`.

    `compute` takes (fused) for kind `fused`, (fused, ir, vis) for `sources`, both followed by the convention where
    `conventions` says that it matters, (image) as stored for `blind` (CLIP-IQA its model too, see there) and (image,
    reference) as stored for `reference`; for `clip` see `lure_cli.core.metrics.flicker`.
    """

    name: str
    title: str
    kind: Literal["fused", "sources", "blind", "reference", "clip"]
    better: Better
    bounds: str
    source: str
    compute: Callable[..., Any]
    units: Mapping[str, str] = field(default_factory=dict)
    conventions: Mapping[str, str] = field(default_factory=dict)

    def unit(self, convention: Convention) -> str:
        """The unit under a convention; empty for a pure number."""
        return self.units.get(convention, self.units.get("", ""))

    @property
    def worse(self) -> str:
        """The suffix of the worse-served source: the smaller value, or the larger where lower is better."""
        return "min" if self.better == "higher" else "max"


@dataclass(frozen=True)
class UnderNoise:
    """On how many of `images` fused images a metric is better with noise in the visible source than without it, and
    with noise in the infrared one; see `UNDER_NOISE`."""

    visible: int
    infrared: int
    images: int = 28

    @property
    def verdict(self) -> str:
        """In words, of three quarters of the images or more."""
        visible, infrared = (
            "rewarded" if 4 * n >= 3 * self.images else "punished" if 4 * n <= self.images else "mixed"
            for n in (self.visible, self.infrared)
        )
        return visible if visible == infrared else f"{visible} in the visible source, {infrared} in the infrared"


UNDER_NOISE: Mapping[str, UnderNoise] = {
    "EN": UnderNoise(28, 14),
    "SD": UnderNoise(25, 15),
    "SF": UnderNoise(28, 24),
    "AG": UnderNoise(28, 26),
    "MI": UnderNoise(20, 12),
    "MSE": UnderNoise(1, 8),
    "PSNR": UnderNoise(1, 8),
    "CC": UnderNoise(3, 17),
    "VIF": UnderNoise(11, 7),
    "Qabf": UnderNoise(24, 8),
    "SSIM": UnderNoise(1, 0),
    "MS-SSIM": UnderNoise(0, 3),
    "Nabf": UnderNoise(21, 15),
    "FMI": UnderNoise(24, 18),
    "NMI": UnderNoise(20, 12),
    "CE": UnderNoise(21, 19),
    "Qcb": UnderNoise(26, 16),
    "Qy": UnderNoise(27, 18),
    "NIQE": UnderNoise(6, 11),
    "BRISQUE": UnderNoise(16, 17),
}
"""Measured (cddfuse) on 14 pairs of MSRS' test set, each fused by the guided filter and plainly by lure-small, from
clean sources and from those that `examples/make_cases.py` made noisy; scored against the sources that were fused, as
where there are no clean ones. Metrics that are not here were not measured; SCD is undefined for some of the images."""


def _ssim_dr2(fused: Array, ir: Array, vis: Array) -> Scores:
    return structural_similarity(fused, ir, vis, data_range=2.0)


_LEVELS = {"": "grey levels"}
_TABLE = (
    Metric("EN", "entropy of the histogram", "fused", "higher", "0 to 8", "Shannon 1948", entropy, {"": "bits"},
           {"cddfuse": "256 levels", "matlab": "as cddfuse", "zoo": "1e-7 added inside the logarithm",
            "vifb": "as cddfuse, mean of three colours"}),
    Metric("SD", "standard deviation: contrast", "fused", "higher", "0 to 127.5", "population formula",
           standard_deviation, _LEVELS),
    Metric("SF", "spatial frequency: first differences", "fused", "higher", "0 or more",
           "Eskicioglu, Fisher 1995", spatial_frequency, _LEVELS,
           {"cddfuse": "mean over the differences", "matlab": "as cddfuse", "zoo": "as cddfuse",
            "vifb": "sum over the differences / HW, the three colours side by side"}),
    Metric("AG", "average gradient: sharpness", "fused", "higher", "0 or more", "Cui et al. 2015", average_gradient,
           _LEVELS, {"cddfuse": "sum / HW", "matlab": "sum / ((H-1)(W-1))", "zoo": "as cddfuse",
                     "vifb": "as matlab, mean of three colours"}),
    Metric("MI", "mutual information", "sources", "higher", "0 or more", "Qu, Zhang, Yan 2002", mutual_information,
           {"cddfuse": "nats", "matlab": "bits", "zoo": "bits", "vifb": "nats"},
           {"cddfuse": "sum of two", "matlab": "sum of two; 255 counts as 254 in the joint histogram",
            "zoo": "sum of two", "vifb": "sum of two, each image stretched to 256 levels"}),
    Metric("MSE", "mean squared error", "sources", "lower", "0 or more", "mean of two", mean_squared_error, {},
           {"cddfuse": "on 0..255", "matlab": "on 0..1", "zoo": "on 0..1", "vifb": "on 0..255 (not in the evaluator)"}),
    Metric("PSNR", "peak signal-to-noise ratio", "sources", "higher", "any", "of the mean of both MSEs",
           peak_signal_to_noise, {"": "dB"},
           {"cddfuse": "peak = largest value of the fused image", "matlab": "peak 255, MSE on 0..1: +48.13 dB",
            "zoo": "as matlab", "vifb": "peak 255, RMSE of this convention for the MSE"}),
    Metric("CC", "correlation coefficient", "sources", "higher", "-1 to 1", "mean of two Pearson correlations",
           correlation),
    Metric("SCD", "sum of the correlations of differences", "sources", "higher", "-2 to 2", "Aslantas, Bendes 2015",
           sum_of_correlations_of_differences),
    Metric("VIF", "visual information fidelity, pixel domain", "sources", "higher", "0 or more",
           "Sheikh, Bovik 2006 (vifp)", visual_information_fidelity, {},
           {"cddfuse": "sum of two, no padding", "matlab": "as cddfuse",
            "zoo": "sum of two, padded with zeros, windows off centre", "vifb": "as cddfuse (not in the evaluator)"}),
    Metric("Qabf", "edges kept", "sources", "higher", "0 to 1", "Xydeas, Petrovic 2000", edge_preservation, {},
           {"cddfuse": "equal strengths count as that strength", "matlab": "as cddfuse", "zoo": "as cddfuse",
            "vifb": "equal strengths count as 255 times that strength"}),
    Metric("SSIM", "structural similarity", "sources", "higher", "to 2 (matlab: to 1)", "Wang et al. 2004",
           structural_similarity, {},
           {"cddfuse": "sum of two, 7x7 uniform, data range 255", "matlab": "mean of two, Gaussian, data range 1",
            "zoo": "sum of two, Gaussian without border, data range 1",
            "vifb": "sum of two, Gaussian without border, data range 255"}),
    Metric("MS-SSIM", "multiscale structural similarity", "sources", "higher", "0 to 2 (matlab: to 1)",
           "Wang, Simoncelli, Bovik 2003; matlab: Ma, Zeng, Wang 2015", multiscale_structural_similarity, {},
           {"cddfuse": "sum of two, data range 255 (not in the evaluator)", "matlab": "MEF-MS-SSIM, 3 scales",
            "zoo": "sum of two, data range 1", "vifb": "as cddfuse (not in the evaluator)"}),
    Metric("Nabf", "edges that neither source has: artifacts", "sources", "lower", "0 to 1",
           "Petrovic, Xydeas 2005; Shreyamsha Kumar 2013", edge_artifacts),
    Metric("FMI", "feature mutual information of pixels in 3x3 windows", "sources", "higher", "0 to 1",
           "Haghighat et al. 2011; Haghighat, Razian 2014", feature_mutual_information),
    Metric("NMI", "normalised mutual information", "sources", "higher", "0 to 2", "Hossny et al. 2008",
           normalised_mutual_information),
    Metric("CE", "cross entropy between the histograms", "sources", "lower", "any", "Bulanon et al. 2009; VIFB",
           cross_entropy, {"": "bits"}),
    Metric("Qcb", "perceived contrast kept", "sources", "higher", "0 to 1", "Chen, Blum 2009", contrast_preservation,
           {}, {"cddfuse": "images stretched to 0..1", "matlab": "as cddfuse", "zoo": "as cddfuse",
                "vifb": "images stretched to 256 levels"}),
    Metric("Qy", "structural similarity to the fitting source", "sources", "higher", "to 1", "Yang et al. 2008",
           similarity_of_yang),
    Metric("SSIM_dr2", "SSIM with data range 2, as in CDDFuse's published tables", "sources", "higher", "to 2",
           "Wang et al. 2004", _ssim_dr2),
    Metric("EI", "edge intensity: mean Sobel strength", "fused", "higher", "0 or more",
           "Rajalingam, Priya 2018; VIFB", edge_intensity, _LEVELS),
    Metric("RMSE", "root mean squared error", "sources", "lower", "0 or more", "mean of two",
           root_mean_squared_error, {},
           {"cddfuse": "on 0..255", "matlab": "on 0..1", "zoo": "on 0..1",
            "vifb": "on 0..255, divided once more by the root of the number of pixels"}),
    Metric("Qcv", "differences that the eye sees, where the edges are", "sources", "lower", "0 or more",
           "Chen, Varshney 2007", seen_differences),
    Metric("NIQE", "distance from the statistics of undistorted photographs", "blind", "lower", "0 or more",
           "Mittal, Soundararajan, Bovik 2013; the authors' model, grey", niqe),
    Metric("BRISQUE", "opinion of people, as learnt from such statistics", "blind", "lower", "about 0 to 100",
           "Mittal, Moorthy, Bovik 2012; the authors' model, grey", brisque),
    Metric("CLIP-IQA", "how much rather a good than a bad photo, as CLIP sees it", "blind", "higher", "0 to 1",
           "Wang, Chan, Loy 2023; downloads CLIP's RN50", clip_iqa),
    Metric("PSNR_ref", "PSNR against the reference", "reference", "higher", "any", "peak 255, all channels",
           reference_psnr, {"": "dB"}),
    Metric("SSIM_ref", "SSIM against the reference", "reference", "higher", "to 1",
           "Wang et al. 2004; 7x7 uniform, data range 255, mean of channels", reference_ssim),
    Metric("MS-SSIM_ref", "MS-SSIM against the reference", "reference", "higher", "0 to 1",
           "Wang, Simoncelli, Bovik 2003; mean of channels", reference_ms_ssim),
    Metric("CIEDE2000", "colour difference to the reference", "reference", "lower", "0 or more",
           "Sharma, Wu, Dalal 2005", ciede2000, {"": "delta E"}),
    Metric("flowD", "distance from the last frame, moved as the visible clip moves", "clip", "lower", "0 or more",
           "Gong et al. 2025 (TemCoCo); motion by TV-L1, not SEA-RAFT", flow_difference, _LEVELS),
    Metric("BiSWE", "distance from both neighbours, moved as the clip itself moves", "clip", "lower", "0 or more",
           "Zhao et al. 2025 (VF-Bench); motion by TV-L1, not SEA-RAFT", self_warping_error, _LEVELS),
    Metric("MS2R", "changes of motion that the sources do not have", "clip", "lower", "0 or more",
           "Zhao et al. 2025 (VF-Bench); motion by TV-L1, not SEA-RAFT", motion_smoothness,
           {"": "pixels a frame^2"}),
)  # fmt: skip

METRICS: Mapping[str, Metric] = {m.name: m for m in _TABLE}
"""All metrics by name. Those of kind `sources` are also measured as NAME_ir, NAME_vis and NAME_min (or NAME_max)."""

_UNASKED = ("SSIM_dr2", "EI", "RMSE", "Qcv")
DEFAULT: tuple[str, ...] = tuple(m.name for m in _TABLE if m.kind in ("fused", "sources") and m.name not in _UNASKED)
"""The metrics of a table that names none, without the worse-served forms beside them."""


@dataclass(frozen=True)
class Column:
    """One value that can be asked for: a metric, or one of its forms (`part`: both, ir, vis, min or max)."""

    name: str
    metric: Metric
    part: str = "both"


def columns() -> dict[str, Column]:
    """Every column there is, by name: `VIF`, `VIF_ir`, `VIF_vis`, `VIF_min`, `MSE_max`, `PSNR_ref` ..."""
    table = {}
    for metric in _TABLE:
        table[metric.name] = Column(metric.name, metric)
        if metric.kind == "sources":
            for part in ("ir", "vis", metric.worse):
                table[f"{metric.name}_{part}"] = Column(f"{metric.name}_{part}", metric, part)
    return table


def measure(
    fused: Array, ir: Array | None, vis: Array | None, wanted: Sequence[Column], convention: Convention = "cddfuse"
) -> dict[str, float]:
    """Measure the columns of kind `fused` and `sources`, each metric once.

    Args:
        fused, ir, vis: grey arrays (H, W) of one size on 0..255 (see `to_grey`); the sources may be None if no wanted
            column is against them.
        wanted: what to measure; columns of other kinds are left out.
        convention: see the package.

    Returns:
        column name -> value, NaN where it is undefined.
    """
    return _columns(_measured(fused, ir, vis, wanted, convention), wanted)


def measure_stored(
    fused: Array, ir: Array | None, vis: Array | None, wanted: Sequence[Column], convention: Convention = "cddfuse"
) -> dict[str, float]:
    """As `measure`, of images as they are stored (see `to_planes`): in grey, or the mean over the colours."""
    planes = to_planes(fused, ir, vis, convention)
    each = [_measured(*plane, wanted, convention) for plane in planes]
    mean = {}
    for name, first in each[0].items():
        columns = zip(*(of[name] if isinstance(first, Scores) else (of[name],) for of in each), strict=True)  # type: ignore[misc]
        parts = [sum(values) / len(planes) for values in columns]
        mean[name] = Scores(*parts) if isinstance(first, Scores) else parts[0]
    if "SF" in mean and len(planes) > 1:  # VIFB's loops run over the planes as if they were one wide picture
        mean["SF"] = spatial_frequency(np.concatenate([plane[0] for plane in planes], axis=1), convention)
    return _columns(mean, wanted)


def _measured(
    fused: Array, ir: Array | None, vis: Array | None, wanted: Sequence[Column], convention: Convention
) -> dict[str, float | Scores]:
    """Each metric behind the columns once, by its name."""
    metrics = {c.metric.name: c.metric for c in wanted if c.metric.kind in ("fused", "sources")}
    of: dict[str, float | Scores] = {}
    for name, metric in metrics.items():
        images = (fused,) if metric.kind == "fused" else (fused, ir, vis)
        of[name] = metric.compute(*images, *((convention,) if metric.conventions else ()))
    return of


def _columns(of: Mapping[str, float | Scores], wanted: Sequence[Column]) -> dict[str, float]:
    return {c.name: _part(of[c.metric.name], c.part) for c in wanted if c.metric.name in of}


def _part(scores: float | Scores, part: str) -> float:
    if not isinstance(scores, Scores):
        return scores
    if part in ("min", "max"):
        if math.isnan(scores.ir) or math.isnan(scores.vis):
            return math.nan
        return (min if part == "min" else max)(scores.ir, scores.vis)
    return getattr(scores, part)
