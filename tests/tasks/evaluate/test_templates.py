"""`lure eval --fused` with a template: results of many methods in one folder, or in a folder each."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from lure_cli.errors import LureError
from lure_cli.tasks.evaluate.evaluate import plan_evaluation
from lure_cli.tasks.evaluate.images import EvaluateOptions, find_images, parse_fused
from tests.helpers.files import Outcome


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two pairs, `man` and `man_in`, and files of three methods in one folder and in a folder each."""
    monkeypatch.chdir(tmp_path)
    for side in ("ir", "vis"):
        for stem in ("man", "man_in"):
            save(f"{side}/{stem}.png")
    for stem in ("man", "man_in"):
        for method in ("GFF", "adf", "LP_SR"):
            save(f"flat/{stem}_{method}.png")
            save(f"each/{method}/{stem}.png")
            save(f"deep/{method}/{stem}/{stem}-{method}.png")
    return tmp_path


def save(name: str) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), 9).save(path)


def found(
    *fused: str, ir: str | None = "ir", vis: str | None = "vis", common: bool = False
) -> dict[str, dict[str, str]]:
    """name of the image -> method -> file"""
    options = EvaluateOptions(parse_fused(fused), *(Path(x) if x else None for x in (ir, vis)), common=common)
    images, _ = find_images(options)
    return {files.name: {m: path.as_posix() for m, path in files.fused.items()} for files in images}


METHODS = ("adf", "GFF", "LP_SR")


@pytest.mark.parametrize(
    ("template", "file"),
    [
        ("flat/{stem}_{method}.png", "flat/{s}_{m}.png"),
        ("flat/{stem}_{method}.*", "flat/{s}_{m}.png"),
        ("each/{method}/{stem}.png", "each/{m}/{s}.png"),
        ("deep/{method}/{stem}/{stem}-{method}.png", "deep/{m}/{s}/{s}-{m}.png"),
        ("deep/{method}/*/{stem}-*.png", "deep/{m}/{s}/{s}-{m}.png"),
        ("./flat/../flat/{stem}_{method}.png", "flat/../flat/{s}_{m}.png"),
    ],
)
def test_a_template_finds_methods_and_images(tables: Path, template: str, file: str) -> None:
    """Sorted by name, whatever the case of letters; `man_in_GFF` is GFF's of `man_in`, not `in_GFF`'s of `man`."""
    for given in (template, os.path.join(tables, template)):
        images = found(given)
        root = "" if given is template else f"{tables.as_posix()}/"
        expected = {s: {m: f"{root}{file.format(s=s, m=m)}" for m in METHODS} for s in ("man", "man_in")}
        if given is not template and template.startswith("./"):
            expected = {s: {m: f"{root}flat/../{file.format(s=s, m=m)[8:]}" for m in METHODS} for s in expected}
        assert images == expected
        assert all(tuple(of) == METHODS for of in images.values())


def test_one_method_of_a_folder(tables: Path) -> None:
    images = found("mine=each/GFF", "theirs=flat/{stem}_LP_SR.png")
    assert images["man"] == {"mine": "each/GFF/man.png", "theirs": "flat/man_LP_SR.png"}
    assert images["man_in"]["theirs"] == "flat/man_in_LP_SR.png"


def test_named_methods_come_first(tables: Path) -> None:
    plan = plan_evaluation(
        EvaluateOptions(
            parse_fused(["each/{method}/{stem}.png", "ours=each/GFF"]), Path("ir"), Path("vis"), metrics=("EN",)
        )
    )
    assert plan.methods == ("ours", *METHODS)


def test_files_of_other_images_are_named_in_a_note(tables: Path) -> None:
    save("flat/boat_GFF.png")
    options = EvaluateOptions(parse_fused(["flat/{stem}_{method}.png"]), Path("ir"), Path("vis"))
    images, notes = find_images(options)
    assert len(images) == 2
    assert notes == ("flat/{stem}_{method}.png: 1 other file left out, such as flat/boat_GFF.png",)


def test_a_method_that_lacks_an_image(tables: Path) -> None:
    Path("flat/man_adf.png").unlink()
    with pytest.raises(LureError, match="method adf lacks 1 of 2 images: man"):
        found("flat/{stem}_{method}.png")
    assert list(found("flat/{stem}_{method}.png", common=True)) == ["man_in"]


@pytest.mark.parametrize(
    ("fused", "message"),
    [
        (["flat/{stem}.png"], "no method is named"),
        (["a=flat/{stem}_{method}.png"], "the name is given twice"),
        (["flat/{stem}_{method}.png", "each/{method}/{stem}.png"], "two methods are called 'GFF'"),
        (["flat/{stem}-{method}.png"], "holds no image files"),
        (["each/{method}/{stem}.jpg"], "holds no image files"),
        (["nowhere/{stem}_{method}.png"], "nowhere"),
        (["flat/{method}_{stem}.png"], "no file is named so after an image of the sources, such as 'man'"),
        (["mine=each/*/{stem}.png"], "both stand for 'man'"),
    ],
)
def test_templates_that_cannot_be_meant(tables: Path, fused: list[str], message: str) -> None:
    with pytest.raises(LureError, match=message):
        found(*fused)


def test_without_sources_nobody_knows_where_a_name_ends(tables: Path) -> None:
    with pytest.raises(LureError, match="from the sources only") as caught:
        found("flat/{stem}_{method}.png", ir=None, vis=None)
    assert caught.value.hint == "give --ir and --vis"


def test_a_folder_that_is_called_so_is_a_folder(tables: Path) -> None:
    save("odd{stem}/man.png")
    save("odd{stem}/man_in.png")
    assert found("odd{stem}")["man"] == {"odd{stem}": "odd{stem}/man.png"}


def test_eval_and_contact_sheets_take_them(tables: Path, lure: Callable[..., Outcome]) -> None:
    sources = ["--ir", "ir", "--vis", "vis", "--fused", "flat/{stem}_{method}.png"]
    done = lure("eval", *sources, "--metrics", "EN,MSE", "--csv", "t.csv")
    assert done.code == 0, done.err
    assert len(Path("t.csv").read_text().splitlines()) == 1 + 2 * 3
    assert lure("plot", "sheet", *sources, "-o", "sheet.png").code == 0
    assert Path("sheet.png").is_file()
