from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lure_cli.errors import LureError
from lure_cli.tasks.pairing import Pair, find_pairs, list_images, pair_stem


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory; the tests name files relative to it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def outputs(pairs: list[Pair]) -> list[str]:
    return [pair.output.as_posix() for pair in pairs]


def refused(ir: str, vis: str, output: str | Path | None = None) -> LureError:
    with pytest.raises(LureError) as caught:
        find_pairs(Path(ir), Path(vis), output)
    assert caught.value.hint
    return caught.value


# --- stems ---------------------------------------------------------------------------------------------------------

MARKERS = ["ir", "infrared", "thermal", "tir", "lwir", "nir", "vis", "vi", "visible", "rgb", "color", "colour"]


@pytest.mark.parametrize("marker", MARKERS)
@pytest.mark.parametrize("separator", ["_", "-", ".", " "])
def test_one_marker_is_stripped(marker: str, separator: str) -> None:
    for spelled in (marker, marker.upper(), marker.title()):
        assert pair_stem(f"Street 1{separator}{spelled}") == "Street 1"
        assert pair_stem(f"{spelled}{separator}Street 1") == "Street 1"
    assert pair_stem(marker) == marker


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("street", "street"),
        ("air", "air"),
        ("iris", "iris"),
        ("vis2", "vis2"),
        ("fir_tree", "fir_tree"),
        ("a_irx", "a_irx"),
        ("FLIR_0001", "FLIR_0001"),
        ("streetir", "streetir"),
        ("IR", "IR"),
        ("_ir", "_ir"),
        ("ir_", "ir_"),
        ("ir_street_vis", "ir_street"),
        ("ir_vis", "ir"),
        ("street_ir_ir", "street_ir"),
        ("a_ir_001", "a_ir_001"),
        ("größe_夜_ir", "größe_夜"),
        ("two\nlines_ir", "two\nlines"),
        ("", ""),
    ],
)
def test_only_one_marker_and_only_at_an_end(stem: str, expected: str) -> None:
    assert pair_stem(stem) == expected


# --- folders -------------------------------------------------------------------------------------------------------


def test_list_images(root: Path) -> None:
    touch("f/b.PNG", "f/a.jpg", "f/c.tiff", "f/ü.webp", "f/.hidden.png", "f/notes.txt", "f/none", "f/sub/d.png")
    Path("f/folder.png").mkdir()
    Path("f/broken.png").symlink_to("nowhere")
    assert [path.name for path in list_images(Path("f"))] == ["a.jpg", "b.PNG", "c.tiff", "ü.webp"]
    with pytest.raises(LureError, match="missing"):
        list_images(Path("missing"))
    with pytest.raises(LureError, match=r"a\.jpg"):
        list_images(Path("f/a.jpg"))


def test_folders_pair_by_name_never_by_position(root: Path) -> None:
    touch("i/a_ir.png", "i/b_ir.png", "i/d_ir.png", "v/VIS-b.jpg", "v/c_vis.jpg", "v/d.tif")
    pairs, unmatched = find_pairs(Path("i"), Path("v"), None)
    assert pairs == [
        Pair("b", Path("i/b_ir.png"), Path("v/VIS-b.jpg"), Path("fused/b.png")),
        Pair("d", Path("i/d_ir.png"), Path("v/d.tif"), Path("fused/d.png")),
    ]
    assert unmatched == [Path("i/a_ir.png"), Path("v/c_vis.jpg")]


def test_names_keep_their_case_and_dots(root: Path) -> None:
    touch("i/A.1.png", "i/a.2.png", "v/A.1.jpg", "v/A.2.jpg")
    pairs, unmatched = find_pairs(Path("i"), Path("v"), None)
    assert outputs(pairs) == ["fused/A.1.png"] and len(unmatched) == 2


def test_nothing_pairs(root: Path) -> None:
    touch(*(f"i/left{n}.png" for n in range(5)), "v/right.png")
    message = refused("i", "v").message
    assert "'left0', 'left1', 'left2', ..." in message and "'right'" in message and "left3" not in message


@pytest.mark.parametrize(("ir", "vis"), [("empty", "v"), ("v", "empty")])
def test_an_empty_folder(root: Path, ir: str, vis: str) -> None:
    touch("v/a.png", "empty/notes.txt")
    error = refused(ir, vis)
    assert "empty" in error.message and ".png" in error.hint


@pytest.mark.parametrize("side", ["i", "v"])
def test_two_files_for_one_name(root: Path, side: str) -> None:
    touch("i/a.png", "v/a.png", f"{side}/a_ir.jpg")
    message = refused("i", "v").message
    assert str(Path(side, "a.png")) in message and str(Path(side, "a_ir.jpg")) in message


def test_both_kinds_mixed_in_one_folder(root: Path) -> None:
    touch("f/a_ir.png", "f/a_vis.png")
    assert "both" in refused("f", "f").message
    assert "both" in refused("f", "./f/../f").message


@pytest.mark.parametrize(("ir", "vis"), [("f", "f/a.png"), ("f/a.png", "f")])
def test_a_file_and_a_folder(root: Path, ir: str, vis: str) -> None:
    touch("f/a.png")
    error = refused(ir, vis)
    assert str(Path("f/a.png")) in error.message and "two folders" in error.hint


@pytest.mark.parametrize(("ir", "vis"), [("none.png", "a.png"), ("a.png", "none.png"), ("a.png/none.png", "a.png")])
def test_missing_paths(root: Path, ir: str, vis: str) -> None:
    touch("a.png")
    assert "none.png: no such file" in refused(ir, vis).message


# --- two files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ir", "vis", "name"),
    [
        ("a_ir.png", "a_vis.png", "a"),
        ("x.png", "y.jpg", "y"),
        ("street_ir.png", "vis.png", "street"),
        ("ir.png", "street_vis.png", "street"),
        ("scene 1/ir.png", "scene 1/vis.png", "scene 1"),
        ("scene.1/ir.png", "scene.1/VIS.png", "scene.1"),
        ("one/ir.png", "two/vis.png", "pair"),
    ],
)
def test_two_files_always_pair(root: Path, ir: str, vis: str, name: str) -> None:
    touch(ir, vis)
    pairs, unmatched = find_pairs(Path(ir), Path(vis), None)
    assert pairs == [Pair(name, Path(ir), Path(vis), Path(f"{name}_fused.png"))]
    assert unmatched == []


def test_markers_in_the_current_directory_take_its_name(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("night").mkdir()
    monkeypatch.chdir("night")
    touch("ir.png", "vis.png")
    assert find_pairs(Path("ir.png"), Path("vis.png"), None)[0][0].name == "night"


def test_the_same_file_twice(root: Path) -> None:
    touch("a.png")
    assert "both" in refused("a.png", "a.png").message


# --- outputs -------------------------------------------------------------------------------------------------------


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


def test_pairing_needs_no_numerical_library() -> None:
    code = (
        "import sys, lure_cli.tasks.pairing\n"
        "print([m for m in ('numpy', 'torch', 'PIL', 'imageio', 'tifffile') if m in sys.modules])"
    )
    folder = Path(__file__).resolve().parents[1]
    run = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
