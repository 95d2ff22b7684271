"""Weights from the Hugging Face Hub; reads no pixels, and imports neither torch nor the client before it is needed.

One repository is one model:

    model.safetensors   the weight file, as `lure train` writes it
    lure.json           its record
    README.md           the model card

The weights are checked against the record after a download and again each time they are used: what was damaged, cut
off or changed on the way or in the cache is refused. Both files come from the same repository, so this does not protect
from whoever may write to it; only a commit does (`owner/repo@COMMIT`), as that names one state of the repository for
good.

Files live in the client's cache.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lure_cli.core.files import MAX_WEIGHTS
from lure_cli.errors import LureError
from lure_cli.tasks.weights.client import CLIENT, TIMEOUT, client_errors, endpoint
from lure_cli.tasks.weights.record import MAX_RECORD, MODEL, RECORD, check_weights, read_record
from lure_cli.tasks.weights.repo import Repo

Notify = Callable[[str], None]
"""Shows a line to the user."""


@dataclass(frozen=True)
class CachedModel:
    """A model in the client's cache: the commit and the branches or tags that point to it."""

    id: str
    commit: str
    refs: tuple[str, ...]
    path: Path

    @property
    def repo(self) -> Repo:
        """What names it: by a branch or tag where there is one."""
        return Repo(self.id, "main" if "main" in self.refs else next(iter(self.refs), self.commit))


def cached(repo: Repo) -> Path | None:
    """The weight file of a repository in the client's cache, checked; None if it is not there. Asks no server.

    Raises:
        LureError: it is there, but not as its record says.
    """
    with client_errors(repo):
        from huggingface_hub import try_to_load_from_cache

        record = try_to_load_from_cache(repo.id, RECORD, revision=repo.revision)
        path = Path(record).with_name(MODEL) if isinstance(record, str) else None
        if path is None or not path.exists():
            return None
    check_weights(path, _again(repo))
    return path


def download(repo: Repo, notify: Notify | None = None, force: bool = False) -> Path:
    """Bring a repository's model into the client's cache, as far as it is not there, and check it.

    A branch is looked up anew, and it means the new commit only once its weights are there and checked.

    Args:
        repo: what to get.
        notify: is given what is downloaded.
        force: download again what is in the cache.

    Raises:
        LureError: offline, no such repository, revision or model, no access, a hub or network that fails, a full disk,
            or a file that is not as its record says.
    """
    with client_errors(repo):
        from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

        info = HfApi(**CLIENT).model_info(repo.id, revision=repo.revision, files_metadata=True, timeout=TIMEOUT)
        commit, sizes = info.sha or "", {f.rfilename: f.size or 0 for f in info.siblings or ()}
        if not re.fullmatch("[0-9a-f]{40}", commit):
            raise LureError(f"{endpoint()} does not answer as a hub does", "check HF_ENDPOINT and proxies")
        for name, limit in ((RECORD, MAX_RECORD), (MODEL, MAX_WEIGHTS)):
            if name not in sizes:
                raise LureError(f"{repo}: holds no {name}, so no model of LURE", f"a model is {MODEL} and {RECORD}")
            if sizes[name] > limit:
                raise LureError(f"{repo}: its {name} has {sizes[name]} bytes", f"at most {limit} are taken")

        def in_cache(name: str) -> str | None:
            path = try_to_load_from_cache(repo.id, name, revision=commit)
            return path if isinstance(path, str) else None

        def get(name: str) -> Path:
            path = in_cache(name)
            if force and path is not None and not os.path.islink(path):
                os.unlink(path)  # the client would leave it as it is
            return Path(hf_hub_download(repo.id, name, revision=commit, force_download=force, **CLIENT))

        size = read_record(get(RECORD)).size
        if size != sizes[MODEL]:
            raise LureError(
                f"{repo}: its {MODEL} has {sizes[MODEL]} bytes, but its {RECORD} says {size}", "tell its owner"
            )
        if notify is not None and (force or in_cache(MODEL) is None):
            notify(f"downloading {repo} ({commit[:12]}): {size / 1e6:.1f} MB from {endpoint()}")
        path = get(MODEL)
        check_weights(path, "tell its owner" if force else _again(repo))
        if repo.revision != commit:  # from now on the cache knows which commit the branch or tag means
            hf_hub_download(repo.id, RECORD, revision=repo.revision, **CLIENT)
    return path


def list_cached() -> tuple[CachedModel, ...]:
    """Models of LURE in the client's cache, by name; their weights are not read."""
    with client_errors(None):
        from huggingface_hub import CacheNotFound, constants, scan_cache_dir

        try:
            repos = scan_cache_dir(constants.HF_HUB_CACHE).repos
        except CacheNotFound:
            return ()
    models = []
    for repo in repos:
        for revision in repo.revisions if repo.repo_type == "model" else ():
            files = {f.file_name: f.file_path for f in revision.files}
            if MODEL in files and RECORD in files:
                models.append(
                    CachedModel(repo.repo_id, revision.commit_hash, tuple(sorted(revision.refs)), Path(files[MODEL]))
                )
    return tuple(sorted(models, key=lambda c: (c.id, c.commit)))


def _again(repo: Repo) -> str:
    return f"get it again: lure weights download --force {repo}"
