"""Tiles: they cover the image, and give the picture that one piece gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lure_cli import Fuser
from lure_cli.core.engine.tiling import AUTO_PIXELS, AUTO_TILE, fuse_tiled, spans, tile_side
from lure_cli.core.pixels import psnr


@pytest.fixture(scope="module")
def fuser() -> Fuser:
    return Fuser.from_pretrained("lure-small")


def scene(height: int, width: int, channels: int, seed: int = 0) -> torch.Tensor:
    """A smooth random picture with edges and some grain, in [0, 1]."""
    g = torch.Generator().manual_seed(seed)
    coarse = torch.rand((1, channels, height // 24 + 2, width // 24 + 2), generator=g)
    x = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=True)
    x = x + 0.25 * (x > 0.5) + 0.02 * torch.randn((1, channels, height, width), generator=g)
    return x.clamp(0, 1)


@pytest.mark.parametrize("length", [1, 7, 8, 63, 64, 65, 500, 1023, 4096])
@pytest.mark.parametrize("tile", [64, 100, 512])
@pytest.mark.parametrize("overlap", [0, 5, 96])
def test_spans_cover_every_pixel_once(length: int, tile: int, overlap: int) -> None:
    parts = spans(length, tile, overlap, 8)
    kept = np.zeros(length, int)
    for first, last, a, b in parts:
        kept[a:b] += 1
        assert 0 <= first <= a < b <= last <= length
        assert a == 0 or a - first >= overlap or first == 0
        assert b == length or last - b >= overlap or last == length
        assert first % 8 == 0
        assert b - a <= tile + 8
    assert (kept == 1).all()


def test_the_size_alone_decides() -> None:
    assert tile_side(480, 640, "auto") == 0
    assert tile_side(3072, 4096, "auto") == AUTO_TILE
    assert tile_side(1, AUTO_PIXELS, "auto") == 0
    assert tile_side(3072, 4096, 0) == 0
    assert tile_side(480, 640, 256) == 256
    assert tile_side(200, 256, 256) == 0


@pytest.mark.parametrize(
    ("prompt_ir", "prompt_vis", "strength"),
    [((), (), 1.0), (("noise", "stripe"), ("haze",), 1.0), (("lowcontrast",), ("lowlight", "noise"), 0.6)],
)
def test_tiles_give_the_whole_picture(fuser: Fuser, prompt_ir: tuple, prompt_vis: tuple, strength: float) -> None:
    ir, vis = scene(139, 203, 1), scene(139, 203, 3, 1)
    t_ir, t_vis = fuser.engine.vectors([prompt_ir]), fuser.engine.vectors([prompt_vis])
    with torch.inference_mode():
        args = (fuser.engine.model, ir, vis, t_ir, t_vis, strength, strength)
        whole = fuse_tiled(*args, tile=0)
        tiled = fuse_tiled(*args, tile=64)
        rough = fuse_tiled(*args, tile=64, overlap=24)
    assert (whole - tiled).abs().max() < 1e-5
    assert (whole - rough).abs().max() > 1e-5  # the overlap is needed, and the test could fail
    assert psnr(rough, whole).item() > 40


def test_halo_is_not_larger_than_it_must_be(fuser: Fuser) -> None:
    """A change at one pixel is felt within `halo`, and nearly as far as that."""
    ir, vis = scene(320, 320, 1), scene(320, 320, 3, 1)
    t_ir, t_vis = fuser.engine.vectors([("noise",)]), fuser.engine.vectors([("haze",)])
    model = fuser.engine.model
    with torch.inference_mode():
        conditions = model.condition(ir, t_ir, "ir"), model.condition(vis, t_vis, "vis")
        before = model(ir, vis, t_ir, t_vis, conditions=conditions)
        changed = vis.clone()
        changed[..., 160, 160] = 1 - changed[..., 160, 160]
        moved = (model(ir, changed, t_ir, t_vis, conditions=conditions) - before).abs().amax((0, 1)).nonzero()
    radius = int((moved - 160).abs().max())
    assert model.halo / 4 < radius <= model.halo
    assert model.reach(conditions) == model.halo


def test_nothing_asked_reaches_less_far(fuser: Fuser) -> None:
    """Plain fusion leaves the encoders' layers out, and so do its tiles see less of their neighbours."""
    ir, vis = scene(200, 200, 1), scene(200, 200, 3, 1)
    model, t = fuser.engine.model, fuser.engine.vectors([()])
    with torch.inference_mode():
        conditions = model.condition(ir, t, "ir"), model.condition(vis, t, "vis")
        before = model(ir, vis, t, t, conditions=conditions)
        changed = vis.clone()
        changed[..., 100, 100] = 1 - changed[..., 100, 100]
        moved = (model(ir, changed, t, t, conditions=conditions) - before).abs().amax((0, 1)).nonzero()
        asked = model.condition(vis, fuser.engine.vectors([("haze",)]), "vis")
        reach = model.reach(conditions)
        assert model.reach((conditions[0], asked)) == model.halo
    assert reach / 4 < int((moved - 100).abs().max()) <= reach < model.halo / 2


@pytest.mark.parametrize("names", [(), ("noise",)])
def test_the_largest_model_leaves_no_seams(names: tuple[str, ...]) -> None:
    """On a strip that is longer than a tile sees, and not higher than that takes."""
    base = Fuser.from_pretrained("lure-base", device="cpu", dtype="fp32")
    ir, vis = scene(24, 640, 1), scene(24, 640, 3, 1)
    t = base.engine.vectors([names])
    with torch.inference_mode():
        whole, parts = (fuse_tiled(base.engine.model, ir, vis, t, t, tile=tile) for tile in (0, 320))
        assert base.engine.model.reach([base.engine.model.condition(vis, t, "vis")]) + 320 < 640
    assert (whole - parts).abs().max() < 2e-5


def test_grey_stays_grey_in_tiles(fuser: Fuser) -> None:
    grey = scene(150, 170, 1, 2).expand(1, 3, 150, 170).contiguous()
    fuser.tile = 64
    try:
        fused = fuser(scene(150, 170, 1)[0, 0].numpy(), grey[0].permute(1, 2, 0).numpy())
    finally:
        fuser.tile = "auto"
    assert (fused == fused[..., :1]).all()
