"""What the window asks for gives what `lure fuse` gives, and its files go."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lure_cli.cli.window.session import Run, Session, Shown, Stopped, is_pair
from lure_cli.cli.window.settings import Settings
from lure_cli.errors import LureError
from tests.helpers.files import EXAMPLES, Outcome

PAIR = {"ir": str(EXAMPLES / "pairs/ir/gate.png"), "vis": str(EXAMPLES / "pairs/vis/gate.png")}
STREET = {
    "ir": str(EXAMPLES / "street/ir_ck.tif"),
    "vis": str(EXAMPLES / "street/vis.png"),
    "unit": "ck",
    "resize_ir": True,
}
RADIOMETRIC = {"ir": str(EXAMPLES / "thermal/Aqua_Tower_thermal_image.jpg")}
CLIPS = {"ir": str(EXAMPLES / "clip/ir.mp4"), "vis": str(EXAMPLES / "clip/vis.mp4")}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return Session(Settings(threads=1), tmp_path_factory.mktemp("window"))


@pytest.fixture
def session(loaded: Session) -> Iterator[Session]:
    yield loaded
    loaded.close()
    loaded.sweep(-1)


def uploaded(session: Session, arguments: dict[str, Any], name: str = "upload") -> dict[str, Any]:
    """The arguments, their files being where uploads lie."""
    given = dict(arguments)
    for key in {"ir", "vis", "rig"} & given.keys():
        folder = session.folder / f"{name}_{key}"
        folder.mkdir(exist_ok=True)
        given[key] = shutil.copy(given[key], folder)
    return given


RIG = '{"kind": "lure transform", "version": 1, "matrix": [[1, 0.01, 2], [-0.01, 1, 1]], "size": [%d, %d]}'


@pytest.mark.parametrize(
    ("arguments", "suffix"),
    [
        (PAIR | {"prompt": "noise", "bits": 16, "strength_ir": 0.4}, ".tif"),
        (PAIR | {"prompt": "auto", "ir_range": "percentile", "vis_range": "10,200"}, ".png"),
        (PAIR | {"rig": RIG % (320, 240), "provenance": True}, ".jpg"),
        (STREET | {"palette": "iron", "palette_from": "25", "legend": True, "temperature": True}, ".png"),
        (RADIOMETRIC | {"emissivity": 0.9, "reflected": 21.512345678, "palette": "lava"}, ".png"),
    ],
    ids=["16 bits", "auto and ranges", "rig", "heat", "radiometric"],
)
def test_command_that_is_shown_makes_the_same_files(
    session: Session,
    lure: Callable[..., Outcome],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, Any],
    suffix: str,
) -> None:
    if "rig" in arguments:
        (tmp_path / "rig.json").write_text(arguments["rig"])
        arguments = arguments | {"rig": str(tmp_path / "rig.json")}
    if arguments["ir"] == RADIOMETRIC["ir"]:
        pytest.importorskip("flyr")
    given = uploaded(session, arguments)
    with session.run("page", given) as run:
        shown = session.fuse(given, run, suffix)
        monkeypatch.chdir(tmp_path)
        words = shlex.split(shown.command)
        for name in {"ir", "vis"} & arguments.keys():  # as the command names them
            typed = Path(words[words.index(f"--{name}") + 1])
            typed.parent.mkdir(exist_ok=True)
            shutil.copy(arguments[name], typed)
        done = lure(*words[1:])
        assert done.code == 0, done.err
        assert shown.file is not None
        files = {"output": shown.file, "temperature": shown.temperature, "provenance": run.folder / "provenance.png"}
        for option, ours in files.items():
            assert (f"--{option}" in words) == (option == "output" or option in arguments)
            if f"--{option}" in words:
                assert Path(words[words.index(f"--{option}") + 1]).read_bytes() == ours.read_bytes(), option
    assert str(session.folder) not in str(shown.record) + " ".join(shown.said) + shown.command


def test_layers_are_of_one_size_and_named(session: Session) -> None:
    from PIL import Image

    with session.run("page", STREET) as run:
        shown = session.fuse(STREET | {"palette": "iron", "legend": True, "provenance": True}, run)
        assert [name for name, _ in shown.layers] == ["infrared", "visible", "plain fusion", "result", "provenance"]
        sizes = {Image.open(path).size for _, path in shown.layers}
    assert sizes == {shown.size}
    assert shown.size[0] > 640  # the legend


def test_look_shows_the_pair_without_fusing(session: Session) -> None:
    with session.run("page", PAIR) as run:
        shown = session.look(PAIR, run)
    assert [name for name, _ in shown.layers] == ["infrared", "visible"]
    assert shown.file is None


def test_radiometric_file_is_a_pair_by_itself() -> None:
    assert is_pair(RADIOMETRIC)
    assert is_pair(PAIR)
    assert not is_pair({"ir": PAIR["ir"]})
    assert not is_pair({"vis": PAIR["vis"]})


def test_results_and_uploads_go_with_what_replaces_them(session: Session) -> None:
    first, second = uploaded(session, PAIR, "first"), uploaded(session, PAIR, "second")
    with session.run("page", first) as one:
        (one.folder / "x").touch()
    assert one.folder.is_dir()
    with session.run("page", second) as two:
        assert not Path(first["ir"]).exists()
        assert one.folder.is_dir()  # it is shown until the next one is there
    assert not one.folder.exists()
    session.leave("page")
    assert not two.folder.exists()
    assert not Path(second["vis"]).exists()


def test_pages_do_not_touch_each_others_files(session: Session) -> None:
    given = uploaded(session, PAIR)
    with session.run("one", given) as one, session.run("two", given):
        pass
    session.leave("two")
    assert one.folder.is_dir()
    assert Path(given["ir"]).is_file()
    session.leave("one")
    assert not Path(given["ir"]).exists()


def test_files_that_were_not_uploaded_stay(session: Session) -> None:
    with session.run("page", PAIR):
        pass
    session.leave("page")
    assert Path(PAIR["ir"]).is_file()


def test_failed_run_leaves_nothing_and_what_was_shown_stays(session: Session) -> None:
    with session.run("page", {}) as shown:
        pass
    with pytest.raises(LureError), session.run("page", {}) as failed:
        raise LureError("broken", "mend it")
    assert shown.folder.is_dir()
    assert not failed.folder.exists()
    assert not session.is_shown("page", {})  # the page says what failed


def test_old_files_go_unless_a_page_holds_them(session: Session) -> None:
    given = uploaded(session, PAIR)
    with session.run("page", given) as held, session.run(None, {}) as of_a_program:
        pass
    stray = session.folder / "stray"
    stray.touch()
    session.sweep()
    assert of_a_program.folder.is_dir()
    for path in (held.folder, of_a_program.folder, stray, Path(given["ir"]).parent):
        os.utime(path, (0, 0))
    session.sweep()
    assert held.folder.is_dir()
    assert Path(given["ir"]).is_file()
    assert not of_a_program.folder.exists()
    assert not stray.exists()


def test_stopping_ends_the_work_of_that_page_alone(session: Session) -> None:
    with pytest.raises(Stopped), session.run("one", PAIR) as run, session.run("two", PAIR) as other:
        session.stop("one")
        assert not other.stop.is_set()
        session.fuse(PAIR, run)
    assert not run.folder.exists()


def test_stopping_does_not_wait_for_the_end_of_the_picture(session: Session) -> None:
    model = session.fuser("lure-small").engine.model
    layers: list[str] = []
    with session.run("page", PAIR) as run:
        hooks = [m.register_forward_pre_hook(lambda *_: layers.append("")) for m in model.modules()]  # type: ignore[union-attr]
        try:
            session.fuse(PAIR, run, plain=False)
            every = len(layers)
            again = Run(run.folder / "again")
            again.folder.mkdir()
            layers.clear()
            hooks.append(
                next(iter(model.modules())).register_forward_pre_hook(lambda *_: again.stop.set())  # type: ignore[union-attr]
            )
            with pytest.raises(Stopped):
                session.fuse(PAIR, again, plain=False)
        finally:
            for hook in hooks:
                hook.remove()
    assert len(layers) < every / 4


def test_clip_that_is_stopped_is_whole_up_to_there(session: Session) -> None:
    av = pytest.importorskip("av")
    with session.run("page", CLIPS) as run:
        for event in session.fuse_clips(CLIPS, run, ".png"):
            if not isinstance(event, Shown) and event[0] == 5:
                session.stop("page")
        assert isinstance(event, Shown)
        assert event.said[0].startswith("stopped after ")
        assert event.file is not None
        with av.open(str(event.file)) as clip:
            frames = sum(1 for _ in clip.decode(video=0))
            codec = clip.streams.video[0].codec_context.name
    assert 5 <= frames < 24
    assert event.said[0] == f"stopped after {frames} frames"
    assert codec == "h264"


def test_page_that_is_closed_in_mid_run_leaves_nothing(session: Session) -> None:
    given = uploaded(session, PAIR)
    with pytest.raises(Stopped), session.run("page", given) as run:
        session.leave("page")
        session.fuse(given, run)
    assert not run.folder.exists()
    assert not Path(given["ir"]).exists()
    with session.run("page", {}) as late:  # without looking whether it was stopped
        session.leave("page")
    assert not late.folder.exists()


def test_only_the_models_of_the_window_can_be_chosen(session: Session) -> None:
    with pytest.raises(LureError, match="not offered"), session.run("page", PAIR) as run:
        session.fuse(PAIR | {"weights": "somebody/else"}, run)


def test_image_above_the_limit_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    small = Session(Settings(threads=1, max_pixels=100), tmp_path / "window")
    with pytest.raises(LureError, match="pixels"), small.run("page", PAIR) as run:
        small.look(PAIR, run)
