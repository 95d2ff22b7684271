"""Which metrics are measured: their names, and what each of them is."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lure_cli.errors import LureError

if TYPE_CHECKING:
    from lure_cli.core import metrics


def check_convention(name: str) -> None:
    """LureError for a convention that is not known."""
    from lure_cli.core.metrics import CONVENTIONS

    if name not in CONVENTIONS:
        raise LureError(f"unknown convention '{name}'", f"use one of {', '.join(CONVENTIONS)}")


def explain(convention: str) -> Iterator[dict[str, Any]]:
    """One entry a metric: name, title, better, range, unit, source, how the convention computes it, and its forms."""
    from lure_cli.core.metrics import METRICS, columns

    check_convention(convention)
    known = columns().values()
    for m in METRICS.values():
        entry = {"name": m.name, "title": m.title, "better": m.better, "range": m.bounds}
        yield entry | {
            "unit": m.unit(convention),  # type: ignore[arg-type]
            "source": m.source,
            "convention": m.conventions.get(convention, ""),
            "forms": [c.name for c in known if c.metric is m and c.name != m.name],
        }


def find_columns(
    names: Sequence[str] | None, sources: bool = True, reference: bool = False
) -> tuple[metrics.Column, ...]:
    """The columns behind the names (upper or lower case, '-' or '_'); None gives all that `lure eval` shows.

    Args:
        names: such as `VIF`, `VIF_ir`, `VIF_min`, `PSNR_ref`.
        sources: whether there are sources to compare with.
        reference: whether there is a reference; its metrics are then added unless one of them is among the names.

    Raises:
        LureError: an unknown name, or one that needs sources or a reference that are not there.
    """
    from lure_cli.core import metrics

    known = metrics.columns()
    of_reference = [n for n, c in known.items() if c.metric.kind == "reference"]
    if names is None:
        shown = [n for m in metrics.DEFAULT for n in (m, *([f"{m}_min"] if m in ("VIF", "SSIM") else []))]
        wanted = [n for n in shown if sources or known[n].metric.kind == "fused"]
    else:
        by_key = {_key(n): n for n in known}
        wanted = []
        for name in names:
            if _key(name) not in by_key:
                base = by_key.get(_key(name.rpartition("_")[0]))
                forms = [n for n, c in known.items() if base and c.metric is known[base].metric]
                keys = difflib.get_close_matches(_key(name), by_key, 3, 0.4)
                near = ", ".join(forms or [by_key[k] for k in keys] or metrics.DEFAULT)
                raise LureError(f"there is no metric '{name}'", f"did you mean {near}? `lure eval --list` explains all")
            wanted.append(by_key[_key(name)])
    if reference and not set(wanted) & set(of_reference):
        wanted += of_reference
    for name in wanted:
        kind = known[name].metric.kind
        if kind == "sources" and not sources:
            raise LureError(f"{name} compares with the sources", "give --ir and --vis, or --clean-ir and --clean-vis")
        if kind == "reference" and not reference:
            raise LureError(f"{name} compares with a reference", "give --reference")
    return tuple(known[name] for name in dict.fromkeys(wanted))


def _key(name: str) -> str:
    return re.sub("[-_ ]", "", name).lower()
