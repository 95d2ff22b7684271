"""`lure fuse` on folders: what is done, skipped, named and left, whatever happens on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from lure_cli import Fuser
from lure_cli.errors import LureError
from lure_cli.tasks.inference.fuse import fuse
from lure_cli.tasks.inference.options import FuseOptions
from lure_cli.tasks.inference.plan import plan_fuse
from lure_cli.tasks.inference.request import ModelOutput, Request
from lure_cli.tasks.paths.pairing import Pairing
from tests.helpers.files import ROOT, Outcome, save_png
from tests.helpers.folders import FOLDERS, make_folder
from tests.helpers.tiffs import GEO

Run = Callable[..., Outcome]


FRESH = [sys.executable, "-m", "lure_cli"]
"""`lure` in a fresh interpreter; `warm` forks one that has loaded torch."""
ENV = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_dry_run_shows_the_plan_and_imports_no_torch(here: Path) -> None:
    make_folder(2)
    save_png(Path("out/p0001.png"), np.zeros((4, 4), np.uint8))
    code = (
        "import sys\nfrom lure_cli.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit as e: code = e.code\n"
        "print(code, sorted({'torch', 'numpy'} & set(sys.modules)))"
    )
    args = [*FOLDERS, "--dry-run", "--skip-existing"]
    done = subprocess.run([sys.executable, "-c", code, *args], env=ENV, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "planned: i/p0000.png + v/p0000.png -> out/p0000.png",
        "skipped: i/p0001.png + v/p0001.png -> out/p0001.png",
        "0 []",
    ]
    assert sorted(p.name for p in Path("out").iterdir()) == ["p0001.png"]


def test_dry_run_json_with_shard_and_limit(lure: Run, here: Path) -> None:
    names = make_folder(10)

    def planned(*args: str) -> list[str]:
        done = lure(*FOLDERS, "--dry-run", "--json", *args)
        assert done.code == 0
        return [json.loads(line)["name"] for line in done.out.splitlines()]

    shards = [planned("--shard", f"{i}/3") for i in (1, 2, 3)]
    assert sorted(name for shard in shards for name in shard) == names
    assert all(len(s) in (3, 4) for s in shards)
    assert planned("--limit", "4") == names[:4]
    assert planned("--shard", "2/3", "--limit", "2") == shards[1][:2]


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--shard", "0/3"], "--shard 0/3"),
        (["--shard", "4/3"], "--shard 4/3"),
        (["--shard", "x"], "--shard x"),
        (["--limit", "0"], "--limit 0"),
        (["--engine", "spark"], "spark"),
        (["--workers", "2"], "--engine ray"),
        (["--tile", "big"], "--tile big"),
        (["--tile", "7"], "--tile 7"),
        (["--overlap", "-1"], "--overlap -1"),
        (["--ir-range", "warm"], "warm"),
        (["--ir-range", "5,5"], "5,5"),
        (["--align", "maybe"], "--align maybe"),
        (["--align-once"], "needs --align"),
        (["--max-pixels", "0"], "--max-pixels 0"),
        (["--bits", "12"], "12 bits"),
        (["--bits", "16", "-o", "{stem}.jpg"], "16 bits"),
        (["--pair", "regex"], "--pair-regex"),
        (["--pair-regex", "("], "no regular expression"),
        (["--pair-file", "none.csv"], "none.csv"),
        (["-o", "-"], "standard output"),
        (["-o", "-", "--json"], "standard output"),
    ],
)
def test_refused_before_the_model_loads(args: list[str], text: str, lure: Run, here: Path) -> None:
    make_folder(2)
    done = lure(*(FOLDERS[: FOLDERS.index("-o")] if "-o" in args else FOLDERS), *args)
    assert done.code == 2
    assert [line.split(":")[0] for line in done.err.splitlines()] == ["error", "hint"]
    assert text in done.err
    assert not Path("out").exists()


def test_sub_folders_and_summary(lure: Run, here: Path) -> None:
    make_folder(1)
    for side in ("i", "v"):
        (here / side / "day").mkdir()
        shutil.copy(f"{side}/p0000.png", f"{side}/day/p0000.png")
    Path("i/day/p0000.png").write_bytes(b"")
    done = lure(*FOLDERS, "-r")
    assert done.code == 1
    assert done.out == "out/p0000.png\n"
    assert "error: i/day/p0000.png: the file is empty" in done.err
    assert "1 done, 0 skipped, 1 failed of 2 pairs" in done.err
    assert "pairs a second" in done.err
    shutil.copy("i/p0000.png", "i/day/p0000.png")
    again = lure(*FOLDERS, "-r", "--skip-existing")
    assert again.code == 0
    assert again.out == "out/day/p0000.png\n"
    assert "1 done, 1 skipped, 0 failed of 2 pairs" in again.err


def test_fail_fast(lure: Run, here: Path) -> None:
    make_folder(12)
    Path("i/p0001.png").write_bytes(b"no picture")
    done = lure(*FOLDERS, "--fail-fast", "--json")
    assert done.code == 1
    assert [json.loads(line)["status"] for line in done.out.splitlines()] == ["done", "failed"]
    written = sorted(p.name for p in Path("out").iterdir())
    assert written[0] == "p0000.png" and len(written) < 6
    assert all(name.startswith("p") for name in written)


def test_folder_gives_what_single_pairs_give(lure: Run, here: Path) -> None:
    names = make_folder(3)
    assert lure(*FOLDERS, "--prompt", "noise").code == 0
    for name in names:
        pair = ["fuse", "--ir", f"i/{name}.png", "--vis", f"v/{name}.png", "--prompt", "noise"]
        assert lure(*pair, "-o", f"one/{name}.png").code == 0
        assert Path(f"one/{name}.png").read_bytes() == Path(f"out/{name}.png").read_bytes()


def test_swapped_inputs_are_noticed(lure: Run, here: Path) -> None:
    make_folder(5)
    done = lure("fuse", "--ir", "v", "--vis", "i", "-o", "out")
    assert done.code == 0
    assert done.err.count("were infrared and visible swapped?") == 3
    assert "2 more pairs with such a note (swapped)" in done.err
    record = lure("fuse", "--ir", "v/p0000.png", "--vis", "i/p0000.png", "-o", "x.png", "--json")
    assert "swapped" in json.loads(record.out)["notes"][0]
    assert "swapped" not in lure("fuse", "--ir", "i/p0000.png", "--vis", "v/p0000.png", "-o", "y.png").err


def test_a_georeference_is_kept_or_its_loss_said(lure: Run, here: Path) -> None:
    make_folder(1)
    tifffile.imwrite("v.tif", np.asarray(Image.open("v/p0000.png")), photometric="rgb", extratags=GEO)
    pair = ["fuse", "--ir", "i/p0000.png", "--vis", "v.tif"]
    assert "georeference" not in lure(*pair, "-o", "x.tif").err
    with tifffile.TiffFile("x.tif") as tif:
        assert tif.pages.first.tags[33922].value == GEO[1][3]
    assert "note: v.tif: its georeference is left out; only .tif outputs hold it" in lure(*pair, "-o", "x.png").err
    record = lure(*pair, "-o", "y.jpg", "--json")
    assert "georeference" in json.loads(record.out)["notes"][-1]


def test_another_size_is_refused_or_resized(lure: Run, here: Path) -> None:
    make_folder(1, (64, 80))
    save_png(Path("small.png"), np.tile(np.linspace(0, 255, 40).astype(np.uint8), (32, 1)))
    pair = ["fuse", "--ir", "small.png", "--vis", "v/p0000.png", "-o", "x.png"]
    refused = lure(*pair)
    assert refused.code == 1
    assert "40x32" in refused.err and "80x64" in refused.err and "--resize-ir" in refused.err
    done = lure(*pair, "--resize-ir")
    assert done.code == 0
    assert "small.png: 40x32 resized to 80x64" in done.err
    with Image.open("x.png") as image:
        assert image.size == (80, 64)


def test_standard_input_and_output(lure: Run, here: Path, warm: list[str]) -> None:
    make_folder(1)
    assert lure(*FOLDERS).code == 0
    args = [*warm, "fuse", "--ir", "-", "--vis", "v/p0000.png", "-o", "-"]
    with open("i/p0000.png", "rb") as file:
        done = subprocess.run(args, env=ENV, stdin=file, capture_output=True, check=True)
    assert done.stdout == Path("out/p0000.png").read_bytes()
    assert done.stderr == b""
    empty = subprocess.run(args, env=ENV, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert empty.returncode == 1
    assert empty.stdout == b""
    assert empty.stderr.startswith(b"error: standard input: the file is empty")


def test_sixteen_bits_and_range(lure: Run, here: Path) -> None:
    import tifffile

    make_folder(1)
    rng = np.random.default_rng(1)
    thermal = (29000 + 400 * rng.random((32, 40))).astype(np.uint16)
    tifffile.imwrite("t.tif", thermal)
    pair = ["fuse", "--ir", "t.tif", "--vis", "v/p0000.png", "--bits", "16"]
    done = lure(*pair, "-o", "x.tif")
    assert done.code == 0
    assert "note: t.tif: " in done.err and "29" in done.err
    fused = tifffile.imread("x.tif")
    assert fused.dtype == np.uint16 and fused.shape == (32, 40, 3)
    fixed = lure(*pair, "-o", "y.tif", "--ir-range", "29000,29400", "--json")
    assert "29000" in json.loads(fixed.out)["notes"][0]
    flat = lure(*pair, "-o", "z.tif", "--ir-range", "full")
    assert "note:" not in flat.err
    assert np.abs(tifffile.imread("z.tif").astype(int) - fused).mean() > 500


def test_no_torch_for_a_finished_job(lure: Run, here: Path) -> None:
    make_folder(3)
    assert lure(*FOLDERS).code == 0
    code = (
        "import sys\nfrom lure_cli.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit as e: print(e.code, 'torch' in sys.modules)"
    )
    args = [sys.executable, "-c", code, *FOLDERS, "--skip-existing"]
    done = subprocess.run(args, env=ENV, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 False"
    assert "0 done, 3 skipped" in done.stderr


def test_memory_stays_flat(here: Path) -> None:
    """1,500 pairs through reading, computing and writing, the model replaced by a plain mean."""
    import tracemalloc

    class Mean:
        def fuse_request(self, ir: np.ndarray, vis: np.ndarray, request: Request) -> ModelOutput:
            return ModelOutput((vis + ir) / 2, request.prompt, {})

    make_folder(1, (24, 24))
    rows = "\n".join(f"p0000.png,p0000.png,n{n:04}" for n in range(1500))
    Path("t.csv").write_text(f"ir,vis,name\n{rows}\n")
    plan = plan_fuse(FuseOptions(Path("i"), Path("v"), "out", pairing=Pairing("csv", table=Path("t.csv"))))
    tracemalloc.start()
    levels = []
    for number, result in enumerate(fuse(plan, fuser=Mean())):
        assert result.status == "done"
        if number in (500, 1499):
            levels.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert len(os.listdir("out")) == 1500
    assert levels[1] - levels[0] < 500_000  # bytes; a picture kept for every pair would be 7 MB


# --- interruptions ---------------------------------------------------------------------------------------------------


def running(command: list[str]) -> subprocess.Popen[str]:
    """The command, once its first pair is done."""
    process = subprocess.Popen(
        [*command, *FOLDERS], env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("out/")
    return process


def whole(folder: str) -> list[str]:
    """The names of the files in a folder, all of which can be decoded."""
    names = sorted(os.listdir(folder))
    for name in names:
        with Image.open(Path(folder, name)) as image:
            image.load()
    return names


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_finishes_what_is_in_hand(number: signal.Signals, here: Path, warm: list[str]) -> None:
    make_folder(60, (200, 200))
    process = running(warm)
    process.send_signal(number)
    assert process.stdout is not None and process.stderr is not None
    out, err = process.stdout.read(), process.stderr.read()  # `communicate` would lose what `readline` read ahead
    assert process.wait(timeout=60) == 130
    assert "Traceback" not in err
    done = whole("out")
    assert 1 <= len(done) < 60
    assert len(done) == 1 + len(out.splitlines())
    assert f"interrupted: {60 - len(done)} of 60 pairs are left" in err


def test_killed_and_resumed(lure: Run, here: Path) -> None:
    names = make_folder(24, (160, 160))
    process = running(FRESH)
    process.kill()
    process.communicate(timeout=60)
    first = [n for n in os.listdir("out") if not n.startswith(".")]
    assert 1 <= len(first) < 24
    for name in first:
        with Image.open(Path("out", name)) as image:
            image.load()
    old = Path("out", ".lure-" + "0" * 32 + ".png")  # what a killed process may leave behind
    old.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    before = {name: Path("out", name).stat().st_mtime_ns for name in first}
    done = lure(*FOLDERS, "--skip-existing")
    assert done.code == 0
    assert f"{24 - len(first)} done, {len(first)} skipped, 0 failed" in done.err
    assert whole("out") == [f"{name}.png" for name in names]
    assert all(Path("out", name).stat().st_mtime_ns == t for name, t in before.items())


def test_two_processes_on_one_folder(here: Path, warm: list[str]) -> None:
    names = make_folder(24, (64, 64))
    args = [*warm, *FOLDERS, "--skip-existing"]
    both = [subprocess.Popen(args, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in "ab"]
    results = [process.communicate(timeout=120) for process in both]
    for process, (_, err) in zip(both, results, strict=True):
        assert process.returncode == 0, err
    assert whole("out") == [f"{name}.png" for name in names]


def test_a_file_that_vanishes_and_one_that_appears(here: Path) -> None:
    make_folder(4)
    plan = plan_fuse(FuseOptions(Path("i"), Path("v"), "out"))
    Path("v/p0002.png").unlink()
    save_png(Path("out/p0003.png"), np.zeros((4, 4), np.uint8))
    results = list(fuse(plan))
    assert [r.status for r in results] == ["done", "done", "failed", "failed"]
    errors = [r.error for r in results if r.error]
    assert all(isinstance(e, LureError) for e in errors)
    assert "v/p0002.png: no such file" in errors[0].message
    assert "meanwhile" in errors[1].message
    with Image.open("out/p0003.png") as image:
        assert image.size == (4, 4)


def test_a_full_disk(lure: Run, here: Path) -> None:
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(here)], check=False).returncode:
        pytest.skip("no right to mount")
    full = here
    try:
        os.chdir("/")
        os.chdir(full.parent)
        os.makedirs("src", exist_ok=True)
        os.chdir("src")
        make_folder(3, (130, 130))
        done = lure("fuse", "--ir", "i", "--vis", "v", "-o", str(full))
        assert done.code == 1
        assert "No space left" in done.err
        assert done.err.count("error:") == done.err.count("hint:") == 2
        assert whole(str(full)) == ["p0000.png"]
    finally:
        os.chdir("/")
        subprocess.run(["umount", str(full)], check=True)


def test_a_read_only_folder(lure: Run, here: Path) -> None:
    make_folder(1)
    Path("locked").mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", "locked"], check=False).returncode:
        pytest.skip("no right to mount")
    try:
        done = lure("fuse", "--ir", "i", "--vis", "v", "-o", "locked/new")
        assert done.code == 2
        assert "locked" in done.err.splitlines()[0]
    finally:
        subprocess.run(["umount", "locked"], check=True)


def test_out_of_memory_says_to_tile(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_folder(1)
    fuser = Fuser.from_pretrained("lure-small")
    plan = plan_fuse(FuseOptions(Path("i/p0000.png"), Path("v/p0000.png"), "x.png"))
    for error in (MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")):

        def fail(*_args: object, error: Exception = error, **_more: object) -> None:
            raise error

        monkeypatch.setattr(fuser.engine.model, "forward", fail)
        (result,) = fuse(plan, fuser=fuser)
        assert result.status == "failed" and result.error is not None
        assert "v/p0000.png: not enough memory" in result.error.message and "--tile" in result.error.hint


def test_a_closed_pipe_is_no_traceback(here: Path, warm: list[str]) -> None:
    make_folder(6)
    process = running(warm)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    assert process.wait(timeout=60) == 1
    assert "Traceback" not in err and "BrokenPipe" not in err


def test_names_of_a_mac(lure: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decomposed on one side: prompts find their pairs, and outputs that are there are found, whatever their form."""
    monkeypatch.chdir(tmp_path)
    composed, decomposed = (unicodedata.normalize(form, "Straße é") for form in ("NFC", "NFD"))
    save_png(Path(f"i/{composed}.png"), np.zeros((32, 40), np.uint8))
    save_png(Path(f"v/{decomposed}.png"), np.zeros((32, 40, 3), np.uint8))
    for name in (composed, decomposed):
        Path("p.csv").write_text(f"stem;prompt\n{name};noise\n", encoding="utf-8")
        planned = lure(*FOLDERS, "--prompt-file", "p.csv", "--dry-run", "--json")
        assert planned.code == 0, planned.err
    Path("out").mkdir()
    Path(f"out/{decomposed}.png").write_bytes(b"whole")
    assert "exists already" in lure(*FOLDERS).err
    assert lure(*FOLDERS, "--skip-existing").code == 0
    assert [path.read_bytes() for path in Path("out").iterdir()] == [b"whole"]
    assert lure(*FOLDERS, "--overwrite").code == 0
    assert [path.name for path in Path("out").iterdir()] == [f"{decomposed}.png"]
    save_png(Path(f"v/{composed}.png"), np.zeros((32, 40, 3), np.uint8))
    assert "both stand for" in lure(*FOLDERS).err
    done = lure("restore", "--vis", "v", "-o", "one/")
    assert done.code == 2 and "would both be written" in done.err


@pytest.mark.parametrize("dry", [["--dry-run"], []])
def test_a_list_with_a_missing_file_is_refused_alike(
    lure: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dry: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_folder(1)
    Path("t.csv").write_text("ir,vis\np0000.png,p0000.png\ntypo.png,p0000.png\n")
    done = lure(*FOLDERS, "--pair-file", "t.csv", *dry)
    assert done.code == 2 and "t.csv, line 3" in done.err and "typo.png: no such file" in done.err
    assert not Path("out").exists()
    Path("t.csv").write_text("ir,vis\n.\\p0000.png,p0000.png\n")
    assert lure(*FOLDERS, "--pair-file", "t.csv", *dry).code == 0


@pytest.mark.parametrize("option", [("--device", "toaster"), ("--device", "cuda:99"), ("--dtype", "float3")])
def test_dry_run_refuses_what_the_run_does(lure: Run, here: Path, option: tuple[str, str]) -> None:
    make_folder(1)
    for command in (FOLDERS, ["restore", "--vis", "v", "-o", "out"]):
        dry, run = lure(*command, *option, "--dry-run"), lure(*command, *option)
        assert dry.code == run.code == 2 and dry.err == run.err and dry.out == ""
