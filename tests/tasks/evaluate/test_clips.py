"""`lure eval` of clips: files and folders of frames, what belongs together, errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lure_cli.core import metrics
from lure_cli.core.metrics.flicker import Motion, optical_flow
from lure_cli.errors import LureError
from lure_cli.tasks.evaluate.clips import are_clips, evaluate_clips, plan_clips
from lure_cli.tasks.evaluate.images import EvaluateOptions
from tests.helpers.files import Outcome

SIZE = (48, 64)
COUNT = 5


def scene(t: float, seed: int) -> np.ndarray:
    """A smooth texture that moves one pixel a frame to the right, uint8 (H, W)."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(float)
    x = x - t + 7 * seed
    return np.rint(128 + 50 * np.sin(x / 5) * np.cos(y / 6) + 30 * np.sin((x + 2 * y) / 9)).astype(np.uint8)


@pytest.fixture
def clips(tmp_path: Path) -> dict[str, Path]:
    """Folders of frames: both sources, a fusion that is steady, and one whose brightness goes up and down."""
    folders = {name: tmp_path / name for name in ("ir", "vis", "steady", "flicker")}
    for folder in folders.values():
        folder.mkdir()
    for t in range(COUNT):
        ir, vis = scene(t, 0), scene(t, 1)
        mean = (ir.astype(int) + vis) // 2
        frames = {"ir": ir, "vis": np.repeat(vis[..., None], 3, axis=2), "steady": mean, "flicker": mean + 8 * (t % 2)}
        for name, frame in frames.items():
            Image.fromarray(frame.astype(np.uint8)).save(folders[name] / f"{t + 3:04d}.png")
    return folders


def options(clips: dict[str, Path], *fused: str, **more: object) -> EvaluateOptions:
    fused_clips = tuple((name, clips[name]) for name in fused)
    return EvaluateOptions(fused_clips, clips["ir"], clips["vis"], **{"jobs": 1, **more})  # type: ignore[arg-type]


def test_values_are_those_of_the_functions(clips: dict[str, Path]) -> None:
    result = evaluate_clips(plan_clips(options(clips, "flicker")))
    assert [c.name for c in result.columns] == ["flowD", "BiSWE", "MS2R"]
    assert len(result.images) == COUNT - 2
    frames = {n: [np.asarray(Image.open(p), np.float32) for p in sorted(clips[n].iterdir())] for n in clips}
    frames["vis"] = [x[..., 0] for x in frames["vis"]]
    a, b, c = frames["flicker"][1:4]

    def motion(name: str) -> Motion:
        x, y, z = frames[name][1:4]
        return Motion(optical_flow(y, x), optical_flow(x, y), optical_flow(y, z), optical_flow(z, y))

    own, sources = motion("flicker"), (motion("ir"), motion("vis"))
    values = result.methods[0].values
    assert values["BiSWE"][1] == pytest.approx(metrics.self_warping_error(a, b, c, own, sources), rel=1e-3)
    assert values["MS2R"][1] == pytest.approx(metrics.motion_smoothness(own, sources), rel=1e-3)
    colour = [np.repeat(x[..., None], 3, axis=2) for x in (a, b)]
    expected = metrics.flow_difference(*colour, sources[1].to_previous)
    assert values["flowD"][1] == pytest.approx(expected, rel=1e-3)


def test_flicker_costs_and_floors_are_measured(clips: dict[str, Path]) -> None:
    result = evaluate_clips(
        plan_clips(options(clips, "steady", "flicker", baselines=True, frames=4, metrics=("flowd",)))
    )
    means = {m.name: m.summary["flowD"].mean for m in result.methods}
    assert len(result.images) == 2
    assert means["flicker"] > means["steady"] + 8
    assert means["mean"] == pytest.approx(means["steady"], abs=0.6)  # one rounds up, the other down
    assert {"guided-filter", "copy-vis"} <= set(means)


def test_a_video_file_is_a_clip(clips: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("av")
    from tests.helpers.clips import make_clip

    frames = [np.repeat(scene(t, 1)[..., None], 3, axis=2) for t in range(COUNT)]
    file = make_clip(tmp_path / "fused.mp4", frames)
    assert are_clips(options({**clips, "fused": file}, "fused"))
    assert not are_clips(options(clips, "steady"))
    assert are_clips(options(clips, "steady", metrics=("MS2R",)))
    result = evaluate_clips(plan_clips(options({**clips, "fused": file}, "fused", metrics=("flowD",))))
    assert result.methods[0].summary["flowD"].mean < 12


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrics": ("flowD", "VIF")}, "VIF is measured on images"),
        ({"frames": 2}, "no frame with two neighbours"),
        ({"common": True}, "--common is for images"),
        ({"by_colour": True}, "--a and --b are images"),
        ({"vis": None}, "belong together"),
        ({"ir": None, "vis": None}, "motion in their sources"),
        ({"reference": Path("vis")}, "no references"),
        ({"fused": ()}, "nothing to evaluate"),
        ({"fused": (("x", Path("nowhere.mp4")),)}, "no such file"),
        ({"fused": (("visible", Path("vis")),)}, "cannot be called 'visible'"),
        ({"fused": (("mean", Path("vis")),), "baselines": True}, "cannot be called 'mean'"),
        ({"fused": (("", Path("{method}/{stem}.mp4")),)}, "a template names images"),
        ({"metrics": ()}, "names no metric"),
    ],
)
def test_what_is_refused(clips: dict[str, Path], change: dict[str, object], message: str) -> None:
    given = {"fused": (("steady", clips["steady"]),), "ir": clips["ir"], "vis": clips["vis"], **change}
    with pytest.raises(LureError, match=message):
        plan_clips(EvaluateOptions(**given))  # type: ignore[arg-type]


def test_a_clip_that_ends_early_or_has_another_size(clips: dict[str, Path]) -> None:
    (clips["steady"] / "0007.png").unlink()
    with pytest.raises(LureError, match="ends after 4 frames"):
        evaluate_clips(plan_clips(options(clips, "steady", metrics=("flowD",))))
    assert len(evaluate_clips(plan_clips(options(clips, "steady", metrics=("flowD",), frames=4))).images) == 2
    Image.fromarray(scene(0, 0)[:40]).save(clips["steady"] / "0004.png")
    with pytest.raises(LureError, match="is 64x40 but the visible clip is 64x48"):
        evaluate_clips(plan_clips(options(clips, "steady", metrics=("flowD",))))


def test_in_the_shell(clips: dict[str, Path], lure: Callable[..., Outcome]) -> None:
    base = ["eval", "--ir", clips["ir"], "--vis", clips["vis"], "--fused", clips["steady"], "--jobs", "1"]
    done = lure(*base, "--metrics", "flowD", "--frames", "4", "--json")
    record = json.loads(done.out)
    assert record["columns"] == [{"name": "flowD", "better": "lower", "unit": "grey levels"}]
    assert record["methods"][0]["summary"]["flowD"]["count"] == 2
    assert "2 frames with two neighbours" in done.err
    refused = lure(*base, "--metrics", "VIF,flowD")
    assert refused.code == 2
    assert "measured on images" in refused.err
    images = lure("eval", "--fused", clips["steady"], "--metrics", "EN", "--frames", "4")
    assert images.code == 2 and "counts the frames of clips" in images.err
    assert "not clips" in lure(*base, "--metrics", "flowD", "--html", "out.html").err
