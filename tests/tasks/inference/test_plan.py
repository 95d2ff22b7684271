"""One way for a job: whatever is fused or restored, faults are named in one order, and torch is not imported for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lure_cli.errors import LureError
from lure_cli.tasks.inference.options import FuseOptions, ReadOptions, RestoreOptions
from lure_cli.tasks.inference.plan import Plan, plan_fuse, plan_restore
from lure_cli.tasks.video.plan import VideoOptions, plan_video
from tests.helpers.files import ROOT, save_png


def fuse(source: str, suffix: str, **options: Any) -> Plan[Any, Any]:
    return plan_fuse(FuseOptions(Path(source), Path("v.png"), f"out{suffix}", **options))


def restore(source: str, suffix: str, **options: Any) -> Plan[Any, Any]:
    return plan_restore(RestoreOptions(ir=Path(source), output=f"out{suffix}", **options))


def clips(source: str, suffix: str, **options: Any) -> Plan[Any, Any]:
    suffix = ".mp4" if suffix == ".png" else suffix
    return plan_video(VideoOptions(FuseOptions(Path(), Path(), f"out{suffix}", **options), source, "v.mp4"))


def on_ray(source: str, suffix: str, **options: Any) -> Plan[Any, Any]:
    return fuse(source, suffix, engine="ray", workers=2, **options)


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "input": ({"source": "none.png"}, "none.png: no such file"),
    "output": ({"suffix": ".txt"}, ".txt"),
    "options": ({"tile": "7"}, "--tile 7"),
    "reading": ({"read": ReadOptions(ir_range="warm")}, "warm"),
    "prompt": ({"prompt": "a cat on a sofa"}, "does not say what is wrong"),
    "shard": ({"shard": "3/2"}, "--shard 3/2"),
    "existing": ({}, "exists already"),
    "weights": ({"overwrite": True, "weights": "lure-smal"}, "lure-small"),
}
"""What is looked at, in that order; a fault in it; what is said of that."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("i.png", "v.png", "out.png"):
        save_png(Path(name), np.zeros((8, 8), np.uint8))
    for name in ("i.mp4", "v.mp4", "out.mp4"):
        Path(name).write_bytes(b"not looked into")
    return tmp_path


@pytest.mark.parametrize("plan", [fuse, restore, clips, on_ray])
def test_faults_are_named_in_one_order(plan: Callable[..., Plan[Any, Any]], here: Path) -> None:
    """All faults at once; each that is mended uncovers the next."""
    if plan is clips:
        pytest.importorskip("av")
    good = {"source": "i.mp4" if plan is clips else "i.png", "suffix": ".png"}
    steps = [step for step in FAULTS if not (step == "shard" and plan is clips)]  # a pair of clips is no folder
    for number, step in enumerate(steps):
        options: dict[str, Any] = dict(good)
        for later in steps[number:]:
            options |= FAULTS[later][0]
        if step != "weights":
            options["overwrite"] = False
        with pytest.raises(LureError) as refused:
            plan(**options)
        assert FAULTS[step][1] in f"{refused.value.message} {refused.value.hint}", step
    planned = plan(**good, overwrite=True, prompt="noise", limit=1)
    assert len(planned.items) == len(planned.requests) == 1
    assert planned.requests[0].prompt.ir == ("noise",)


def test_no_torch_for_a_plan_or_a_refusal(here: Path) -> None:
    code = (
        "import sys\n"
        "from tests.tasks.inference.test_plan import clips, fuse, restore\n"
        "for plan, source in ((fuse, 'i.png'), (restore, 'i.png'), (clips, 'i.mp4')):\n"
        "    for options in ({'overwrite': True, 'prompt': 'noise'}, {}):\n"
        "        try: plan(source, '.png', **options)\n"
        "        except Exception as error: print(error)\n"
        "print('torch' in sys.modules)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert [line.split()[-2:] for line in done.stdout.splitlines()[:-1]] == [["exists", "already"]] * 3
    assert done.stdout.splitlines()[-1] == "False"
