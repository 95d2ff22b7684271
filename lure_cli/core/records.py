"""Files of tensors with a record: safetensors whose metadata says, in JSON, what the file is and in which format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from lure_cli.core.files import MAX_WEIGHTS, cannot_be_written, whole_file
from lure_cli.errors import LureError

Framework = Literal["np", "pt"]


def save_record(
    path: Path, tensors: Mapping[str, Any], metadata: Mapping[str, Any], framework: Framework = "np"
) -> None:
    """Write tensors and a record, whole or not at all; the metadata's values are stored as JSON.

    Args:
        framework: what the tensors are: arrays of numpy, or tensors of torch on the CPU.

    Raises:
        LureError: it cannot be written; what was there before still is.
    """
    from safetensors import SafetensorError

    if framework == "pt":
        from safetensors.torch import save_file
    else:
        from safetensors.numpy import save_file  # type: ignore[assignment]
    with whole_file(path) as temporary:
        try:
            save_file(dict(tensors), temporary, {k: json.dumps(v) for k, v in metadata.items()})
        except SafetensorError as error:
            raise cannot_be_written(path, error) from error
        temporary.chmod(0o644)  # safetensors writes files for the owner alone


def open_record(
    path: Path,
    kind: str | None,
    version: int,
    what: str,
    hint: str,
    largest: int = MAX_WEIGHTS,
    framework: Framework = "np",
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a file that `save_record` wrote: its tensors, and its metadata.

    Args:
        kind: what the record's `kind` must be; None: anything.
        version: the newest `format` that is understood.
        what: such a file, for messages: "a detector of LURE". hint: what to do about another one.
        largest: bytes; larger files are refused unread.

    Raises:
        LureError: missing, unreadable, too large, damaged, of another kind or a newer format.
    """
    from safetensors import SafetensorError, safe_open

    try:
        if path.stat().st_size > largest:
            size = f"{largest >> 30} GiB" if largest >> 30 else f"{largest >> 20} MiB"
            raise LureError(f"{path}: larger than {size}", hint)
        with safe_open(path, framework) as f:
            raw = f.metadata() or {}
            if "format" not in raw:
                raise LureError(f"{path}: not {what}", hint)
            metadata = {k: json.loads(v) for k, v in raw.items()}
            if kind is not None and metadata.get("kind") != kind:
                raise LureError(f"{path}: not {what}", hint)
            if type(metadata["format"]) is not int or metadata["format"] > version:  # True is 1, too
                raise newer_format(path, metadata["format"])
            return {k: f.get_tensor(k) for k in f.keys()}, metadata  # noqa: SIM118 (safe_open is no dict)
    except OSError as error:
        raise LureError(f"{path}: cannot be read ({error.strerror or error})", hint) from error
    except (SafetensorError, LookupError, ValueError, TypeError, AttributeError, RecursionError) as error:
        # Of JSON: not JSON, endless numbers, nested too deep. Of tensors: a type that the framework lacks.
        raise LureError(f"{path}: damaged or not a safetensors file ({error})", hint) from error


def read_metadata(path: Path) -> dict[str, Any]:
    """The record of a file that `save_record` wrote, alone and unchecked; empty if there is none that can be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as f:
            return {k: json.loads(v) for k, v in (f.metadata() or {}).items()}
    except (OSError, SafetensorError, ValueError, RecursionError):
        return {}


def newer_format(name: str | Path, version: object) -> LureError:
    """What to say of a file in a format that this version does not know."""
    return LureError(f"{name}: format {version} is newer than this version knows", "upgrade lure-cli")
