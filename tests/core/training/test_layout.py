"""The layout of a data folder: its parts, and what does not belong in it."""

from __future__ import annotations

import shutil
from pathlib import Path

from lure_cli.core.training.corpus import find_corpus, restoration_pairs
from lure_cli.core.training.layout import read_labels, read_layout
from tests.helpers.files import make_data


def test_parts_in_the_order_of_the_layout(tmp_path: Path) -> None:
    root = make_data(tmp_path)
    haze = root / "restoration" / "visible" / "haze" / "demo"
    shutil.copytree(haze / "train", haze / "test")
    shutil.copytree(root / "clean" / "infrared" / "demo", root / "clean" / "infrared" / "test" / "test")
    (root / "fusion" / "demo" / "train" / "ir" / ".hidden.png").write_bytes(b"")
    data = read_layout(root, ("demo",))
    assert [(part.name, part.use) for part in data.parts] == [
        ("fusion/demo/train", "excluded"),
        ("restoration/visible/haze/demo/train", "excluded"),
        ("restoration/visible/haze/demo/test", "never trained on"),
        ("clean/visible/demo", "excluded"),
        ("clean/infrared/demo", "excluded"),
        ("clean/infrared/test", "trained on"),  # a set of that name
        ("clean/infrared/test/test", "never trained on"),
    ]
    fusion, haze_pairs = data.parts[0], data.parts[1]
    assert (fusion.modality, fusion.degradation) == (None, None)
    assert (haze_pairs.modality, haze_pairs.degradation) == ("vis", "haze")
    assert [p.name for p in fusion.samples[0]] == ["drone.png", "drone.png"] and len(fusion.samples) == 3
    assert list(restoration_pairs(data, "never trained on")) == [("vis", "haze")]
    assert not find_corpus(root, ("demo",)).counts()


def test_strangers_and_halves_are_left_to_others(tmp_path: Path) -> None:
    root = make_data(tmp_path)
    for name in ("more", "restoration/thermal", "fusion/demo/trian", "fusion/demo/train/vis", "clean/visible/new"):
        (root / name).mkdir(parents=True)
    (root / "fusion" / "demo" / "train" / "vi" / "gate.png").unlink()
    data = read_layout(root)
    strangers = sorted(data.below(path) for folder in data.folders for path in data.strangers(folder))
    assert strangers == ["fusion/demo/train/vis", "fusion/demo/trian", "more", "restoration/thermal"]
    assert [pair[0].stem for pair in data.parts[0].samples] == ["drone", "street"]


def test_labelled_images_say_what_they_show(tmp_path: Path) -> None:
    root = make_data(tmp_path)
    before = find_corpus(root).counts()
    street = root / "clean" / "visible" / "demo"
    for name in ("clean/mine", "haze+lowlight/mine", "haze/mine/test", "stripe/mine", "fog/mine"):
        shutil.copytree(street, root / "labelled" / "visible" / name)
    data = read_layout(root)
    labelled = [(p.name.removeprefix("labelled/visible/"), p.labels, p.use) for p in data.parts if p.kind == "labelled"]
    assert labelled == [
        ("clean/mine", (), "trained on"),
        ("haze/mine", ("haze",), "trained on"),
        ("haze/mine/test", ("haze",), "never trained on"),
        ("haze+lowlight/mine", ("haze", "lowlight"), "trained on"),
    ]
    assert [p.name for p in data.strangers(root / "labelled" / "visible")] == ["fog", "stripe"]
    assert find_corpus(root).counts() == before  # the models are not trained on them
    assert list(restoration_pairs(data, "trained on")) == [("vis", "haze")]
    assert read_labels("clean+haze", "vis") is None
