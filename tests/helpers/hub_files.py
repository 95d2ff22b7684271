"""A small model and a repository of it, for tests of weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lure_cli.config import ModelConfig, Provenance
from lure_cli.core.model.checkpoint import new_model, save_model
from lure_cli.core.text.encoders import VocabularyEncoder
from tests.helpers.files import EXAMPLES, Outcome

Run = Callable[..., Outcome]
PAIR = ["--ir", EXAMPLES / "pairs" / "ir" / "gate.png", "--vis", EXAMPLES / "pairs" / "vis" / "gate.png"]
"""For commands that fail before they read it."""
NAME = "ann/tiny"


def make_model(path: Path, seed: int = 0, licence: str = "MIT") -> bytes:
    """A whole weight file of a few kilobytes."""
    torch.manual_seed(seed)
    text = VocabularyEncoder(16)
    sizes: dict[str, Any] = {"widths": (16, 16), "encoder_blocks": (0, 1), "refine_blocks": (0,), "text_dim": 16}
    blocks: dict[str, Any] = {"decoder_blocks": (0, 0), "fusion_blocks": (0, 0), "expansions": (1, 2)}
    model = new_model(ModelConfig(name="tiny", **sizes, **blocks, condition_dim=4), text)
    save_model(path, model, text, Provenance(stage=2, seed=seed, licence=licence), torch.float16)
    return path.read_bytes()


def record_of(content: bytes, **changes: Any) -> bytes:
    """The record of a weight file, with some of it changed."""
    record = {"format": 1, "name": "tiny", "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return json.dumps(record | changes).encode()


def files_of(content: bytes, **changes: Any) -> dict[str, bytes]:
    """What a repository holds, by name."""
    return {"model.safetensors": content, "lure.json": record_of(content, **changes), "README.md": b"# tiny\n"}


def failed(done: Outcome, *words: str) -> None:
    """One error, one hint, nothing on stdout."""
    lines = done.err.splitlines()
    assert done.code == 2
    assert done.out == ""
    assert [line.split(":")[0] for line in lines[-2:]] == ["error", "hint"], done.err
    assert sum(line.startswith("error:") for line in lines) == 1
    for text in words:
        assert text in done.err
