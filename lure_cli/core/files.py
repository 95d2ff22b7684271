"""Files that are whole or not there: written under a temporary name beside the final one and moved into place."""

from __future__ import annotations

import hashlib
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lure_cli.errors import LureError

PACKAGE = Path(__file__).resolve().parents[1]
"""The folder of the package, with its presets and, where it is installed, the shipped weights."""
MAX_WEIGHTS = 4 << 30
"""Bytes; larger weight files are refused before they are downloaded or read."""
_LEFT = re.compile(r"\.lure-[0-9a-f]{32}(\.\w+)?")
_OLD = 3600.0
"""Seconds after which a temporary file cannot belong to a process that is still writing it."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield the temporary name to write to; moved to `path` at the end, removed after an error. Folders are made.

    A symbolic link at `path` is itself replaced, so that what it points to, which may be an input, stays as it is.

    Raises:
        LureError: an OSError of writing or moving; no temporary file is left, and what was there before still is.
    """
    # In the same folder, so that the move is atomic; a short name, so that it fits where the final one does.
    temporary = path.parent / f".lure-{uuid.uuid4().hex}{path.suffix.lower()}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise cannot_be_written(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_file(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all; LureError as `whole_file`."""
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def cannot_be_written(name: str | Path, error: BaseException) -> LureError:
    """What to say of a file of this name that an error kept from being written."""
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())
    return LureError(f"{name}: cannot be written ({reason})", "check that the folder is writable and the disk has room")


def sha256(path: Path) -> str:
    """Hex digest of a file.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def sweep(folder: Path) -> None:
    """Remove what killed processes left in a folder: temporary files of ours that are more than an hour old."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _LEFT.fullmatch(entry.name) and time.time() - entry.stat(follow_symlinks=False).st_mtime > _OLD:
                with suppress(OSError):
                    os.unlink(entry.path)
