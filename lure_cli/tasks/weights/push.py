"""`lure weights push`: a weight file, its record and its model card to a repository on the hub."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from lure_cli.errors import LureError
from lure_cli.tasks.weights.client import CLIENT, TIMEOUT, client_errors
from lure_cli.tasks.weights.find import PARTS, find_weights
from lure_cli.tasks.weights.hub import Notify
from lure_cli.tasks.weights.inspect import UNSTATED, WeightsInfo, inspect_weights
from lure_cli.tasks.weights.record import CARD, FORMAT, MODEL, RECORD
from lure_cli.tasks.weights.repo import Repo, parse_repo
from lure_cli.version import __version__

LICENCES = {
    "afl-3.0", "agpl-3.0", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "bsl-1.0", "cc0-1.0", "cc-by-3.0", "cc-by-4.0",
    "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-3.0",
    "cc-by-sa-4.0", "gpl-2.0", "gpl-3.0", "lgpl-2.1", "lgpl-3.0", "mit", "mpl-2.0", "openrail", "unlicense", "wtfpl",
}  # fmt: skip
"""Licences that the hub knows by name, as far as weights are likely to have them; others are `other` with a name."""
TAGS = ["image-fusion", "image-restoration", "infrared", "thermal", "infrared-visible-fusion", "lure"]


@dataclass(frozen=True)
class PushOptions:
    """What `lure weights push` was asked to do; see the command's help."""

    weights: str
    repo: str
    private: bool = False
    branch: str | None = None
    message: str | None = None
    new_card: bool = False


@dataclass(frozen=True)
class PushPlan:
    """What is to be uploaded, complete: the weight file, and the content of its record and card."""

    repo: Repo
    path: Path
    record: str
    card: str
    licensed: bool
    """Whether the weights state a licence."""


def plan_push(options: PushOptions) -> PushPlan:
    """Check the weights and write record and card; asks no server.

    Raises:
        LureError: a file that is no whole model of this format, or a name that the hub does not allow.
    """
    repo = parse_repo(options.repo)
    if repo is None or "@" in options.repo:
        raise LureError(f"'{options.repo}' is no name of a repository", "give owner/repo; --branch names a branch")
    if options.branch is not None:
        repo = parse_repo(f"{repo.id}@{options.branch}") or repo
    if options.weights not in PARTS and isinstance(find_weights(options.weights), Repo):
        raise LureError(f"{options.weights}: no such weight file", "give the file that `lure train` wrote")
    info = inspect_weights(options.weights)
    if info.kind == "ONNX model":
        raise LureError(f"{options.weights}: an ONNX file", "give the .safetensors file that it was made of")
    if info.kind != "model":
        raise LureError(f"{options.weights}: no fusion model, but a {info.kind}", "give the file of a model")
    record = {"format": FORMAT, "name": info.config["name"], "bytes": info.size, "sha256": info.sha256}
    record |= {"lure": __version__, "parameters": info.parameters, "text_encoder": info.text_encoder}
    record |= {"provenance": info.provenance}
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    return PushPlan(repo, Path(info.path), text, model_card(info, repo), info.terms != UNSTATED)


def model_card(info: WeightsInfo, repo: Repo) -> str:
    """The README.md of a repository: front matter as the hub knows it, what the weights are, how to use them."""
    from huggingface_hub import ModelCardData

    provenance, licence = info.provenance, info.terms
    front = ModelCardData(library_name="lure-cli", pipeline_tag="image-to-image", tags=TAGS)
    if info.terms != UNSTATED:
        known = licence.lower() in LICENCES
        front.license = licence.lower() if known else "other"
        if not known:
            front.license_name = "as-stated-below"
    rows = {
        "model": info.config["name"],
        "parameters": f"{info.parameters / 1e6:.2f} M",
        "file": f"{MODEL}, {info.size / 1e6:.1f} MB, sha256 {info.sha256}",
        "text encoder": info.text_encoder,
        "training": f"stage {provenance['stage']}, {provenance['steps']} steps, seed {provenance['seed']}",
        "training data": ", ".join(provenance["data"]) or "not stated",
        "code": f"lure-cli {__version__}, trained at revision {provenance['revision'] or 'not stated'}",
        "licence": licence,
    }
    table = "\n".join(f"| {key} | {_cell(value)} |" for key, value in rows.items())
    stage = (
        "Fuses an infrared and a visible image into one picture and removes what a text prompt says is wrong with them."
        if provenance["stage"] == 2
        else "Weights of stage I: they restore single images, told by a text prompt; they were not trained to fuse."
    )
    return f"""---
{front.to_yaml()}
---

# {repo.id.split("/")[1]}

{stage}

```sh
pip install lure-cli
lure fuse --ir ir.png --vis vis.png --prompt "haze" --weights {repo} -o fused.png
```

```python
from lure_cli import Fuser

fused = Fuser.from_pretrained("{repo}")("ir.png", "vis.png", prompt="haze")
```

| | |
| --- | --- |
{table}

`{RECORD}` is the record that `lure` checks the weights against each time they are used.
"""


def _cell(text: str) -> str:
    """Text as it may stand in a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def push(plan: PushPlan, options: PushOptions, notify: Notify | None = None) -> Repo:
    """Upload in one commit; the repository and the branch are made if they are not there.

    A model card that is there stays, unless `new_card` says otherwise.

    Returns:
        The repository at the commit that was made.

    Raises:
        LureError: no token, one without the right to write, offline, or a hub or network that fails.
    """
    repo, notify = plan.repo, notify or (lambda line: None)
    with client_errors(repo, "push"):
        from huggingface_hub import CommitOperationAdd, HfApi, get_token

        token = get_token()
        if token is None:
            raise LureError(
                f"{repo}: pushing needs a token of the hub",
                "set HF_TOKEN to one that may write, or run `hf auth login`",
            )
        api = HfApi(token=token, **CLIENT)
        url = api.create_repo(repo.id, private=options.private or None, exist_ok=True)
        if options.private and not api.model_info(repo.id, timeout=TIMEOUT).private:
            raise LureError(
                f"{repo}: the repository is there already, and public",
                "make it private on the hub, or leave --private out",
            )
        if repo.revision != "main":
            api.create_branch(repo.id, branch=repo.revision, exist_ok=True)
        parts: dict[str, bytes | Path] = {RECORD: plan.record.encode(), MODEL: plan.path}
        if options.new_card or not api.file_exists(repo.id, CARD, revision=repo.revision):
            parts[CARD] = plan.card.encode()
        else:
            notify(f"note: the {CARD} of {repo} stays as it is; --new-card replaces it")
        notify(f"uploading {', '.join(sorted(parts))} to {url}")
        commit = api.create_commit(
            repo.id,
            [CommitOperationAdd(path_in_repo=name, path_or_fileobj=content) for name, content in parts.items()],
            commit_message=options.message or f"Weights of {json.loads(plan.record)['name']}",
            revision=repo.revision,
        )
    return Repo(repo.id, commit.oid)
