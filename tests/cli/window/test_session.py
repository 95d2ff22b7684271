"""What the window asks for gives what `lure fuse` gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lure_cli.cli.window.session import Session
from lure_cli.cli.window.settings import Settings
from lure_cli.errors import LureError
from tests.helpers.files import EXAMPLES, Outcome

PAIR = {"ir": str(EXAMPLES / "pairs/ir/gate.png"), "vis": str(EXAMPLES / "pairs/vis/gate.png"), "weights": "lure-small"}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    yield Session(Settings(threads=1), tmp_path_factory.mktemp("results"))


def test_result_is_the_file_that_the_command_writes(
    session: Session, lure: Callable[..., Outcome], tmp_path: Path
) -> None:
    shown = session.fuse({**PAIR, "prompt": "noise", "bits": 16}, session.new_folder(), ".tif")
    done = lure(
        "fuse", "--ir", PAIR["ir"], "--vis", PAIR["vis"], "--prompt", "noise", "--bits", "16", "-o", tmp_path / "f.tif"
    )
    assert done.code == 0, done.err
    assert shown.file.read_bytes() == (tmp_path / "f.tif").read_bytes()
    assert shown.record["prompt"]["ir"] == ("noise",)
    assert [name for name, _ in shown.layers] == ["infrared", "visible", "plain fusion", "result"]


def test_look_shows_the_pair_without_fusing(session: Session) -> None:
    shown = session.look(PAIR, session.new_folder())
    assert [name for name, _ in shown.layers] == ["infrared", "visible"]


def test_error_leaves_no_folder_behind_once_it_is_dropped(session: Session, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    folder = session.new_folder()
    with pytest.raises(LureError, match=r"broken\.png"):
        session.fuse({**PAIR, "ir": str(tmp_path / "broken.png")}, folder)
    session.drop(str(folder))
    assert not folder.exists()


def test_only_folders_of_runs_are_dropped(session: Session, tmp_path: Path) -> None:
    session.drop(str(tmp_path))
    session.drop(None)
    assert tmp_path.is_dir()


def test_image_above_the_limit_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    small = Session(Settings(threads=1, max_pixels=100), tmp_path / "results")
    with pytest.raises(LureError, match="pixels"):
        small.look(PAIR, small.new_folder())
