"""Which files are meant: folders, patterns, links."""

from __future__ import annotations

from pathlib import Path

import pytest

from lure_cli.errors import LureError
from lure_cli.tasks.paths.find import list_images
from lure_cli.tasks.paths.pairing import Pairing, find_pairs
from tests.helpers.folders import outputs, refused, touch


def test_list_images(root: Path) -> None:
    touch("f/b.PNG", "f/a.jpg", "f/c.tiff", "f/ü.webp", "f/.hidden.png", "f/notes.txt", "f/none", "f/sub/d.png")
    Path("f/folder.png").mkdir()
    Path("f/broken.png").symlink_to("nowhere")
    assert [path.name for path in list_images(Path("f"))] == ["a.jpg", "b.PNG", "c.tiff", "ü.webp"]
    with pytest.raises(LureError, match="missing"):
        list_images(Path("missing"))
    with pytest.raises(LureError, match=r"a\.jpg"):
        list_images(Path("f/a.jpg"))


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
