"""The documents: where they are, and the code blocks, links and names in them."""

from __future__ import annotations

import re
from pathlib import Path

from tests.helpers.command_pages import PAGE
from tests.helpers.files import EXAMPLES, ROOT

README = ROOT / "README.md"
CONTRIBUTING = ROOT / ".github" / "CONTRIBUTING.md"
GUIDES = sorted(p for p in (EXAMPLES / "guides").glob("*.md") if p != PAGE)
"""Those written by hand."""
DOCUMENTS = (
    README,
    *GUIDES,
    PAGE,
    EXAMPLES / "README.md",
    EXAMPLES / "web" / "README.md",
    ROOT / "weights" / "README.md",
    CONTRIBUTING,
)


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[str]:
    """The lines of all blocks that a reader may paste into a shell."""
    return [line for block in blocks(page, "sh") for line in block.splitlines() if line.strip()]


def prose(page: Path) -> str:
    """All but the code blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def links(page: Path) -> list[str]:
    """Where its links and pictures point to, as written; without those to other hosts."""
    targets = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(page)))
    return [t for t in targets if not re.match(r"https?:", t)]


def anchors(page: Path) -> set[str]:
    """What a link may name after #: the headings in small letters, spaces as hyphens, without punctuation."""
    counted: dict[str, int] = {}
    for heading in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        counted[slug] = counted.get(slug, 0) + 1
    return {slug if i == 0 else f"{slug}-{i}" for slug, count in counted.items() for i in range(count)}


def names_of_files(page: Path) -> set[str]:
    """Files and folders of the project that it names, and modules as files or folders: those in code, not links."""
    code = " ".join(re.findall(r"`([^`\n]+)`", prose(page)))
    paths = set(re.findall(r"\b(?:lure_cli|tests|examples|weights)/[\w./-]*\w", code))
    modules = re.findall(r"\b(?:lure_cli|tests)(?:\.\w+)+", code)
    return paths | {m.replace(".", "/") for m in modules if "/" not in m}
