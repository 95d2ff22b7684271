"""Training the prompt parser (`lure_cli.core.text.parser`); for developers, not part of the command line.

    python -m lure_cli.tasks.train.parser vectors --teacher all-MiniLM-L6-v2 --words words.txt --out vectors.safetensors
    python -m lure_cli.tasks.train.parser train --vectors vectors.safetensors --out weights/lure-text.safetensors
    python -m lure_cli.tasks.train.parser train --init weights/lure-text.safetensors --out new.safetensors --lr 5e-4
    python -m lure_cli.tasks.train.parser test --weights weights/lure-text.safetensors --prompts tests/prompts.tsv

The first needs `transformers` and a folder with the teacher (a BERT-like sentence encoder, mean pooling); the words are
a list of English words, the most frequent first, to which those of the training texts are added. With `--init` the
second goes on from an existing file, whose words and vectors it keeps: so the parser learns new wording, or a
degradation that was added to the vocabulary, without the teacher.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from lure_cli.core.pixels import MODALITY_NAMES
from lure_cli.core.records import open_record, save_record
from lure_cli.core.text.paraphrase import WORDS, Sample, Split, sample, typo
from lure_cli.core.text.parser import FORMAT, LABELS, LENGTH, SPECIAL, PromptParser, Tokenizer
from lure_cli.core.text.vocabulary import ALL, SEVERITIES
from lure_cli.tasks.train.word_list import WordList, kept_words, load_words, make_vectors

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
    "caution": 1.5,  # taken off the logit of "about the images" in the end: other requests are not to be obeyed
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
        state = {k: torch.from_numpy(tensors[k].astype(np.float32)) for k in tower.state_dict()}
        tower.load_state_dict(state | {k: _all_outputs(state[k]) for k in ("head.weight", "head.bias")})
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


def _all_outputs(head: Tensor) -> Tensor:
    """Weight (outputs, K) or bias (outputs,) with a row for every label; those of names that were added to the end of
    the vocabulary since are silent."""
    per_label = 1 + len(SEVERITIES)
    before = ALL[: (len(head) - 1) // (per_label * len(MODALITY_NAMES))]
    there = [n in before for _, n in LABELS]
    rows = torch.tensor([*there, True, *(t for t in there for _ in SEVERITIES)])
    grown = torch.zeros((len(rows), *head.shape[1:]))
    if head.dim() == 1:
        grown[: len(LABELS)] = _SILENT
    grown[rows] = head
    return grown


_SILENT = -8.0
"""Logit of what is hardly ever said."""


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
    tensors["head.bias"][len(LABELS)] -= provenance["caution"]
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
