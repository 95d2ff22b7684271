"""Prompts: from what a user wrote to what is wrong with which image."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lure_cli.core.pixels import MODALITY_NAMES
from lure_cli.core.text.vocabulary import DEGRADATIONS, Finding, Focus, Prompt
from lure_cli.errors import LureError
from lure_cli.tasks.paths.table import read_list, read_table
from lure_cli.tasks.weights.find import text_weights

if TYPE_CHECKING:
    from lure_cli.core.text.parser import PromptParser

EXAMPLES: dict[str, str] = {
    "haze": "please get rid of the fog",
    "rain": "it was raining, drops everywhere",
    "snow": "it was snowing, flakes everywhere",
    "lowlight": "night shot, barely visible",
    "overexposure": "washed-out highlights",
    "noise": "grainy thermal image",
    "blur": "the visible image is out of focus",
    "lowres": "the infrared has very few pixels",
    "lowcontrast": "the thermal image looks flat",
    "stripe": "the thermal camera shows vertical lines",
    "none": "nothing is wrong",
}
"""One example a degradation."""
_HINT = (
    "for example 'haze', 'night shot, grainy thermal image' or 'slight blur in the visible image'; "
    "see `lure prompt --list`"
)


@dataclass(frozen=True)
class Understanding:
    """How one text is understood: degradations per modality, or the reason why it is not."""

    text: str
    vis: tuple[Finding, ...] = ()
    ir: tuple[Finding, ...] = ()
    error: LureError | None = None


@cache
def prompt_parser() -> PromptParser:
    """The shipped prompt parser; its checksum is verified.

    Raises:
        LureError: missing or damaged.
    """
    from lure_cli.core.text.parser import PromptParser

    return PromptParser.load(text_weights())


def understand(text: str, focus: Focus = "pair") -> Understanding:
    """Read a text about the pair, or about one image alone.

    Raises:
        LureError: a text that is about something else, that leaves in doubt whether anything is wrong, or that speaks
            of a degradation which that image cannot have (haze in the infrared) or of the image that it is not about.
            It is refused, never replaced by a guess.
    """
    if not text.strip():
        raise LureError("an empty prompt says nothing", "leave it out for plain fusion, or write 'nothing is wrong'")
    parsed = prompt_parser().parse(text, focus)
    if parsed.relevance < 0.5:
        raise LureError(f"prompt '{text}' does not say what is wrong with the images", _HINT)
    if parsed.guess:
        raise LureError(
            f"prompt '{text}' is not understood: it may mean '{parsed.guess}'",
            f"say '{EXAMPLES[parsed.guess]}', or 'nothing is wrong'",
        )
    for m, findings in parsed.findings.items():
        if findings and focus not in ("pair", m):
            raise LureError(f"prompt '{text}' speaks of the other image", "use --prompt for both images")
        for f in findings:
            if f.degradation not in DEGRADATIONS[m]:
                raise LureError(
                    f"prompt '{text}': '{f.degradation}' is not known for the {MODALITY_NAMES[m]} image",
                    f"known there: {', '.join(DEGRADATIONS[m])}",
                )
    return Understanding(text, parsed.findings["vis"], parsed.findings["ir"])


def understand_all(texts: list[str]) -> list[Understanding]:
    """As `understand`, for several texts; one that is not understood carries its error."""
    understood = []
    for text in texts:
        try:
            understood.append(understand(text))
        except LureError as error:
            understood.append(Understanding(text, error=error))
    return understood


def parse_prompt(prompt: str | None = None, ir: str | None = None, vis: str | None = None) -> Prompt:
    """Understand what a user wrote.

    Args:
        prompt: about the pair; degradations go to the image that is named with them, else to the only modality that
            knows them, else (noise, blur, low resolution) to both. None: nothing is wrong.
        ir, vis: about that image alone; each replaces what `prompt` says about it.

    Raises:
        LureError: as `understand`.
    """
    findings: dict[str, tuple[Finding, ...]] = {"vis": (), "ir": ()}
    if prompt is not None:
        both = understand(prompt)
        findings = {"vis": both.vis, "ir": both.ir}
    if vis is not None:
        findings["vis"] = understand(vis, "vis").vis
    if ir is not None:
        findings["ir"] = understand(ir, "ir").ir
    names = {m: {f.degradation for f in findings[m]} for m in findings}
    return Prompt(*(tuple(n for n in DEGRADATIONS[m] if n in names[m]) for m in ("vis", "ir")))


_COLUMNS = ("stem", "prompt", "prompt_ir", "prompt_vis")


def read_prompt_file(path: Path) -> dict[str, Prompt]:
    """A prompt for each pair's name, from CSV (header `stem,prompt[,prompt_ir,prompt_vis]`) or JSON Lines (these keys).

    The names come in composed Unicode (NFC). An empty or missing prompt means plain fusion.

    Raises:
        LureError: an unreadable file, or a line that is wrong, named by its number.
    """
    hint = 'CSV with the header stem,prompt or lines such as {"stem": "a", "prompt": "haze"}'
    rows: list[tuple[int, Any]] = []
    if path.suffix.lower() in (".jsonl", ".ndjson", ".json"):
        for i, line in enumerate(read_list(path, hint).split("\n"), 1):
            try:
                rows += [(i, json.loads(line))] if line.strip() else []
            except json.JSONDecodeError as e:
                raise LureError(f"{path}, line {i}: not JSON ({e.msg})", hint) from e
    else:
        rows += read_table(path, _COLUMNS, ("stem",), hint)
    prompts: dict[str, Prompt] = {}
    for number, row in rows:
        where = f"{path}, line {number}"
        if not isinstance(row, dict) or not all(isinstance(v, (str, type(None))) for v in row.values()):
            raise LureError(f"{where}: not one text a column", hint)
        if unknown := [k for k in row if k not in _COLUMNS]:
            raise LureError(f"{where}: unknown column '{unknown[0]}'", hint)
        stem = row.get("stem")
        if not stem:
            raise LureError(f"{where}: no stem", hint)
        stem = unicodedata.normalize("NFC", stem)
        if stem in prompts:
            raise LureError(f"{where}: '{stem}' a second time", "give one prompt a pair")
        try:
            prompts[stem] = parse_prompt(
                *((row.get(k) or "").strip() or None for k in ("prompt", "prompt_ir", "prompt_vis"))
            )
        except LureError as e:
            raise LureError(f"{where}: {e.message}", e.hint) from e
    if not prompts:
        raise LureError(f"{path}: no prompts", hint)
    return prompts


@dataclass(frozen=True)
class Word:
    """One entry of the vocabulary: a degradation, the images that can have it, an example of how to say it."""

    degradation: str
    images: tuple[str, ...]
    example: str


def vocabulary() -> list[Word]:
    """What can be understood."""
    return [
        Word(name, tuple(m for m in ("vis", "ir") if name in DEGRADATIONS[m]), example)
        for name, example in EXAMPLES.items()
    ]
