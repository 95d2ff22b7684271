"""`lure fuse`."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lure_cli.cli.interrupt import interruptible
from lure_cli.cli.output import SIDES, describe, emit, emit_json, no_progress_bars, note, show_error
from lure_cli.errors import LureError

if TYPE_CHECKING:
    from lure_cli.tasks.fuse import Plan, Result

_SHOWN = 3
"""How many notes of one kind are printed for a folder; the rest is counted (and in the records of --json)."""


def fuse(
    ir: Annotated[
        str,
        typer.Option(help="Infrared image, folder, pattern in quotes or - (standard input); or clip, camera or URL."),
    ],
    vis: Annotated[str, typer.Option(help="Visible image, folder, pattern or -; or clip, camera or URL.")],
    prompt: Annotated[
        str | None,
        typer.Option(help="What is wrong with the pair, such as 'haze' or 'low light and ir noise'; 'auto' finds out."),
    ] = None,
    prompt_ir: Annotated[str | None, typer.Option(help="What is wrong with the infrared image.")] = None,
    prompt_vis: Annotated[str | None, typer.Option(help="What is wrong with the visible image.")] = None,
    prompt_file: Annotated[
        Path | None, typer.Option(help="CSV (stem,prompt) or JSON Lines with a prompt for each pair.")
    ] = None,
    strength: Annotated[
        float, typer.Option(help="How much of the restoration is done: 0 none, 1 all that the prompt asks, up to 2.")
    ] = 1.0,
    strength_ir: Annotated[float | None, typer.Option(help="The same for the infrared image alone.")] = None,
    strength_vis: Annotated[float | None, typer.Option(help="The same for the visible image alone.")] = None,
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", help="File, folder, template such as 'out/{folder}/{stem}.png', or -."),
    ] = None,
    bits: Annotated[int, typer.Option(help="Bits a channel of the output: 8, or 16 (PNG, TIFF; clips: .mkv).")] = 8,
    fps: Annotated[
        str | None, typer.Option(help="Clips: frames a second of folders of numbered pictures, as 25 or 30000/1001.")
    ] = None,
    sync: Annotated[
        str, typer.Option(help="Clips: frames pair by index or by time; auto: index, if the frame rates are equal.")
    ] = "auto",
    length: Annotated[
        str, typer.Option(help="Clips of unequal length: shortest, or equal (refuse them).")
    ] = "shortest",
    check_every: Annotated[
        int, typer.Option(help="Clips, prompt auto: frames from one look for degradations to the next.")
    ] = 25,
    codec: Annotated[str, typer.Option(help="Clips: auto, h264, h265, vp9, mpeg4 or ffv1 (lossless).")] = "auto",
    crf: Annotated[int | None, typer.Option(help="Clips: constant rate factor; lower is better and larger.")] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Sub-folders too; they are kept.")] = False,
    pair: Annotated[
        str | None, typer.Option(help="How files of two folders find each other: stem (default), name, regex or csv.")
    ] = None,
    pair_regex: Annotated[
        str | None, typer.Option(help=r"For regex: partners have the same groups, such as 'frame_(\d+)'.")
    ] = None,
    pair_file: Annotated[Path | None, typer.Option(help="For csv: a file with the columns ir,vis[,name].")] = None,
    ir_range: Annotated[
        str,
        typer.Option(help="What of the infrared's numbers becomes black and white: auto, full, percentile or MIN,MAX."),
    ] = "auto",
    resize_ir: Annotated[
        bool, typer.Option("--resize-ir", help="Bring an infrared of another size to that of the visible.")
    ] = False,
    align: Annotated[str, typer.Option(help="Register the infrared to the visible first: auto, affine or none.")] = (
        "none"
    ),
    align_once: Annotated[
        bool, typer.Option("--align-once", help="One transform for all pairs: cameras fixed to each other.")
    ] = False,
    tile: Annotated[str, typer.Option(help="Side of tiles for large images: auto, pixels, or 0 (one piece).")] = "auto",
    overlap: Annotated[
        int | None, typer.Option(help="Pixels that tiles see beyond their edges; the default leaves no seam.")
    ] = None,
    max_pixels: Annotated[int, typer.Option(help="Larger images (width x height) are refused.")] = 200_000_000,
    weights: Annotated[
        str, typer.Option(help="Shipped name, .safetensors or .onnx file, or owner/repo[@revision].")
    ] = "lure-small",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads to compute with; the default is torch's.")] = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile the network first (torch.compile): a minute, for long jobs.")
    ] = False,
    backend: Annotated[str, typer.Option(help="auto (as the weights want it), torch, or onnx (onnxruntime).")] = "auto",
    engine: Annotated[str, typer.Option(help="local, or ray: on a Ray cluster.")] = "local",
    workers: Annotated[int | None, typer.Option(help="Worker processes of the engine ray.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave out pairs that are done: resumes a job.")
    ] = False,
    limit: Annotated[int | None, typer.Option(help="At most so many pairs; of a clip, so many frames.")] = None,
    shard: Annotated[str | None, typer.Option(help="i/n: the i-th of n equal parts, for job arrays.")] = None,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first pair that fails.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be fused to what.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON a pair on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only errors.")] = False,
) -> None:
    """Fuse a pair, all pairs of two folders, or clips.

    Exit codes: 0 done, 1 some pairs failed or a clip was cut short, 2 bad usage or input, 130 interrupted (finished
    files are whole).
    """
    from lure_cli.tasks import fuse as task
    from lure_cli.tasks import video
    from lure_cli.tasks.inputs import ReadOptions
    from lure_cli.tasks.pairing import Pairing

    if output == "-" and as_json:
        raise LureError("--json and -o - both want standard output", "give the picture a file, or leave --json out")
    if quiet:
        no_progress_bars()
    by = pair or ("regex" if pair_regex is not None else "csv" if pair_file is not None else "stem")
    options = task.FuseOptions(
        ir=Path(ir),
        vis=Path(vis),
        output=output,
        prompt=prompt,
        prompt_ir=prompt_ir,
        prompt_vis=prompt_vis,
        prompt_file=prompt_file,
        strength=strength,
        strength_ir=strength_ir,
        strength_vis=strength_vis,
        pairing=Pairing(by, pair_regex, pair_file, recursive),  # type: ignore[arg-type]  # checked there
        read=ReadOptions(ir_range, resize_ir, align, align_once, max_pixels),
        bits=bits,
        weights=weights,
        device=device,
        dtype=dtype,
        threads=threads,
        compiled=compiled,
        backend=backend,
        tile=tile,
        overlap=overlap,
        overwrite=overwrite,
        skip_existing=skip_existing,
        limit=limit,
        shard=shard,
        fail_fast=fail_fast,
        engine=engine,
        workers=workers,
    )
    if video.wants_video(ir, vis, output):
        from lure_cli.cli.video import fuse_video

        clips = video.VideoOptions(options, ir, vis, fps, sync, length, check_every, codec, crf)
        fuse_video(video.plan_video(clips, None if quiet else note), dry_run=dry_run, as_json=as_json, quiet=quiet)
        return
    if (fps, sync, length, codec, crf) != (None, "auto", "shortest", "auto", None):
        raise LureError(
            "--fps, --sync, --length, --codec and --crf are for clips", "give video files, or a video to -o"
        )
    plan = task.plan_fuse(options, None if quiet else note)
    for path in plan.unmatched:
        note(f"unmatched: {path}")
    if not quiet and prompt_file is None and any((prompt, prompt_ir, prompt_vis)) and plan.requests:
        said = plan.requests[0]
        told = {m: "to be examined" if m in said.auto else ", ".join(getattr(said.prompt, m)) or "none" for m in SIDES}
        note("prompt: " + "; ".join(f"{SIDES[m]}: {text}" for m, text in told.items()))
    if dry_run:
        for planned, _ in plan.jobs:
            status = "skipped" if task.finished(planned, plan.options) else "planned"
            if as_json:
                paths = {"ir": str(planned.ir), "vis": str(planned.vis), "output": str(planned.output)}
                emit_json({"name": planned.name, "status": status} | paths)
            else:
                emit(f"{status}: {planned.ir} + {planned.vis} -> {planned.output}")
        return
    with interruptible() as stop:
        counts, failed = _carry_out(plan, task.fuse(plan, stop), as_json=as_json, quiet=quiet)
        left = len(plan.pairs) - sum(counts.values())
        if stop() and left:
            note(f"interrupted: {left} of {len(plan.pairs)} pairs are left; --skip-existing goes on from here")
            raise typer.Exit(130)
    if failed:
        raise typer.Exit(1)


def _carry_out(plan: Plan, results: Iterator[Result], *, as_json: bool, quiet: bool) -> tuple[Counter[str], bool]:
    """Show each result as it comes and the sum at the end; how many there were of each status."""
    failed: list[Result] = []
    counts: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    total, started = len(plan.pairs), time.perf_counter()
    for result in results:
        counts[result.status] += 1
        if result.status == "failed":
            failed.append(result)
        if not quiet:
            if result.found:
                sides = "; ".join(f"{SIDES[m]}: {describe(found)}" for m, found in result.found.items())
                note(f"{result.pair.name}: {sides}")
            for said in result.notes:
                kinds[said.kind] += 1
                if kinds[said.kind] <= (1 if said.kind == "rig" else _SHOWN):
                    note(f"note: {said.text}")
        if result.data is not None:
            sys.stdout.buffer.write(result.data)
            sys.stdout.buffer.flush()
        elif as_json:
            emit_json(result.record())
        elif not quiet and result.status == "done":
            emit(str(result.pair.output))
        elif not quiet and result.status == "skipped":
            note(f"skipped: {result.pair.output} exists")
        if not quiet and total > 1:
            left = _time_left(counts, total, time.perf_counter() - started)
            note(f"{sum(counts.values())}/{total} {result.pair.name}: {result.status}{left}")
    seconds = time.perf_counter() - started
    if not quiet:
        for kind, count in kinds.items():
            if count > _SHOWN and kind != "rig":
                note(f"note: {count - _SHOWN} more pairs with such a note ({kind})")
    for result in failed:
        assert result.error is not None
        show_error(result.error)
    if not quiet and total > 1:
        parts = ", ".join(f"{counts[status]} {status}" for status in ("done", "skipped", "failed"))
        rate = f"; {counts['done'] / seconds:.2f} pairs a second" if counts["done"] else ""
        note(f"{parts} of {total} pairs{rate}")
    return counts, bool(failed)


def _time_left(counts: Counter[str], total: int, seconds: float) -> str:
    """', about 1:23:45 left', once there is enough to judge from; pairs that were skipped took no time."""
    worked, left = counts["done"] + counts["failed"], total - sum(counts.values())
    if worked < 10 or not left:
        return ""
    return f", about {timedelta(seconds=round(seconds / worked * left))} left"
