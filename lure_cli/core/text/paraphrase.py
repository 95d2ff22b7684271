"""Prompts as people might write them, with what they mean: training and test data of the prompt parser.

Words and sentence patterns come in two parts, `train` (of which `common` is the everyday part) and `held`: the second
was written apart, without knowledge of the rarer part of the first, and serves to measure how well wording of others
is understood. Plain lists and a small grammar; everything random comes from the caller's generator.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from lure_cli.core.text.vocabulary import HEAVY, MEDIUM, SLIGHT, Focus

Split = Literal["common", "train", "held"]
Label = tuple[str, str]
"""(modality, degradation)."""

HOMES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("haze", "rain", "lowlight", "overexposure"), ("vis",)),
    **dict.fromkeys(("lowcontrast", "stripe"), ("ir",)),
    **dict.fromkeys(("noise", "blur", "lowres"), ("vis", "ir")),
}
"""Where a degradation is when no image is named."""


@dataclass(frozen=True)
class Sample:
    """A text and its meaning: severity per (modality, degradation); none at all means plain fusion."""

    text: str
    focus: Focus = "pair"
    labels: Mapping[Label, float] = field(default_factory=dict)
    off_topic: bool = False


class Pool(NamedTuple):
    """Alternatives: the common ones, all that are trained on, and those for testing only."""

    common: tuple[str, ...]
    train: tuple[str, ...]
    held: tuple[str, ...]


class Wording(NamedTuple):
    """How one degradation is told.

    nouns: "remove the ..."; adjectives: "the image is ..."; clauses: whole sentences, {M} is the image; verbs: what to
    do with {M}. A trailing "!" marks wording that is heavy in itself. `bare` clauses name no image.
    """

    nouns: Pool
    adjectives: Pool
    clauses: Pool
    verbs: Pool
    bare: Pool


def _load() -> tuple[dict[str, Wording], dict[str, Pool], dict[str, tuple[str, ...]], tuple[tuple[str, str, str], ...]]:
    data = tomllib.loads(Path(__file__).with_name("wording.toml").read_text(encoding="utf-8"))
    nothing: dict[str, list[str]] = {"train": [], "held": []}
    words = {
        name: Wording(*(_pool(forms.get(form, nothing)) for form in Wording._fields))
        for name, forms in data["words"].items()
    }
    fixed = tuple((text, vis, ir) for text, vis, ir in data["fixed"]["texts"])
    patterns = {name: _pool(pool) for name, pool in data["patterns"].items()}
    return words, patterns, {name: tuple(texts) for name, texts in data["phrases"].items()}, fixed


def _pool(pool: Mapping[str, Sequence[str]]) -> Pool:
    return Pool(tuple(pool["train"]), (*pool["train"], *pool.get("more", ())), tuple(pool["held"]))


WORDS, _PATTERNS, _PHRASES, FIXED = _load()
"""`FIXED`: texts that must be understood exactly, with the names for the visible and the infrared image."""
_DEGREES = {
    (SLIGHT, "nouns"): _PATTERNS["slight_noun"],
    (HEAVY, "nouns"): _PATTERNS["heavy_noun"],
    (SLIGHT, "adjectives"): _PATTERNS["slight_adjective"],
    (HEAVY, "adjectives"): _PATTERNS["heavy_adjective"],
}


class _Clause(NamedTuple):
    """A part of a text: the named degradations, in the image said (or "both", or none named), present or denied."""

    names: tuple[str, ...]
    image: str | None
    denied: bool = False


def sample(rng: random.Random, split: Split = "train", words: Sequence[str] = ()) -> Sample:
    """One text with its meaning; about a quarter is off topic.

    Args:
        rng: where chance comes from.
        split: which words and patterns; "common" is a part of "train". "held" takes the degradations' wording and the
            sentence patterns from the part for testing, small words (images, joints, severities) from all.
        words: any English words, for off-topic texts.
    """
    kind = rng.random()
    if kind < 0.22:
        return off_topic(rng, split, words)
    if split != "held" and kind < 0.24:
        return _fixed(rng)
    if kind < 0.27:
        focus: Focus = rng.choice(("pair", "pair", "vis", "ir"))
        return _finish(rng, split, _pick(rng, _PATTERNS["clean"], split), focus, {})
    if kind < 0.42:
        return _about_one(rng, split)
    return _about_pair(rng, split)


def _fixed(rng: random.Random) -> Sample:
    text, *names = rng.choice(FIXED)
    named = {(m, n) for m, each in zip(("vis", "ir"), names, strict=True) for n in each.split()}
    labels = dict.fromkeys(sorted(named), MEDIUM)
    for word, severity in (("slight ", SLIGHT), ("heavy ", HEAVY)):  # written before the one for the visible image
        if word in text:
            labels |= {label: severity for label in labels if label[0] == "vis"}
    return Sample(rng.choice((text, text, text.upper())), "pair", labels)


def off_topic(rng: random.Random, split: Split = "train", words: Sequence[str] = ()) -> Sample:
    """A text that says nothing about what is wrong with the images."""
    text = _pick(rng, _PATTERNS["off_topic"], split)
    slots = {
        "{n}": _PATTERNS["things"],
        "{v}": _PATTERNS["doings"],
        "{c}": _PATTERNS["colours"],
        "{l}": _PATTERNS["languages"],
    }
    for slot, pool in slots.items():
        while slot in text:
            anything = slot == "{n}" and words and rng.random() < 0.5
            text = text.replace(slot, rng.choice(words) if anything else _pick(rng, pool, split), 1)
    while "{d}" in text:
        text = text.replace("{d}", str(rng.randrange(10 ** rng.randint(1, 4))), 1)
    while "{g}" in text:
        text = text.replace("{g}", "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))), 1)
    while "{w}" in text:
        text = text.replace("{w}", rng.choice(words) if words else _pick(rng, _PATTERNS["things"], split), 1)
    return _finish(rng, split, text, rng.choice(("pair", "pair", "pair", "vis", "ir")), {}, off=True)


def paraphrase(
    rng: random.Random,
    vis: Sequence[str] = (),
    ir: Sequence[str] = (),
    split: Split = "train",
    severity: float = MEDIUM,
) -> str:
    """A text that says that these degradations are in these images: one clause an image."""
    labels: dict[Label, float] = {}
    if not vis and not ir:
        return _dress(rng, split, _pick(rng, _PATTERNS["clean"], split))
    both = [_Clause(tuple(names), m) for m, names in (("vis", vis), ("ir", ir)) if names]
    rng.shuffle(both)
    return _dress(
        rng,
        split,
        _pick(rng, _PATTERNS["join"], split, small=True).join(_tell(rng, c, split, labels, severity) for c in both),
    )


def typo(rng: random.Random, text: str) -> str:
    """The text with one letter of one word (of four or more) doubled, lost, replaced, or swapped with the next."""
    words = text.split(" ")
    long = [i for i, w in enumerate(words) if len(w) >= 4 and w.isalpha()]
    if not long:
        return text
    i = rng.choice(long)
    w = words[i]
    k = rng.randrange(len(w))
    how = rng.randrange(4)
    letter = rng.choice("abcdefghijklmnopqrstuvwxyz")
    if how == 0:
        w = w[:k] + w[k] + w[k:]
    elif how == 1:
        w = w[:k] + w[k + 1 :]
    elif how == 2:
        w = w[:k] + letter + w[k + 1 :]
    else:
        k = min(k, len(w) - 2)
        w = w[:k] + w[k + 1] + w[k] + w[k + 2 :]
    return " ".join((*words[:i], w, *words[i + 1 :]))


def lexicon() -> set[str]:
    """All words that the texts about degradations that are trained on are made of."""
    words: set[str] = set()
    chatter = ("off_topic", "things", "doings", "colours", "languages", "before", "after")
    pools = [p for wording in WORDS.values() for p in wording]
    pools += [p for name, p in _PATTERNS.items() if name not in chatter]
    for pool in pools:
        for text in pool.train:
            words |= set(re.findall(r"[a-z]+", re.sub(r"\{.\}", " ", text.lower().replace("'", ""))))
    return words


def telling_words() -> dict[str, str]:
    """Words of the training part that are said of one degradation only, with its name."""
    where: dict[str, set[str]] = {}
    for name, wording in WORDS.items():
        for pool in wording:
            for w in re.findall(r"[a-z]{4,}", " ".join(pool.train).lower()):
                where.setdefault(w, set()).add(name)
    return {w: min(names) for w, names in where.items() if len(names) == 1}


def _pick(rng: random.Random, pool: Pool, split: Split, small: bool = False) -> str:
    """One alternative of the part; a small word may come from either part where testing."""
    return rng.choice((*pool.train, *pool.held) if small and split == "held" else getattr(pool, split))


def _about_pair(rng: random.Random, split: Split) -> Sample:
    labels: dict[Label, float] = {}
    kind = rng.random()
    if kind < 0.30:
        text = _tell(rng, _clause(rng, 1), split, labels)
    elif kind < 0.43:
        text = _tell(rng, _clause(rng, rng.choice((2, 2, 3))), split, labels)
    elif kind < 0.68:
        text = _two_images(rng, split, labels)
    elif kind < 0.86:
        text = _contrast(rng, split, labels)
    elif kind < 0.95:
        clauses = [_clause(rng, 1, True) for _ in range(rng.choice((1, 1, 2)))]
        clauses = [c for i, c in enumerate(clauses) if i == 0 or c.image != clauses[0].image]
        join = _pick(rng, _PATTERNS["join"], split, small=True)
        clause_text = join.join(
            _fill(rng, _pick(rng, _PATTERNS["task_clause"], split), c, split, labels) for c in clauses
        )
        text = _pick(rng, _PATTERNS["task"], split).replace("{C}", clause_text)
    else:  # two wordings of the same image, the second by pronoun
        image = rng.choice(("vis", "ir"))
        a, b = rng.sample([n for n in WORDS if image in HOMES[n]], 2)
        first = _tell(rng, _Clause((a,), image), split, labels)
        text = first + _fill(rng, rng.choice(_PHRASES["again"]), _Clause((b,), image), split, labels)
    return _finish(rng, split, text, "pair", labels)


def _about_one(rng: random.Random, split: Split) -> Sample:
    """A text about one image alone; the image is hardly ever named, and what it can't have may be said of it."""
    focus: Focus = rng.choice(("vis", "ir"))
    names = rng.sample([n for n in WORDS if focus in HOMES[n] or rng.random() < 0.1], rng.choice((1, 1, 1, 2)))
    image = focus if rng.random() < 0.2 else None
    labels: dict[Label, float] = {}
    if rng.random() < 0.06:  # of the other image after all
        image = "ir" if focus == "vis" else "vis"
        names = names[:1]
        text = _tell(rng, _Clause(tuple(names), image), split, labels)
        return _finish(rng, split, text, focus, labels)
    text = _tell(rng, _Clause(tuple(names), image), split, labels)
    denied = [n for n in WORDS if n not in names and focus in HOMES[n]]
    if rng.random() < 0.2:
        text = _but(rng, split, text, _tell(rng, _Clause((rng.choice(denied),), None, True), split, {}))
    return _finish(rng, split, text, focus, {(focus if image is None else m, n): s for (m, n), s in labels.items()})


def _clause(rng: random.Random, count: int, named: bool = False) -> _Clause:
    """Degradations that can be said in one clause; named: the image must be."""
    odd = rng.random() < 0.06  # of an image that can't have it: to be recognised and refused
    image = rng.choice(("vis", "ir"))
    pool = [n for n in WORDS if (image in HOMES[n]) != odd]
    names = tuple(rng.sample(pool, min(count, len(pool))))
    if named or odd:
        return _Clause(names, image)
    if all(HOMES[n] == (image,) for n in names):
        return _Clause(names, image if rng.random() < 0.4 else None)
    if all(len(HOMES[n]) == 2 for n in names) and rng.random() < 0.2:
        return _Clause(names, "both")
    return _Clause(names, image if rng.random() < 0.7 else None)


def _two_images(rng: random.Random, split: Split, labels: dict[Label, float]) -> str:
    clauses = []
    for m in ("vis", "ir"):
        names = tuple(rng.sample([n for n in WORDS if m in HOMES[n]], rng.choice((1, 1, 1, 2))))
        sure = all(HOMES[n] == (m,) for n in names)
        clauses.append(_Clause(names, None if sure and rng.random() < 0.3 else m))
    rng.shuffle(clauses)
    return _pick(rng, _PATTERNS["join"], split, small=True).join(_tell(rng, c, split, labels) for c in clauses)


def _contrast(rng: random.Random, split: Split, labels: dict[Label, float]) -> str:
    """Something is there and something is not; or nothing is."""
    kind = rng.random()
    if kind < 0.12:  # only denials
        names = rng.sample(list(WORDS), 2)
        if rng.random() < 0.5:
            return _tell(rng, _Clause((names[0],), rng.choice((None, None, HOMES[names[0]][0])), True), split, {})
        return _neither(rng, names, split)
    if kind < 0.35:  # in one image, not in the other
        here, there = rng.sample(("vis", "ir"), 2)
        shared = [n for n in WORDS if len(HOMES[n]) == 2]
        text = _tell(rng, _Clause((rng.choice(shared),), here), split, labels)
        other = _image(rng, there, split)
        how = rng.choice(_PHRASES["not_there"])
        return text + how.replace("{M}", f"the {other}").replace("{m}", other)
    if kind < 0.6:  # one image is clean
        here, there = rng.sample(("vis", "ir"), 2)
        names = rng.sample([n for n in WORDS if here in HOMES[n]], rng.choice((1, 1, 2)))
        text = _tell(rng, _Clause(tuple(names), here), split, labels)
        other = _image(rng, there, split)
        clean = (
            _pick(rng, _PATTERNS["clean_in"], split, small=True).replace("{M}", f"the {other}").replace("{m}", other)
        )
        return _but(rng, split, text, clean)
    present = _clause(rng, rng.choice((1, 1, 2)))
    rest = [n for n in WORDS if n not in present.names]
    text = _tell(rng, present, split, labels)
    if rng.random() < 0.25:
        absent = _neither(rng, rng.sample(rest, 2), split)
    else:
        name = rng.choice(rest)
        image = rng.choice((None, None, present.image if present.image in HOMES[name] else None))
        absent = _tell(rng, _Clause((name,), image, True), split, {})
    return _but(rng, split, text, absent)


def _but(rng: random.Random, split: Split, text: str, denial: str) -> str:
    parts = [text, denial]
    rng.shuffle(parts)
    return _pick(rng, _PATTERNS["but"], split, small=True).join(parts)


def _neither(rng: random.Random, names: Sequence[str], split: Split) -> str:
    a, b = (_pick(rng, WORDS[n].nouns, split).rstrip("!") for n in names)
    return _pick(rng, _PATTERNS["neither"], split, small=True).replace("{N}", a).replace("{O}", b)


def _image(rng: random.Random, image: str, split: Split) -> str:
    return _pick(rng, _PATTERNS[f"image_{image}"], split, small=True)


def _tell(
    rng: random.Random, clause: _Clause, split: Split, labels: dict[Label, float], severity: float | None = None
) -> str:
    """Put a clause into words and record what it says."""
    names, image = clause.names, clause.image
    forms = ["nouns", "nouns", "adjectives"]
    if len(names) == 1 and not clause.denied and severity is None:
        forms += ["clauses", "verbs"]
        if image is None and getattr(WORDS[names[0]].bare, split):
            forms += ["bare"]
    form = rng.choice(forms)
    if form in ("nouns", "adjectives"):
        in_image = image is not None or (form == "adjectives" and rng.random() < 0.1)
        pool = _PATTERNS[f"{'not_' if clause.denied else ''}{form.removesuffix('s')}{'_in' if in_image else ''}"]
        return _fill(rng, _pick(rng, pool, split), clause, split, labels, severity)
    pattern = _pick(rng, getattr(WORDS[names[0]], form), split)
    return _fill(rng, pattern.rstrip("!"), clause, split, labels, HEAVY if pattern.endswith("!") else MEDIUM)


def _fill(
    rng: random.Random,
    pattern: str,
    clause: _Clause,
    split: Split,
    labels: dict[Label, float],
    severity: float | None = None,
) -> str:
    """Fill a pattern's slots; `severity` None draws one a name."""
    filled: dict[str, str] = {}
    for slot, form in (("{N}", "nouns"), ("{A}", "adjectives")):
        if slot not in pattern:
            continue
        parts = []
        for name in clause.names:
            word = _pick(rng, getattr(WORDS[name], form), split)
            s = HEAVY if word.endswith("!") else MEDIUM
            word = word.rstrip("!")
            wanted = severity if severity is not None else rng.choices((SLIGHT, MEDIUM, HEAVY), (1, 5, 1))[0]
            if (
                s == MEDIUM
                and wanted != MEDIUM
                and not clause.denied
                and not word.startswith(("very", "too", "a ", "of "))
            ):
                word, s = f"{_pick(rng, _DEGREES[wanted, form], split, small=True)} {word}", wanted
            parts.append(word)
            _record(labels, clause, name, s)
        last = rng.choice(_PHRASES["and"])
        filled[slot] = (
            parts[0]
            if len(parts) == 1
            else last.join((rng.choice((", ", ", ", "/", " and ")).join(parts[:-1]), parts[-1]))
        )
    if not filled:
        for name in clause.names:
            _record(labels, clause, name, MEDIUM if severity is None else severity)
    for slot, words in filled.items():
        pattern = pattern.replace(slot, words)
    if clause.image is None:
        bare = _image(rng, "none", split)
        return pattern.replace("{M}", bare).replace("{m}", bare.removeprefix("the "))
    image = _image(rng, clause.image, split)
    article = rng.choice(("the ", "the ", "the ", "my ", "this ", "")) if clause.image != "both" else ""
    return pattern.replace("{M}", article + image).replace("{m}", image)


def _record(labels: dict[Label, float], clause: _Clause, name: str, severity: float) -> None:
    if not clause.denied:
        homes = HOMES[name] if clause.image is None else ("vis", "ir") if clause.image == "both" else (clause.image,)
        for modality in homes:
            labels[modality, name] = severity


def _finish(
    rng: random.Random, split: Split, text: str, focus: Focus, labels: Mapping[Label, float], off: bool = False
) -> Sample:
    return Sample(_dress(rng, split, text, small=off), focus, dict(labels), off)


def _dress(rng: random.Random, split: Split, text: str, small: bool = False) -> str:
    """Greetings, scenes, case and punctuation around a text; small: no scenes."""
    if not small and rng.random() < 0.2:
        text = _pick(rng, _PATTERNS["before"], split, small=True) + text
    if not small and rng.random() < 0.2:
        text = text + _pick(rng, _PATTERNS["after"], split, small=True)
    chance = rng.random()
    if chance < 0.3:
        text = text[:1].upper() + text[1:]
    elif chance < 0.36:
        text = text.upper()
    if rng.random() < 0.15:
        text = text.replace("-", " ")
    return text + rng.choice(("", "", "", "", ".", "!", "?" if small else "."))
