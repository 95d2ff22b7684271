"""`lure fuse`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lure_cli.cli import options as o
from lure_cli.cli.jobs import run_job, show_plan, show_prompt
from lure_cli.cli.output import SIDES, no_progress_bars, note
from lure_cli.errors import LureError

if TYPE_CHECKING:
    from lure_cli.tasks.inference.options import FuseOptions


def fuse(
    ir: Annotated[
        str | None,
        typer.Option(
            help="Infrared image, folder, pattern in quotes or - (standard input); or clip, camera or URL.",
            rich_help_panel=o.INPUT,
        ),
    ] = None,
    vis: Annotated[
        str | None,
        typer.Option(
            help="Visible image, folder, pattern or -; or clip, camera or URL. Radiometric files bring their own.",
            rich_help_panel=o.INPUT,
        ),
    ] = None,
    a: Annotated[
        str | None,
        typer.Option(
            "--a",
            help="Instead of --ir and --vis: an image, folder or pattern of any other kind, such as MRI; colours are "
            "those of whichever has some.",
            rich_help_panel=o.INPUT,
        ),
    ] = None,
    b: Annotated[
        str | None,
        typer.Option("--b", help="The other one, such as PET or CT; the result has its size.", rich_help_panel=o.INPUT),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            help="What is wrong with the pair, such as 'haze' or 'low light and ir noise'; 'auto' finds out.",
            rich_help_panel=o.PROMPTS,
        ),
    ] = None,
    prompt_ir: Annotated[
        str | None, typer.Option(help="What is wrong with the infrared image.", rich_help_panel=o.PROMPTS)
    ] = None,
    prompt_vis: Annotated[
        str | None, typer.Option(help="What is wrong with the visible image.", rich_help_panel=o.PROMPTS)
    ] = None,
    prompt_file: Annotated[
        Path | None,
        typer.Option(help="CSV (stem,prompt) or JSON Lines with a prompt for each pair.", rich_help_panel=o.PROMPTS),
    ] = None,
    strength: o.Strength = 1.0,
    strength_ir: Annotated[
        float | None, typer.Option(help="The same for the infrared image alone.", rich_help_panel=o.PROMPTS)
    ] = None,
    strength_vis: Annotated[
        float | None, typer.Option(help="The same for the visible image alone.", rich_help_panel=o.PROMPTS)
    ] = None,
    outputs: o.Outputs = None,
    bits: Annotated[
        int,
        typer.Option(help="Bits a channel of the output: 8, or 16 (PNG, TIFF; clips: .mkv).", rich_help_panel=o.OUTPUT),
    ] = 8,
    provenance: Annotated[
        str | None,
        typer.Option(
            help="Write a map too of what came from infrared (orange), visible (blue) and restoration (white): "
            ".png, .tif, folder or template.",
            rich_help_panel=o.OUTPUT,
        ),
    ] = None,
    fps: Annotated[
        str | None,
        typer.Option(
            help="Frames a second of folders of numbered pictures, as 25 or 30000/1001.", rich_help_panel=o.CLIPS
        ),
    ] = None,
    sync: Annotated[
        str,
        typer.Option(
            help="Frames pair by index or by time; auto: index, if the frame rates are equal.",
            rich_help_panel=o.CLIPS,
        ),
    ] = "auto",
    length: Annotated[
        str, typer.Option(help="Where one is longer: shortest, or equal (refuse them).", rich_help_panel=o.CLIPS)
    ] = "shortest",
    check_every: Annotated[
        int,
        typer.Option(
            help="With the prompt auto: frames from one look for degradations to the next.", rich_help_panel=o.CLIPS
        ),
    ] = 25,
    codec: Annotated[
        str, typer.Option(help="auto, h264, h265, vp9, mpeg4 or ffv1 (lossless).", rich_help_panel=o.CLIPS)
    ] = "auto",
    crf: Annotated[
        int | None,
        typer.Option(help="Constant rate factor; lower is better and larger.", rich_help_panel=o.CLIPS),
    ] = None,
    recursive: o.Recursive = False,
    pair: Annotated[
        str | None,
        typer.Option(
            help="How files of two folders find each other: stem (default), name, regex or csv.",
            rich_help_panel=o.PAIRING,
        ),
    ] = None,
    pair_regex: Annotated[
        str | None,
        typer.Option(
            help=r"For regex: partners have the same groups, such as 'frame_(\d+)'.", rich_help_panel=o.PAIRING
        ),
    ] = None,
    pair_file: Annotated[
        Path | None, typer.Option(help="For csv: a file with the columns ir,vis[,name].", rich_help_panel=o.PAIRING)
    ] = None,
    vis_range: o.VisRange = "auto",
    alpha: o.Alpha = "keep",
    ir_range: o.IrRange = "auto",
    unit: o.Unit = "auto",
    emissivity: o.Emissivity = None,
    reflected: o.Reflected = None,
    distance: o.Distance = None,
    temperature: o.Temperature = None,
    resize_ir: o.ResizeIr = False,
    align: Annotated[
        str,
        typer.Option(
            help="Register the infrared to the visible first: auto, affine or none.", rich_help_panel=o.THERMAL
        ),
    ] = ("none"),
    align_once: Annotated[
        bool,
        typer.Option(
            "--align-once", help="One transform for all pairs: cameras fixed to each other.", rich_help_panel=o.THERMAL
        ),
    ] = False,
    rig: Annotated[
        Path | None,
        typer.Option(
            help="The transform of a fixed rig, from `lure align --once --transform`; nothing is estimated.",
            rich_help_panel=o.THERMAL,
        ),
    ] = None,
    palette: Annotated[
        str | None,
        typer.Option(
            help="Colour by heat what is hot: iron, whitehot, blackhot, hotmetal, lava, arctic, rainbow, inferno, "
            "magma, plasma, viridis, or a colormap of matplotlib.",
            rich_help_panel=o.THERMAL,
        ),
    ] = None,
    palette_from: Annotated[
        str | None,
        typer.Option(
            help="What is hot: above so many degrees Celsius (30), or above a percentile (90%, the default).",
            rich_help_panel=o.THERMAL,
        ),
    ] = None,
    palette_to: Annotated[
        str | None,
        typer.Option(
            help="Where the palette ends, in the same forms; the default is the hottest pixel.",
            rich_help_panel=o.THERMAL,
        ),
    ] = None,
    legend: Annotated[
        bool,
        typer.Option(
            "--legend", help="Add the palette's scale on the right; the picture gets wider.", rich_help_panel=o.THERMAL
        ),
    ] = False,
    tile: o.Tile = "auto",
    overlap: o.Overlap = None,
    max_pixels: o.MaxPixels = 200_000_000,
    frame: o.Frame = "only",
    weights: Annotated[
        str,
        typer.Option(
            help="lure-small, lure-base, a .safetensors or .onnx file, or owner/repo[@revision].",
            rich_help_panel=o.MACHINE,
        ),
    ] = "lure-small",
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
    threads: o.Threads = None,
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Compile the network first (torch.compile): a minute, for long jobs.",
            rich_help_panel=o.MACHINE,
        ),
    ] = False,
    backend: o.Backend = "auto",
    engine: Annotated[
        str, typer.Option(help="local, or ray: on a Ray cluster.", rich_help_panel=o.LARGE_JOBS)
    ] = "local",
    workers: Annotated[
        int | None, typer.Option(help="Worker processes of the engine ray.", rich_help_panel=o.LARGE_JOBS)
    ] = None,
    overwrite: o.Overwrite = False,
    skip_existing: o.SkipExisting = False,
    limit: Annotated[
        int | None, typer.Option(help="At most so many pairs; of a clip, so many frames.", rich_help_panel=o.LARGE_JOBS)
    ] = None,
    shard: o.Shard = None,
    fail_fast: o.FailFast = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be fused to what.", rich_help_panel=o.OUTPUT)
    ] = False,
    as_json: o.AsJson = False,
    quiet: o.Quiet = False,
) -> None:
    """Fuse a pair, all pairs of two folders, or clips.

    Exit codes: 0 done, 1 some pairs failed or a clip was cut short, 2 bad usage or input, 130 interrupted (finished
    files are whole).
    """
    given = locals()
    from lure_cli.tasks.inference import fuse as task
    from lure_cli.tasks.inference.plan import plan_fuse
    from lure_cli.tasks.video import plan as video

    output, live = video.split_outputs(outputs or ())
    if output == "-" and as_json:
        raise LureError("--json and -o - both want standard output", "give the picture a file, or leave --json out")
    options = fuse_options({**given, "outputs": output})
    if quiet:
        no_progress_bars()
    if options.by_colour:
        ir, vis = a, b
    source = vis if ir is None else ir
    assert source is not None
    if video.wants_video(source, source if vis is None else vis, output, live):
        if vis is None:
            raise LureError(f"{source}: no visible clip is given", "give it by --vis")
        if options.by_colour:
            raise LureError("--a and --b are images, not clips", "clips of infrared and visible go to --ir and --vis")
        from lure_cli.cli.video import fuse_video

        clips = video.VideoOptions(
            options,
            source,
            vis,
            fps=fps,
            sync=sync,
            length=length,
            check_every=check_every,
            codec=codec,
            crf=crf,
            live=live,
        )
        fuse_video(video.plan_video(clips, None if quiet else note), dry_run=dry_run, as_json=as_json, quiet=quiet)
        return
    if (fps, sync, length, codec, crf) != (None, "auto", "shortest", "auto", None):
        raise LureError(
            "--fps, --sync, --length, --codec and --crf are for clips", "give video files, or a video to -o"
        )
    plan = plan_fuse(options, None if quiet else note)
    for path in plan.unmatched:
        note(f"unmatched: {path}")
    if not quiet and prompt_file is None and any((prompt, prompt_ir, prompt_vis)) and plan.requests:
        show_prompt(plan.requests[0], SIDES)
    if dry_run:
        show_plan(plan, as_json=as_json)
        return
    run_job(lambda stop: task.fuse(plan, stop), len(plan.items), "pairs", as_json=as_json, quiet=quiet)


def fuse_options(given: Mapping[str, Any]) -> FuseOptions:
    """The options of a job, from arguments by the names of the parameters of `fuse`; what is left out is its default.

    Args:
        given: for example {"ir": "a.png", "vis": "b.png", "outputs": "fused.png", "prompt": "haze"}. `outputs` is one
            string here: a file, a folder, a template, or None. What only concerns clips is not looked at.

    Raises:
        LureError: no image is given or no infrared one; a rig, temperatures or colours that cannot be meant.
    """
    from lure_cli.core.registration.transform_file import read_transform
    from lure_cli.core.thermal.colouring import HeatColours
    from lure_cli.core.thermal.radiometry import Radiometry
    from lure_cli.tasks.inference.options import FuseOptions, ReadOptions
    from lure_cli.tasks.paths.pairing import Pairing

    a = {name: parameter.default for name, parameter in inspect.signature(fuse).parameters.items()} | dict(given)

    def named(options: Any) -> dict[str, Any]:
        return {field.name: a[field.name] for field in fields(options) if field.name in a}

    by_colour = a["a"] is not None or a["b"] is not None
    if by_colour:
        a |= _of_any_kind(a)
    ir, vis, rig = a["ir"], a["vis"], a["rig"]
    if ir is None and vis is None:
        raise LureError("no image is given", "give --ir and --vis, or a radiometric file to --ir alone")
    if ir is None and a["alpha"] != "ir":
        raise LureError("no infrared image is given", "give --ir, or --alpha ir if the visible one holds it")
    by: Any = a["pair"] or ("regex" if a["pair_regex"] is not None else "csv" if a["pair_file"] is not None else "stem")
    read = named(ReadOptions) | {
        "rig": None if rig is None else read_transform(Path(rig)),
        "radiometry": Radiometry(**named(Radiometry)),
    }
    own = named(FuseOptions) | {
        "ir": Path(vis if ir is None else ir),
        "vis": None if vis is None else Path(vis),
        "output": a["outputs"],
        "pairing": Pairing(by, a["pair_regex"], a["pair_file"], a["recursive"]),
        "read": ReadOptions(**read),
        "heat": HeatColours.parse(a["palette"], a["palette_from"], a["palette_to"], a["legend"]),
        "by_colour": by_colour,
    }
    return FuseOptions(**own)


def _of_any_kind(given: Mapping[str, Any]) -> dict[str, Any]:
    """--a and --b as the two images; LureError unless both are given, and nothing else."""
    if given["ir"] is not None or given["vis"] is not None:
        raise LureError("--a and --b stand instead of --ir and --vis", "give one pair of names")
    if given["a"] is None or given["b"] is None:
        raise LureError("--a and --b belong together", "give both images")
    return {"ir": given["a"], "vis": given["b"]}
