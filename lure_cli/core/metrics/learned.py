"""CLIP-IQA: quality by what a model of images and sentences sees; the model is handed in."""

from __future__ import annotations

from typing import Any

import numpy as np

from lure_cli.core.metrics.base import Array, to_scale

CLIP = "RN50-quickgelu/openai"
"""The weights that CLIP-IQA is defined for, as open_clip names them."""
_SENTENCES = ("Good photo.", "Bad photo.")
_MEAN, _DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def clip_iqa(image: Array, model: Any, tokenizer: Any) -> float:
    """CLIP-IQA: how much rather "Good photo." than "Bad photo." describes an image; 0 to 1, higher is better.

    The softmax over the two similarities, times the model's own scale. The image keeps its size: the vectors of places
    that belong to CLIP's own are left out of the pooling, as in the paper. (pyiqa's `clipiqa` asks with five pairs of
    sentences and averages; its figures are others.)

    Wang, Chan, Loy: Exploring CLIP for assessing the look and feel of images, AAAI 2023.

    Args:
        image: as stored, uint8 or uint16, (H, W), (H, W, 1) or (H, W, 3); grey stands for all three colours.
        model: open_clip's CLIP with a ResNet as its eye, in evaluation mode.
        tokenizer: the one that belongs to it.
    """
    import torch

    x = to_scale(image).reshape(*np.shape(image)[:2], -1) / 255
    pixels = torch.from_numpy((np.broadcast_to(x, (*x.shape[:2], 3)) - _MEAN) / _DEVIATION)
    with torch.inference_mode():
        seen = _without_places(model.visual, pixels.permute(2, 0, 1)[None].float())
        said = model.encode_text(tokenizer(list(_SENTENCES)))
        seen, said = (torch.nn.functional.normalize(y.double(), dim=1) for y in (seen, said))
        return float((model.logit_scale.double().exp() * seen @ said.T).softmax(dim=1)[0, 0])


def _without_places(eye: Any, pixels: Any) -> Any:
    """(1, 3, H, W) -> (1, D): the features, with zeros instead of the vectors of places, which fit one size only."""
    import torch

    zeros = torch.zeros_like(eye.attnpool.positional_embedding[:1])
    return torch.func.functional_call(eye, {"attnpool.positional_embedding": zeros}, (pixels,))
