"""Weights from the Hugging Face Hub; reads no pixels, and imports neither torch nor the client before it is needed.

One repository is one model:

    model.safetensors   the weight file, as `lure train` writes it
    lure.json           its record: {"format": 1, "name": ..., "bytes": ..., "sha256": ...}, and more for people to read
    README.md           the model card

The names of the two files are fixed, so a record cannot point anywhere else. The weights are checked against the record
after a download and again each time they are used: what was damaged, cut off or changed on the way or in the cache is
refused. Both files come from the same repository, so this does not protect from whoever may write to it; only a commit
does (`owner/repo@COMMIT`), as that names one state of the repository for good.

Files live in the client's cache, and its settings hold: HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE, HF_ENDPOINT, HF_TOKEN.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from lure_cli.core.files import MAX_WEIGHTS, sha256
from lure_cli.core.records import newer_format
from lure_cli.errors import LureError
from lure_cli.version import __version__

MODEL, RECORD, CARD = "model.safetensors", "lure.json", "README.md"
FORMAT = 1
"""Version of the record's format; a newer one is refused."""
MAX_RECORD = 1 << 20
"""Bytes; larger records are refused before they are downloaded or read."""
TIMEOUT = 30.0
"""Seconds to wait for the hub's answer to a question; for files the client has limits of its own."""

CLIENT: dict[str, Any] = {"library_name": "lure-cli", "library_version": __version__}
"""How the client introduces itself."""

Say = Callable[[str], None]
Action = Literal["download", "push"]


@dataclass(frozen=True)
class Repo:
    """A repository on the hub, `owner/repo`, and the branch, tag or commit wanted of it."""

    id: str
    revision: str = "main"

    def __str__(self) -> str:
        return self.id if self.revision == "main" else f"{self.id}@{self.revision}"


@dataclass(frozen=True)
class HubRecord:
    """What lure.json says of the weight file beside it; `size` is in bytes."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Cached:
    """A model in the client's cache: the commit and the branches or tags that point to it."""

    id: str
    commit: str
    refs: tuple[str, ...]
    path: Path

    @property
    def repo(self) -> Repo:
        """What names it: by a branch or tag where there is one."""
        return Repo(self.id, "main" if "main" in self.refs else next(iter(self.refs), self.commit))


def parse_repo(text: str) -> Repo | None:
    """`owner/repo[@revision]`; None if the text has another form.

    Raises:
        LureError: it has this form, but the hub allows no such name.
    """
    match = re.fullmatch(r"(\w[\w.-]*/\w[\w.-]*)(?:@(.*))?", text, re.ASCII | re.DOTALL)
    if match is None:
        return None
    name, revision = match[1], match[2]
    if re.search(r"--|\.\.|[-.](/|$)|\.git$", name) or len(name) > 96:
        raise LureError(f"'{name}' is no name of a repository", "names look like owner/repo, without -- and ..")
    if revision is None:
        return Repo(name)
    if not re.fullmatch(r"\w[\w./+-]*", revision, re.ASCII) or re.search(r"\.\.|//|/$", revision):
        raise LureError(f"'{revision}' is no revision of {name}", "give a branch, a tag or a commit behind the @")
    return Repo(name, revision)


def read_record(path: Path) -> HubRecord:
    """Read a lure.json.

    Raises:
        LureError: missing, too large, of a newer format, or not a record.
    """
    hint = f"{RECORD} is what `lure weights push` writes"
    try:
        if path.stat().st_size > MAX_RECORD:
            raise LureError(f"{path}: larger than {MAX_RECORD >> 20} MiB, so no record of weights", hint)
        told = json.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise LureError(f"{path}: cannot be read ({e.strerror or e})", hint) from e
    except (ValueError, RecursionError) as e:  # not UTF-8, not JSON, endless numbers, nested too deep
        raise LureError(f"{path}: damaged, or no record of weights (not JSON)", hint) from e
    form = told.get("format") if isinstance(told, dict) else None
    known = type(form) is int and form == FORMAT  # True is 1, too
    if type(form) is int and form > FORMAT:
        raise newer_format(path, form)
    name, size, digest = (told.get(k) for k in ("name", "bytes", "sha256")) if known else (None, None, None)
    if not (
        isinstance(name, str)
        and type(size) is int
        and 0 < size <= MAX_WEIGHTS
        and isinstance(digest, str)
        and re.fullmatch("[0-9a-f]{64}", digest)
    ):
        raise LureError(f"{path}: no record of weights (format, name, bytes or sha256 is missing or wrong)", hint)
    return HubRecord(name, size, digest)


def check_weights(path: Path, again: str) -> HubRecord:
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


def cached(repo: Repo) -> Path | None:
    """The weight file of a repository in the client's cache, checked; None if it is not there. Asks no server.

    Raises:
        LureError: it is there, but not as its record says.
    """
    with explained(repo):
        from huggingface_hub import try_to_load_from_cache

        record = try_to_load_from_cache(repo.id, RECORD, revision=repo.revision)
        path = Path(record).with_name(MODEL) if isinstance(record, str) else None
        if path is None or not path.exists():
            return None
    check_weights(path, _again(repo))
    return path


def download(repo: Repo, say: Say | None = None, force: bool = False) -> Path:
    """Bring a repository's model into the client's cache, as far as it is not there, and check it.

    A branch is looked up anew, and it means the new commit only once its weights are there and checked.

    Args:
        repo: what to get.
        say: told what is downloaded.
        force: download again what is in the cache.

    Raises:
        LureError: offline, no such repository, revision or model, no access, a hub or network that fails, a full disk,
            or a file that is not as its record says.
    """
    with explained(repo):
        from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

        told = HfApi(**CLIENT).model_info(repo.id, revision=repo.revision, files_metadata=True, timeout=TIMEOUT)
        commit, sizes = told.sha or "", {f.rfilename: f.size or 0 for f in told.siblings or ()}
        if not re.fullmatch("[0-9a-f]{40}", commit):
            raise LureError(f"{_endpoint()} does not answer as a hub does", "check HF_ENDPOINT and proxies")
        for name, limit in ((RECORD, MAX_RECORD), (MODEL, MAX_WEIGHTS)):
            if name not in sizes:
                raise LureError(f"{repo}: holds no {name}, so no model of LURE", f"a model is {MODEL} and {RECORD}")
            if sizes[name] > limit:
                raise LureError(f"{repo}: its {name} has {sizes[name]} bytes", f"at most {limit} are taken")

        def get(name: str) -> Path:
            there = try_to_load_from_cache(repo.id, name, revision=commit)
            if force and isinstance(there, str) and not os.path.islink(there):
                os.unlink(there)  # the client would leave it as it is
            return Path(hf_hub_download(repo.id, name, revision=commit, force_download=force, **CLIENT))

        size = read_record(get(RECORD)).size
        if size != sizes[MODEL]:
            raise LureError(
                f"{repo}: its {MODEL} has {sizes[MODEL]} bytes, but its {RECORD} says {size}", "tell its owner"
            )
        if say is not None and (force or not isinstance(try_to_load_from_cache(repo.id, MODEL, revision=commit), str)):
            say(f"downloading {repo} ({commit[:12]}): {size / 1e6:.1f} MB from {_endpoint()}")
        path = get(MODEL)
        check_weights(path, "tell its owner" if force else _again(repo))
        if repo.revision != commit:  # from now on the cache knows which commit the branch or tag means
            hf_hub_download(repo.id, RECORD, revision=repo.revision, **CLIENT)
    return path


def list_cached() -> tuple[Cached, ...]:
    """Models of LURE in the client's cache, by name; their weights are not read."""
    with explained(None):
        from huggingface_hub import CacheNotFound, constants, scan_cache_dir

        try:
            repos = scan_cache_dir(constants.HF_HUB_CACHE).repos
        except CacheNotFound:
            return ()
    found = []
    for repo in repos:
        for revision in repo.revisions if repo.repo_type == "model" else ():
            files = {f.file_name: f.file_path for f in revision.files}
            if MODEL in files and RECORD in files:
                found.append(
                    Cached(repo.repo_id, revision.commit_hash, tuple(sorted(revision.refs)), Path(files[MODEL]))
                )
    return tuple(sorted(found, key=lambda c: (c.id, c.commit)))


def _again(repo: Repo) -> str:
    return f"get it again: lure weights download --force {repo}"


def _endpoint() -> str:
    """The hub's address, as the client has it."""
    from huggingface_hub import constants

    return constants.ENDPOINT


@contextmanager
def explained(repo: Repo | None, action: Action = "download") -> Iterator[None]:
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
        raise _told(error, repo, action) from error


def _import_client() -> None:
    """Import the client, which reads its settings then; LureError for those that it cannot read."""
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        parts = urlsplit(endpoint)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise LureError(
            f"HF_ENDPOINT is no web address: {endpoint!r}", "for example HF_ENDPOINT=https://huggingface.co"
        )
    try:
        from huggingface_hub import constants  # noqa: F401
    except (ImportError, ValueError) as e:
        raise LureError(
            f"the hub's client cannot be imported ({e})", "check the HF_ variables, or install huggingface_hub again"
        ) from e


def _told(error: BaseException, repo: Repo | None, action: Action) -> LureError:
    """What a client's error means for a user."""
    from huggingface_hub import errors, get_token

    while isinstance(error, (errors.LocalEntryNotFoundError, ValueError)) and error.__cause__ is not None:
        error = error.__cause__  # "cannot be found locally", caused by what went wrong with the network
    where, hub = str(repo or "the cache"), _endpoint()
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
