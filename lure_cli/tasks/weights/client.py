"""The hub's client: imported when it is needed, its errors turned into ours.

Its settings hold: HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE, HF_ENDPOINT, HF_TOKEN.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal
from urllib.parse import urlsplit

from lure_cli.errors import LureError
from lure_cli.tasks.weights.record import MODEL, RECORD
from lure_cli.tasks.weights.repo import Repo
from lure_cli.version import __version__

TIMEOUT = 30.0
"""Seconds to wait for the hub's answer to a question; for files the client has limits of its own."""
CLIENT: dict[str, Any] = {"library_name": "lure-cli", "library_version": __version__}
"""How the client introduces itself."""

Action = Literal["download", "push"]


@contextmanager
def client_errors(repo: Repo | None, action: Action = "download") -> Iterator[None]:
    """Within the context the client's errors become ours.

    Raises:
        LureError: whatever went wrong.
    """
    _import_client()
    try:
        yield
    except LureError:
        raise
    except Exception as error:  # the client lets pass what its transport raises, and that differs by version
        raise _as_lure_error(error, repo, action) from error


def _import_client() -> None:
    """Import the client, which reads its settings then; LureError for those that it cannot read."""
    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise LureError(f"HF_ENDPOINT is no web address: {address!r}", "for example HF_ENDPOINT=https://huggingface.co")
    try:
        from huggingface_hub import constants  # noqa: F401
    except (ImportError, ValueError) as e:
        raise LureError(
            f"the hub's client cannot be imported ({e})", "check the HF_ variables, or install huggingface_hub again"
        ) from e


def _as_lure_error(error: BaseException, repo: Repo | None, action: Action) -> LureError:
    """What a client's error means for a user."""
    from huggingface_hub import errors, get_token

    while isinstance(error, (errors.LocalEntryNotFoundError, ValueError)) and error.__cause__ is not None:
        error = error.__cause__  # "cannot be found locally", caused by what went wrong with the network
    where, hub = str(repo or "the cache"), endpoint()
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.OfflineModeIsEnabled):
        return LureError(
            f"{where}: not in the cache, and HF_HUB_OFFLINE forbids to ask the hub"
            if action == "download"
            else f"{where}: HF_HUB_OFFLINE forbids to ask the hub",
            "unset HF_HUB_OFFLINE" + f" and run: lure weights download {where}" * (action == "download"),
        )
    if isinstance(error, errors.GatedRepoError):
        return LureError(f"{where}: its owner gives access on request only", f"ask for it at {hub}/{repo and repo.id}")
    if isinstance(error, errors.RevisionNotFoundError):
        return LureError(
            f"{repo and repo.id}: there is no revision '{repo and repo.revision}'", "give a branch, a tag or a commit"
        )
    if isinstance(error, errors.EntryNotFoundError):
        return LureError(f"{where}: a file of the model is not on {hub}", f"a model is {MODEL} and {RECORD}")
    if isinstance(error, errors.RepositoryNotFoundError) or status in (401, 403, 404):
        token = get_token()
        if action == "push" and status in (401, 403):
            return LureError(f"{where}: {hub} refuses this token ({status})", "HF_TOKEN needs the right to write there")
        return LureError(
            f"{where}: no such repository on {hub}, or no access to it ({status}), and no such file here",
            "check the name, and that HF_TOKEN may read it" if token else "check the name; private ones need HF_TOKEN",
        )
    if status is not None:
        return LureError(f"{where}: {hub} answers with an error ({status})", "try again later")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return LureError(
            f"{where}: no room in the cache ({error.strerror})", "make room, or set HF_HOME to another disk"
        )
    if isinstance(error, OSError) and error.errno and error.filename:
        return LureError(
            f"{where}: {error.filename}: {error.strerror}", "set HF_HOME to a folder that can be written to"
        )
    reason = " ".join(str(error).split()) or type(error).__name__
    return LureError(
        f"{where}: {hub} cannot be reached, or the connection broke ({reason[:300]})",
        f"check the network, HF_ENDPOINT and proxies{', try HF_HUB_DISABLE_XET=1' * ('xet' in reason)}, and try again",
    )


def endpoint() -> str:
    """The hub's address, as the client has it."""
    from huggingface_hub import constants

    return constants.ENDPOINT
