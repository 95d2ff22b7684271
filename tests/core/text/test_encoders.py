"""Vectors of degradations: the closed vocabulary, and CLIP's text tower."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from lure_cli.config import MODELS, Provenance, TrainConfig, from_mapping
from lure_cli.core.model.checkpoint import load_model, new_model, save_model
from lure_cli.core.text import encoders
from lure_cli.core.text.encoders import VocabularyEncoder, build_text_encoder
from lure_cli.core.text.vocabulary import ALL, DEGRADATIONS, FIRST, NONE
from lure_cli.core.training.corpus import find_corpus
from lure_cli.core.training.sampler import Sampler
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


def test_a_new_name_changes_no_older_vector(clip_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that were trained before it still get what they were trained with."""
    spec, sets = f"open_clip:{clip_folder}", [(), *((n,) for n in FIRST), ("haze", "noise")]
    now = [build_text_encoder(kind, 32).encode(sets) for kind in (spec, "vocabulary")]
    monkeypatch.setattr(encoders, "ALL", FIRST)
    before = [build_text_encoder(kind, 32).encode(sets) for kind in (spec, "vocabulary")]
    assert all(torch.equal(a, b) for a, b in zip(now, before, strict=True))


def test_checkpoint_records_the_encoder(clip_folder: Path, tmp_path: Path) -> None:
    spec = f"open_clip:{clip_folder}"
    text = build_text_encoder(spec, 32)
    path = tmp_path / "weights.safetensors"
    save_model(path, new_model(MODELS["lure-small"], text), text, Provenance(), torch.float16)
    _, loaded, _ = load_model(path)
    assert loaded.spec == spec
    assert torch.equal(loaded.encode([("haze",)]), text.encode([("haze",)]))


def test_texts_say_it_in_other_words(clip_folder: Path) -> None:
    text = build_text_encoder(f"open_clip:{clip_folder}", 32)
    haze, worded, nothing = text.encode([("haze",), ("haze",), ()], ["", "a foggy street", ""])  # type: ignore[call-arg]
    assert torch.equal(haze, text.encode([("haze",)])[0])
    assert torch.equal(nothing, text.encode([()])[0])
    assert float((worded - haze).norm()) > 0.01
    assert float(worded.norm()) == pytest.approx(1, abs=1e-5)
    again = text.encode([("noise",)], ["a foggy street"])  # type: ignore[call-arg]
    assert torch.equal(again[0], worded)


def test_wordings_are_drawn_where_the_encoder_reads(data: Path) -> None:
    cfg = from_mapping(TrainConfig, {"batch_vis": 40, "batch_ir": 20, "crop": 32, "wordings": 3}, "test")
    plain, reading = (Sampler(find_corpus(data), cfg, texts=texts).stage1(0) for texts in (False, True))
    wordings: dict[tuple[str, ...], set[str]] = {}
    for m, samples in plain.items():
        for a, b in zip(samples, reading[m], strict=True):
            assert torch.equal(a.x, b.x)  # what is shown does not depend on what is said
            assert a.names == b.names
            assert a.text == ""
            assert bool(b.text) == bool(b.names)  # the pseudo prompt stays what it is
            if b.names:
                wordings.setdefault((m, *b.names), set()).add(b.text)
    counts = [len(texts) for texts in wordings.values()]
    assert max(counts) > 1
    assert max(counts) <= 3
    assert any("visible" in t or "colour" in t or "RGB" in t for texts in wordings.values() for t in texts)
    assert Sampler(find_corpus(data), cfg, texts=True).stage1(0)["vis"][0].text == reading["vis"][0].text


def test_lure_base_trains_with_the_encoder(clip_folder: Path, tmp_path: Path, data: Path) -> None:
    from lure_cli.tasks.train.config import resolve_config
    from lure_cli.tasks.train.trainer import Trainer

    settings = ["steps=1", "crop=48", "batch_vis=2", "batch_ir=2", "model=lure-base"]
    paths = {"data": str(data), "out": str(tmp_path / "s1")}
    trainer = Trainer(resolve_config(1, None, paths, [*settings, f"text_encoder=open_clip:{clip_folder}"]))
    trainer.run()
    known = trainer.text._known  # type: ignore[attr-defined]
    assert set(known) - {"a clean image"}  # wordings were encoded
    assert not any(text.startswith("an image with") for text in known)
    paths = {"data": str(data), "out": str(tmp_path / "s2"), "init": str(tmp_path / "s1" / "weights.safetensors")}
    Trainer(resolve_config(2, None, paths, settings)).run()
    model, text, record = load_model(tmp_path / "s2" / "weights.safetensors")
    assert (model.cfg.name, text.spec, record.stage) == ("lure-base", f"open_clip:{clip_folder}", 2)


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
