"""`lure watch`: pairs are fused when both files are whole, in whatever way they arrive."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import signal
import subprocess
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from lure_cli.cli.fuse import fuse, fuse_options
from lure_cli.cli.watch import watch
from lure_cli.core.registration.alignment import Alignment
from lure_cli.core.registration.transform_file import write_transform
from lure_cli.core.thermal.colouring import HeatColours
from lure_cli.core.thermal.radiometry import Radiometry
from lure_cli.errors import LureError
from lure_cli.tasks import watch as task
from lure_cli.tasks.inference.job import Result
from lure_cli.tasks.inference.options import FuseOptions, ReadOptions
from lure_cli.tasks.inference.request import ModelOutput, Request
from lure_cli.tasks.paths.pairing import Pairing
from lure_cli.tasks.watch import Watcher, WatchOptions, plan_watch
from tests.helpers.files import ROOT, Outcome, save_png
from tests.helpers.flir import write_flir

Run = Callable[..., Outcome]
LONG = 60.0
"""Seconds after which something that should happen is taken not to."""


class Mean:
    """Fuses to the mean of both."""

    def __init__(self) -> None:
        self.calls = 0

    def fuse_request(self, ir: np.ndarray, vis: np.ndarray, request: Request) -> ModelOutput:
        self.calls += 1
        return ModelOutput((ir + vis) / 2, request.prompt, {})

    def restore_request(self, *_: Any) -> ModelOutput:
        raise NotImplementedError

    def detect(self, *_: Any) -> tuple[()]:
        raise NotImplementedError


class Running:
    """A watcher in a thread, and what it gave so far."""

    def __init__(self, **options: Any) -> None:
        own = {name: options.pop(name) for name in ("idle", "poll") if name in options}
        places = {"ir": Path("in"), "vis": Path("in"), "output": "out"} | options
        self.fuser, self.stop, self.told = Mean(), threading.Event(), list[str]()
        self.results: list[Result[Any]] = []
        self.errors: list[str] = []
        self.watcher = Watcher(plan_watch(WatchOptions(FuseOptions(**places), **own)), self.fuser)
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        for result in self.watcher.run(self.stop.is_set, self.told.append):
            if isinstance(result, LureError):
                self.errors.append(result.message)
                continue
            self.results.append(result)
            if result.error is not None:
                self.errors.append(result.error.message)

    def until(self, *names: str, errors: int = 0) -> list[str]:
        """Once these pairs are done and so many errors were told: the names of the done ones in their order."""
        wait(lambda: set(names) <= set(self.done()) and len(self.errors) >= errors)
        return self.done()

    def done(self) -> list[str]:
        return [result.item.name for result in self.results if result.status == "done"]


def wait(for_this: Callable[[], object]) -> None:
    end = time.monotonic() + LONG
    while not for_this():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.02)


@contextmanager
def watching(**options: Any) -> Iterator[Running]:
    running = Running(**options)
    running.thread.start()
    try:
        wait(lambda: running.told or not running.thread.is_alive())
        yield running
    finally:
        running.stop.set()
        running.thread.join(LONG)
    assert not running.thread.is_alive()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    return tmp_path


def picture(path: str, side: int = 32, value: int | None = None) -> Path:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (side, side, 3), np.uint8)
    return save_png(Path(path), noise if value is None else np.full_like(noise, value))


def pair(name: str, **how: Any) -> None:
    picture(f"in/{name}_ir.png", **how)
    picture(f"in/{name}_vis.png", **how)


# --- arriving --------------------------------------------------------------------------------------------------------


def test_what_is_there_and_what_arrives_is_fused_once() -> None:
    pair("before")
    with watching() as running:
        running.until("before")
        pair("after")
        assert running.until("after") == ["before", "after"]
        assert running.fuser.calls == 2
    assert sorted(p.name for p in Path("out").iterdir()) == ["after.png", "before.png"]
    assert not running.errors


@pytest.mark.parametrize("first", ["ir", "vis"])
def test_either_image_may_come_first(first: str) -> None:
    second = {"ir": "vis", "vis": "ir"}[first]
    with watching() as running:
        picture(f"in/a_{first}.png")
        wait(lambda: running.watcher.unmatched == (Path(f"in/a_{first}.png"),))
        picture(f"in/a_{second}.png")
        running.until("a")
    assert not running.watcher.unmatched


def test_a_file_in_pieces_waits_for_its_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first piece stays long enough to be tried; that it can't be read is not told, as it may still grow."""
    monkeypatch.setattr(task, "SETTLE", 0.05)
    picture("in/a_ir.png")
    content = picture("whole.png", 64).read_bytes()
    picture("in/a_ir.png", 64)
    with watching() as running, open("in/a_vis.png", "wb") as file:
        file.write(content[: len(content) // 2])
        file.flush()
        wait(lambda: running.watcher._again)
        assert not running.results
        file.write(content[len(content) // 2 :])
        file.flush()
        running.until("a")
    assert not running.errors
    with Image.open("out/a.png") as image:
        assert image.size == (64, 64)


def test_a_file_that_grows_is_not_touched_before_it_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Formats whose first half is a file too could be read too early."""
    monkeypatch.setattr(task, "SETTLE", 3.0)
    picture("in/a_ir.png")
    content = picture("whole.png").read_bytes()
    with watching() as running:
        for n in range(6):
            with open("in/a_vis.png", "ab") as file:
                file.write(content[n * len(content) // 6 : (n + 1) * len(content) // 6])
            time.sleep(0.2)
            assert not running.results and not running.watcher._again
        running.until("a")


@pytest.mark.parametrize("order", [("ir", "vis"), ("vis", "ir")])
def test_files_that_are_renamed_into_place_count_at_once(
    order: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their own time, which is that of the last byte; a file of now would have to wait."""
    monkeypatch.setattr(task, "SETTLE", 1000.0)
    with watching() as running:
        for side in order:
            path = picture(f"in/.a_{side}.part.png")
            os.utime(path, (1e9, 1e9))
            path.rename(f"in/a_{side}.png")
        running.until("a")
    assert not running.errors


def test_names_of_files_that_are_still_copied_are_no_images() -> None:
    picture("in/a_ir.png")
    picture("whole.png").rename("in/a_vis.png.part")
    with watching() as running:
        pair("b")
        running.until("b")
        assert running.done() == ["b"]
        Path("in/a_vis.png.part").rename("in/a_vis.png")
        running.until("a")


def test_any_letters_in_names() -> None:
    with watching() as running:
        pair("ß 夜 😀")
        pair("{stem}")
        assert running.until("ß 夜 😀", "{stem}")
    assert sorted(os.listdir("out")) == ["{stem}.png", "ß 夜 😀.png"]


@pytest.mark.parametrize("recursive", [False, True])
def test_sub_folders_say_what_files_are(recursive: bool) -> None:
    with watching(pairing=Pairing(recursive=recursive)) as running:
        picture("in/ir/1.png")
        picture("in/visible/1.png")
        picture("in/day/thermal/2.png")
        picture("in/day/rgb/2.png")
        running.until("1", *(["day/2"] if recursive else []))
    assert Path("out/day/2.png").exists() == recursive


def test_two_folders_or_patterns(here: Path) -> None:
    with watching(ir=Path("in/*_T.png"), vis=Path("in/*_W.png")) as running:
        for side in "TWZ":
            picture(f"in/DJI_20240101120000_0001_{side}.png")
        assert running.until("DJI_20240101120000_0001")
    assert running.results[0].item.vis == Path("in/DJI_20240101120000_0001_W.png")


def test_one_file_may_hold_both() -> None:
    with watching(read=ReadOptions(alpha="ir")) as running:
        save_png(Path("in/a.png"), np.random.default_rng(0).integers(0, 256, (32, 32, 4), np.uint8))
        running.until("a")


def test_radiometric_files_with_a_photo_are_fused_alone_unless_their_names_say_that_there_is_another() -> None:
    with watching(read=ReadOptions(resize_ir=True)) as running:
        write_flir(Path("in/a.jpg"))
        write_flir(Path("in/b_ir.jpg"))
        write_flir(Path("in/c.jpg"), photo=None)
        picture("in/d.png")
        running.until("a")
        wait(lambda: set(map(str, running.watcher.unmatched)) == {"in/b_ir.jpg", "in/c.jpg", "in/d.png"})
        picture("in/b_vis.png")
        assert running.until("b") == ["a", "b"]
        write_flir(Path("in/e.jpg"))
        running.until("e")
    assert not running.errors
    assert running.results[0].item.sources == {"ir": Path("in/a.jpg"), "vis": Path("in/a.jpg")}


def test_radiometric_files_of_a_folder_of_their_own_wait_for_their_partner() -> None:
    write_flir(Path("i/a.jpg"))
    with watching(ir=Path("i"), read=ReadOptions(resize_ir=True)) as running:
        wait(lambda: running.watcher.unmatched == (Path("i/a.jpg"),))
        picture("in/a.png")
        running.until("a")
    assert running.results[0].item.vis == Path("in/a.png")


def test_without_a_visible_folder_all_radiometric_files_are_fused_alone() -> None:
    with watching(vis=None) as running:
        write_flir(Path("in/IR_0001.jpg"))
        write_flir(Path("in/IR_0002.jpg"))
        picture("in/DC_0002.png")
        assert running.until("IR_0001", "IR_0002")
        wait(lambda: running.watcher.unmatched == (Path("in/DC_0002.png"),))
    assert not running.errors


def test_a_radiometric_file_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """However little of it is there, and long enough to be looked at."""
    monkeypatch.setattr(task, "SETTLE", 0.05)
    content = write_flir(Path("whole.jpg")).read_bytes()
    with watching() as running, open("in/a.jpg", "wb") as file:
        for n in range(4):
            file.write(content[n * len(content) // 4 : (n + 1) * len(content) // 4])
            file.flush()
            time.sleep(0.5)
        running.until("a")
    assert not running.errors


def test_a_folder_that_is_polled() -> None:
    with watching(poll=True) as running:
        pair("a")
        running.until("a")


def test_the_output_may_lie_inside_of_what_is_watched() -> None:
    with watching(output="in/out/", pairing=Pairing(recursive=True)) as running:
        pair("a")
        running.until("a")
        pair("b")
        running.until("b")
        assert running.fuser.calls == 2
    assert not running.errors and not running.watcher.unmatched


def test_it_ends_when_nothing_arrives_any_more() -> None:
    pair("a")
    with watching(idle=0.3) as running:
        running.thread.join(LONG)
        assert not running.thread.is_alive()
    assert running.done() == ["a"]


# --- again -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_restart_does_what_is_not_done(overwrite: bool) -> None:
    """With --overwrite as well, unless files are newer than their output."""
    for name in ("a", "b", "c"):
        pair(name)
    with watching() as running:
        running.until("a", "b", "c")
    Path("out/b.png").unlink()
    pair("d")
    late = time.time() + 100
    os.utime("in/c_ir.png", (late, late))
    with watching(overwrite=overwrite) as running:
        again = ["b", "c", "d"] if overwrite else ["b", "d"]
        assert sorted(running.until(*again)) == again


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_that_is_replaced(overwrite: bool) -> None:
    pair("a", value=10)
    with watching(overwrite=overwrite) as running:
        running.until("a")
        picture("new.png", value=250).replace("in/a_vis.png")
        if overwrite:
            wait(lambda: len(running.results) == 2)
        else:
            wait(lambda: any("a has changed" in line for line in running.told))
    with Image.open("out/a.png") as image:
        assert (np.asarray(image).mean() > 100) == overwrite


# --- faults ----------------------------------------------------------------------------------------------------------


def test_what_cannot_be_read_is_named_once_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "PATIENCE", 1.0)
    with watching() as running:
        pair("bad")
        Path("in/bad_vis.png").write_bytes(b"no picture")
        Path("in/empty_vis.png").touch()
        picture("in/empty_ir.png")
        pair("good")
        running.until("good", errors=2)
        pair("late")
        running.until("late")
        assert sorted(error.split(":")[0] for error in running.errors) == ["in/bad_vis.png", "in/empty_vis.png"]
        picture("in/bad_vis.png")
        running.until("bad")


def test_files_that_could_belong_to_two_pairs_are_named_and_wait() -> None:
    pair("a")
    picture("in/a_thermal.png")
    with watching() as running:
        pair("b")
        running.until("b", errors=1)
        assert running.done() == ["b"]
        assert "both stand for 'a'" in running.errors[0]
        Path("in/a_thermal.png").unlink()
        running.until("a")
    assert len(running.errors) == 1


def test_two_pairs_are_not_written_to_one_file() -> None:
    with watching(output="out/{folder}/same.png") as running:
        pair("b")
        running.until("b")
        pair("c")
        running.until(errors=1)
    assert running.errors == ["'b' and 'c' would both be written to out/same.png"]
    assert running.done() == ["b"]


def test_other_ways_to_pair() -> None:
    with watching(pairing=Pairing("regex", r"(\d+)")) as running:
        picture("in/ir/x1.png")
        picture("in/vis/y1.png")
        running.until("1")
    with watching(ir=Path("in/ir"), vis=Path("in/vis"), pairing=Pairing("name")) as running:
        picture("in/ir/a.png")
        picture("in/vis/a.png")
        running.until("a")
    assert running.done() == ["a"]


def test_a_folder_that_goes_ends_it(here: Path) -> None:
    running = Running()
    with pytest.raises(LureError, match="the folder is gone"):
        for _ in running.watcher.run(notify=lambda _: shutil.rmtree("in")):
            pass


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ([], "no folder to watch"),
        (["--vis", "in"], "no infrared image"),
        (["--ir", "in", "--pair", "name"], "need no pairing"),
        (["in", "--vis", "in"], "as well"),
        (["none"], "no such file"),
        (["file.png"], "is a file"),
        (["in", "-o", "in"], "where files are watched for"),
        (["in", "-o", "in/{stem}_f.png"], "where files are watched for"),
        (["in", "-o", "x.png"], "one file for several"),
        (["in", "--pair", "csv"], "--pair csv"),
        (["in", "--pair-regex", "("], "no regular expression"),
        (["in", "--idle", "-1"], "--idle -1"),
        (["in", "--bits", "12"], "12 bits"),
        (["in", "--prompt", "a cat on a sofa"], "does not say what is wrong"),
        (["in", "--fps", "5"], "No such option"),
        (["in", "-o", "udp://127.0.0.1:5000"], "is for clips"),
        (["in", "--temperature", "in/"], "where files are watched for"),
        (["in", "--provenance", "maps/", "--temperature", "heat.tif"], "one file for several"),
        (["in", "--alpha", "ir", "--temperature", "heat/"], "an alpha channel holds no temperatures"),
        (["in", "--legend"], "need --palette"),
    ],
)
def test_refused(args: list[str], text: str, lure: Run) -> None:
    picture("file.png")
    done = lure("watch", *args)
    assert done.code == 2
    assert [line.split(":")[0] for line in done.err.splitlines()] == ["error", "hint"]
    assert text in done.err
    assert not Path("out").exists()


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_options_of_fuse_are_those_of_watch() -> None:
    """All that is not refused on purpose, so that new ones come by themselves."""
    ours, theirs = (inspect.signature(command).parameters for command in (watch, fuse))
    assert {"prompt", "ir_range", "align", "bits", "weights", "as_json"} <= ours.keys() & theirs.keys()
    assert not {"fps", "sync", "codec", "dry_run", "shard", "engine"} & ours.keys()


def test_every_option_of_fuse_reaches_the_job() -> None:
    given = {p.name: object() for p in inspect.signature(fuse).parameters.values()}
    given |= {"ir": "i", "vis": "v", "a": None, "b": None, "pair": "name", "recursive": True}
    rig = Alignment((1, 0, 3, 0, 1, -2), (64, 48))
    write_transform(Path("rig.json"), rig)
    colours = {"palette": "iron", "palette_from": "30", "palette_to": "40", "legend": True}
    options = fuse_options(given | colours | {"rig": Path("rig.json")})
    parts = options, options.read, options.read.radiometry, options.pairing
    reached = [value for part in parts for value in vars(part).values()]
    elsewhere = {"fps", "sync", "length", "check_every", "codec", "crf", "dry_run", "as_json", "quiet"}
    made = {"ir", "vis", "a", "b", "rig", *colours}
    assert {name for name, value in given.items() if value not in reached} == elsewhere | made
    assert (options.ir, options.vis, options.read.rig) == (Path("i"), Path("v"), rig)
    assert options.heat == HeatColours.parse(*colours.values())  # type: ignore[arg-type]


def test_the_options_of_a_job_from_a_few_arguments() -> None:
    given = {"ir": "a.png", "vis": "b.png", "outputs": "c.png", "prompt": "haze", "unit": "ck"}
    read = ReadOptions(radiometry=Radiometry(unit="ck"))
    assert fuse_options(given) == FuseOptions(Path("a.png"), Path("b.png"), "c.png", prompt="haze", read=read)
    assert fuse_options({"ir": "a.jpg"}) == FuseOptions(Path("a.jpg"))
    assert fuse_options({"vis": "a.png", "alpha": "ir"}).ir == Path("a.png")
    assert fuse_options({"a": "x.png", "b": "y.png"}) == FuseOptions(Path("x.png"), Path("y.png"), by_colour=True)
    legend: dict[str, Any] = {"ir": "a.png", "legend": True}
    for wrong, text in (({}, "no image"), ({"vis": "b.png"}, "no infrared"), (legend, "need --palette")):
        with pytest.raises(LureError, match=text):
            fuse_options(wrong)


def test_what_is_printed(lure: Run) -> None:
    pair("good")
    picture("in/bad_ir.png")
    Path("in/bad_vis.png").write_bytes(b"no picture")
    picture("in/alone_ir.png")
    for name in ("in/bad_ir.png", "in/bad_vis.png"):
        os.utime(name, (1e9, 1e9))
    done = lure("watch", "in", "-o", "out", "--idle", "0", "--json", "--prompt", "haze")
    assert done.code == 1
    records = {record["name"]: record for record in map(json.loads, done.out.splitlines())}
    assert {name: record["status"] for name, record in records.items()} == {"good": "done", "bad": "failed"}
    assert "in/bad_vis.png" in records["bad"]["error"] and records["bad"]["hint"]
    lines = done.err.splitlines()
    assert lines[0].startswith("prompt: ")
    assert any(line.startswith("error: in/bad_vis.png") for line in lines)
    assert lines[-2:] == ["unmatched: in/alone_ir.png"] or lines[-1] == "unmatched: in/alone_ir.png"
    again = lure("watch", "in", "-o", "out", "--idle", "0", "-q")
    assert (again.code, again.out) == (1, "")
    assert again.err.startswith("error: in/bad_vis.png")


def test_palette_temperatures_rigs_and_maps(lure: Run) -> None:
    write_flir(Path("in/a.jpg"))
    picture("in/b_vis.png", 64)
    tifffile.imwrite("in/b_ir.tif", np.full((32, 32), 30000, np.uint16) + np.arange(32, dtype=np.uint16))
    write_transform(Path("rig.json"), Alignment((0.5, 0, 8, 0, 0.5, 0), (64, 64), source=(32, 32)))
    extras = ["--temperature", "in/heat/", "--provenance", "in/maps/"]
    command = ["watch", "in", "-r", "-o", "in/out/", *extras, "--palette", "iron", "--legend", "--rig", "rig.json"]
    done = lure(*command, "--unit", "ck", "--idle", "0", "--json")
    assert done.code == 0, done.err
    records = {record["name"]: record for record in map(json.loads, done.out.splitlines())}
    assert sorted(records) == ["a", "b"]
    for name, record in records.items():
        assert record["provenance"] == f"in/maps/{name}.png" and record["temperature"]["file"] == f"in/heat/{name}.tif"
        assert record["palette"]["name"] == "iron"
        with Image.open(f"in/maps/{name}.png") as image, Image.open(f"in/out/{name}.png") as fused:
            assert tifffile.imread(f"in/heat/{name}.tif").shape == image.size[::-1] and fused.width > image.width
    assert Alignment.from_record(records["b"]["alignment"]).matrix == (0.5, 0, 8, 0, 0.5, 0)
    Path("in/heat/a.tif").unlink()
    again = lure(*command, "--unit", "ck", "--idle", "0")
    assert (again.code, again.out) == (0, "in/out/a.png\n")
    assert "unmatched" not in again.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_after_the_pair_in_hand(number: signal.Signals, warm: list[str]) -> None:
    """130 where complete pairs are left, 0 where none is."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for n in range(30):
        pair(f"p{n:02}", side=160)
    command = [*warm, "watch", "in", "-o", "out", "--json"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        first = json.loads(process.stdout.readline())  # each line is flushed
        process.send_signal(number)
        rest, err = process.stdout.read(), process.stderr.read()
    assert process.returncode == 130
    assert "Traceback" not in err
    done = [first["name"], *(json.loads(line)["name"] for line in rest.splitlines())]
    assert sorted(f"{name}.png" for name in done) == sorted(os.listdir("out"))
    assert f"{30 - len(done)} complete pairs are left" in err
    shutil.rmtree("in")
    pair("last", side=160)
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        assert json.loads(process.stdout.readline())["name"] == "last"
        process.send_signal(number)
        assert process.stdout.read() == ""
    assert process.returncode == 0


def test_memory_does_not_grow_with_the_pairs() -> None:
    """200 pairs; the pictures of the second hundred would be 19 MB."""

    def more(start: int) -> None:
        for n in range(start, start + 100):
            pair(f"p{n:03}", side=128, value=n)

    with watching() as running:
        more(0)
        wait(lambda: len(running.results) == 100)
        running.results.clear()
        tracemalloc.start()
        more(100)
        wait(lambda: len(running.results) == 100)
        running.results.clear()
        grown = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    assert running.fuser.calls == 200
    assert grown < 5_000_000
