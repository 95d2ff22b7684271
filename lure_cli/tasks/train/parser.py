"""Training the prompt parser (`lure_cli.core.text.parser`); for developers, not part of the command line.

    python -m lure_cli.tasks.train.parser vectors --teacher all-MiniLM-L6-v2 --words words.txt --out vectors.safetensors
    python -m lure_cli.tasks.train.parser train --vectors vectors.safetensors --out weights/lure-text.safetensors
    python -m lure_cli.tasks.train.parser train --init weights/lure-text.safetensors --out new.safetensors --lr 5e-4
    python -m lure_cli.tasks.train.parser test --weights weights/lure-text.safetensors --prompts tests/prompts.tsv

The first needs `transformers` and a folder with the teacher (a BERT-like sentence encoder, mean pooling); the words are
a list of English words, the most frequent first, to which those of the training texts are added. With `--init` the
second goes on from an existing file, whose words and vectors it keeps: so the parser learns new wording, or a new
degradation whose outputs stand in the file already, without the teacher.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from lure_cli.core.records import open_record, save_record
from lure_cli.core.text.paraphrase import WORDS, Sample, Split, lexicon, sample, telling_words, typo
from lure_cli.core.text.parser import FORMAT, LABELS, LENGTH, SPECIAL, PromptParser, Tokenizer
from lure_cli.core.text.vocabulary import SEVERITIES

CONTEXTS = ("{}", "the image is {}", "{} in the picture")
"""What the teacher reads a word in; the vectors of all are joined."""
HYPERPARAMETERS: dict[str, Any] = {
    "size": 88,  # principal components of the teacher's vectors
    "likeness": 1.0,  # weight of the likenesses to the degradations that are appended to them (`likeness`)
    "width": 128,
    "layers": 2,
    "heads": 4,
    "lr": 2e-3,
    "batch": 128,
    "noise": 0.2,  # added to the vectors (of unit variance) in training: words nearby mean the same
    "common": 0.45,  # share of texts in common wording only
    "typos": 0.15,  # share of texts with a typing error
    "vary": 0.25,  # share of telling words replaced by neighbours, in two of five texts
    "more": "",  # a degradation of which more is to be learnt than of the others, ...
    "more_share": 0.25,  # ... as many texts about it are added as this share of all
}


class Tower(nn.Module):
    """The trained part; `PromptParser` computes the same with numpy."""

    def __init__(self, vectors: Tensor, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.vectors: Tensor
        self.register_buffer("vectors", torch.cat((torch.zeros(len(SPECIAL), vectors.shape[1]), vectors)), False)
        self.project = nn.Linear(vectors.shape[1], width, bias=False)
        self.special = nn.Parameter(torch.randn(len(SPECIAL), width) * 0.3)
        self.position = nn.Parameter(torch.randn(LENGTH, width) * 0.1)
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(2 * width, len(LABELS) * (1 + len(SEVERITIES)) + 1)

    def forward(self, tokens: Tensor, noise: float = 0.0) -> Tensor:
        """Token numbers (B, T), -1 where a text has ended -> logits (B, labels + 1 + labels * severities)."""
        there = tokens >= 0
        tokens = tokens.clamp(min=0)
        v = self.vectors[tokens]
        if noise:
            v = v + noise * torch.randn_like(v) * (tokens >= len(SPECIAL))[..., None]
        special = torch.nn.functional.embedding(tokens.clamp(max=len(SPECIAL) - 1), self.special)
        x = self.project(v) + self.position[: tokens.shape[1]] + special * (tokens < len(SPECIAL))[..., None]
        for block in self.blocks:
            x = block(x, there)
        x = self.norm(x)
        pooled = torch.cat((x[:, 0], x.masked_fill(~there[..., None], -1e9).amax(1)), 1)
        return self.head(nn.functional.dropout(pooled, 0.1, self.training))


class _Block(nn.Module):
    """Pre-norm transformer layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(q, k, v, there[:, None, None])
        x = x + self.out(y.transpose(1, 2).reshape(b, t, d))
        return x + self.down(torch.relu(self.up(self.norm2(x))))


def encode_samples(samples: Sequence[Sample], tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens (N, T) int32 padded with -1; labels (N, labels + 1), the last "on the topic"; severities, -1 unknown."""
    tokens = np.full((len(samples), LENGTH), -1, np.int32)
    labels = np.zeros((len(samples), len(LABELS) + 1), np.float32)
    severities = np.full((len(samples), len(LABELS)), -1, np.int64)
    for i, s in enumerate(samples):
        t = tokenizer(s.text, s.focus)
        tokens[i, : len(t)] = t
        labels[i, -1] = not s.off_topic
        for label, severity in s.labels.items():
            labels[i, LABELS.index(label)] = 1
            severities[i, LABELS.index(label)] = SEVERITIES.index(severity)
    return tokens, labels, severities


def draw(seed: int, count: int, split: Split, words: Sequence[str], typos: float) -> list[Sample]:
    """Samples of a seed; a share of them with a typing error."""
    rng = random.Random(seed)
    samples = []
    for _ in range(count):
        s = sample(rng, split, words)
        samples.append(Sample(typo(rng, s.text), s.focus, s.labels, s.off_topic) if rng.random() < typos else s)
    return samples


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
    near, plain = _neighbours(words, like, meant, alike)
    v = v[:, : cfg["size"]]
    v = np.concatenate((v / v.std(), cfg["likeness"] * like), 1)
    scales = (np.abs(v).max(1) / 127).astype(np.float16)
    v8 = np.round(v / np.maximum(scales[:, None].astype(np.float32), 1e-6)).astype(np.int8)
    order = _mine_first(words)
    return WordList([words[i] for i in order], v8[order], scales[order], near, plain)


def kept_words(tensors: Mapping[str, np.ndarray], cfg: Mapping[str, Any], seed: int = 0) -> WordList:
    """The words of an existing file with their vectors as they are; neighbours are found in its components.

    In these, which are fewer than the teacher's, words look more alike: neighbours must be nearer.
    """
    words = tensors["words"].tobytes().decode().split("\n")
    v8, scales = tensors["vectors"], tensors["scales"]
    components = v8[:, : cfg["size"]] * scales[:, None].astype(np.float32)
    near, plain = _neighbours(words, *likeness(words, components, seed), least=0.55, unlike=0.6)
    order = _mine_first(words)
    return WordList([words[i] for i in order], v8[order], scales[order], near, plain)


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
    like: np.ndarray,
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
    none = like[:, : len(_NAMES) + 1].argmax(1) == len(_NAMES)
    frequent = [i for i, w in enumerate(words) if w not in mine][:20_000]
    return near, [words[i] for i in frequent if closest[i] < unlike and none[i]]


def vary(rng: random.Random, text: str, near: dict[str, list[str]], share: float) -> str:
    """The text with some of its telling words replaced by neighbours."""
    words = re.split(r"([^a-z]+)", text.lower())
    return "".join(rng.choice(near[w]) if w in near and rng.random() < share else w for w in words)


def train(
    vectors: Path | None, init: Path | None, out: Path, seed: int, count: int, steps: int, cfg: dict[str, Any]
) -> None:
    """Draw texts, train on them, write the file.

    Args:
        vectors: the teacher's, to begin with; else
        init: an existing file to go on from.
    """
    torch.manual_seed(seed)
    tensors: dict[str, np.ndarray] = {}
    before: dict[str, Any] = {}
    if init:
        tensors, record = open_record(init, "text", FORMAT, "a text encoder of LURE", "give a file that this wrote")
        before = {"before": record["provenance"]}
        cfg = cfg | {k: record["provenance"][k] for k in ("size", "likeness", "width", "layers", "heads")}
    word_list = load_words(vectors, cfg) if vectors else kept_words(tensors, cfg)
    v = torch.from_numpy(word_list.vectors.astype(np.float32) * word_list.scales.astype(np.float32)[:, None])
    with ProcessPoolExecutor(2) as pool:
        shares = list(pool.map(_encode_share, [(seed * 1000 + i, count // 16, word_list, cfg) for i in range(16)]))
    tokens, labels, severities = (torch.from_numpy(np.concatenate(part)) for part in zip(*shares, strict=True))
    print(f"{len(tokens)} texts, {(tokens >= 0).sum(1).float().mean():.1f} tokens each", file=sys.stderr)
    tower = Tower(v, cfg["width"], cfg["layers"], cfg["heads"])
    if init:
        tower.load_state_dict({k: torch.from_numpy(tensors[k].astype(np.float32)) for k in tower.state_dict()})
    decay = [p for p in tower.parameters() if p.dim() > 1]
    plain = [p for p in tower.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0}], lr=cfg["lr"]
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, cfg["lr"], steps, pct_start=0.1)
    n = len(LABELS)
    lengths = (tokens >= 0).sum(1)
    batches: list[Tensor] = []
    progress = tqdm(range(steps), unit="step")
    for step in progress:
        if not batches:  # an epoch; texts of like length together
            order = torch.argsort(lengths + 2 * torch.rand(len(lengths)))
            batches = [b for b in torch.split(order, cfg["batch"]) if len(b) == cfg["batch"]]
            random.Random(seed + step).shuffle(batches)
        i = batches.pop()
        t, y, s = tokens[i].long(), labels[i], severities[i]
        t = t[:, : int((t >= 0).sum(1).max())]
        z = tower(t, cfg["noise"])
        loss = nn.functional.binary_cross_entropy_with_logits(z[:, : n + 1], y, reduction="sum") / len(y)
        rated = s >= 0
        loss = loss + 0.3 * nn.functional.cross_entropy(z[:, n + 1 :].view(len(y), n, -1)[rated], s[rated])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            progress.set_postfix(loss=round(float(loss.detach()), 4))
    _save(out, tower, word_list, {"seed": seed, "steps": steps, **cfg, **before})


def _encode_share(job: tuple[int, int, WordList, dict[str, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    seed, count, word_list, cfg = job
    rng = random.Random(seed)
    samples = []
    common = draw(seed, int(count * cfg["common"]), "common", word_list.plain, 0)
    drawn = common + draw(seed + 500, count - len(common), "train", word_list.plain, 0)
    if cfg["more"]:
        for k in range(int(count * cfg["more_share"])):
            drawn.append(_about(rng, "common" if k % 2 else "train", cfg["more"]))
    for s in drawn:
        text = vary(rng, s.text, word_list.near, cfg["vary"]) if not s.off_topic and rng.random() < 0.4 else s.text
        text = typo(rng, text) if rng.random() < cfg["typos"] else text
        samples.append(Sample(text, s.focus, s.labels, s.off_topic))
    return encode_samples(samples, Tokenizer(word_list.words))


def _about(rng: random.Random, split: Split, degradation: str) -> Sample:
    """A text that finds this degradation in an image, whatever else it says."""
    while True:
        s = sample(rng, split)
        if any(name == degradation for _, name in s.labels):
            return s


def _save(out: Path, tower: Tower, word_list: WordList, provenance: dict[str, Any]) -> None:
    tensors = {k: p.detach().numpy().astype(np.float16) for k, p in tower.state_dict().items()}
    tensors |= {"words": np.frombuffer("\n".join(word_list.words).encode(), np.uint8)}
    tensors |= {"vectors": word_list.vectors, "scales": word_list.scales}
    metadata = {
        "format": FORMAT,
        "kind": "text",
        "heads": provenance["heads"],
        "layers": provenance["layers"],
        "provenance": {**provenance, "teacher": "all-MiniLM-L6-v2 (Apache-2.0)"},
        "licence": "Apache-2.0",
    }
    save_record(out, tensors, metadata)


def judge(parser: PromptParser, samples: Iterable[Sample]) -> tuple[dict[str, float], list[str]]:
    """Shares understood exactly (the set of each image), refused (off topic), severities right; and what was wrong."""
    counts: dict[str, list[bool]] = {"exact": [], "vis": [], "ir": [], "refused": [], "severity": []}
    wrong = []
    for s in samples:
        parsed = parser.parse(s.text, s.focus)
        refused = not parsed.understood
        if s.off_topic:
            counts["refused"].append(refused)
            if not refused:
                wrong.append(f"taken: {s.text}: {parsed.findings}")
            continue
        got = {(m, f.degradation): f.severity for m, findings in parsed.findings.items() for f in findings}
        for m in ("vis", "ir"):
            right = {k for k in got if k[0] == m} == {k for k in s.labels if k[0] == m} and not refused
            counts[m].append(right)
        counts["exact"].append(counts["vis"][-1] and counts["ir"][-1])
        counts["severity"] += [got[k] == v for k, v in s.labels.items() if k in got]
        if not counts["exact"][-1]:
            meant, read = (sorted(".".join(k) for k in labels) for labels in (s.labels, got))
            wrong.append(f"{'refused, ' if refused else ''}{s.focus}: {s.text}: meant {meant}, read {read}")
    return {k: sum(v) / len(v) for k, v in counts.items() if v}, wrong


def read_prompts(path: Path) -> list[Sample]:
    """Texts with their meaning: text, visible, infrared, separated by tabs; "-" in both means off topic."""
    samples = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            text, vis, ir = line.split("\t")
            off = vis == ir == "-"
            labels = {(m, n): 0.5 for m, names in (("vis", vis), ("ir", ir)) for n in names.split() if not off}
            samples.append(Sample(text, "pair", labels, off))
    return samples


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


def report(weights: Path, prompts: Path | None, count: int) -> None:
    """Print how much is understood: drawn texts of both parts, with and without typing errors, and a list of texts."""
    parser = PromptParser.load(weights)
    plain = parser.tokenizer.words[3_000:20_000]
    sets = {
        f"{split}{', one typing error' if typos else ''}": draw(90 + typos, count, split, plain, typos)  # type: ignore[arg-type]
        for split in ("train", "held")
        for typos in (0, 1)
    }
    if prompts:
        listed = read_prompts(prompts)
        rng = random.Random(0)
        sets[prompts.name] = listed
        sets[f"{prompts.name}, one typing error"] = [
            Sample(typo(rng, s.text), s.focus, s.labels, s.off_topic) for s in listed for _ in range(3)
        ]
    for name, samples in sets.items():
        shares, _ = judge(parser, samples)
        print(f"{name}: " + ", ".join(f"{k} {100 * v:.1f} %" for k, v in shares.items()))


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    p = commands.add_parser("vectors")
    p.add_argument("--teacher", type=Path, required=True)
    p.add_argument("--words", type=Path, required=True)
    p.add_argument("--count", type=int, default=60_000)
    p.add_argument("--out", type=Path, required=True)
    p = commands.add_parser("train")
    source = p.add_mutually_exclusive_group(required=True)
    source.add_argument("--vectors", type=Path)
    source.add_argument("--init", type=Path)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--lr", type=float, default=HYPERPARAMETERS["lr"])
    p.add_argument("--more", choices=[*WORDS], default="")
    p.add_argument("--more-share", type=float, default=HYPERPARAMETERS["more_share"])
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--texts", type=int, default=1_500_000)
    p.add_argument("--steps", type=int, default=36_000)
    p.add_argument("--threads", type=int, default=1)
    p = commands.add_parser("test")
    p.add_argument("--weights", type=Path, required=True)
    p.add_argument("--prompts", type=Path)
    p.add_argument("--texts", type=int, default=2_000)
    args = parser.parse_args()
    if args.command == "vectors":
        make_vectors(args.teacher, args.words, args.count, args.out)
    elif args.command == "train":
        torch.set_num_threads(args.threads)
        cfg = HYPERPARAMETERS | {"lr": args.lr, "more": args.more, "more_share": args.more_share}
        train(args.vectors, args.init, args.out, args.seed, args.texts, args.steps, cfg)
    else:
        report(args.weights, args.prompts, args.texts)


if __name__ == "__main__":
    main()
