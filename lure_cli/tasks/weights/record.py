"""The record of a weight file, `lure.json` beside it, and the check of the file against it.

    {"format": 1, "name": ..., "bytes": ..., "sha256": ...}, and more for people to read

The names of the two files are fixed, so a record cannot point anywhere else.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from lure_cli.core.files import MAX_WEIGHTS, sha256
from lure_cli.core.records import newer_format
from lure_cli.errors import LureError

MODEL, RECORD, CARD = "model.safetensors", "lure.json", "README.md"
"""The files of a repository: weights, their record, the model card."""
FORMAT = 1
"""Version of the record's format; a newer one is refused."""
MAX_RECORD = 1 << 20
"""Bytes; larger records are refused before they are downloaded or read."""


@dataclass(frozen=True)
class WeightsRecord:
    """What lure.json says of the weight file beside it; `size` is in bytes."""

    name: str
    size: int
    sha256: str


def read_record(path: Path) -> WeightsRecord:
    """Read a lure.json.

    Raises:
        LureError: missing, too large, of a newer format, or not a record.
    """
    hint = f"{RECORD} is what `lure weights push` writes"
    try:
        if path.stat().st_size > MAX_RECORD:
            raise LureError(f"{path}: larger than {MAX_RECORD >> 20} MiB, so no record of weights", hint)
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise LureError(f"{path}: cannot be read ({e.strerror or e})", hint) from e
    except (ValueError, RecursionError) as e:  # not UTF-8, not JSON, endless numbers, nested too deep
        raise LureError(f"{path}: damaged, or no record of weights (not JSON)", hint) from e
    version = content.get("format") if isinstance(content, dict) else None
    known = type(version) is int and version == FORMAT  # True is 1, too
    if type(version) is int and version > FORMAT:
        raise newer_format(path, version)
    name, size, digest = (content.get(k) for k in ("name", "bytes", "sha256")) if known else (None, None, None)
    if not (
        isinstance(name, str)
        and type(size) is int
        and 0 < size <= MAX_WEIGHTS
        and isinstance(digest, str)
        and re.fullmatch("[0-9a-f]{64}", digest)
    ):
        raise LureError(f"{path}: no record of weights (format, name, bytes or sha256 is missing or wrong)", hint)
    return WeightsRecord(name, size, digest)


def check_weights(path: Path, again: str) -> WeightsRecord:
    """Check a weight file against the record beside it, by its size and its bytes.

    Args:
        path: the file; its record is the lure.json in the same folder.
        again: the hint of what to do about a file that does not agree.

    Raises:
        LureError: the record cannot be used, or the file is not the recorded one.
    """
    record = read_record(path.with_name(RECORD))
    try:
        size = path.stat().st_size
        if size != record.size:
            raise LureError(f"{path}: {size} bytes long, but its record says {record.size}", again)
        if sha256(path) != record.sha256:
            raise LureError(f"{path}: damaged or changed: its checksum differs from its record's", again)
    except OSError as e:
        raise LureError(f"{path}: cannot be read ({e.strerror or e})", again) from e
    return record
