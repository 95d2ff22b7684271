"""The words that the prompt parser reads, with their vectors: the teacher's, or those that an existing file keeps."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from lure_cli.core.text.paraphrase import WORDS, lexicon, telling_words

CONTEXTS = ("{}", "the image is {}", "{} in the picture")
"""What the teacher reads a word in; the vectors of all are joined."""


class WordList(NamedTuple):
    """The word list and what the teacher knows of it."""

    words: list[str]
    """Those of the training texts come first: a typing error is corrected to one of them if it can be."""
    vectors: np.ndarray
    """(N, D) int8."""
    scales: np.ndarray
    """(N,) float16."""
    near: dict[str, list[str]]
    """For each word that tells one degradation only, the words most alike to the teacher that tell the same."""
    plain: list[str]
    """Frequent words that are unlike all telling words: for off-topic texts."""


def load_words(path: Path, cfg: Mapping[str, Any], seed: int = 0) -> WordList:
    """The teacher's vectors, reduced to their principal components and completed by `likeness`."""
    from safetensors.numpy import load_file

    data = load_file(path)
    words = data["words"].tobytes().decode().split("\n")
    v = data["vectors"].astype(np.float32)
    v = (v - v.mean(0)).reshape(len(v), -1)
    _, axes = np.linalg.eigh(v.T @ v)
    v = v @ axes[:, : -_COMPONENTS - 1 : -1]
    like, meant, alike = likeness(words, v, seed)
    near, plain = _neighbours(words, _says_none(like), meant, alike)
    v = v[:, : cfg["size"]]
    v = np.concatenate((v / v.std(), cfg["likeness"] * like), 1)
    scales = (np.abs(v).max(1) / 127).astype(np.float16)
    v8 = np.round(v / np.maximum(scales[:, None].astype(np.float32), 1e-6)).astype(np.int8)
    order = _mine_first(words)
    return WordList([words[i] for i in order], v8[order], scales[order], near, plain)


def kept_words(tensors: Mapping[str, np.ndarray], cfg: Mapping[str, Any], seed: int = 0) -> WordList:
    """The words of an existing file with their vectors as they are; neighbours are found in its components.

    In these, which are fewer than the teacher's, words look more alike: neighbours must be nearer. Which words tell no
    degradation is known from the likenesses in the file, of all components.
    """
    words = tensors["words"].tobytes().decode().split("\n")
    v8, scales = tensors["vectors"], tensors["scales"]
    v = v8 * scales[:, None].astype(np.float32)
    components, like = v[:, : cfg["size"]], v[:, cfg["size"] :]
    _, meant, alike = likeness(words, components, seed)
    near, plain = _neighbours(words, _says_none(like), meant, alike, least=0.55, unlike=0.6)
    order = _mine_first(words)
    return WordList([words[i] for i in order], v8[order], scales[order], near, plain)


def _says_none(like: np.ndarray) -> np.ndarray:
    """Which words the classifier of `likeness` (N, 2 D + 1) takes to tell no degradation."""
    degradations = like.shape[1] // 2
    none: np.ndarray = like[:, : degradations + 1].argmax(1) == degradations
    return none


def _mine_first(words: Sequence[str]) -> list[int]:
    """The order that `WordList` wants."""
    mine = lexicon()
    return sorted(range(len(words)), key=lambda i: words[i] not in mine)


_COMPONENTS = 256
"""Components in which words are compared."""
_NAMES = tuple(WORDS)


def likeness(words: Sequence[str], v: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """How alike each word is to what is said of each degradation, in the teacher's eyes.

    A telling word is never compared with itself or words of the same stem, so that its likenesses are as sure as those
    of a word that is met for the first time.

    Returns:
        (N, 2 D + 1) of unit variance: logits of a linear classifier (D degradations, none), then the mean cosine of the
        three telling words most alike, for each degradation; (N,) the degradation that both together speak for; the
        cosines (N,) of each telling word.
    """
    telling, mine, rng = telling_words(), lexicon(), random.Random(seed)
    index = {w: i for i, w in enumerate(words)}
    telling = {w: n for w, n in telling.items() if w in index}
    unit = v / np.linalg.norm(v, axis=1, keepdims=True)
    rest = [i for i, w in enumerate(words[:40_000]) if w not in mine]
    rows = [index[w] for w in telling]
    rows += [index[w] for w in sorted(mine) if w in index and w not in telling]
    rows += rng.sample(rest, min(6_000, len(rest)))
    meant = np.array([_NAMES.index(telling[words[i]]) if words[i] in telling else len(_NAMES) for i in rows])
    parts = {stem: rng.randrange(5) for stem in sorted({_stem(words[i]) for i in rows})}
    part = np.array([parts[_stem(words[i])] for i in rows])
    picked, logits = np.array(rows), np.zeros((len(words), len(_NAMES) + 1), np.float32)
    own = np.zeros_like(logits)
    for k in range(5):
        z = _logistic_regression(4 * unit, picked[part != k], meant[part != k])
        logits += z / 5
        own[picked[part == k]] = z[picked[part == k]]
    logits[picked] = own[picked]
    stems = np.array([_stem(w) for w in words])
    cosines = {w: unit @ unit[index[w]] for w in telling}
    nearest = np.zeros((len(words), len(_NAMES)), np.float32)
    for c, name in enumerate(_NAMES):
        those = np.stack([np.where(stems == _stem(w), -1, cosines[w]) for w, n in telling.items() if n == name], 1)
        nearest[:, c] = np.sort(those, 1)[:, -3:].mean(1)
    logits = (logits - logits.mean(0)) / logits.std()
    nearest = (nearest - nearest.mean(0)) / nearest.std(0).mean()
    best = (logits[:, :-1] / logits[:, :-1].std() + nearest).argmax(1)
    return np.concatenate((logits, nearest), 1), best, cosines


def _stem(word: str) -> str:
    return word[:5]


def _logistic_regression(v: np.ndarray, rows: np.ndarray, meant: np.ndarray) -> np.ndarray:
    """Logits of all words by logistic regression on those of `rows`; all meanings must be among them."""
    from sklearn.linear_model import LogisticRegression

    # Of the mean cross-entropy and 1e-3 |w|^2, in scikit-learn's terms.
    logits: np.ndarray = LogisticRegression(C=500 / len(rows), max_iter=500).fit(v[rows], meant).decision_function(v)
    return logits


def _neighbours(
    words: Sequence[str],
    none: np.ndarray,
    meant: np.ndarray,
    cosines: Mapping[str, np.ndarray],
    count: int = 12,
    least: float = 0.4,
    unlike: float = 0.5,
) -> tuple[dict[str, list[str]], list[str]]:
    """`near` and `plain` of `WordList`."""
    mine, telling = lexicon(), telling_words()
    near = {}
    closest = np.zeros(len(words), np.float32)
    for w, alike in cosines.items():
        closest = np.maximum(closest, alike)
        name = _NAMES.index(telling[w])
        alike_words = [
            words[j]
            for j in np.argsort(-alike)[1:60].tolist()
            if alike[j] > least and meant[j] == name and words[j] not in mine
        ]
        if alike_words:
            near[w] = alike_words[:count]
    frequent = [i for i, w in enumerate(words) if w not in mine][:20_000]
    return near, [words[i] for i in frequent if closest[i] < unlike and none[i]]


def make_vectors(teacher: Path, words: Path, count: int, out: Path) -> None:
    """Let the teacher read each word in each context.

    Args:
        teacher: folder with model and tokenizer.
        words: one word a line (more behind a space is ignored), the most frequent first.
        count: how many of them; the words of the training texts are added.
    """
    from safetensors.numpy import save_file
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(teacher), AutoModel.from_pretrained(teacher).eval()
    lines = words.read_text(encoding="utf-8-sig").splitlines()
    listed = [w for w in (line.split(" ")[0] for line in lines) if w.isascii() and w.isalpha()][:count]
    listed = list(dict.fromkeys((*listed, *sorted(lexicon()))))
    vectors = np.zeros((len(listed), len(CONTEXTS), model.config.hidden_size), np.float16)
    order = sorted(range(len(listed)), key=lambda i: len(listed[i]))
    with torch.inference_mode():
        for k, context in enumerate(CONTEXTS):
            for start in range(0, len(order), 512):
                rows = order[start : start + 512]
                batch = tokenizer([context.format(listed[i]) for i in rows], padding=True, return_tensors="pt")
                h, there = model(**batch).last_hidden_state, batch["attention_mask"][..., None]
                mean = (h * there).sum(1) / there.sum(1)
                vectors[rows, k] = nn.functional.normalize(mean, dim=1).numpy()
    save_file({"words": np.frombuffer("\n".join(listed).encode(), np.uint8), "vectors": vectors}, out)
