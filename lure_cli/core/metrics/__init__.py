"""Metrics of fused images: pure functions on grey arrays, and `METRICS`, the table of them.

Every function takes float arrays (H, W) on the 0..255 scale (8-bit levels; 16-bit images divided by 257, not rounded;
tensors on the CPU are taken too) in the order fused, ir, vis; those against a reference or against nothing take images
as stored, those of clips take frames and their motion. Metrics against both sources return `Scores`: the value
that the literature prints, and the value of each source alone. Undefined values are NaN, never an exception.

Four evaluators are common, and they disagree; `convention` picks one:

- `cddfuse`: utils/Evaluator.py of MMIF-CDDFuse, which most recent papers copy, with SSIM's data range set to 255;
- `matlab`: Linfeng-Tang/Evaluation-for-Image-Fusion;
- `zoo`: RollingPlain/IVIF_ZOO, Metric/Metric_torch.py;
- `vifb`: xingchenzhang/VIFB, metrics/*.m, which measures red, green and blue by themselves and takes the mean
  (`to_planes`); its published values are for images of three colours.

A metric without a `conventions` entry is computed in the same way under each, by its authors' definition; only the grey
reading differs. The evaluators' own code for some of those is another (Nabf on 0..1 in `matlab`, NMI, CE, Qcb and Qy in
`zoo`'s unprinted functions) and is not reproduced.
"""

from __future__ import annotations

from lure_cli.core.metrics.base import CONVENTIONS, Array, Convention, Scores, to_grey, to_planes, to_scale
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
from lure_cli.core.metrics.reference import ciede2000, fitted_psnr, reference_ms_ssim, reference_psnr, reference_ssim
from lure_cli.core.metrics.similarity import multiscale_structural_similarity, similarity_of_yang, structural_similarity
from lure_cli.core.metrics.table import DEFAULT, METRICS, Column, Metric, columns, measure, measure_stored

__all__ = [
    "CONVENTIONS",
    "DEFAULT",
    "METRICS",
    "Array",
    "Column",
    "Convention",
    "Metric",
    "Scores",
    "average_gradient",
    "brisque",
    "ciede2000",
    "clip_iqa",
    "columns",
    "contrast_preservation",
    "correlation",
    "cross_entropy",
    "edge_artifacts",
    "edge_intensity",
    "edge_preservation",
    "entropy",
    "feature_mutual_information",
    "fitted_psnr",
    "flow_difference",
    "mean_squared_error",
    "measure",
    "measure_stored",
    "motion_smoothness",
    "multiscale_structural_similarity",
    "mutual_information",
    "niqe",
    "normalised_mutual_information",
    "peak_signal_to_noise",
    "reference_ms_ssim",
    "reference_psnr",
    "reference_ssim",
    "root_mean_squared_error",
    "seen_differences",
    "self_warping_error",
    "similarity_of_yang",
    "spatial_frequency",
    "standard_deviation",
    "structural_similarity",
    "sum_of_correlations_of_differences",
    "to_grey",
    "to_planes",
    "to_scale",
    "visual_information_fidelity",
]
