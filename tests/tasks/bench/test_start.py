"""`lure bench start`: its figures hang together, and what goes wrong is said. How long it takes is not tested."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lure_cli.errors import LureError
from lure_cli.tasks.bench import start
from lure_cli.tasks.bench.start_result import PARTS, Start, StartMachine, StartOptions, StartRow, start_table
from tests.helpers.files import Outcome

Run = Callable[..., Outcome]


def test_figures_of_a_backend(lure: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = lure("bench", "start", "--size", "64x48", "--backends", "onnx", "--prompts", "both", "--runs", "1", "--json")
    assert done.code == 0
    (row,) = map(json.loads, done.out.splitlines())
    assert (row["size"], row["backend"], row["prompt"]) == ("64x48", "onnx", "both")
    assert list(row["parts"]) == list(PARTS)
    assert all(seconds > 0 for seconds in row["parts"].values())
    assert row["parts"]["command"] > row["parts"]["interpreter"]  # which is a part of what everything takes
    assert row["least"] == row["command"] == row["most"]
    assert 0 < row["warm"] < row["command"]
    assert 30 < row["memory"] < 4000
    assert row["machine"]["threads"] >= 1
    assert "1/1 onnx, prompt both: measured" in done.err
    assert not any(tmp_path.iterdir())


def test_parts_are_the_time_between_stamps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each from the one before to its own, the first from the parent's and the last to it."""
    clock = iter([100.0, 112.0])
    monkeypatch.setattr(start.time, "time", lambda: next(clock))
    answer = {"stamps": [101.0, 102.5, 104.5, 105.0, 106.0, 109.0, 109.5], "memory": 1.0, "warm": 0.0}
    monkeypatch.setattr(start, "_run", lambda *_: f"a line of something else\n{json.dumps(answer)}\n")
    parts, _ = start._run_steps({"further": 0}, [])
    assert list(parts.values()) == [1.0, 1.5, 2.0, 0.5, 1.0, 3.0, 0.5, 2.5]
    assert sum(parts.values()) == 12


def test_medians_leave_out_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds, calls = iter([50.0, 3.0, 1.0, 2.0]), []
    clock = [0.0]

    def run(code: str, *arguments: str) -> str:
        calls.append(code)
        if code == start._COMMAND:
            clock[0] += next(seconds)
            return ""
        begun = clock[0]
        further = json.loads(arguments[0])["further"]
        clock[0] += 8.0
        answer = {"stamps": [begun + n for n in range(1, 8)], "memory": 300.0, "warm": 0.25 if further else 0.0}
        return json.dumps(answer)

    monkeypatch.setattr(start, "_run", run)
    monkeypatch.setattr(start.time, "time", lambda: clock[0])
    row = StartRow("64x48", "torch", "both")
    (measured,) = start.measure_start(StartOptions(size="64x48", runs=3), (row,))
    assert measured.error is None
    assert (measured.command, measured.least, measured.most) == (2.0, 1.0, 3.0)
    assert list(measured.parts.values()) == [1.0] * len(PARTS)
    assert (measured.warm, measured.memory) == (0.25, 300.0)
    assert calls == [start._COMMAND, start._STEPS] * 4 + [start._STEPS]


def test_a_row_that_fails_does_not_end_the_others(lure: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(options: Any, row: StartRow, *_: Any) -> Start:
        if row.prompt == "none":
            raise LureError("it is broken", "mend it")
        return Start(row, 0.9, 0.8, 1.1, dict.fromkeys(PARTS, 0.1), 0.3, 280.0)

    monkeypatch.setattr(start, "_measure_row", measured)
    monkeypatch.setenv("COLUMNS", "180")  # one grid
    done = lure("bench", "start", "--size", "64x48", "--backends", "torch", "-q")
    assert done.code == 1
    assert done.err == "error: it is broken\nhint: mend it\n"
    lines = [line.split() for line in done.out.splitlines()]
    assert ["torch,", "prompt", "none", *["-"] * (len(PARTS) + 4)] in lines
    assert ["torch,", "prompt", "both", "0.90", "0.80-1.10", *["0.10"] * len(PARTS), "0.300", "280"] in lines


def test_a_command_that_fails_is_told_in_its_own_words() -> None:
    with pytest.raises(LureError, match="no such file") as caught:
        start._run(start._COMMAND, "fuse", "--ir", "no.png", "--vis", "no.png")
    assert caught.value.hint
    with pytest.raises(LureError, match=r"ended early \(exit code 3\)"):
        start._run("raise SystemExit(3)")


def test_stopping_ends_after_the_row_in_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "_measure_row", lambda _, row, *__: Start(row))
    asked = iter([False, True])
    options = StartOptions(size="64x48", backends=("torch",))
    assert len(list(start.measure_start(options, start.plan_start(options), lambda: next(asked)))) == 1


def test_installed_backends_are_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "find_spec", lambda name: None if name == "torch" else object())
    assert {row.backend for row in start.plan_start(StartOptions())} == {"onnx"}
    with pytest.raises(LureError, match="torch is not installed") as caught:
        start.plan_start(StartOptions(backends=("torch",)))
    assert caught.value.hint == "pip install torch"


def test_memory_that_the_system_hides_is_none() -> None:
    hidden = Start(StartRow("64x48", "onnx", "none"), 1, 1, 1, dict.fromkeys(PARTS, 0.1), 0.1, math.nan)
    assert hidden.record()["memory"] is None
    table = start_table(StartMachine("a processor", 4), StartOptions(), [hidden])
    assert table.title == "One pair of 640x480: a processor, 4 threads"


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("--size", "64"), "'64' is not WIDTHxHEIGHT"),
        (("--backends", "compile"), "backend 'compile' is not known"),
        (("--prompts", "fog"), "prompt 'fog' is not known"),
        (("--runs", "0"), "--runs 0"),
        (("--threads", "0"), "--threads 0"),
        (("--weights", "nothing"), "'nothing' are not known"),
    ],
)
def test_bad_usage(args: tuple[str, ...], text: str, lure: Run) -> None:
    done = lure("bench", "start", *args)
    assert done.code == 2
    assert text in done.err
