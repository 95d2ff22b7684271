"""Metrics that need a model which is not shipped: CLIP-IQA through open_clip, and pyiqa's, if it is installed."""

from __future__ import annotations

import difflib
import functools
import multiprocessing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np

    from lure_cli.core.metrics import Column

PYIQA = "pyiqa:"
"""What names of pyiqa's metrics begin with."""


def pyiqa_column(name: str) -> Column:
    """The column `pyiqa:NAME`, whose model is loaded, so that what is missing shows before anything is measured.

    Raises:
        LureError: pyiqa is not installed, has no such metric, cannot load it, or judges neither one image nor a pair.
    """
    from lure_cli.core.metrics import Column, Metric

    model = _pyiqa(name.removeprefix(PYIQA))
    pair = model.metric_mode == "FR"
    if not pair and model.metric_mode != "NR":
        raise LureError(f"{name} judges neither one image nor a pair", "use a metric of pyiqa that does")
    better, kind = ("lower" if model.lower_better else "higher"), ("reference" if pair else "blind")
    compute = functools.partial(_judge, name.removeprefix(PYIQA))
    return Column(name, Metric(name, "see pyiqa", kind, better, "see pyiqa", "pyiqa", compute))  # type: ignore[arg-type]


def ready(column: Column) -> Column:
    """The column, with CLIP's model loaded if it needs one; LureError if it cannot be had."""
    if column.metric.name != "CLIP-IQA":
        return column
    _clip()
    return replace(column, metric=replace(column.metric, compute=_clip_iqa))


def _clip_iqa(image: np.ndarray) -> float:
    from lure_cli.core.metrics import clip_iqa

    return clip_iqa(image, *_clip())


@functools.cache
def _clip() -> tuple[Any, Any]:
    from lure_cli.core.metrics.learned import CLIP
    from lure_cli.core.text.encoders import load_open_clip

    loaded = load_open_clip(CLIP, f"CLIP-IQA's model {CLIP}")
    _share_cores()
    return loaded


@functools.cache
def _pyiqa(name: str) -> Any:
    try:
        import pyiqa
    except ImportError as error:
        raise LureError(
            f"{PYIQA}{name}: pyiqa cannot be imported ({error})",
            "pip install pyiqa, whose licence allows non-commercial use only",
        ) from error
    known = pyiqa.list_models()
    if name not in known:
        near = ", ".join(difflib.get_close_matches(name, known, 3, 0.4) or known[:3])
        raise LureError(f"pyiqa has no metric '{name}'", f"did you mean {near}? pyiqa.list_models() names all")
    try:
        model = pyiqa.create_metric(name, device="cpu")
    except Exception as error:  # whatever a download, a damaged file or a missing package of the metric raises
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise LureError(
            f"{PYIQA}{name} cannot be loaded ({reason})", "its weights are downloaded at first use: try it with network"
        ) from error
    _share_cores()
    return model


def _judge(name: str, *images: np.ndarray) -> float:
    """What a metric of pyiqa says of an image, or of an image and its reference, as stored."""
    import numpy as np
    import torch

    from lure_cli.core.images.picture import to_channels
    from lure_cli.core.metrics import to_scale

    pictures = [np.ascontiguousarray(to_channels(to_scale(x), 3).transpose(2, 0, 1)[None]) / 255 for x in images]
    with torch.no_grad():
        return float(_pyiqa(name)(*(torch.from_numpy(x).float() for x in pictures)))


def _share_cores() -> None:
    """One thread in each of several processes."""
    if multiprocessing.parent_process() is not None:
        import torch

        torch.set_num_threads(1)
