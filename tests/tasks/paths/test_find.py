"""Which files are meant: folders, patterns, links."""

from __future__ import annotations

from pathlib import Path

import pytest

from lure_cli.errors import LureError
from lure_cli.tasks.paths.find import IMAGES, File, list_images, search
from lure_cli.tasks.paths.pairing import Pairing, find_pairs
from tests.helpers.folders import outputs, refused, touch
from tests.helpers.images import RGB, encoded


def test_list_images(root: Path) -> None:
    touch("f/b.PNG", "f/a.jpg", "f/c.tiff", "f/ü.webp", "f/.hidden.png", "f/notes.txt", "f/none", "f/sub/d.png")
    Path("f/folder.png").mkdir()
    Path("f/broken.png").symlink_to("nowhere")
    assert [path.name for path in list_images(Path("f"))] == ["a.jpg", "b.PNG", "c.tiff", "ü.webp"]
    with pytest.raises(LureError, match="missing"):
        list_images(Path("missing"))
    with pytest.raises(LureError, match=r"a\.jpg"):
        list_images(Path("f/a.jpg"))


def test_the_content_decides_where_a_name_does_not(root: Path) -> None:
    photo = encoded(RGB, "JPEG")
    contents = {
        **dict.fromkeys(("a.jpg", "b.jfif", "c.JPE", "d.jif", "e.jpg_large", "f", "a.bak", "a.jpg.old"), photo),
        "g.download": encoded(RGB, "PNG"),
        "raw.nef": encoded(RGB, "TIFF"),
        "notes.txt": b"BM is what a bitmap starts with; this is a text of some length",
        "empty": b"",
        ".hidden": photo,
    }
    Path("f/sub").mkdir(parents=True)
    for name, content in contents.items():
        Path("f", name).write_bytes(content)
    images = ["a.jpg", "b.jfif", "c.JPE", "d.jif", "e.jpg_large", "f", "g.download"]
    notes: list[str] = []
    assert search(Path("f"), False, (), IMAGES, notes.append) == [File(Path("f", n), Path(n)) for n in images]
    assert notes == ["f: 5 other files left out, such as a.bak"]
    assert [path.name for path in list_images(Path("f"))] == images
    search(Path("f/[b-d].j*"), False, (), IMAGES, notes.append)
    assert len(notes) == 1


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("i/*.tif", ["a"]),
        ("i/**/*.tif", ["a", "n/b", "n/m/c"]),
        ("i/*/*.tif", ["n/b"]),
        ("i/n/**", ["b", "m/c", "m/d"]),
        ("i/**/m/?.*", ["n/m/c", "n/m/d"]),
        ("i/**/[!c].png", ["n/m/d"]),
    ],
)
def test_patterns(root: Path, pattern: str, names: list[str]) -> None:
    touch("i/a.tif", "i/n/b.tif", "i/n/m/c.tif", "i/n/m/d.png", "i/n/.hidden/e.tif")
    touch("v/a.png", "v/n/b.png", "v/n/m/c.png", "v/n/m/d.png", "v/b.png", "v/m/c.png", "v/m/d.png")
    assert [p.name for p in find_pairs(Path(pattern), Path("v"), "o", Pairing(recursive=True))[0]] == names


def test_a_pattern_without_files_and_a_file_with_wildcards_in_its_name(root: Path) -> None:
    touch("i/a.png", "v/a.png", "[ir].png", "[vis].png")
    assert "i/*.tif" in refused("i/*.tif", "v").message
    assert "nowhere" in refused("nowhere/*.tif", "v").message
    assert "is a folder" in refused("i/*.png", "v/a.png").message
    assert outputs(find_pairs(Path("[ir].png"), Path("[vis].png"), "o.png")[0]) == ["o.png"]


def test_links_in_a_circle_end(root: Path) -> None:
    touch("i/n/a.png", "v/n/a.png")
    for side in ("i", "v"):
        Path(side, "n", "up").symlink_to("..")
        Path(side, "n", "self").symlink_to("self")
        Path(side, "twice").symlink_to("n")
    pairs, unmatched = find_pairs(Path("i"), Path("v"), "o", Pairing(recursive=True))
    assert len(pairs) == 1 and unmatched == []


def test_an_output_inside_the_searched_folder_is_no_input(root: Path) -> None:
    touch("i/a.png", "v/a.png", "i/fused/a.png", "i/fused/old.png")
    pairs, unmatched = find_pairs(Path("i"), Path("v"), "i/fused", Pairing(recursive=True))
    assert outputs(pairs) == ["i/fused/a.png"] and unmatched == []


def test_a_folder_of_sub_folders(root: Path) -> None:
    touch("i/day1/a.png", "i/.hidden/a.png", "v/day1/a.png", "only/deep/er/notes.txt")
    error = refused("i", "v")
    assert "its sub-folders do" in error.message and "--recursive" in error.hint and "i/day1" in error.hint
    assert "recursive" not in refused("only", "v").hint
