"""What there is to train on: the files of the data folder, by task."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lure_cli.core.images.formats import has_image_suffix
from lure_cli.core.pixels import Modality
from lure_cli.core.text.vocabulary import DEGRADATIONS
from lure_cli.errors import LureError

FOLDERS: dict[Modality, str] = {"vis": "visible", "ir": "infrared"}
"""What the folders of a modality are called."""


Files = tuple[Path, ...]
"""Files of one sample: an image, a (degraded, clean) pair, or an (ir, vis) pair."""


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
            counts |= {f"restoration/{FOLDERS[m]}/{task}/{name}": len(files) for name, files in sets.items()}
        for m, sets in self.clean.items():
            counts |= {f"clean/{FOLDERS[m]}/{name}": len(files) for name, files in sets.items()}
        return counts


def _images(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    return {p.stem: p for p in sorted(folder.iterdir()) if has_image_suffix(p) and not p.name.startswith(".")}


def _pairs(a: Path, b: Path) -> list[Files]:
    first, second = _images(a), _images(b)
    odd = sorted(first.keys() ^ second.keys())
    if odd:
        raise LureError(f"{a.parent}: '{odd[0]}' is in only one of {a.name}/ and {b.name}/", "pairs need equal names")
    return [(first[k], second[k]) for k in first]


def _subfolders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []


def find_corpus(root: Path, exclude: Sequence[str] = ()) -> Corpus:
    """Look through a data folder of the layout above.

    Raises:
        LureError: no such folder, unpaired files, or a degradation folder with an unknown name.
    """
    if not root.is_dir():
        raise LureError(f"{root}: no such folder", "give the data folder with --data; the README shows its layout")
    fusion = {
        s.name: pairs
        for s in _subfolders(root / "fusion")
        if s.name not in exclude and (pairs := _pairs(s / "train" / "ir", s / "train" / "vi"))
    }
    clean: dict[Modality, dict[str, list[Files]]] = {}
    for modality, name in FOLDERS.items():
        clean[modality] = {
            s.name: [(p,) for p in files.values()]
            for s in _subfolders(root / "clean" / name)
            if s.name not in exclude and (files := _images(s))
        }
    return Corpus(fusion, find_restoration(root, "train", exclude), clean)


def find_restoration(
    root: Path, split: Literal["train", "test"], exclude: Sequence[str] = ()
) -> dict[tuple[Modality, str], dict[str, list[Files]]]:
    """The (degraded, clean) pairs of a data folder: (modality, degradation) -> set -> pairs.

    Raises:
        LureError: no such folder, unpaired files, or a degradation folder with an unknown name.
    """
    if not root.is_dir():
        raise LureError(f"{root}: no such folder", "give the data folder; the README shows its layout")
    restoration: dict[tuple[Modality, str], dict[str, list[Files]]] = {}
    for modality, name in FOLDERS.items():
        for task in _subfolders(root / "restoration" / name):
            if task.name not in DEGRADATIONS[modality]:
                raise LureError(f"{task}: unknown degradation", f"known: {', '.join(DEGRADATIONS[modality])}")
            sets = {
                s.name: pairs
                for s in _subfolders(task)
                if s.name not in exclude and (pairs := _pairs(s / split / "degraded", s / split / "clean"))
            }
            if sets:
                restoration[modality, task.name] = sets
    return restoration


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
