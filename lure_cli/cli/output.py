"""What is printed: results on stdout, everything else on stderr; human, quiet or JSON. Tables: `cli/tables.py`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lure_cli.errors import LureError

if TYPE_CHECKING:
    from lure_cli.tasks.detect import Finding


def emit(line: str) -> None:
    """A result, on stdout."""
    print(line, flush=True)


def emit_json(record: dict[str, Any]) -> None:
    """A result as one line of JSON, on stdout."""
    emit(json.dumps(record, ensure_ascii=False))


def note(line: str) -> None:
    """Something that a person may want to know, on stderr."""
    print(line, file=sys.stderr, flush=True)


def describe(findings: Sequence[Finding]) -> str:
    """What was found in an image, for a person: 'haze (severity 0.46), noise (severity 0.31)', or 'none'."""
    return ", ".join(f"{f.degradation} (severity {f.severity:.2f})" for f in findings) or "none"


def show_error(error: LureError) -> None:
    """The two lines of an error, on stderr; line breaks inside them (from file names) are escaped."""
    for label, text in (("error", error.message), ("hint", error.hint)):
        note(f"{label}: {' '.join(text.splitlines())}")
