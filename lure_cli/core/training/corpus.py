"""What there is to train on: the files of the data folder, by task."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lure_cli.core.pixels import MODALITY_NAMES, Modality
from lure_cli.core.text.vocabulary import DEGRADATIONS
from lure_cli.core.training.layout import DataFolder, Files, Part, Use, read_layout
from lure_cli.errors import LureError


@dataclass(frozen=True)
class Corpus:
    """What a data folder holds for training, grouped by set."""

    fusion: Mapping[str, Sequence[Files]]
    restoration: Mapping[tuple[Modality, str], Mapping[str, Sequence[Files]]]
    clean: Mapping[Modality, Mapping[str, Sequence[Files]]]

    def sets(self) -> tuple[str, ...]:
        """Names of all sets, for the record."""
        named = set(self.fusion) | {s for t in self.restoration.values() for s in t}
        return tuple(sorted(named | {s for m in self.clean.values() for s in m}))

    def counts(self) -> dict[str, int]:
        """Number of samples of each set, by its folder below the root."""
        counts = {f"fusion/{name}": len(files) for name, files in self.fusion.items()}
        for (m, task), sets in self.restoration.items():
            counts |= {f"restoration/{MODALITY_NAMES[m]}/{task}/{name}": len(files) for name, files in sets.items()}
        for m, sets in self.clean.items():
            counts |= {f"clean/{MODALITY_NAMES[m]}/{name}": len(files) for name, files in sets.items()}
        return counts


def find_corpus(root: Path, exclude: Sequence[str] = ()) -> Corpus:
    """What a data folder (its layout: `core.training.layout`) holds for training.

    Args:
        exclude: names of sets that are left out.

    Raises:
        LureError: no such folder, unpaired files, or a degradation folder with an unknown name.
    """
    data = read_layout(root, exclude)
    parts = [part for part in data.parts if part.use == "trained on"]
    fusion = {part.set: pairs for part in parts if part.kind == "fusion" and (pairs := _pairs(part))}
    clean: dict[Modality, dict[str, Sequence[Files]]] = {m: {} for m in MODALITY_NAMES}
    for part in parts:
        if part.kind == "clean" and part.modality and part.samples:
            clean[part.modality][part.set] = part.samples
    return Corpus(fusion, restoration_pairs(data, "trained on"), clean)


def restoration_pairs(data: DataFolder, use: Use) -> dict[tuple[Modality, str], dict[str, Sequence[Files]]]:
    """The (degraded, clean) pairs of a data folder: (modality, degradation) -> set -> pairs.

    Raises:
        LureError: unpaired files, or a degradation folder with an unknown name.
    """
    for modality, word in MODALITY_NAMES.items():
        for folder in data.strangers(data.root / "restoration" / word):
            raise LureError(f"{folder}: unknown degradation", f"known: {', '.join(DEGRADATIONS[modality])}")
    restoration: dict[tuple[Modality, str], dict[str, Sequence[Files]]] = defaultdict(dict)
    for part in data.parts:
        if part.use == use and part.modality and part.degradation and (pairs := _pairs(part)):
            restoration[part.modality, part.degradation][part.set] = pairs
    return dict(restoration)


def _pairs(part: Part) -> tuple[Files, ...]:
    """The pairs of a part, none of whose files may be alone."""
    a, b = part.sides
    if alone := sorted(a.files.keys() ^ b.files.keys()):
        message = f"{a.folder.parent}: '{alone[0]}' is in only one of {a.name}/ and {b.name}/"
        raise LureError(message, "pairs need equal names")
    return part.samples


ENOUGH = 10
"""Sets with fewer samples are trained on as a whole."""


def hold_out(corpus: Corpus, share: float) -> tuple[Corpus, Corpus]:
    """Split a corpus into what is trained on and what is held out for validation.

    A hash of the file's name decides, so that a sample stays on its side when others are added. Of each set with
    `ENOUGH` samples, one at least is held out; what is held out of one set is so in all that have an image of that
    name, as sets overlap; one sample at least is left of each. Frames of one clip, or versions of one scene under
    different names, are not kept together.

    Args:
        share: of each set, in [0, 1); 0 holds nothing out.
    """
    groups = [corpus.fusion, *corpus.restoration.values(), *corpus.clean.values()]
    names: set[str] = set()
    for samples in (samples for sets in groups for samples in sets.values()):
        if share and len(samples) >= ENOUGH:
            ranked = sorted((_rank(s[0].stem), s[0].stem) for s in samples)
            names |= {ranked[0][1], *(name for rank, name in ranked if rank < share)}

    def split(sets: Mapping[str, Sequence[Files]], held: bool) -> dict[str, Sequence[Files]]:
        parts: dict[str, Sequence[Files]] = {}
        for name, samples in sets.items():
            out = [s for s in samples if s[0].stem in names]
            out = out[1:] if len(out) == len(samples) else out
            if part := [s for s in samples if (s in out) == held]:
                parts[name] = part
        return parts

    def side(held: bool) -> Corpus:
        restoration = {task: split(sets, held) for task, sets in corpus.restoration.items()}
        clean = {m: split(sets, held) for m, sets in corpus.clean.items()}
        return Corpus(split(corpus.fusion, held), {t: s for t, s in restoration.items() if s}, clean)

    return side(False), side(True)


def _rank(name: str) -> float:
    """A number in [0, 1) for a name, as good as random."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) / 2**32
