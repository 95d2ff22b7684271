"""Which infrared file belongs to which visible one: by name, pattern or table, never by position."""

from __future__ import annotations

import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from lure_cli.errors import LureError
from lure_cli.tasks.paths.markers import pair_stem
from lure_cli.tasks.paths.pairing import By, Pair, Pairing, find_pairs
from tests.helpers.files import ROOT
from tests.helpers.folders import outputs, refused, touch

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
        ("vis2", "2"),
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
        ("a_ir_001", "a_001"),
        ("größe_夜_ir", "größe_夜"),
        ("two\nlines_ir", "two\nlines"),
        ("", ""),
    ],
)
def test_only_one_marker_and_only_at_an_end_or_before_a_number(stem: str, expected: str) -> None:
    assert pair_stem(stem) == expected


# --- folders -------------------------------------------------------------------------------------------------------


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


def test_pairing_needs_no_numerical_library() -> None:
    code = (
        "import sys, lure_cli.tasks.paths.pairing\n"
        "print([m for m in ('numpy', 'torch', 'PIL', 'imageio', 'tifffile') if m in sys.modules])"
    )
    folder = ROOT
    run = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


# --- sub-folders, patterns, other ways to pair -----------------------------------------------------------------------


def test_recursive_keeps_sub_folders(root: Path) -> None:
    touch(
        "i/a.png", "i/day/a_ir.png", "i/day/deep/b.tif", "v/a.png", "v/day/a_vis.jpg", "v/day/deep/b.png", "v/x/a.png"
    )
    pairs, unmatched = find_pairs(Path("i"), Path("v"), "out", Pairing(recursive=True))
    assert [p.name for p in pairs] == ["a", "day/a", "day/deep/b"]
    assert outputs(pairs) == ["out/a.png", "out/day/a.png", "out/day/deep/b.png"]
    assert unmatched == [Path("v/x/a.png")]
    pairs, _ = find_pairs(Path("i"), Path("v"), "out/{folder}/{stem}_f.jpg", Pairing(recursive=True))
    assert outputs(pairs) == ["out/a_f.jpg", "out/day/a_f.jpg", "out/day/deep/b_f.jpg"]
    assert outputs(find_pairs(Path("i"), Path("v"), "out")[0]) == ["out/a.png"]


def test_sub_folders_that_say_which_source_they_are(root: Path) -> None:
    touch("data/s1/ir/1.png", "data/s1/vis/1.png", "data/s2/infrared/1.png", "data/s2/RGB/1.jpg")
    pairs, unmatched = find_pairs(Path("data/*/[i]*/*.png"), Path("data/*/[vR]*/*"), "out")
    assert [(p.name, str(p.ir), str(p.vis)) for p in pairs] == [
        ("s1/1", "data/s1/ir/1.png", "data/s1/vis/1.png"),
        ("s2/1", "data/s2/infrared/1.png", "data/s2/RGB/1.jpg"),
    ]
    assert unmatched == []


def test_by_exact_name(root: Path) -> None:
    touch("i/a_ir.png", "i/b.png", "v/a_vis.png", "v/b.jpg")
    pairs, unmatched = find_pairs(Path("i"), Path("v"), "o", Pairing("name"))
    assert [p.name for p in pairs] == ["b"] and len(unmatched) == 2
    touch("i/ir/c.png", "v/vis/c.png")
    assert len(find_pairs(Path("i"), Path("v"), "o", Pairing("name", recursive=True))[0]) == 1
    assert len(find_pairs(Path("i"), Path("v"), "o", Pairing(recursive=True))[0]) == 3


def test_by_pattern(root: Path) -> None:
    touch("i/FLIR_0007_x.png", "i/FLIR_0008_y.png", "i/calib.png", "v/DSC-0007.jpg", "v/DSC-0009.jpg")
    by = Pairing("regex", r"(\d{4})")
    pairs, unmatched = find_pairs(Path("i"), Path("v"), "o", by)
    assert [(p.name, p.ir.name, p.vis.name) for p in pairs] == [("0007", "FLIR_0007_x.png", "DSC-0007.jpg")]
    assert [p.name for p in unmatched] == ["FLIR_0008_y.png", "calib.png", "DSC-0009.jpg"]
    touch("i/cam1/t3.png", "v/cam1-rgb/t3.png")
    pairs, _ = find_pairs(Path("i"), Path("v"), "o", Pairing("regex", r"cam(\d)[^/]*/t(\d)", recursive=True))
    assert [p.output.as_posix() for p in pairs] == ["o/cam1-rgb/1_3.png"]
    touch("v/XX_0007.png")
    with pytest.raises(LureError, match="both stand for '0007'"):
        find_pairs(Path("i"), Path("v"), "o", by)


def test_by_table(root: Path) -> None:
    touch("i/x.png", "i/s/y.png", "i/none.png", "v/1.jpg", "v/s/2.jpg")
    Path("t.csv").write_text("ir,vis,name\nx.png,1.jpg,first\ns/y.png,s/2.jpg,\nnone.png,1.jpg,third\n")
    pairs, unmatched = find_pairs(Path("i"), Path("v"), "o", Pairing("csv", table=Path("t.csv")))
    assert [(p.name, str(p.ir), str(p.output)) for p in pairs] == [
        ("first", "i/x.png", "o/first.png"),
        ("s/2", "i/s/y.png", "o/s/2.png"),
        ("third", "i/none.png", "o/third.png"),
    ]
    assert unmatched == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no pairs"),
        ("ir,vis\n", "lists no pairs"),
        ("a,b\nx,y\n", "line 1: unknown column 'a'"),
        ("ir,vis\nx.png\n", "line 2: a pair needs both"),
        ("ir,vis\nx.png,y.png,z.png\n", "line 2: 3 cells under 2 columns"),
        ("ir,vis,name\nx.png,y.png,../z\n", "no name of a file"),
        ("ir,vis\nx.png,y.png\nx.png,sub/../y.png\n", "would both be written"),
    ],
)
def test_bad_tables(root: Path, text: str, message: str) -> None:
    touch("i/x.png", "v/y.png", "v/sub/a.png")
    Path("t.csv").write_text(text)
    with pytest.raises(LureError, match=message):
        find_pairs(Path("i"), Path("v"), "o", Pairing("csv", table=Path("t.csv")))


@pytest.mark.parametrize(
    "pairing",
    [
        Pairing("regex"),
        Pairing("csv"),
        Pairing("stem", "x"),
        Pairing("regex", "("),
        Pairing("name", table=Path("t.csv")),
        Pairing("order"),  # type: ignore[arg-type]
        Pairing("csv", table=Path("none.csv")),
    ],
)
def test_bad_pairings(root: Path, pairing: Pairing) -> None:
    touch("i/a.png", "v/a.png")
    with pytest.raises(LureError) as caught:
        find_pairs(Path("i"), Path("v"), "o", pairing)
    assert caught.value.hint


def test_two_files_need_no_pairing(root: Path) -> None:
    touch("a.png", "b.png")
    for pairing in (Pairing("name"), Pairing(recursive=True)):
        with pytest.raises(LureError, match="two files"):
            find_pairs(Path("a.png"), Path("b.png"), None, pairing)


def test_standard_input_and_output(root: Path) -> None:
    touch("a_vis.png")
    assert find_pairs(Path("-"), Path("a_vis.png"), "-")[0] == [Pair("a", Path("-"), Path("a_vis.png"), Path("-"))]
    assert outputs(find_pairs(Path("-"), Path("a_vis.png"), None)[0]) == ["a_fused.png"]
    with pytest.raises(LureError, match="both"):
        find_pairs(Path("-"), Path("-"), "-")
    touch("i/a.png", "v/a.png")
    assert "one picture" in refused("i", "v", "-").message


def test_long_and_strange_names(root: Path) -> None:
    long = "n" * 251
    touch(f"i/{long}.png", f"v/{long}.png", "i/ß 夜\t.png", "v/ß 夜\t.png")
    os.close(os.open(os.fsencode("i/") + b"\xff.png", os.O_CREAT))
    os.close(os.open(os.fsencode("v/") + b"\xff.png", os.O_CREAT))
    pairs, unmatched = find_pairs(Path("i"), Path("v"), "o")
    assert len(pairs) == 3 and unmatched == []
    assert max(len(os.fsencode(p.output.name)) for p in pairs) == 255


# --- names of cameras, numbers, Unicode -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ir", "vis", "name"),
    [
        *(
            (f"DJI_20240101120000_0001_T.{a}", f"dji_20240101120000_0001_{b}.jpg".replace("dji", "DJI"), None)
            for a in ("JPG", "tif")
            for b in "VWZvwz"
        ),
        ("DJI_0001_T.png", "DJI_0001_W.png", "DJI_0001"),
        ("DJI_20240101120000_0001_T_point1.png", "DJI_20240101120000_0001_V_point1.png", None),
        ("IR1.png", "VIS1.png", "1"),
        ("ir001.png", "Rgb001.png", "001"),
        ("thermal_001.png", "rgb_001.png", "001"),
        ("set_IR_07.png", "set_vis07.JPG", "set_07"),
        ("IR-12.png", "12.png", "12"),
    ],
)
def test_cameras_names_pair(root: Path, ir: str, vis: str, name: str | None) -> None:
    touch(f"i/{ir}", f"v/{vis}")
    pairs, unmatched = find_pairs(Path("i"), Path("v"), "o")
    assert [(p.ir.name, p.vis.name) for p in pairs] == [(ir, vis)] and not unmatched
    assert name is None or pairs[0].name == name


@pytest.mark.parametrize(
    ("ir", "vis"),
    [
        ("DJI_20240101120000_0001_T.png", "DJI_20240101120000_0002_V.png"),  # another number
        ("DJI_20240101120000_0001_T.png", "DJI_20240101120002_0001_V.png"),  # two seconds
        ("DJI_20240101120000_0001_T_a.png", "DJI_20240101120000_0001_V_b.png"),
        ("DJI_20240101120000_0001_W.png", "DJI_20240101120000_0001_Z.png"),  # both visible
        ("DJI_20240101120000_0001_V.png", "DJI_20240101120000_0001_T.png"),  # swapped
        ("IR1.png", "VIS01.png"),
        ("a_T.png", "a_V.png"),  # letters that say nothing outside of DJI's names
        ("fir1.png", "1.png"),
    ],
)
def test_cameras_names_never_pair_by_guess(root: Path, ir: str, vis: str) -> None:
    touch(f"i/{ir}", f"v/{vis}")
    error = refused("i", "v")
    assert "no file in i pairs" in error.message and ("--pair" in error.hint or "swap" in error.hint)


def test_time_stamps_a_second_apart_pair_if_nothing_else_can_be_meant(root: Path) -> None:
    touch(*(f"i/DJI_{t}_T.png" for t in ("20231231235959_0001", "20240101120005_0002", "20240101120010_0003")))
    touch(*(f"v/DJI_{t}_V.png" for t in ("20240101000000_0001", "20240101120005_0002", "20240101120011_0003")))
    notes: list[str] = []
    pairs, unmatched = find_pairs(Path("i"), Path("v"), "o", notify=notes.append)
    assert [(p.name, p.ir.name[4:23], p.vis.name[4:23]) for p in pairs] == [
        ("DJI_20240101000000_0001", "20231231235959_0001", "20240101000000_0001"),
        ("DJI_20240101120005_0002", "20240101120005_0002", "20240101120005_0002"),
        ("DJI_20240101120011_0003", "20240101120010_0003", "20240101120011_0003"),
    ]
    assert unmatched == [] and len(notes) == 1 and "2 pairs have time stamps that differ by a second" in notes[0]
    # a second one of the same number, as near: nobody knows which
    touch("v/DJI_20240101120009_0003_V.png")
    pairs, unmatched = find_pairs(Path("i"), Path("v"), "o")
    assert len(pairs) == 2 and len(unmatched) == 3
    # of which one has its partner already
    touch("i/DJI_20240101120006_0002_T.png")
    pairs, unmatched = find_pairs(Path("i"), Path("v"), "o")
    assert [p.ir.name for p in pairs if "_0002_" in p.ir.name] == ["DJI_20240101120005_0002_T.png"]


@pytest.mark.parametrize("second", [0, 1])
def test_two_lenses_in_one_folder(root: Path, second: int) -> None:
    """Else one of the two would be taken, by the second of its time stamp."""
    touch("i/DJI_20240101120000_0001_T.png", "v/DJI_20240101120000_0001_W.png")
    touch(f"v/DJI_2024010112000{second}_0001_Z.png")
    error = refused("i", "v")
    assert "both stand for" in error.message and "'*_W.png'" in error.hint
    pairs, _ = find_pairs(Path("i"), Path("v/*_W.png"), "o")
    assert [p.vis.name for p in pairs] == ["DJI_20240101120000_0001_W.png"]


def test_one_folder_of_dji_by_patterns(root: Path) -> None:
    touch(*(f"d/DJI_20240101120000_0001_{letter}.JPG" for letter in "TWZ"))
    pairs, unmatched = find_pairs(Path("d/*_T.JPG"), Path("d/*_Z.JPG"), "o")
    assert [(p.ir.name[-5], p.vis.name[-5]) for p in pairs] == [("T", "Z")] and not unmatched


@pytest.mark.parametrize(
    ("ir", "vis"),
    [("IRX_0001.jpg", "MAX_0001.jpg"), ("0007-left.png", "0007-right.png"), ("cam1_street.png", "b_street.png")],
)
def test_the_hint_names_a_pattern_that_works(root: Path, ir: str, vis: str) -> None:
    touch(f"i/{ir}", f"v/{vis}")
    hint = refused("i", "v").hint
    assert ir in hint and vis in hint
    pattern = hint.split("--pair regex --pair-regex '")[1].rstrip("'")
    assert len(find_pairs(Path("i"), Path("v"), "o", Pairing("regex", pattern))[0]) == 1


def test_the_hint_names_a_table_where_no_pattern_does(root: Path) -> None:
    touch("i/left.png", "v/right.png")
    assert "left.png,right.png" in refused("i", "v").hint and "--pair csv" in refused("i", "v").hint


NFC, NFD = (unicodedata.normalize(form, "Köln é 가") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(("one", "other"), [(NFC, NFD), (NFD, NFC), (NFD, NFD)])
@pytest.mark.parametrize(
    "pairing", [Pairing(), Pairing("name", recursive=True), Pairing("regex", f"{NFC}[.]png"), Pairing(recursive=True)]
)
def test_composed_and_decomposed_names_pair(root: Path, one: str, other: str, pairing: Pairing) -> None:
    touch(f"i/{one}/{one}.png", f"i/{one}.png", f"v/{other}/{other}.png", f"v/{other}.png")
    pairs, unmatched = find_pairs(Path("i"), Path("v"), "o", pairing)
    assert len(pairs) == (2 if pairing.recursive else 1) and unmatched == []
    assert all(unicodedata.is_normalized("NFC", p.name) for p in pairs)
    touch(str(pairs[0].output.with_name(NFD + ".png")))  # an output that is there is found in the other form too
    if pairing.by != "regex":
        assert os.path.lexists(find_pairs(Path("i"), Path("v"), "o", pairing)[0][0].output)


@pytest.mark.parametrize("by", ["stem", "name"])
def test_names_that_become_equal_are_refused(root: Path, by: By) -> None:
    touch(f"i/{NFC}.png", f"i/{NFD}.png", f"v/{NFC}.png")
    with pytest.raises(LureError, match="both stand for") as caught:
        find_pairs(Path("i"), Path("v"), "o", Pairing(by))
    assert "NFC, NFD" in caught.value.hint


# --- tables as people write them -------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_tables_of_editors_and_spreadsheets(root: Path, encoding: str, newline: str, delimiter: str) -> None:
    touch("i/é, 1.png", "i/s/b;.png", "v/1.jpg", "v/s/2\t.jpg")
    quoted = [["Vis ", "NAME", "ir"], ["1.jpg", "", "é, 1.png"], ["s\\2\t.jpg", "b", "s\\b;.png"], ["", "", ""]]
    lines = [delimiter.join(f'"{cell}"' if cell else "" for cell in row) for row in quoted]
    Path("t.csv").write_bytes((newline.join(lines) + newline).encode(encoding))
    pairs, _ = find_pairs(Path("i"), Path("v"), "o", Pairing("csv", table=Path("t.csv")))
    assert [(p.name, str(p.ir), str(p.vis)) for p in pairs] == [
        ("1", "i/é, 1.png", "v/1.jpg"),
        ("s/b", "i/s/b;.png", "v/s/2\t.jpg"),
    ]
    Path("t.csv").write_bytes(("sep=;\r\n" + "ir;vis\r\n" + "é, 1.png;1.jpg").encode(encoding))
    assert len(find_pairs(Path("i"), Path("v"), "o", Pairing("csv", table=Path("t.csv")))[0]) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ir,vis\nx.png,y.png\nx.png,none.png\nno.png,y.png\n", "line 3: v/none.png: no such file; .* 2 are missing"),
        ("ir,vis\nx.png,sub\n", "line 2: v/sub: no such file"),
        ("vis;name\ny.png;a\n", "line 1: no column 'ir'"),
        ("ir,vis,ir\nx.png,y.png,x.png\n", "line 1: column 'ir' a second time"),
        ('ir,vis,name\nx.png,y.png,"two\nlines"\nx.png,,\n', "line 4: a pair needs both"),
        ('ir,vis\nx.png,"y.png\n', "line 2: not CSV"),
        ("ir,vis,name\nx.png,y.png,a\\b\n", "no name of a file"),
    ],
)
def test_faults_of_tables_are_named_by_line(root: Path, text: str, message: str) -> None:
    touch("i/x.png", "v/y.png", "v/sub/a.png")
    Path("t.csv").write_text(text)
    with pytest.raises(LureError, match=message):
        find_pairs(Path("i"), Path("v"), "o", Pairing("csv", table=Path("t.csv")))


def test_a_table_in_another_encoding(root: Path) -> None:
    touch("i/x.png", "v/y.png")
    Path("t.csv").write_bytes("ir,vis\né.png,y.png\n".encode("cp1252"))
    with pytest.raises(LureError, match=r"not UTF-8 text \(line 2\)") as caught:
        find_pairs(Path("i"), Path("v"), "o", Pairing("csv", table=Path("t.csv")))
    assert "CSV UTF-8" in caught.value.hint
