"""CLIP-IQA: the paper's formula, spelled out, on a small CLIP with random weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lure_cli.core.metrics import clip_iqa
from lure_cli.core.metrics.learned import CLIP


@pytest.fixture(scope="module")
def clip() -> tuple[Any, Any]:
    """open_clip's CLIP with a ResNet of four blocks, and a tokenizer for it."""
    import torch

    open_clip = pytest.importorskip("open_clip")
    torch.manual_seed(0)
    model = open_clip.CLIP(
        embed_dim=16,
        vision_cfg=open_clip.CLIPVisionCfg(layers=(1, 1, 1, 1), width=8, image_size=64),
        text_cfg=open_clip.CLIPTextCfg(context_length=16, width=16, heads=2, layers=1),
        quick_gelu=True,
    )
    return model.eval(), open_clip.SimpleTokenizer(context_length=16)


def expected(image: np.ndarray, model: Any, tokenizer: Any) -> float:
    """Stem and blocks as they are; then one query, the mean of all places, attends to itself and to all places."""
    import torch

    mean, deviation = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
    x = torch.tensor(((image / 255 - mean) / deviation).transpose(2, 0, 1)[None], dtype=torch.float32)
    eye, pool = model.visual, model.visual.attnpool
    with torch.no_grad():
        x = eye.stem(x)
        for layer in (eye.layer1, eye.layer2, eye.layer3, eye.layer4):
            x = layer(x)
        places = x[0].flatten(1).T
        places = torch.cat((places.mean(0, keepdim=True), places))
        q, k, v = pool.q_proj(places[0]), pool.k_proj(places), pool.v_proj(places)
        size = q.shape[0] // pool.num_heads
        heads = []
        for h in range(pool.num_heads):
            part = slice(h * size, (h + 1) * size)
            heads.append(((k[:, part] @ q[part]) / size**0.5).softmax(0) @ v[:, part])
        seen = pool.c_proj(torch.cat(heads))
        good, bad = model.encode_text(tokenizer(["Good photo.", "Bad photo."]))
        cosines = [torch.dot(seen, s) / (seen.norm() * s.norm()) for s in (good, bad)]
        scale = model.logit_scale.exp()
        return float(1 / (1 + torch.exp(scale * (cosines[1] - cosines[0]))))


@pytest.mark.parametrize("size", [(64, 64), (96, 160)], ids=["of the model's size", "of another size"])
def test_against_the_formula(clip: tuple[Any, Any], size: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    value = clip_iqa(image, *clip)
    assert value == pytest.approx(expected(image, *clip), rel=1e-4)
    assert abs(value - 0.5) > 1e-3  # or the test would not test it
    assert clip_iqa(image.astype(np.uint16) * 257, *clip) == pytest.approx(value, rel=1e-5)


def test_grey_is_all_three_colours_and_the_model_is_left_alone(clip: tuple[Any, Any]) -> None:
    model, _ = clip
    before = model.visual.attnpool.positional_embedding.clone()
    grey = np.random.default_rng(2).integers(0, 256, (64, 80, 1), dtype=np.uint8)
    assert clip_iqa(grey, *clip) == clip_iqa(np.repeat(grey, 3, axis=2), *clip) == clip_iqa(grey[..., 0], *clip)
    assert (model.visual.attnpool.positional_embedding == before).all()


def test_open_clip_knows_the_weights() -> None:
    open_clip = pytest.importorskip("open_clip")
    assert tuple(CLIP.split("/")) in open_clip.list_pretrained()
