"""Prompts: what is understood, what is refused, and the vectors."""

from __future__ import annotations

import pytest
import torch

from lure_cli.core.text import ALIASES, DEGRADATIONS, NONE, Prompt, VocabularyEncoder, build_text_encoder, parse_prompt
from lure_cli.errors import LureError


@pytest.mark.parametrize(
    ("text", "vis", "ir"),
    [
        ("haze", "haze", ""),
        ("Hazy.", "haze", ""),
        ("FOG", "haze", ""),
        ("low light", "lowlight", ""),
        ("low-light", "lowlight", ""),
        ("lowlight", "lowlight", ""),
        ("overexposed visible image", "overexposure", ""),
        ("over-exposure", "overexposure", ""),
        ("noise", "noise", "noise"),
        ("noisy visible image", "noise", ""),
        ("noisy infrared image", "", "noise"),
        ("blurry infrared image", "", "blur"),
        ("low resolution", "lowres", "lowres"),
        ("stripe noise in the infrared image", "", "stripe"),
        ("stripes", "", "stripe"),
        ("low-contrast infrared image", "", "lowcontrast"),
        ("haze in the visible image and stripes in the infrared image", "haze", "stripe"),
        ("dark visible image, low-contrast infrared image", "lowlight", "lowcontrast"),
        ("rain in the visible image, noise in the infrared image", "rain", "noise"),
        ("noise and blur in the infrared image", "", "noise blur"),
        ("haze and rain", "haze rain", ""),
        ("rain, haze", "haze rain", ""),
        ("haze, noise", "haze noise", "noise"),
        ("none", "", ""),
        ("no degradation", "", ""),
        ("please remove the haze from the visible image", "haze", ""),
    ],
)
def test_understood(text: str, vis: str, ir: str) -> None:
    assert parse_prompt(text) == Prompt(tuple(vis.split()), tuple(ir.split()))


def test_prompts_per_modality() -> None:
    assert parse_prompt(ir="noise") == Prompt((), ("noise",))
    assert parse_prompt(vis="noise") == Prompt(("noise",), ())
    assert parse_prompt("haze", ir="stripes") == Prompt(("haze",), ("stripe",))
    assert parse_prompt("noise", ir="none") == Prompt(("noise",), ())
    assert parse_prompt() == Prompt()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a cat on a sofa", "cat"),
        ("hazee", "haze"),
        ("no haze", "no"),
        ("haze, not noise", "not"),
        ("haze in the infrared image", "infrared"),
        ("stripes in the visible image", "visible"),
        ("", "names no degradation"),
        ("visible image", "names no degradation"),
        ("нет", "names no degradation"),
    ],
)
def test_refused_never_guessed(text: str, named: str) -> None:
    with pytest.raises(LureError) as caught:
        parse_prompt(text)
    assert named in caught.value.message + caught.value.hint
    assert caught.value.hint


@pytest.mark.parametrize(("ir", "vis"), [("haze", None), (None, "stripes"), ("visible noise", None)])
def test_a_modality_refuses_what_it_does_not_know(ir: str | None, vis: str | None) -> None:
    with pytest.raises(LureError):
        parse_prompt(ir=ir, vis=vis)


def test_every_alias_is_understood() -> None:
    for name, aliases in ALIASES.items():
        for alias in aliases:
            found = parse_prompt(alias)
            if name == NONE:
                assert found == Prompt()
            else:
                homes = {m for m in DEGRADATIONS if name in DEGRADATIONS[m]}
                assert {m for m in ("vis", "ir") if getattr(found, m) == (name,)} == homes, alias


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
