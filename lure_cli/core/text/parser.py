"""The prompt parser: from any English text to what is wrong with which image.

Word vectors distilled from a sentence encoder, and a small transformer over them that sees word order ("noise in the
infrared, not in the visible image"). Computed with numpy alone, so that a prompt is understood, or refused, without
waiting for torch. `lure_cli.tasks.train.parser` trains it.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lure_cli.core.pixels import MODALITY_NAMES, Modality
from lure_cli.core.records import open_record
from lure_cli.core.text.vocabulary import ALL, SEVERITIES, Finding, Focus
from lure_cli.errors import LureError

FORMAT = 1
"""Version of the file format; a newer one is refused."""
SPECIAL = ("[pair]", "[vis]", "[ir]", "[unknown]", "[number]", *",;.:+/&=()")
"""Tokens that are no words; the first three open a text and say which images it is about."""
LABELS: tuple[tuple[Modality, str], ...] = tuple((m, n) for m in MODALITY_NAMES for n in ALL)
"""What is looked for. Pairs that do not exist (haze in the infrared) are among them: they are to be noticed."""
LENGTH = 48
"""Longest text, in tokens; more is cut off."""
DOUBT = 0.1
"""A text without a degradation that scores as much is not taken to say that nothing is wrong."""
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class ParsedPrompt:
    """What a text was taken to say."""

    relevance: float
    """The probability that it is about the images' quality at all."""
    findings: dict[Modality, tuple[Finding, ...]]
    """Per modality, in the order of the vocabulary."""
    guess: str | None = None
    """Where there are no findings: what may have been meant after all (score of at least `DOUBT`)."""

    @property
    def understood(self) -> bool:
        """About the images, and not in doubt whether anything is wrong with them."""
        return self.relevance >= 0.5 and self.guess is None


class Tokenizer:
    """Words -> numbers. The order of the vocabulary is that of preference when a typing error is corrected."""

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self._index = dict(zip(words, range(len(SPECIAL), len(SPECIAL) + len(words)), strict=True))
        self._special = {w: i for i, w in enumerate(SPECIAL)}

    def __call__(self, text: str, focus: Focus = "pair") -> list[int]:
        """Token numbers of a text, at most `LENGTH`; the first one says which images it is about."""
        plain = unicodedata.normalize("NFKD", text.lower().replace("\u2019", "'")).replace("'", "")
        plain = "".join(c for c in plain if not unicodedata.combining(c))
        tokens = [self._special[f"[{focus}]"]]
        for word in re.findall(r"[a-z]+|\d+|[,;.:+/&=()]|\w", plain):
            if word.isdigit():
                tokens.append(self._special["[number]"])
            elif word in self._special:
                tokens.append(self._special[word])
            else:
                tokens += self._look_up(word)
        return tokens[:LENGTH]

    def _look_up(self, word: str) -> list[int]:
        """A known word, else one with a letter typed wrong, else two written as one, else one with its beginning."""
        if word in self._index:
            return [self._index[word]]
        if len(word) >= 4:
            near = [i for w in _one_letter_off(word) if (i := self._index.get(w)) is not None]
            if near:
                return [min(near)]
            parts = [(word[:k], word[k:]) for k in range(2, len(word) - 2)]
            pairs = [(self._index[a], self._index[b]) for a, b in parts if a in self._index and b in self._index]
            if pairs:
                return list(min(pairs, key=max))
            for k in range(len(word) - 1, max(4, len(word) - 4), -1):
                if word[:k] in self._index:
                    return [self._index[word[:k]]]
        return [self._special["[unknown]"]]


def _one_letter_off(word: str) -> set[str]:
    """All strings that differ by one letter missing, added or replaced, or by two neighbours swapped."""
    cuts = [(word[:i], word[i:]) for i in range(len(word) + 1)]
    missing = {a + b[1:] for a, b in cuts if b}
    swapped = {a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1}
    replaced = {a + c + b[1:] for a, b in cuts if b for c in _LETTERS}
    added = {a + c + b for a, b in cuts for c in _LETTERS}
    return missing | swapped | replaced | added


class PromptParser:
    """A trained parser.

    Args:
        tensors: as in the file; `words` (UTF-8, one a line), `vectors` (words, D) int8 with `scales`, the rest float16.
        metadata: as in the file.

    Raises:
        KeyError, ValueError, TypeError, ...: tensors that do not belong together.
    """

    def __init__(self, tensors: dict[str, np.ndarray], metadata: dict[str, Any]) -> None:
        kinds = {k: {"words": "uint8", "vectors": "int8"}.get(k, "float16") for k in tensors}
        if wrong := [k for k, kind in kinds.items() if tensors[k].dtype != kind]:
            raise ValueError(f"{wrong[0]} is not {kinds[wrong[0]]}")
        self.tokenizer = Tokenizer(tensors["words"].tobytes().decode().split("\n"))
        self.metadata = metadata
        self._vectors, self._scales = tensors["vectors"], tensors["scales"].astype(np.float32)
        self._p = {k: v.astype(np.float32) for k, v in tensors.items() if k not in ("words", "vectors", "scales")}
        self.parameters = sum(v.size for k, v in tensors.items() if k != "words")
        self._heads, self._layers = int(metadata["heads"]), int(metadata["layers"])
        self._check()

    def _check(self) -> None:
        """Parse a word and a sign, so that a damaged file shows here and not by a user's prompt."""
        words, blocks = len(self.tokenizer.words), {k.split(".")[1] for k in self._p if k.startswith("blocks.")}
        if not words == len(self._vectors) == len(self._scales):
            raise ValueError("words, vectors and scales differ in number")
        if len(self._p["position"]) < LENGTH:
            raise ValueError(f"positions for {len(self._p['position'])} tokens, not {LENGTH}")
        if self._layers != len(blocks):
            raise ValueError(f"{self._layers} layers, but tensors of {len(blocks)}")
        with np.errstate(all="ignore"):
            out = self._forward(np.array([0, len(SPECIAL)]))
        if out.shape != (len(LABELS) * (1 + len(SEVERITIES)) + 1,) or not np.isfinite(out).all():
            raise ValueError("the network has no finite answer")

    @classmethod
    def load(cls, path: Path) -> PromptParser:
        """Read a file.

        Raises:
            LureError: missing, damaged, or of a newer format.
        """
        hint = "install lure-cli again"
        tensors, metadata = open_record(path, "text", FORMAT, "a text encoder of LURE", hint)
        try:
            return cls(tensors, metadata)
        except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError) as e:
            raise LureError(f"{path}: damaged or not a text encoder ({e})", hint) from e

    def parse(self, text: str, focus: Focus = "pair") -> ParsedPrompt:
        """Understand a text about the pair, or about one image alone. Degradations count from a score of 0.5."""
        tokens = self.tokenizer(text, focus)
        if max(tokens) < len(SPECIAL):  # not one word of it is known
            return ParsedPrompt(0.0, {"vis": (), "ir": ()})
        out = self._forward(np.array(tokens))
        n = len(LABELS)
        scores = 1 / (1 + np.exp(-out[: n + 1]))
        severity = out[n + 1 :].reshape(n, len(SEVERITIES)).argmax(1)
        findings: dict[Modality, tuple[Finding, ...]] = {"vis": (), "ir": ()}
        for (m, name), score, s in zip(LABELS, scores[:n].tolist(), severity.tolist(), strict=True):
            if score >= 0.5:
                findings[m] += (Finding(name, score, SEVERITIES[s]),)
        best = int(scores[:n].argmax())
        in_doubt = not any(findings.values()) and scores[best] >= DOUBT
        return ParsedPrompt(float(scores[n]), findings, LABELS[best][1] if in_doubt else None)

    def _forward(self, tokens: np.ndarray) -> np.ndarray:
        """Token numbers (T,) -> logits of labels, of "about the images", and of severities per label."""
        p = self._p
        vectors = np.zeros((len(tokens), self._vectors.shape[1]), np.float32)
        word = tokens >= len(SPECIAL)
        rows = tokens[word] - len(SPECIAL)
        vectors[word] = self._vectors[rows] * self._scales[rows, None]
        x = vectors @ p["project.weight"].T + p["position"][: len(tokens)]
        x[~word] += p["special"][tokens[~word]]
        for i in range(self._layers):
            x = x + self._attention(_norm(x, p, f"blocks.{i}.norm1"), f"blocks.{i}")
            h = _norm(x, p, f"blocks.{i}.norm2") @ p[f"blocks.{i}.up.weight"].T + p[f"blocks.{i}.up.bias"]
            x = x + np.maximum(h, 0) @ p[f"blocks.{i}.down.weight"].T + p[f"blocks.{i}.down.bias"]
        x = _norm(x, p, "norm")
        pooled = np.concatenate((x[0], x.max(0)))
        result: np.ndarray = pooled @ p["head.weight"].T + p["head.bias"]
        return result

    def _attention(self, x: np.ndarray, block: str) -> np.ndarray:
        p = self._p
        t, d = x.shape
        qkv = (x @ p[f"{block}.qkv.weight"].T + p[f"{block}.qkv.bias"]).reshape(t, 3, self._heads, d // self._heads)
        q, k, v = qkv.transpose(1, 2, 0, 3)  # (H, T, d / H) each
        a = q @ k.transpose(0, 2, 1) / np.sqrt(d / self._heads)
        a = np.exp(a - a.max(-1, keepdims=True))
        y = (a / a.sum(-1, keepdims=True)) @ v
        result: np.ndarray = y.transpose(1, 0, 2).reshape(t, d) @ p[f"{block}.out.weight"].T + p[f"{block}.out.bias"]
        return result


def _norm(x: np.ndarray, p: dict[str, np.ndarray], name: str) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    result: np.ndarray = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return result * p[f"{name}.weight"] + p[f"{name}.bias"]
