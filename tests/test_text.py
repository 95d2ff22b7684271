"""Vectors of degradations: the closed vocabulary, and CLIP's text tower."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from lure_cli.config import MODELS, Provenance
from lure_cli.core.checkpoint import load_model, new_model, save_model
from lure_cli.core.text import ALL, DEGRADATIONS, NONE, VocabularyEncoder, build_text_encoder
from lure_cli.errors import LureError

TINY = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
}
"""A CLIP model of 3 M parameters, nearly all of them token embeddings."""


def test_vectors_are_unit_and_distinct() -> None:
    text = VocabularyEncoder(32)
    names = [(), *((n,) for n in dict.fromkeys((*DEGRADATIONS["vis"], *DEGRADATIONS["ir"]))), ("haze", "noise")]
    t = text.encode(names)
    torch.testing.assert_close(t.norm(dim=1), torch.ones(len(names)))
    singles = t[:-1]
    torch.testing.assert_close(singles @ singles.T, torch.eye(len(singles)), atol=1e-6, rtol=0)
    assert torch.equal(text.encode([()]), text.encode([(NONE,)]))
    assert torch.equal(text.encode([("haze", "noise")]), text.encode([("noise", "haze")]))


def test_unknown_encoder_says_upgrade() -> None:
    with pytest.raises(LureError) as caught:
        build_text_encoder("telepathy", 32)
    assert "upgrade" in caught.value.hint


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A randomly initialised tiny model, saved in open_clip's own layout."""
    open_clip = pytest.importorskip("open_clip", exc_type=ImportError, reason="open_clip cannot be imported here")
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    model = open_clip.CLIP(**TINY)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": TINY, "preprocess_cfg": {}}))
    return folder


def test_clip_vectors(clip_folder: Path) -> None:
    text = build_text_encoder(f"open_clip:{clip_folder}", 32)
    sets = [(), *((n,) for n in ALL), ("haze", "noise")]
    t = text.encode(sets)
    assert t.shape == (len(sets), 32)
    assert t.dtype == torch.float32
    assert not t.requires_grad
    torch.testing.assert_close(t.norm(dim=1), torch.ones(len(sets)))
    gram = t @ t.T - torch.eye(len(sets))
    assert gram.max() < 0.95  # all can be told apart
    assert torch.equal(text.encode([("noise", "haze")])[0], t[-1])
    assert torch.equal(text.encode([(NONE,)])[0], t[0])
    again = build_text_encoder(f"open_clip:{clip_folder}", 32).encode(sets)
    assert torch.equal(again, t)
    with pytest.raises(KeyError):
        text.encode([("cat",)])
    with pytest.raises(LureError, match="64 features"):
        build_text_encoder(f"open_clip:{clip_folder}", 128)


def test_checkpoint_records_the_encoder(clip_folder: Path, tmp_path: Path) -> None:
    spec = f"open_clip:{clip_folder}"
    text = build_text_encoder(spec, 32)
    path = tmp_path / "weights.safetensors"
    save_model(path, new_model(MODELS["lure-small"], text), text, Provenance(), torch.float16)
    _, loaded, _ = load_model(path)
    assert loaded.spec == spec
    assert torch.equal(loaded.encode([("haze",)]), text.encode([("haze",)]))


def test_training_takes_the_encoder(clip_folder: Path, tmp_path: Path, data: Path) -> None:
    from lure_cli.tasks.train import Trainer, resolve_config

    settings = ["steps=1", "crop=32", "batch_vis=2", "batch_ir=2", f"text_encoder=open_clip:{clip_folder}"]
    cfg = resolve_config(1, None, {"data": str(data), "out": str(tmp_path / "run")}, settings)
    Trainer(cfg).run()
    assert load_model(tmp_path / "run" / "weights.safetensors")[1].spec == f"open_clip:{clip_folder}"


def test_clip_that_is_not_here(clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants as hub

    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    for spec, message, hint in (
        ("open_clip:ViT-B-32/laion2b_s34b_b79k", "not on this machine", "hf download laion/CLIP-ViT-B-32-laion2B"),
        ("open_clip:ViT-B-32/openaii", "neither a folder nor known", "laion2b_s34b_b79k"),
        ("open_clip:ViT-B-33/x", "neither a folder nor known", "ViT-B-32"),
        (f"open_clip:{tmp_path}", "open_clip_config.json is missing", "layout"),
    ):
        with pytest.raises(LureError) as caught:
            build_text_encoder(spec, 32)
        assert message in caught.value.message
        assert hint in caught.value.hint
    (tmp_path / "open_clip_config.json").write_text("{}")
    (tmp_path / "open_clip_model.safetensors").write_text("no weights")
    with pytest.raises(LureError, match="cannot be loaded"):
        build_text_encoder(f"open_clip:{tmp_path}", 32)
