"""`lure data check`: every fault that it knows, made on purpose."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lure_cli.core.images.header import read_header
from lure_cli.core.images.picture import read_pixels
from lure_cli.core.training.corpus import find_corpus
from lure_cli.errors import LureError
from tests.helpers.files import SHARED, Outcome, save_png

Run = Callable[..., Outcome]


def _image(seed: int, planes: int = 3, side: int = 40) -> np.ndarray:
    x = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    return x if planes == 3 else x[..., 0]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A faultless data folder of 40x40 pixels."""
    root = tmp_path / "data"
    for k, split in enumerate(("train", "test")):
        for i in range(3):
            save_png(root / "fusion" / "set" / split / "ir" / f"{i}.png", _image(100 * k + i, 1))
            save_png(root / "fusion" / "set" / split / "vi" / f"{i}.png", _image(100 * k + i + 10))
            for side, seed in (("degraded", 20), ("clean", 30)):
                haze = root / "restoration" / "visible" / "haze" / "real" / split / side
                save_png(haze / f"{i}.png", _image(100 * k + i + seed))
    save_png(root / "clean" / "visible" / "singles" / "a.png", _image(50))
    save_png(root / "clean" / "infrared" / "singles" / "a.png", _image(51, 1))
    (root / "crop.toml").write_text("crop = 32\n")
    return root


def _check(
    lure: Run, root: Path, *more: str
) -> tuple[int, dict[tuple[str, str], dict[str, object]], dict[str, object]]:
    done = lure("data", "check", root, "--json", "--config", root / "crop.toml", *more)
    report = json.loads(done.out)
    return done.code, {(f["code"], f["folder"]): f for f in report["findings"]}, report


def test_a_sound_folder(lure: Run, small: Path) -> None:
    code, findings, report = _check(lure, small)
    assert code == 0 and not findings
    assert report["faults"] == report["warnings"] == 0 and report["files"] == 26
    assert report["megapixels"] == pytest.approx(26 * 40 * 40 / 1e6, abs=1e-3)
    parts = {p["name"]: p for p in report["sets"]}  # type: ignore[attr-defined]
    assert parts["fusion/set/train"]["samples"] == 3 and parts["fusion/set/train"]["use"] == "trained on"
    assert parts["fusion/set/test"]["use"] == "never trained on"
    assert parts["fusion/set/train"]["channels"] == {"ir": [1], "vi": [3]}
    assert parts["restoration/visible/haze/real/train"]["degradation"] == "haze"
    text = lure("data", "check", small).out
    assert "visible: real pairs: haze 3; synthesised only: rain, snow, lowlight" in text
    assert "smaller than the crop (128)" in text  # of the shipped preset


def test_every_fault_is_listed(lure: Run, small: Path) -> None:
    ir, vi = (small / "fusion" / "set" / "train" / side for side in ("ir", "vi"))
    save_png(ir / "alone.png", _image(1, 1))
    save_png(ir / "other.png", _image(2, 1))
    save_png(vi / "1.png", _image(3, 3, 48))
    whole = (vi / "2.png").read_bytes()
    (vi / "2.png").write_bytes(whole[: len(whole) // 2])
    save_png(small / "restoration" / "visible" / "smoke" / "set" / "train" / "clean" / "a.png", _image(4))
    haze = small / "restoration" / "visible" / "haze" / "real"
    shutil.copy(haze / "test" / "clean" / "0.png", haze / "train" / "clean" / "1.png")
    shutil.rmtree(haze / "test" / "degraded")
    code, findings, _ = _check(lure, small)
    assert code == 1
    unpaired = findings["unpaired", "fusion/set/train"]
    assert unpaired["level"] == "fault" and unpaired["files"] == ["alone.png", "other.png"]
    assert findings["size", "fusion/set/train"]["message"] == "1: sizes differ: ir 40x40 and vi 48x48"
    assert findings["unreadable", "fusion/set/train/vi"]["files"] == ["2.png"]
    assert findings["unknown-degradation", "restoration/visible/smoke"]["level"] == "fault"
    assert findings["train-in-test", "restoration/visible/haze/real/train/clean"]["files"] == ["1.png"]
    assert findings["empty", "restoration/visible/haze/real/test"]["level"] == "warning"  # training never reads it
    human = lure("data", "check", small, "-q")
    assert human.code == 1 and human.out.count("fault: ") == 5 and "warning" not in human.out
    with pytest.raises(LureError):  # which is what the faults say
        find_corpus(small)


def test_labelled_images_are_listed(lure: Run, small: Path) -> None:
    for name in ("haze+lowlight/mine/a.png", "haze/mine/test/b.png", "fog/mine/c.png", "haze/stray.png"):
        (small / "labelled" / "visible" / name).parent.mkdir(parents=True, exist_ok=True)
        save_png(small / "labelled" / "visible" / name, _image(100 + len(name)))
    code, findings, report = _check(lure, small)
    assert code == 0
    assert findings["unknown-folder", "labelled/visible/fog"]["level"] == "warning"
    assert findings["stray", "labelled/visible/haze"]["files"] == ["stray.png"]
    assert ("small", "labelled/visible/haze+lowlight/mine") not in findings  # they are looked at as they are
    parts = {p["name"]: p for p in report["sets"]}  # type: ignore[attr-defined]
    assert parts["labelled/visible/haze+lowlight/mine"]["samples"] == 1
    assert parts["labelled/visible/haze+lowlight/mine"]["use"] == "trained on"
    assert parts["labelled/visible/haze/mine/test"]["use"] == "never trained on"


def test_warnings_alone_give_exit_code_0(lure: Run, small: Path) -> None:
    singles = small / "clean" / "visible" / "singles"
    save_png(singles / "grey.png", np.repeat(_image(1, 1)[..., None], 3, 2))
    save_png(singles / "tiny.png", _image(2, 3, 20))
    save_png(singles / "copy.png", _image(50))
    save_png(singles / "glass.png", np.dstack([_image(5), np.full((40, 40), 255, np.uint8)]))
    save_png(small / "clean" / "infrared" / "singles" / "colour.png", _image(3))
    deep = (np.random.default_rng(4).random((40, 40)) * 3000 + 7000).astype(np.uint16)
    Image.fromarray(deep).save(small / "clean" / "infrared" / "singles" / "thermal.png")
    (singles / "notes.txt").write_text("what is here")
    save_png(small / "cleen" / "visible" / "set" / "a.png", _image(6))
    save_png(small / "fusion" / "loose.png", _image(7))
    (small / "fusion" / "hollow" / "train").mkdir(parents=True)
    code, findings, report = _check(lure, small)
    assert code == 0 and report["faults"] == 0
    where = "clean/visible/singles"
    assert findings["grey-visible", where]["files"] == ["grey.png"]
    assert findings["small", where]["files"] == ["tiny.png"]
    assert findings["duplicate", where]["files"] == ["copy.png = a.png"]
    assert findings["no-image", where]["files"] == ["notes.txt"]
    assert findings["coloured-infrared", "clean/infrared/singles"]["files"] == ["colour.png"]
    assert findings["narrow-range", "clean/infrared/singles"]["files"] == ["thermal.png"]
    assert "did you mean clean?" in str(findings["unknown-folder", "cleen"]["message"])
    assert findings["stray", "fusion"]["files"] == ["loose.png"]
    assert findings["empty", "fusion/hollow/train"]["level"] == "warning"
    find_corpus(small)  # training goes on


def test_damage_inside_shows_with_full(lure: Run, small: Path) -> None:
    """Pixels that do not inflate have a sound header and end; a folder of many images is only sampled without."""
    singles = small / "clean" / "visible" / "singles"
    for i in range(20):
        save_png(singles / f"b{i:02}.png", _image(200 + i))
    bad = singles / "b19.png"
    data = bytearray(bad.read_bytes())
    data[len(data) // 2] ^= 0xFF
    bad.write_bytes(data)
    assert _check(lure, small)[0] == 0
    code, findings, _ = _check(lure, small, "--full")
    assert code == 1 and findings["unreadable", "clean/visible/singles"]["files"] == ["b19.png"]


def test_excluded_sets_and_no_pairs(lure: Run, small: Path) -> None:
    (small / "crop.toml").write_text('crop = 32\nexclude = ["set"]\n')
    (small / "fusion" / "set" / "train" / "ir" / "0.png").unlink()
    code, findings, report = _check(lure, small)
    assert code == 1 and findings["no-fusion", "fusion"]["level"] == "fault"
    assert findings["unpaired", "fusion/set/train"]["level"] == "warning"
    assert {p["use"] for p in report["sets"] if p["name"] == "fusion/set/train"} == {"excluded"}  # type: ignore[attr-defined]


def test_no_such_folder(lure: Run, tmp_path: Path) -> None:
    done = lure("data", "check", tmp_path / "nothing")
    assert done.code == 2 and "no such folder" in done.err and "hint:" in done.err


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".webp", ".jp2"])
@pytest.mark.parametrize("planes", [1, 3])
def test_header_says_what_decoding_gives(tmp_path: Path, suffix: str, planes: int) -> None:
    path = tmp_path / f"image{suffix}"
    Image.fromarray(_image(1, planes)[:, :30]).save(path)
    header, pixels = read_header(path), read_pixels(path)
    assert (header.height, header.width) == pixels.shape[:2] == (40, 30)
    assert header.channels == (3 if suffix == ".webp" else pixels.shape[2]) and header.bits == 8 and not header.alpha
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(LureError, match=r"cut short|damaged"):
        read_header(path)


def test_header_of_what_is_turned_deep_or_cut_behind_its_thumbnail(tmp_path: Path) -> None:
    import tifffile

    turned = Image.Exif()
    turned[274] = 6
    for suffix in (".jpg", ".png"):
        Image.fromarray(_image(1)[:, :30]).save(tmp_path / f"turned{suffix}", exif=turned)
        header = read_header(tmp_path / f"turned{suffix}")
        assert (header.width, header.height) == (40, 30)
    tifffile.imwrite(tmp_path / "float.tif", np.zeros((40, 30), np.float32))
    header = read_header(tmp_path / "float.tif")
    assert (header.numbers, header.bits) == ("float", 32)
    Image.fromarray(np.zeros((40, 30), np.uint16)).save(tmp_path / "deep.png")
    assert read_header(tmp_path / "deep.png").bits == 16
    thumbnail = b"\xff\xe1" + (2 + 8).to_bytes(2, "big") + b"Exif\xff\xd9\0\0"
    plain = (tmp_path / "turned.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(plain[:2] + thumbnail + plain[2:-400])
    with pytest.raises(LureError, match="cut short"):
        read_header(tmp_path / "cut.jpg")


@pytest.mark.shared
def test_real_data(lure: Run) -> None:
    done = lure("data", "check", SHARED / "data", "--json")
    report = json.loads(done.out)
    assert done.code == 0 and report["faults"] == 0 and report["files"] > 1900
    foreign = {p.name for p in (SHARED / "data").iterdir() if p.is_dir()} - {"fusion", "restoration", "clean"}
    assert foreign and sorted(foreign) == [f["folder"] for f in report["findings"]]
