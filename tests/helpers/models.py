"""Small models and their texts."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from lure_cli.config import ModelConfig
from lure_cli.core.model.checkpoint import new_model
from lure_cli.core.model.lure import Lure
from lure_cli.core.text.encoders import VocabularyEncoder

TINY = ModelConfig(name="tiny", widths=(16, 16, 16), condition_dim=16, tone=True, airlight=True)
TEXT = VocabularyEncoder(32)


def tiny(seed: int = 0, trained: bool = True, **changes: Any) -> Lure:
    """A small model, with changes of its config; `trained` moves every parameter away from its start."""
    torch.manual_seed(seed)
    model = new_model(dataclasses.replace(TINY, **changes), TEXT).eval()
    if trained:
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.05 * torch.randn_like(p))
    return model


def texts(*names: str, batch: int = 1) -> torch.Tensor:
    return TEXT.encode([names] * batch)
