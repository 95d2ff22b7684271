"""The model: shapes, sizes, the identity under the pseudo prompt, budgets, switches, checkpoints."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch

from lure_cli.config import MODELS, SWITCHES, Provenance
from lure_cli.core.model.checkpoint import (
    FORMAT,
    load_model,
    load_tensors,
    new_model,
    save_model,
    save_tensors,
    with_tone,
)
from lure_cli.core.model.context import Condition, airlight_of, context_view, extremes_of
from lure_cli.core.model.cost import count_gflop, pair_gflop
from lure_cli.core.model.layers import TextGuidedAttention, attention
from lure_cli.core.model.lure import parameter_count
from lure_cli.core.model.tone_curve import ToneCurve, local_darkness
from lure_cli.core.pixels import luma, pad_to_multiple, psnr
from lure_cli.errors import LureError
from tests.helpers.models import TEXT, TINY, texts, tiny


@torch.inference_mode()
def test_every_size_from_1x1_to_65x65() -> None:
    model = tiny()
    sizes = [(h, w) for h in (*range(1, 20), 31, 32, 33, 63, 64, 65) for w in (*range(1, 10), 15, 16, 17, 33, 64, 65)]
    for h, w in sizes:
        y = model(torch.rand(1, 1, h, w), torch.rand(1, 3, h, w), texts("stripe"), texts("haze"))
        assert y.shape == (1, 3, h, w)
        assert torch.isfinite(y).all()
        assert 0 <= y.min() <= y.max() <= 1
        assert model.restore(torch.rand(1, 1, h, w), texts("noise"), "ir").shape == (1, 1, h, w)


@pytest.mark.parametrize(("h", "w"), [(1, 1), (2, 9), (5, 7), (8, 8), (9, 16), (17, 3)])
def test_padding_reflects_as_far_as_it_can_then_repeats(h: int, w: int) -> None:
    x = torch.rand(1, 2, h, w)
    y = pad_to_multiple(x, 8)
    assert y.shape[-2] % 8 == y.shape[-1] % 8 == 0
    assert torch.equal(y[..., :h, :w], x)
    for row in range(h, y.shape[-2]):
        source = max(2 * (h - 1) - row, 0)  # past the reflection the last reflected row is repeated
        assert torch.equal(y[..., row, :w], x[..., source, :])


@torch.inference_mode()
@pytest.mark.parametrize("modality", ["ir", "vis"])
def test_untrained_model_is_the_identity_under_any_prompt(modality: str) -> None:
    model = tiny(trained=False)
    x = torch.rand(2, {"ir": 1, "vis": 3}[modality], 24, 40)
    for names in ((), ("noise",), ("blur", "lowres")):
        torch.testing.assert_close(model.restore(x, texts(*names, batch=2), modality), x)  # type: ignore[arg-type]


@torch.inference_mode()
def test_encoders_are_the_identity_under_the_pseudo_prompt_whatever_they_learnt() -> None:
    """With p0 the finest features carry the pixels; a prompt changes them."""
    model = tiny()
    x = torch.rand(1, 3, 32, 48)
    pixels = torch.nn.functional.pixel_unshuffle(x, 2)
    assert torch.equal(model.encode(x, texts(), "vis")[0][:, :12], pixels)
    assert not torch.allclose(model.encode(x, texts("haze"), "vis")[0][:, :12], pixels, atol=1e-3)
    grey = torch.nn.functional.pixel_unshuffle(x[:, :1], 2)
    assert torch.equal(model.encode(x[:, :1], texts(), "ir")[0][:, :12], grey.repeat(1, 3, 1, 1))


@torch.inference_mode()
def test_batch_items_do_not_influence_each_other() -> None:
    model = tiny()
    ir, vis = torch.rand(3, 1, 32, 32), torch.rand(3, 3, 32, 32)
    t_ir, t_vis = TEXT.encode([(), ("noise",), ("stripe",)]), TEXT.encode([("haze",), (), ("rain", "blur")])
    together = model(ir, vis, t_ir, t_vis)
    for i in range(3):
        alone = model(ir[i : i + 1], vis[i : i + 1], t_ir[i : i + 1], t_vis[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_grey_visible_gives_grey_and_colour_gives_colour() -> None:
    model = tiny()
    grey = torch.rand(1, 1, 30, 30).expand(1, 3, 30, 30)
    y = model(torch.rand(1, 1, 30, 30), grey, texts(), texts("haze"))
    assert torch.equal(y[:, 0], y[:, 1])
    assert torch.equal(y[:, 1], y[:, 2])
    y = model(torch.rand(1, 1, 30, 30), torch.rand(1, 3, 30, 30), texts(), texts())
    assert not torch.allclose(y[:, 0], y[:, 1], atol=1e-2)


@torch.inference_mode()
def test_attention_is_a_map_in_the_unit_interval_and_vanishes_without_condition() -> None:
    torch.manual_seed(0)
    tga = TextGuidedAttention(8, 4)
    for p in tga.parameters():
        torch.nn.init.normal_(p)
    x, y = torch.randn(2, 8, 5, 6), torch.randn(2, 8, 5, 6)
    a = attention(y, tga.key(torch.randn(2, 4))[:, :, None, None])
    assert a.shape == (2, 1, 5, 6)
    assert 0 <= a.min() < a.max() <= 1
    assert torch.equal(tga(x, y, Condition(torch.zeros(2, 4))), x)
    assert not torch.allclose(tga(x, y, Condition(torch.ones(2, 4))), x, atol=1e-2)


@torch.inference_mode()
@pytest.mark.parametrize("switch", SWITCHES)
def test_every_switch_builds_another_network_that_runs(switch: str) -> None:
    on, off = tiny(), tiny(**{switch: False})
    ir, vis = torch.rand(1, 1, 16, 16), torch.rand(1, 3, 16, 16)
    a, b = (m(ir, vis, texts("noise"), texts("haze")) for m in (on, off))
    assert a.shape == b.shape
    if switch not in ("inner_residual", "airlight"):
        assert parameter_count(off) < parameter_count(on)
    else:
        off.load_state_dict(on.state_dict())
        assert not torch.allclose(a, off(ir, vis, texts("noise"), texts("haze")), atol=1e-3)


@torch.inference_mode()
def test_tone_curves_are_added_as_the_identity() -> None:
    model = tiny(tone=False)
    grown = with_tone(model)
    assert grown.cfg.tone and parameter_count(grown) > parameter_count(model)
    ir, vis = torch.rand(1, 1, 24, 24).round(decimals=1), torch.rand(1, 3, 24, 24).round(decimals=1)  # 0 and 1 too
    args = ir, vis, texts("noise"), texts("haze")
    assert torch.equal(grown(*args), model(*args))
    assert with_tone(grown) is grown
    seeing = with_tone(grown, airlight=not grown.cfg.airlight)
    assert seeing.cfg.airlight != grown.cfg.airlight
    assert torch.equal(seeing(*args), model(*args))
    trained = tiny()
    blind = with_tone(trained, airlight=False)
    assert with_tone(trained) is trained and blind.cfg.tone and not blind.cfg.airlight
    assert all(torch.equal(v, trained.state_dict()[k]) for k, v in blind.state_dict().items())
    assert not torch.allclose(blind(*args), trained(*args), atol=1e-3)


@torch.inference_mode()
def test_a_tone_curve_can_undo_lost_contrast_and_darkness() -> None:
    tone = ToneCurve(3, 8, 8)
    condition = Condition(torch.ones(1, 8), torch.full((1, 3), 0.3), torch.full((1, 3), 0.5))
    x = torch.rand(1, 3, 16, 16)

    def draw(*parts: float) -> None:  # b', g', s, m, n, the same for all planes
        tone.out.bias.copy_(torch.tensor((*parts, 0.0, 0.0)).repeat_interleave(3))

    draw(0.3, math.log(5), 0.0, 0.0, 0.0)
    torch.testing.assert_close(tone(0.3 + x / 5, condition), x, atol=1e-3, rtol=0)
    draw(0.0, 0.0, 0.0, 1.0, 1.0)  # by what there is
    torch.testing.assert_close(tone(0.3 + x / 5, condition), x, atol=1e-3, rtol=0)
    draw(0.0, math.log(4), -math.log(2), 0.0, 0.0)
    torch.testing.assert_close(tone(x**2 / 4, condition), x, atol=1e-2, rtol=0)
    assert torch.equal(tone(x, condition._replace(vector=torch.zeros(1, 8))), x)


@torch.inference_mode()
def test_a_tone_curve_that_sees_the_air_leaves_its_colour_alone() -> None:
    """Yellowish fog before a scene whose planes differ in their darkest spots: the sky stays as it is, the rest comes
    back; without, each plane loses another share."""
    scene = torch.rand(1, 3, 128, 128) * torch.tensor([1.0, 0.8, 0.6]).view(3, 1, 1)
    scene[..., ::4, ::4] = 0  # something black everywhere
    light, clear = torch.tensor([0.75, 0.7, 0.55]).view(1, 3, 1, 1), torch.full((1, 1, 128, 1), 0.5)
    clear[:, :, :32] = 0.0  # nothing but fog
    hazy = scene * light * clear + light * (1 - clear)
    sky = (..., slice(0, 24), slice(None))
    shifts = {}
    for airlight in (True, False):
        tone = ToneCurve(3, 8, 8, airlight)
        tone.out.bias.copy_(torch.tensor((0.0, 0, 0, 0, 0, 0.7, 0.7)).repeat_interleave(3))
        view = context_view(hazy, extremes=True)
        air = airlight_of(view)
        torch.testing.assert_close(air, light[:, :, 0, 0], atol=0.01, rtol=0)
        y = tone(hazy, Condition(torch.ones(1, 8), *extremes_of(view), air))
        chroma = y[sky] / y[sky].mean(1, keepdim=True)
        shifts[airlight] = float((chroma - light / light.mean()).abs().mean())
    assert shifts[True] < 0.01 < 0.1 < shifts[False]


@torch.inference_mode()
def test_local_darkness_takes_haze_away_and_keeps_to_edges() -> None:
    """Grains on black under a veil that is thin on the left and thick on the right: the curve finds both."""
    dots = (torch.rand(1, 1, 32, 64) < 0.5).repeat_interleave(2, 2).repeat_interleave(2, 3)
    scene = torch.rand(1, 3, 64, 128) * dots
    clear = torch.full((128,), 0.8)
    clear[64:] = 0.4
    hazy = scene * clear + 0.9 * (1 - clear)
    dark = local_darkness(hazy, 8)
    torch.testing.assert_close(dark[..., :24], torch.full((1, 1, 64, 24), 0.18), atol=0.03, rtol=0)
    torch.testing.assert_close(dark[..., -24:], torch.full((1, 1, 64, 24), 0.54), atol=0.03, rtol=0)
    tone = ToneCurve(3, 8, 8)
    tone.out.bias[-6:] = 1.0  # q, r
    restored = tone(hazy, Condition(torch.ones(1, 8), torch.zeros(1, 3), torch.full((1, 3), 0.9)))
    assert psnr(restored, scene) > psnr(hazy, scene) + 8
    step = torch.zeros(1, 3, 64, 128)
    step[..., 64:] = 0.8
    dark = local_darkness(step, 8)
    assert dark[..., :64].max() < 0.1 and (dark[..., 64] - dark[..., 63]).min() > 0.25  # to the pixel, though in cells


def test_lure_small_keeps_its_budget() -> None:
    model = new_model(MODELS["lure-small"], TEXT)
    assert parameter_count(model) <= 2_000_000
    plain, prompted = pair_gflop(model, 480, 640)
    assert 5 < plain < 0.5 * prompted and 15 < prompted <= 25  # multiply and add counted apart


@torch.inference_mode()
@pytest.mark.parametrize("switches", [{}, {"text_guided_attention": False}, {"tone": False, "global_context": False}])
def test_arithmetic_is_what_the_model_does(switches: dict[str, bool]) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    model = tiny(**switches)
    ir, vis = torch.rand(1, 1, 41, 50), torch.rand(1, 3, 41, 50)
    counted, done = [], []
    for t in (texts(), texts("noise")):
        with FlopCounterMode(display=False) as counter:
            counted.append(count_gflop(model, lambda t=t: model(ir, vis, t, t))[1])
        done.append(counter.get_total_flops() / 1e9)
    assert counted == pytest.approx(done)
    assert pair_gflop(model, 41, 50) == pytest.approx(done)
    assert (done[0] < done[1]) == model.cfg.text_guided_attention


def test_lure_base_is_larger_and_runs() -> None:
    model = new_model(MODELS["lure-base"], TEXT)
    assert parameter_count(model) > 10_000_000
    with torch.inference_mode():
        assert model(torch.rand(1, 1, 9, 9), torch.rand(1, 3, 9, 9), texts(), texts()).shape == (1, 3, 9, 9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_save_and_load_round_trip(tmp_path: Path, dtype: torch.dtype) -> None:
    model, path = tiny(), tmp_path / "m.safetensors"
    record = Provenance(stage=2, steps=7, data=("A", "B"), revision="abc", degradations=("haze", "snow"))
    save_model(path, model, TEXT, record, dtype)
    again, text, provenance = load_model(path)
    assert provenance == record
    assert again.cfg == model.cfg
    assert text.spec == TEXT.spec
    tolerance = 0.0 if dtype == torch.float32 else 2e-3
    for key, value in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[key], value, atol=tolerance, rtol=tolerance)
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


def test_loading_draws_no_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On "meta" that would load torch's compiler, a second of every start."""
    path = tmp_path / "m.safetensors"
    save_model(path, tiny(), TEXT, Provenance(), torch.float32)

    def drawn(*_: object, **__: object) -> None:
        raise AssertionError

    for name in ("normal_", "uniform_"):
        monkeypatch.setattr(torch.Tensor, name, drawn)
    with pytest.raises(AssertionError):
        tiny()
    assert not any(x.is_meta for x in load_model(path)[0].state_dict().values())


def bad_files(folder: Path) -> dict[str, Path]:
    """Weight files that must be refused, by what is wrong with them."""
    good, cfg = folder / "good.safetensors", dataclasses.asdict(TINY)
    save_model(good, tiny(), TEXT, Provenance(), torch.float16)
    tensors, metadata = load_tensors(good)
    files = {kind: folder / f"{kind}.safetensors" for kind in ("truncated", "empty", "text", "foreign", "missing")}
    files["truncated"].write_bytes(good.read_bytes()[:-100])
    files["empty"].write_bytes(b"")
    files["text"].write_text("these are no weights")
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, files["foreign"])
    changed = {
        "newer": {"format": FORMAT + 1},
        "state": {"kind": "state"},
        "other sizes": {"config": cfg | {"widths": [16, 16, 32]}},
        "unknown key": {"config": cfg | {"wdths": [16]}},
        "zero width": {"config": cfg | {"widths": [0, 0, 0]}},
        "no config": {"config": None},
        "unknown text encoder": {"text_encoder": "telepathy"},
    }
    for kind, change in changed.items():
        files[kind] = folder / f"{kind}.safetensors"
        save_tensors(files[kind], tensors, metadata | change)
    return files


def test_bad_weight_files_are_refused_with_a_hint(tmp_path: Path) -> None:
    for kind, path in bad_files(tmp_path).items():
        with pytest.raises(LureError) as caught:
            load_model(path)
        assert caught.value.hint, kind
        assert "upgrade" in caught.value.hint or kind not in ("newer", "unknown text encoder")


def test_luma_and_psnr() -> None:
    x = torch.tensor([1.0, 0.5, 0.25]).view(1, 3, 1, 1)
    assert luma(x).item() == pytest.approx(0.299 + 0.587 * 0.5 + 0.114 * 0.25)
    y = torch.full((1, 3, 4, 4), 0.5)
    assert psnr(y + 0.1, y).item() == pytest.approx(20.0, abs=1e-3)


@torch.inference_mode()
def test_the_fusion_module_takes_latents_of_any_precision() -> None:
    """Autocast of a GPU leaves latents in float32 where the layers were asked for something, and only there."""
    fusion = tiny().fusion
    ir, vis = (tuple(torch.rand(1, 16, 16 >> i, 16 >> i) for i in range(3)) for _ in range(2))
    expected = fusion(ir, vis)
    with torch.autocast("cpu", torch.bfloat16):
        for a, b in ((ir, vis), (ir, tuple(f.bfloat16() for f in vis))):
            for fused, wanted in zip(fusion(a, b), expected, strict=True):
                torch.testing.assert_close(fused.float(), wanted, atol=0.02, rtol=0.02)
