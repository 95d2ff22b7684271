"""Names of repositories on the Hugging Face Hub."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lure_cli.errors import LureError


@dataclass(frozen=True)
class Repo:
    """A repository on the hub, `owner/repo`, and the branch, tag or commit wanted of it."""

    id: str
    revision: str = "main"

    def __str__(self) -> str:
        return self.id if self.revision == "main" else f"{self.id}@{self.revision}"


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
