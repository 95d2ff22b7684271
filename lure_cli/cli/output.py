"""What is printed: results on stdout, everything else on stderr; human, quiet or JSON. Tables: `cli/tables.py`."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lure_cli.core.pixels import MODALITY_NAMES
from lure_cli.errors import LureError

if TYPE_CHECKING:
    from lure_cli.core.text.vocabulary import Finding

SIDES: Mapping[Any, str] = MODALITY_NAMES
"""The modalities, in words."""


def emit(line: str) -> None:
    """A result, on stdout."""
    print(line, flush=True)


def emit_json(record: Mapping[str, Any]) -> None:
    """A result as one line of JSON, on stdout; what the encoding of stdout lacks is escaped as JSON does it."""
    line = json.dumps(record, ensure_ascii=False)
    try:
        line.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        line = json.dumps(record)
    emit(line)


def note(line: str) -> None:
    """Something that a person may want to know, on stderr."""
    print(line, file=sys.stderr, flush=True)


def describe(findings: Sequence[Finding]) -> str:
    """What was found in an image, for a person: 'haze (severity 0.46), noise (severity 0.31)', or 'none'."""
    return ", ".join(f"{f.degradation} (severity {f.severity:.2f})" for f in findings) or "none"


def show_weights(info: dict[str, Any]) -> None:
    """A weight file and what it says of itself (`WeightsInfo` as a dict); control characters in it are escaped."""
    counted = f", {info['parameters'] / 1e6:.2f} M parameters" if info["parameters"] else ""
    emit(f"  {info['name']:16} checksum {info['checksum']}{counted}")
    lines = [info["path"], f"sha256 {info['sha256']}" if info["sha256"] else ""]
    lines += [f"terms: {info['terms']}"] if info["terms"] else []
    if info["gflop_plain"]:
        lines.append(f"{info['gflop_plain']:.1f} GFLOP a pair of 640x480, {info['gflop_prompts']:.1f} with prompts")
    for part in ("text_encoder", "degradations", "config", "provenance"):
        values = info[part] if isinstance(info[part], dict) else {part: info[part]}
        listed = {k: ", ".join(map(str, v)) if isinstance(v, (list, tuple)) else v for k, v in values.items()}
        lines += [f"{k}: {v}" for k, v in listed.items() if v != "" and k != "licence"]  # that is said as `terms`
    for line in lines:
        if line:
            emit(f"  {'':16} {printable(line)}")


def printable(text: str) -> str:
    """Text of a foreign file as a terminal may see it."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def escape_what_streams_lack() -> None:
    """From now on characters that the encoding of stdout or stderr lacks are shown as \\u5929, and end no job."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def no_progress_bars() -> None:
    """From now on the hub's client shows none (if it has not been used before)."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def show_error(error: LureError) -> None:
    """The two lines of an error, on stderr; control characters inside them (from file names) are escaped."""
    for label, text in (("error", error.message), ("hint", error.hint)):
        note(f"{label}: {printable(' '.join(text.splitlines()))}")
