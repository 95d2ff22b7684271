"""Which metrics are measured: their names, and what each of them is."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lure_cli.errors import LureError
from lure_cli.tasks.evaluate.learned import PYIQA, pyiqa_column, ready

if TYPE_CHECKING:
    from lure_cli.core import metrics


def check_convention(name: str) -> None:
    """LureError for a convention that is not known."""
    from lure_cli.core.metrics import CONVENTIONS

    if name not in CONVENTIONS:
        raise LureError(f"unknown convention '{name}'", f"use one of {', '.join(CONVENTIONS)}")


def explain(convention: str) -> Iterator[dict[str, Any]]:
    """One entry a metric: name, title, better, range, unit, source, how the convention computes it, what noise in
    the sources does to it, and its forms."""
    from lure_cli.core.metrics import METRICS, columns

    check_convention(convention)
    known = columns().values()
    for m in METRICS.values():
        entry = {"name": m.name, "title": m.title, "better": m.better, "range": m.bounds}
        yield entry | {
            "unit": m.unit(convention),  # type: ignore[arg-type]
            "source": m.source,
            "convention": m.conventions.get(convention, ""),
            "noise": _under_noise(m.name),
            "forms": [c.name for c in known if c.metric is m and c.name != m.name],
        }


def _under_noise(name: str) -> str:
    """What noise in the sources does to a metric, in words; empty where it was not measured."""
    from lure_cli.core.metrics.table import UNDER_NOISE

    if name not in UNDER_NOISE:
        return ""
    n = UNDER_NOISE[name]
    return f"{n.verdict}; better with it on {n.visible} (visible) and {n.infrared} (infrared) of {n.images} images"


def find_columns(
    names: Sequence[str] | None, sources: bool = True, reference: bool = False
) -> tuple[metrics.Column, ...]:
    """The columns behind the names (upper or lower case, '-' or '_'); None gives all that `lure eval` shows.

    Args:
        names: such as `VIF`, `VIF_ir`, `VIF_min`, `PSNR_ref`, `pyiqa:musiq`.
        sources: whether there are sources to compare with.
        reference: whether there is a reference; its metrics are then added unless one of them is among the names.

    Raises:
        LureError: an unknown name, one that needs sources, a reference or a clip that is not there, or a model that
            cannot be had.
    """
    from lure_cli.core import metrics

    known = metrics.columns()
    if names is None:
        shown = [n for m in metrics.DEFAULT for n in (m, *([f"{m}_min"] if m in ("VIF", "SSIM") else []))]
        wanted = [known[n] for n in shown if sources or known[n].metric.kind == "fused"]
    else:
        wanted = [pyiqa_column(n) if n.startswith(PYIQA) else _known(n) for n in names]
    if reference and not any(column.metric.kind == "reference" for column in wanted):
        wanted += [column for column in known.values() if column.metric.kind == "reference"]
    for column in wanted:
        kind, name = column.metric.kind, column.name
        if kind == "sources" and not sources:
            raise LureError(f"{name} compares with the sources", "give --ir and --vis, or --clean-ir and --clean-vis")
        if kind == "reference" and not reference:
            raise LureError(f"{name} compares with a reference", "give --reference")
        if kind == "clip":
            raise LureError(f"{name} measures clips, the other metrics images", "ask for them in a call of their own")
    return tuple(ready(column) for column in {column.name: column for column in wanted}.values())


def clip_columns(names: Sequence[str] | None) -> tuple[metrics.Column, ...]:
    """The columns of a clip behind the names; None gives all.

    Raises:
        LureError: an unknown name, or one of a metric of images.
    """
    from lure_cli.core import metrics

    clips = [column for column in metrics.columns().values() if column.metric.kind == "clip"]
    if names is None:
        return tuple(clips)
    wanted = {column.name: column for column in map(_known, names)}
    if other := [name for name, column in wanted.items() if column not in clips]:
        raise LureError(
            f"{other[0]} is measured on images, not on clips",
            f"clips have {', '.join(c.name for c in clips)}; images of a folder are measured in a call of their own",
        )
    return tuple(wanted.values())


def of_clips(names: Sequence[str] | None) -> bool:
    """Whether a metric of clips is among the names."""
    from lure_cli.core.metrics import METRICS

    keys = {_key(m.name) for m in METRICS.values() if m.kind == "clip"}
    return any(_key(name) in keys for name in names or ())


def _known(name: str) -> metrics.Column:
    """The column of that name; LureError, naming the nearest, if there is none."""
    from lure_cli.core import metrics

    known = metrics.columns()
    by_key = {_key(n): n for n in known}
    if _key(name) in by_key:
        return known[by_key[_key(name)]]
    base = by_key.get(_key(name.rpartition("_")[0]))
    forms = [n for n, c in known.items() if base and c.metric is known[base].metric]
    keys = difflib.get_close_matches(_key(name), by_key, 3, 0.4)
    near = ", ".join(forms or [by_key[k] for k in keys] or metrics.DEFAULT)
    raise LureError(f"there is no metric '{name}'", f"did you mean {near}? `lure eval --list` explains all")


def _key(name: str) -> str:
    return re.sub("[-_ ]", "", name).lower()
