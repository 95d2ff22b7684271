"""Where fused files go: names, templates, folders, and what would overwrite or collide."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lure_cli.tasks.paths.pairing import find_pairs
from tests.helpers.folders import outputs, refused, touch


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (None, "a_fused.png"),
        ("out.jpg", "out.jpg"),
        (Path("deep/out.TIFF"), "deep/out.TIFF"),
        ("out", "out/a.png"),
        (Path("out"), "out/a.png"),
        (".", "a.png"),
        ("..", "../a.png"),
        ("out/", "out/a.png"),
        ("out.v2/", "out.v2/a.png"),
        ("out.png/", "out.png/a.png"),
        (Path("exists.png"), "exists.png/a.png"),
        (Path("exists{1}"), "exists{1}/a.png"),
        ("{stem}.png", "a.png"),
        (Path("out/{stem}_fused.jpg"), "out/a_fused.jpg"),
        ("../{stem}/{ir}+{vis}.webp", "../a/a_ir+a.vis.webp"),
        ("{{{stem}}}.png", "{a}.png"),
    ],
)
def test_output_of_two_files(root: Path, output: str | Path | None, expected: str) -> None:
    touch("a_ir.png", "a.vis.png")
    Path("exists.png").mkdir()
    Path("exists{1}").mkdir()
    assert outputs(find_pairs(Path("a_ir.png"), Path("a.vis.png"), output)[0]) == [expected]


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (None, ["fused/a.png", "fused/b.png"]),
        ("out", ["out/a.png", "out/b.png"]),
        ("out.v2/", ["out.v2/a.png", "out.v2/b.png"]),
        ("out/{stem}_fused.jpg", ["out/a_fused.jpg", "out/b_fused.jpg"]),
        ("{vis}/{ir}.bmp", ["a_vis/a.bmp", "b/ir-b.bmp"]),
    ],
)
def test_output_of_folders(root: Path, output: str | None, expected: list[str]) -> None:
    touch("i/a.png", "i/ir-b.png", "v/a_vis.png", "v/b.png")
    assert outputs(find_pairs(Path("i"), Path("v"), output)[0]) == expected


@pytest.mark.parametrize(
    "output", ["{name}.png", "{}.png", "{0}.png", "{stem", "stem}.png", "{stem.x}.png", "{stem!r}.png", "{stem:9}.png"]
)
def test_bad_templates_name_the_known_fields(root: Path, output: str) -> None:
    touch("a_ir.png", "a_vis.png")
    error = refused("a_ir.png", "a_vis.png", output)
    assert output in error.message
    assert all(field in error.hint for field in ("{stem}", "{ir}", "{vis}"))


@pytest.mark.parametrize("output", ["out.gif", "out/{stem}", "{stem}.gif", "out/{stem}/", "out.v2"])
def test_outputs_that_are_no_image(root: Path, output: str) -> None:
    touch("a_ir.png", "a_vis.png")
    error = refused("a_ir.png", "a_vis.png", output)
    assert output in error.message and ".png" in error.hint


def test_one_file_for_folders(root: Path) -> None:
    touch("i/a.png", "v/a.png")
    error = refused("i", "v", "out.png")
    assert "folder" in error.hint and "{stem}" in error.hint


@pytest.mark.parametrize("output", ["out/{{}}.png", "{{x}}.png"])
def test_two_pairs_may_not_share_an_output(root: Path, output: str) -> None:
    touch("i/a.png", "i/b.png", "v/a.png", "v/b.png")
    message = refused("i", "v", output).message
    assert "'a'" in message and "'b'" in message


@pytest.mark.parametrize("output", ["i", "v", "v/{stem}.png", "link", "i/../v", "{stem}/../v/lone.png"])
def test_an_output_may_not_be_an_input(root: Path, output: str) -> None:
    touch("i/a.png", "v/a.png", "v/lone.png")
    Path("link").symlink_to("v")
    assert "also an input" in refused("i", "v", output).message


@pytest.mark.parametrize("output", ["f/a_ir.png", "./f/a_vis.png", "f/{ir}.png", "out/../f/{vis}.png"])
def test_an_output_may_not_be_one_of_two_files(root: Path, output: str) -> None:
    touch("f/a_ir.png", "f/a_vis.png")
    assert "also an input" in refused("f/a_ir.png", "f/a_vis.png", output).message


@pytest.mark.parametrize(("name", "dots"), [("ir_...png", ".."), ("ir_..png", ".")])
def test_names_of_dots_cannot_leave_the_folder(root: Path, name: str, dots: str) -> None:
    touch(name, "x_vis.png")
    assert f"'{dots}'" in refused("x_vis.png", name, "out/{stem}/x.png").message
    assert outputs(find_pairs(Path("x_vis.png"), Path(name), "out")[0]) == [f"out/{dots}.png"]


def test_braces_in_file_names_are_taken_as_they_are(root: Path) -> None:
    touch("i/{ir}.png", "v/{ir}.png")
    assert outputs(find_pairs(Path("i"), Path("v"), "out/{stem}.png")[0]) == ["out/{ir}.png"]


def test_nothing_is_created(root: Path) -> None:
    touch("i/a.png", "v/a.png")
    find_pairs(Path("i"), Path("v"), "out/deep/{stem}.png")
    assert sorted(os.listdir()) == ["i", "v"]


def test_outputs_that_cannot_be_written(root: Path) -> None:
    touch("i/a.png", "v/a.png", "file")
    assert "file is not a folder" in refused("i", "v", "file/sub/").message
    if os.geteuid():
        Path("locked").mkdir(mode=0o500)
        assert "locked" in refused("i", "v", "locked/sub").message
