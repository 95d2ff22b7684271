"""Transform files: an `Alignment` as JSON, written by `lure align --transform`, read as a rig."""

from __future__ import annotations

import json
from pathlib import Path

from lure_cli.core.files import write_file
from lure_cli.core.registration.alignment import Alignment
from lure_cli.errors import LureError

KIND = "lure transform"
VERSION = 1
"""Files of later versions are refused; files without kind and version hold `matrix` and `size` alone."""
LARGEST = 1 << 20
"""Bytes."""


def write_transform(path: Path, alignment: Alignment) -> None:
    """Write a transform file, whole or not at all.

    Raises:
        LureError: it cannot be written.
    """
    record = {"kind": KIND, "version": VERSION} | alignment.record()
    write_file(path, (json.dumps(record, indent=2) + "\n").encode())


def read_transform(path: Path) -> Alignment:
    """Read a transform file; only `matrix` and `size` must be there.

    Raises:
        LureError: it cannot be read, is no JSON, is of a later version, or holds no such transform.
    """
    hint = "it needs the keys 'matrix' (2 rows of 3 numbers) and 'size' (width, height), as --transform writes them"
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise LureError(f"{path}: cannot be read ({error.strerror})", "check the spelling of the path") from error
    if len(content) > LARGEST:
        raise LureError(f"{path}: is larger than {LARGEST >> 20} MiB, which no transform is", hint)
    try:
        record = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise LureError(f"{path}: no JSON ({error})", hint) from error
    if not isinstance(record, dict) or record.get("kind", KIND) != KIND:
        raise LureError(f"{path}: holds no transform", hint)
    version = record.get("version", VERSION)
    if type(version) is not int or not 1 <= version <= VERSION:
        raise LureError(f"{path}: is of version {version!r}, which this LURE does not know", "upgrade lure-cli")
    try:
        return Alignment.from_record(record)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        fault = f"'{error.args[0]}' is missing" if isinstance(error, KeyError) else str(error)
        raise LureError(f"{path}: holds no transform ({fault})", hint) from error
