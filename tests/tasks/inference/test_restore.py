"""`lure restore`: single images of one modality, files and folders, and what `Fuser.restore` gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lure_cli import Fuser
from lure_cli.core.engine.tiling import restore_tiled
from lure_cli.core.images.picture import quantised
from lure_cli.core.model.engine import TorchEngine
from lure_cli.core.text.vocabulary import Prompt
from lure_cli.errors import LureError
from lure_cli.tasks.inference.request import Request
from tests.helpers.files import EXAMPLES, ROOT, Outcome, save_png

Run = Callable[..., Outcome]
ENV = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def fuser() -> Fuser:
    return Fuser.from_pretrained("lure-small")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with crops of the street: hazy.png, and folders `t` (infrared) and `v` of three each."""
    monkeypatch.chdir(tmp_path)
    hazy, noisy = (np.asarray(Image.open(EXAMPLES / "street" / name)) for name in ("vis_hazy.png", "ir_noisy.png"))
    save_png(Path("hazy.png"), hazy[200:272, 300:396])
    for n in range(3):
        save_png(Path(f"t/{n}.png"), noisy[100 : 164 + n, 100 * n : 100 * n + 64])
        save_png(Path(f"v/{n}.png"), hazy[100 : 164 + n, 100 * n : 100 * n + 64])
    return tmp_path


def read(path: str) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_a_visible_image_is_restored_as_in_python(lure: Run, here: Path, fuser: Fuser) -> None:
    done = lure("restore", "--vis", "hazy.png", "--prompt", "haze", "-o", "clean.png")
    assert (done.code, done.out, done.err) == (0, "clean.png\n", "prompt: visible: haze\n")
    assert np.array_equal(read("clean.png"), quantised(fuser.restore("hazy.png", "vis", "haze"), 8))
    assert np.abs(read("clean.png").astype(int) - read("hazy.png")).mean() > 5
    again = lure("restore", "--vis", "hazy.png", "-o", "clean.png")
    assert again.code == 2
    assert "clean.png exists already" in again.err
    assert "skipped" in lure("restore", "--vis", "hazy.png", "-o", "clean.png", "--skip-existing").err
    plain = lure("restore", "--vis", "hazy.png", "-o", "clean.png", "--overwrite", "--json")
    record = json.loads(plain.out)
    assert {k: record[k] for k in ("name", "status", "output", "vis", "size", "prompt", "strength")} == {
        "name": "hazy",
        "status": "done",
        "output": "clean.png",
        "vis": "hazy.png",
        "size": [96, 72],
        "prompt": {"vis": []},
        "strength": {"vis": 1.0},
    }
    assert np.abs(read("clean.png").astype(int) - read("hazy.png")).max() <= 12  # asked for nothing, does little


def test_an_infrared_folder_goes_on_after_a_bad_file(lure: Run, here: Path, fuser: Fuser) -> None:
    Path("t/1.png").write_bytes(b"no picture")
    done = lure("restore", "--ir", "t", "--prompt", "noise", "-o", "out/")
    assert done.code == 1
    assert done.out == "out/0.png\nout/2.png\n"
    assert "error: t/1.png: " in done.err
    assert done.err.count("error:") == done.err.count("hint:") == 1
    assert "2 done, 0 skipped, 1 failed of 3 images" in done.err
    assert sorted(p.name for p in Path("out").iterdir()) == ["0.png", "2.png"]
    with Image.open("out/2.png") as image:
        assert (image.mode, image.size) == ("L", (64, 66))
    expected = quantised(fuser.restore("t/2.png", "ir", "noise"), 8)[..., 0]
    assert np.array_equal(read("out/2.png"), expected)
    save_png(Path("t/1.png"), np.zeros((16, 16), np.uint8))
    rest = lure("restore", "--ir", "t", "--prompt", "noise", "-o", "out/", "--skip-existing", "--json")
    assert rest.code == 0
    assert [json.loads(line)["status"] for line in rest.out.splitlines()] == ["skipped", "done", "skipped"]


def test_dry_run_names_and_imports_no_torch(here: Path) -> None:
    save_png(Path("v/day/0.png"), np.zeros((8, 8, 3), np.uint8))
    save_png(Path("v/restored/old.png"), np.zeros((8, 8, 3), np.uint8))  # of an earlier run, no input
    code = (
        "import sys\nfrom lure_cli.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit as e: code = e.code\n"
        "print(code, sorted({'torch'} & set(sys.modules)))"
    )

    def planned(*args: str) -> list[str]:
        command = [sys.executable, "-c", code, "restore", *args, "--dry-run"]
        return subprocess.run(command, env=ENV, capture_output=True, text=True, check=True).stdout.splitlines()

    lines = planned("--vis", "v", "-r", "-o", "v/restored", "--prompt", "haze", "--limit", "4")
    assert lines == [
        "planned: v/0.png -> v/restored/0.png",
        "planned: v/1.png -> v/restored/1.png",
        "planned: v/2.png -> v/restored/2.png",
        "planned: v/day/0.png -> v/restored/day/0.png",
        "0 []",
    ]
    assert planned("--vis", "hazy.png")[0] == "planned: hazy.png -> hazy_restored.png"
    assert planned("--vis", "v/[01].png", "-o", "x/{stem}_clear.jpg")[:2] == [
        "planned: v/0.png -> x/0_clear.jpg",
        "planned: v/1.png -> x/1_clear.jpg",
    ]
    assert planned("--vis", "v", "--shard", "2/2")[0] == "planned: v/1.png -> restored/1.png"


def test_standard_input_and_output(lure: Run, here: Path) -> None:
    asked = ["--prompt", "haze", "--backend", "onnx"]
    command = [sys.executable, "-m", "lure_cli", "restore", "--vis", "-", *asked, "-o", "-"]
    with open("hazy.png", "rb") as file:
        done = subprocess.run(command, env=ENV, stdin=file, capture_output=True, check=True)
    assert lure("restore", "--vis", "hazy.png", *asked, "-o", "file.png").code == 0
    assert done.stdout == Path("file.png").read_bytes()


def test_auto_and_strength(lure: Run, here: Path, fuser: Fuser) -> None:
    done = lure("restore", "--ir", "t/0.png", "--prompt", "auto", "-o", "auto.png", "--json")
    record = json.loads(done.out)
    assert record["prompt"]["ir"] == [f["degradation"] for f in record["detected"]["ir"]] != []
    assert "0: infrared: " in done.err
    x = read("hazy.png")
    plain, half, full, more = (fuser.restore(x, "vis", "haze", s) for s in (0, 0.5, 1, 1.5))
    assert np.array_equal(plain, fuser.restore(x, "vis"))
    assert np.array_equal(full, fuser.restore(x, "vis", "haze"))
    away = [float(np.abs(y - plain).mean()) for y in (half, full, more)]
    assert 0 < away[0] < away[1] < away[2]
    assert lure("restore", "--vis", "hazy.png", "--prompt", "haze", "--strength", "0.5", "-o", "half.png").code == 0
    assert np.array_equal(read("half.png"), quantised(half, 8))


def test_sixteen_bits_transparency_and_exif(lure: Run, here: Path) -> None:
    import tifffile

    thermal = (29000 + 400 * np.random.default_rng(1).random((32, 40))).astype(np.uint16)
    tifffile.imwrite("t.tif", thermal)
    done = lure("restore", "--ir", "t.tif", "-o", "x.tif", "--bits", "16")
    assert "note: t.tif: 29" in done.err and "of 16 bits -> 0..1" in done.err
    x = tifffile.imread("x.tif")
    assert (x.dtype, x.shape) == (np.uint16, (32, 40))
    assert lure("restore", "--ir", "t.tif", "-o", "x.png").code == 0
    assert (read("x.png").dtype, read("x.png").ndim) == (np.uint8, 2)
    rgba = np.dstack([read("hazy.png"), np.full((72, 96), 200, np.uint8)])
    exif = Image.Exif()
    exif[271] = "a camera"
    Image.fromarray(rgba).save("a.png", exif=exif)
    assert lure("restore", "--vis", "a.png", "-o", "b.png").code == 0
    with Image.open("b.png") as image:
        assert (image.mode, image.getexif()[271]) == ("RGBA", "a camera")
        assert (np.asarray(image)[..., 3] == 200).all()
    flat = lure("restore", "--vis", "a.png", "-o", "b.jpg")
    assert flat.code == 1
    assert "transparency" in flat.err
    assert not Path("b.jpg").exists()


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ([], "no image is given"),
        (["--vis", "hazy.png", "--ir", "t/0.png"], "two images"),
        (["--vis", "none.png"], "none.png: no such file"),
        (["--vis", "empty"], "holds no image files"),
        (["--vis", "hazy.png", "--prompt", "stripes"], "not known for the visible"),
        (["--ir", "t/0.png", "--prompt", "haze"], "not known for the infrared"),
        (["--ir", "t/0.png", "--prompt", "a cat on a sofa"], "does not say what is wrong"),
        (["--vis", "hazy.png", "--strength", "3"], "outside 0 to 2"),
        (["--vis", "hazy.png", "--ir-range", "full"], "--ir-range is for infrared"),
        (["--vis", "hazy.png", "--recursive"], "--recursive is for folders"),
        (["--vis", "v", "-o", "one.png"], "one file for several images"),
        (["--vis", "v", "-o", "-"], "standard output"),
        (["--vis", "hazy.png", "-o", "-", "--json"], "standard output"),
        (["--vis", "hazy.png", "-o", "hazy.png", "--overwrite"], "also an input"),
        (["--vis", "v", "-o", "{folder}.png"], "would both be written"),
        (["--vis", "v", "-o", "{vis}.png"], "unknown field"),
        (["--vis", "hazy.png", "-o", "x.gif"], "x.gif"),
        (["--vis", "hazy.png", "--bits", "16", "-o", "x.jpg"], "16 bits"),
        (["--vis", "hazy.png", "--tile", "7"], "--tile 7"),
        (["--vis", "hazy.png", "--weights", "lure-smal"], "lure-small"),
    ],
)
def test_refused_before_the_model_loads(args: list[str], text: str, lure: Run, here: Path) -> None:
    Path("empty").mkdir()
    before = sorted(here.rglob("*"))
    done = lure("restore", *args)
    assert (done.code, done.out) == (2, "")
    assert [line.split(":")[0] for line in done.err.splitlines()] == ["error", "hint"]
    assert text in done.err
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize(("modality", "names", "strength"), [("vis", ("haze",), 1.0), ("ir", ("noise", "stripe"), 0.6)])
def test_tiles_give_the_whole_picture(modality: str, names: tuple, strength: float, fuser: Fuser) -> None:
    g = torch.Generator().manual_seed(0)
    coarse = torch.rand((1, 3 if modality == "vis" else 1, 8, 11), generator=g)
    x = torch.nn.functional.interpolate(coarse, size=(147, 203), mode="bicubic").clamp(0, 1)
    text = fuser.engine.vectors([names])
    with torch.inference_mode():
        whole, tiled, rough = (
            restore_tiled(fuser.engine.model, x, text, modality, strength, tile=tile, overlap=overlap)  # type: ignore[arg-type]
            for tile, overlap in ((0, None), (64, None), (64, 0))
        )
    assert whole.shape == x.shape
    assert (whole - tiled).abs().max() < 1e-5
    assert (whole - rough).abs().max() > 1e-5  # the overlap is needed, and the test could fail
    small = Fuser(
        TorchEngine(fuser.engine.model, fuser.engine.text, fuser.device, torch.float32), fuser.provenance, tile=64
    )  # type: ignore[arg-type]
    image = np.ascontiguousarray(x[0].permute(1, 2, 0).numpy())
    request = Request(Prompt(**{modality: names}), strength_ir=strength, strength_vis=strength)
    restored = small.restore_request(image, modality, request).picture  # type: ignore[arg-type]
    np.testing.assert_allclose(restored, whole[0].permute(1, 2, 0), atol=1e-5)


def test_a_grey_visible_image_stays_grey(fuser: Fuser, here: Path) -> None:
    grey = np.asarray(Image.open("hazy.png").convert("L"))
    for tile in (0, 64):
        fuser.tile = tile
        try:
            y = fuser.restore(grey, "vis", "haze")
        finally:
            fuser.tile = "auto"
        assert y.shape == (72, 96, 3)
        assert (y == y[..., :1]).all()


def test_out_of_memory_names_the_file(lure: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lure_cli.core.model.lure import Lure

    def fail(*_args: object, **_more: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Lure, "restore", fail)
    done = lure("restore", "--ir", "t/0.png", "-o", "x.png")
    assert done.code == 1
    assert "t/0.png: not enough memory" in done.err and "--tile" in done.err


def test_python_refuses_a_strength_and_a_prompt_about_the_other_image(fuser: Fuser) -> None:
    x = np.zeros((16, 16), np.uint8)
    with pytest.raises(LureError, match="outside 0 to 2"):
        fuser.restore(x, "ir", "noise", 2.5)
    with pytest.raises(LureError):
        fuser.restore(x, "ir", "noise in the visible image")


def test_an_animation_is_restored_from_its_first_frame_on_request(lure: Run, here: Path) -> None:
    frames = [Image.new("RGB", (48, 32), (level, 90, 60)) for level in (30, 210)]
    frames[0].save("moves.webp", save_all=True, append_images=frames[1:], duration=40, lossless=True)
    refused = lure("restore", "--vis", "moves.webp", "-o", "out.png")
    assert refused.code == 1 and "2 frames" in refused.err and "--frame first" in refused.err
    assert lure("restore", "--vis", "moves.webp", "--frame", "first", "-o", "out.png").code == 0
    assert np.abs(np.asarray(Image.open("out.png"), int) - (30, 90, 60)).max() <= 2
    assert lure("restore", "--vis", "moves.webp", "--frame", "last", "-o", "x.png").code == 2
