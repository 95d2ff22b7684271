"""Average precision as COCO defines it, computed by its authors' own code (pycocotools)."""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lure_cli.core.objects.labels import Objects
from lure_cli.errors import LureError


@dataclass(frozen=True)
class AveragePrecision:
    """In [0, 1]: at IoU 0.5, and the mean over IoU 0.5 to 0.95; means over the classes that occur, and by class (NaN
    for one that does not)."""

    ap50: float
    ap: float
    ap50_of: tuple[float, ...]
    ap_of: tuple[float, ...]


def average_precision(
    wanted: Sequence[Objects], found: Sequence[Objects], sizes: Sequence[tuple[int, int]], classes: int
) -> AveragePrecision:
    """The AP of what was found in some images.

    Args:
        wanted: the labels of each image, boxes as shares of it. found: what was found in it, boxes in pixels.
        sizes: (height, width) of each.
        classes: how many there are.

    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for i, (of_image, of_detector, (height, width)) in enumerate(zip(wanted, found, sizes, strict=True), 1):
        pixels = of_image.boxes.astype(np.float64) * (width, height, width, height)
        for box, kind in zip(_as_coco(pixels), of_image.classes, strict=True):
            entry = {"image_id": i, "category_id": int(kind), "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            truth.append(entry | {"id": len(truth) + 1})
        results += [
            {"image_id": i, "category_id": int(kind), "bbox": box, "score": float(score)}
            for box, kind, score in zip(
                _as_coco(of_detector.boxes), of_detector.classes, of_detector.scores, strict=True
            )
        ]
    if not results:  # which pycocotools takes for an error
        none = tuple(0.0 if any((o.classes == k).any() for o in wanted) else np.nan for k in range(classes))
        return AveragePrecision(0.0, 0.0, none, none)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
        coco = COCO()
        images = [{"id": i, "height": h, "width": w} for i, (h, w) in enumerate(sizes, 1)]
        coco.dataset = {"images": images, "annotations": truth, "categories": [{"id": k} for k in range(classes)]}
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # IoU, recall, class; all sizes, up to 100 an image
    of = np.where(precision > -1, precision, np.nan).mean(1)  # -1: the class does not occur
    by_class = of.mean(0)
    return AveragePrecision(
        float(np.nanmean(of[0])), float(np.nanmean(by_class)), tuple(map(float, of[0])), tuple(map(float, by_class))
    )


def require_packages() -> None:
    """LureError if a package of the extra is not installed that object detection needs."""
    for module in ("pycocotools", "torchvision"):
        try:
            importlib.import_module(module)
        except ImportError as error:
            hint = 'run: pip install "lure-cli[bench]"'
            raise LureError(f"object detection needs {module}, which is not installed", hint) from error


def _as_coco(boxes: np.ndarray) -> list[list[float]]:
    """Left, top, width, height of each box."""
    return [[float(l), float(t), float(r - l), float(b - t)] for l, t, r, b in boxes]  # noqa: E741
