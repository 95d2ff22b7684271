"""Text: the vocabulary of degradations, and from a set of them to one condition an image.

Two steps, kept apart: `lure_cli.core.text.parser` understands which degradations a person means in which image, a
`TextEncoder` turns those into unit vectors. So all wordings that mean the same give the same picture, bit by bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lure_cli.config import nearest
from lure_cli.core.text.vocabulary import ALL, FIRST, NONE
from lure_cli.errors import LureError

if TYPE_CHECKING:
    from torch import Tensor


class TextEncoder(Protocol):
    """Turns degradations into text vectors; frozen."""

    dim: int
    spec: str
    """What the checkpoint records so that the same encoder can be built again."""

    def encode(self, names: Sequence[Sequence[str]]) -> Tensor:
        """One sequence of degradation names an image (empty: p0) -> unit vectors (B, D), float32."""
        ...


class VocabularyEncoder:
    """One fixed unit vector a name, mutually orthogonal (rows of a Hadamard matrix); several names: their unit sum."""

    def __init__(self, dim: int = 32) -> None:
        import torch

        h = torch.ones(1, 1)
        while h.shape[0] < dim:
            h = torch.cat((torch.cat((h, h), 1), torch.cat((h, -h), 1)))  # Sylvester's construction
        if h.shape[0] != dim or dim <= len(ALL) + 1:
            raise ValueError(f"dim must be a power of two above {len(ALL) + 1}, not {dim}")
        self.dim = dim
        self.spec = "vocabulary"
        self._vectors = {name: h[i + 1] / dim**0.5 for i, name in enumerate((NONE, *ALL))}

    def encode(self, names: Sequence[Sequence[str]]) -> Tensor:
        """See `TextEncoder.encode`. KeyError on a name outside the vocabulary."""
        import torch

        rows = [torch.stack([self._vectors[n] for n in (each or (NONE,))]).sum(0) for each in names]
        return torch.nn.functional.normalize(torch.stack(rows), dim=1)


class OpenClipEncoder:
    """Features of a frozen CLIP text tower for one sentence a set of degradations ("an image with haze and noise").

    CLIP's features of such sentences are much alike, so the mean over p0 and the degradations of the first vocabulary
    is taken off (later ones must not change the vectors that weights were trained with); then they are projected on
    `dim` fixed orthonormal vectors (a cosine basis) and made unit. Our reading: the paper does not say how its text
    features reach the network.

    Args:
        spec: `open_clip:MODEL/PRETRAINED` (names as open_clip lists them), or `open_clip:FOLDER` for a folder with
            `open_clip_config.json` and `open_clip_model.safetensors`.
        dim: length of the vectors.

    Raises:
        LureError: open_clip can't be used, no such model, or its weights are neither here nor to be had.
    """

    def __init__(self, spec: str, dim: int) -> None:
        import torch

        self.dim, self.spec = dim, spec
        self._model, self._tokenizer = load_open_clip(spec.partition(":")[2], f"text encoder '{spec}'")
        self._known: dict[str, Tensor] = {}
        singles = self._features([_sentence(names) for names in ((), *((n,) for n in FIRST))])
        if dim > singles.shape[1]:
            raise LureError(
                f"text encoder '{spec}' has {singles.shape[1]} features, the model needs {dim}", "lower text_dim"
            )
        self._mean = singles.mean(0)
        n = singles.shape[1]
        basis = torch.cos(torch.pi / n * torch.arange(1, dim + 1)[:, None] * (torch.arange(n) + 0.5))
        self._basis = torch.nn.functional.normalize(basis, dim=1)

    def encode(self, names: Sequence[Sequence[str]], texts: Sequence[str] = ()) -> Tensor:
        """See `TextEncoder.encode`. KeyError on a name outside the vocabulary.

        `texts` say the same in other words, one an image, for training; an empty one leaves it to the names.
        """
        import torch

        wordings = texts or [""] * len(names)
        sentences = [text or _sentence(each) for each, text in zip(names, wordings, strict=True)]
        new = [each for each in dict.fromkeys(sentences) if each not in self._known]
        if new:
            vectors = (self._features(new) - self._mean) @ self._basis.T
            self._known |= zip(new, torch.nn.functional.normalize(vectors, dim=1), strict=True)
        return torch.stack([self._known[each] for each in sentences])

    def _features(self, sentences: list[str]) -> Tensor:
        import torch

        with torch.no_grad():
            features: Tensor = self._model.encode_text(self._tokenizer(sentences)).float()
        return torch.nn.functional.normalize(features, dim=1)


def _sentence(names: Sequence[str]) -> str:
    """What is wrong with an image, in the words that a text tower is asked with unless others are given."""
    if unknown := set(names) - {NONE, *ALL}:
        raise KeyError(unknown.pop())
    known = [_PLAIN[n] for n in ALL if n in names]
    return f"an image with {' and '.join(known)}" if known else _CLEAN


_CLEAN = "a clean image"
_PLAIN = {n: n for n in ALL} | {
    "lowlight": "low light",
    "lowres": "low resolution",
    "lowcontrast": "low contrast",
    "stripe": "stripe noise",
}


def load_open_clip(name: str, what: str) -> tuple[Any, Any]:
    """A CLIP model and its tokenizer: `model/tag`, downloaded if need be, or a folder in open_clip's own layout.

    Raises:
        LureError: unknown, or not to be had; `what` stands first in its message.
    """
    try:
        import open_clip
    except (ImportError, RuntimeError) as e:  # RuntimeError: a torchvision that was built for another torch
        reason = str(e).splitlines()[0]
        raise LureError(
            f"{what}: open_clip cannot be imported ({reason})",
            "install open_clip_torch, and the torchvision that belongs to your torch",
        ) from e
    folder = Path(name)
    if folder.is_dir():
        missing = [f for f in ("open_clip_config.json", "open_clip_model.safetensors") if not (folder / f).is_file()]
        if missing:
            raise LureError(f"{folder}: {missing[0]} is missing", "give a folder in open_clip's own layout")
        source, tag = f"local-dir:{folder.resolve()}", None
    else:
        source, _, tag = name.partition("/")
        if (source, tag) not in open_clip.list_pretrained():
            known = [t for m, t in open_clip.list_pretrained() if m == source]
            models = open_clip.list_models()
            hint = f"of {source} there is: {', '.join(known)}" if known else f"models: {nearest(source, models)}"
            raise LureError(f"{what} is neither a folder nor known to open_clip", hint)
    try:
        model = open_clip.create_model(source, pretrained=tag)
        tokenizer = open_clip.get_tokenizer(source)
    except Exception as e:  # whatever the network, the hub or a damaged file raises
        reason = (str(e).splitlines() or [type(e).__name__])[0]
        if tag is None:
            raise LureError(f"{folder}: cannot be loaded ({reason})", "give a folder in open_clip's own layout") from e
        cfg = open_clip.get_pretrained_cfg(source, tag)
        repo, _, file = (cfg.get("hf_hub") or "").rpartition("/")
        remedy = (
            f"with network, run: hf download {repo} {file or 'open_clip_model.safetensors'}; then copy the cache here"
            if repo
            else f"download {cfg.get('url')} into ~/.cache/clip"
        )
        raise LureError(f"{what} is not on this machine and cannot be had ({reason})", remedy) from e
    return model.eval().requires_grad_(False), tokenizer


def build_text_encoder(spec: str, dim: int) -> TextEncoder:
    """The encoder that a checkpoint's record or a training config names: `vocabulary` or `open_clip:...`.

    Raises:
        LureError: unknown, or not to be had (see `OpenClipEncoder`).
    """
    if spec == "vocabulary":
        return VocabularyEncoder(dim)
    if spec.startswith("open_clip:"):
        return OpenClipEncoder(spec, dim)
    raise LureError(
        f"text encoder '{spec}' is not known to this version", "upgrade lure-cli; known: vocabulary, open_clip:..."
    )
