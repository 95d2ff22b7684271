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
    **dict.fromkeys(("haze", "rain", "snow", "lowlight", "overexposure"), ("vis",)),
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
    writer = _Writer(rng, split)
    kind = rng.random()
    if kind < 0.22:
        return off_topic(rng, split, words)
    if split != "held" and kind < 0.24:
        return _fixed(rng)
    if kind < 0.27:
        focus: Focus = rng.choice(("pair", "pair", "vis", "ir"))
        return writer.finish(writer.pick(_PATTERNS["clean"]), focus)
    return writer.about_one() if kind < 0.42 else writer.about_pair()


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
    writer = _Writer(rng, split)
    text = writer.pick(_PATTERNS["off_topic"])
    slots = {
        "{n}": _PATTERNS["things"],
        "{v}": _PATTERNS["doings"],
        "{c}": _PATTERNS["colours"],
        "{l}": _PATTERNS["languages"],
    }
    for slot, pool in slots.items():
        while slot in text:
            anything = slot == "{n}" and words and rng.random() < 0.5
            text = text.replace(slot, rng.choice(words) if anything else writer.pick(pool), 1)
    while "{d}" in text:
        text = text.replace("{d}", str(rng.randrange(10 ** rng.randint(1, 4))), 1)
    while "{g}" in text:
        text = text.replace("{g}", "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))), 1)
    while "{w}" in text:
        text = text.replace("{w}", rng.choice(words) if words else writer.pick(_PATTERNS["things"]), 1)
    return writer.finish(text, rng.choice(("pair", "pair", "pair", "vis", "ir")), off_topic=True)


def paraphrase(
    rng: random.Random,
    vis: Sequence[str] = (),
    ir: Sequence[str] = (),
    split: Split = "train",
    severity: float = MEDIUM,
) -> str:
    """A text that says that these degradations are in these images: one clause an image."""
    writer = _Writer(rng, split)
    if not vis and not ir:
        return writer.dress(writer.pick(_PATTERNS["clean"]))
    clauses = [_Clause(tuple(names), m) for m, names in (("vis", vis), ("ir", ir)) if names]
    rng.shuffle(clauses)
    join = writer.pick(_PATTERNS["join"], small=True)
    return writer.dress(join.join(writer.tell(c, severity) for c in clauses))


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


class _Writer:
    """Writes one text of a part of the wording; `labels` are what it says so far."""

    def __init__(self, rng: random.Random, split: Split) -> None:
        self.rng, self.split = rng, split
        self.labels: dict[Label, float] = {}

    def pick(self, pool: Pool, small: bool = False) -> str:
        """One alternative of the part; a small word may come from either part where testing."""
        either = small and self.split == "held"
        return self.rng.choice((*pool.train, *pool.held) if either else getattr(pool, self.split))

    def about_pair(self) -> Sample:
        kind = self.rng.random()
        if kind < 0.30:
            text = self.tell(self.clause(1))
        elif kind < 0.43:
            text = self.tell(self.clause(self.rng.choice((2, 2, 3))))
        elif kind < 0.68:
            text = self.two_images()
        elif kind < 0.86:
            text = self.contrast()
        elif kind < 0.95:
            clauses = [self.clause(1, True) for _ in range(self.rng.choice((1, 1, 2)))]
            clauses = [c for i, c in enumerate(clauses) if i == 0 or c.image != clauses[0].image]
            join = self.pick(_PATTERNS["join"], small=True)
            parts = [self.fill(self.pick(_PATTERNS["task_clause"]), c) for c in clauses]
            text = self.pick(_PATTERNS["task"]).replace("{C}", join.join(parts))
        else:  # two wordings of the same image, the second by pronoun
            image = self.rng.choice(("vis", "ir"))
            a, b = self.rng.sample([n for n in WORDS if image in HOMES[n]], 2)
            first = self.tell(_Clause((a,), image))
            text = first + self.fill(self.rng.choice(_PHRASES["again"]), _Clause((b,), image))
        return self.finish(text, "pair")

    def about_one(self) -> Sample:
        """A text about one image alone; the image is hardly ever named, and what it can't have may be said of it."""
        focus: Focus = self.rng.choice(("vis", "ir"))
        pool = [n for n in WORDS if focus in HOMES[n] or self.rng.random() < 0.1]
        names = self.rng.sample(pool, self.rng.choice((1, 1, 1, 2)))
        image = focus if self.rng.random() < 0.2 else None
        if self.rng.random() < 0.06:  # of the other image after all
            image = "ir" if focus == "vis" else "vis"
            return self.finish(self.tell(_Clause(tuple(names[:1]), image)), focus)
        text = self.tell(_Clause(tuple(names), image))
        denied = [n for n in WORDS if n not in names and focus in HOMES[n]]
        if self.rng.random() < 0.2:
            text = self.but(text, self.tell(_Clause((self.rng.choice(denied),), None, True)))
        return self.finish(text, focus, {(focus if image is None else m, n): s for (m, n), s in self.labels.items()})

    def clause(self, count: int, named: bool = False) -> _Clause:
        """Degradations that can be said in one clause; named: the image must be."""
        odd = self.rng.random() < 0.06  # of an image that can't have it: to be recognised and refused
        image = self.rng.choice(("vis", "ir"))
        pool = [n for n in WORDS if (image in HOMES[n]) != odd]
        names = tuple(self.rng.sample(pool, min(count, len(pool))))
        if named or odd:
            return _Clause(names, image)
        if all(HOMES[n] == (image,) for n in names):
            return _Clause(names, image if self.rng.random() < 0.4 else None)
        if all(len(HOMES[n]) == 2 for n in names) and self.rng.random() < 0.2:
            return _Clause(names, "both")
        return _Clause(names, image if self.rng.random() < 0.7 else None)

    def two_images(self) -> str:
        """Something is wrong with either."""
        clauses = []
        for m in ("vis", "ir"):
            names = tuple(self.rng.sample([n for n in WORDS if m in HOMES[n]], self.rng.choice((1, 1, 1, 2))))
            sure = all(HOMES[n] == (m,) for n in names)
            clauses.append(_Clause(names, None if sure and self.rng.random() < 0.3 else m))
        self.rng.shuffle(clauses)
        return self.pick(_PATTERNS["join"], small=True).join(self.tell(c) for c in clauses)

    def contrast(self) -> str:
        """Something is there and something is not; or nothing is."""
        kind = self.rng.random()
        if kind < 0.12:  # only denials
            names = self.rng.sample(list(WORDS), 2)
            if self.rng.random() < 0.5:
                return self.tell(_Clause((names[0],), self.rng.choice((None, None, HOMES[names[0]][0])), True))
            return self.neither(names)
        if kind < 0.35:  # in one image, not in the other
            here, there = self.rng.sample(("vis", "ir"), 2)
            shared = [n for n in WORDS if len(HOMES[n]) == 2]
            text = self.tell(_Clause((self.rng.choice(shared),), here))
            other = self.image(there)
            how = self.rng.choice(_PHRASES["not_there"])
            return text + how.replace("{M}", f"the {other}").replace("{m}", other)
        if kind < 0.6:  # one image is clean
            here, there = self.rng.sample(("vis", "ir"), 2)
            names = self.rng.sample([n for n in WORDS if here in HOMES[n]], self.rng.choice((1, 1, 2)))
            text = self.tell(_Clause(tuple(names), here))
            other = self.image(there)
            clean = self.pick(_PATTERNS["clean_in"], small=True).replace("{M}", f"the {other}").replace("{m}", other)
            return self.but(text, clean)
        present = self.clause(self.rng.choice((1, 1, 2)))
        rest = [n for n in WORDS if n not in present.names]
        text = self.tell(present)
        if self.rng.random() < 0.25:
            absent = self.neither(self.rng.sample(rest, 2))
        else:
            name = self.rng.choice(rest)
            image = self.rng.choice((None, None, present.image if present.image in HOMES[name] else None))
            absent = self.tell(_Clause((name,), image, True))
        return self.but(text, absent)

    def but(self, text: str, denial: str) -> str:
        """The two in any order."""
        parts = [text, denial]
        self.rng.shuffle(parts)
        return self.pick(_PATTERNS["but"], small=True).join(parts)

    def neither(self, names: Sequence[str]) -> str:
        a, b = (self.pick(WORDS[n].nouns).rstrip("!") for n in names)
        return self.pick(_PATTERNS["neither"], small=True).replace("{N}", a).replace("{O}", b)

    def image(self, image: str) -> str:
        return self.pick(_PATTERNS[f"image_{image}"], small=True)

    def tell(self, clause: _Clause, severity: float | None = None) -> str:
        """Put a clause into words and record what it says."""
        names, image = clause.names, clause.image
        forms = ["nouns", "nouns", "adjectives"]
        if len(names) == 1 and not clause.denied and severity is None:
            forms += ["clauses", "verbs"]
            if image is None and getattr(WORDS[names[0]].bare, self.split):
                forms += ["bare"]
        form = self.rng.choice(forms)
        if form in ("nouns", "adjectives"):
            in_image = image is not None or (form == "adjectives" and self.rng.random() < 0.1)
            pool = _PATTERNS[f"{'not_' if clause.denied else ''}{form.removesuffix('s')}{'_in' if in_image else ''}"]
            return self.fill(self.pick(pool), clause, severity)
        pattern = self.pick(getattr(WORDS[names[0]], form))
        return self.fill(pattern.rstrip("!"), clause, HEAVY if pattern.endswith("!") else MEDIUM)

    def fill(self, pattern: str, clause: _Clause, severity: float | None = None) -> str:
        """Fill a pattern's slots; `severity` None draws one a name."""
        words = {
            slot: self.list_degradations(clause, form, severity)
            for slot, form in (("{N}", "nouns"), ("{A}", "adjectives"))
            if slot in pattern
        }
        if not words:
            for name in clause.names:
                self.record(clause, name, MEDIUM if severity is None else severity)
        for slot, text in words.items():
            pattern = pattern.replace(slot, text)
        if clause.image is None:
            bare = self.image("none")
            return pattern.replace("{M}", bare).replace("{m}", bare.removeprefix("the "))
        image = self.image(clause.image)
        article = self.rng.choice(("the ", "the ", "the ", "my ", "this ", "")) if clause.image != "both" else ""
        return pattern.replace("{M}", article + image).replace("{m}", image)

    def list_degradations(self, clause: _Clause, form: str, severity: float | None) -> str:
        """The degradations of a clause, each in its severity: "light fog, noise and slight blur"."""
        parts = []
        for name in clause.names:
            word = self.pick(getattr(WORDS[name], form))
            own = HEAVY if word.endswith("!") else MEDIUM
            word = word.rstrip("!")
            wanted = severity if severity is not None else self.rng.choices((SLIGHT, MEDIUM, HEAVY), (1, 5, 1))[0]
            graded = clause.denied or word.startswith(("very", "too", "a ", "of "))
            if own == MEDIUM != wanted and not graded:
                word, own = f"{self.pick(_DEGREES[wanted, form], small=True)} {word}", wanted
            parts.append(word)
            self.record(clause, name, own)
        last = self.rng.choice(_PHRASES["and"])
        if len(parts) == 1:
            return parts[0]
        return last.join((self.rng.choice((", ", ", ", "/", " and ")).join(parts[:-1]), parts[-1]))

    def record(self, clause: _Clause, name: str, severity: float) -> None:
        """Note that the clause says so of the images that it names, or of all that can have it."""
        images = {None: HOMES[name], "both": ("vis", "ir")}.get(clause.image, (clause.image,))
        if not clause.denied:
            self.labels |= {(str(m), name): severity for m in images}

    def finish(
        self, text: str, focus: Focus, labels: Mapping[Label, float] | None = None, off_topic: bool = False
    ) -> Sample:
        return Sample(self.dress(text, small=off_topic), focus, self.labels if labels is None else labels, off_topic)

    def dress(self, text: str, small: bool = False) -> str:
        """Greetings, scenes, case and punctuation around a text; small: no scenes."""
        if not small and self.rng.random() < 0.2:
            text = self.pick(_PATTERNS["before"], small=True) + text
        if not small and self.rng.random() < 0.2:
            text = text + self.pick(_PATTERNS["after"], small=True)
        chance = self.rng.random()
        if chance < 0.3:
            text = text[:1].upper() + text[1:]
        elif chance < 0.36:
            text = text.upper()
        if self.rng.random() < 0.15:
            text = text.replace("-", " ")
        return text + self.rng.choice(("", "", "", "", ".", "!", "?" if small else "."))
