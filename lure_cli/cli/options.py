"""Options that several commands share, declared once, and the groups in which `--help` lists options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

INPUT = "Input"
PROMPTS = "Prompts"
OUTPUT = "Output"
THERMAL = "Thermal"
CLIPS = "Clips"
PAIRING = "Pairing"
LARGE_JOBS = "Large jobs"
MACHINE = "Machine"

Strength = Annotated[
    float,
    typer.Option(
        help="How much of the restoration is done: 0 none, 1 all that the prompt asks, up to 2.",
        rich_help_panel=PROMPTS,
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--output",
        help="File, folder, template such as 'out/{folder}/{stem}.png', or -.",
        rich_help_panel=OUTPUT,
    ),
]
Outputs = Annotated[
    list[str] | None,
    typer.Option(
        "-o",
        "--output",
        help="File, folder, template such as 'out/{folder}/{stem}.png', or -. Of clips also live, and again beside the "
        "file: udp://, rtp://, rtsp://, srt:// or an HLS playlist, out/live.m3u8.",
        rich_help_panel=OUTPUT,
    ),
]
Recursive = Annotated[
    bool, typer.Option("--recursive", "-r", help="Sub-folders too; they are kept.", rich_help_panel=INPUT)
]
IrRange = Annotated[
    str,
    typer.Option(
        help="What of the infrared's numbers becomes black and white: auto, full (as they are), percentile or MIN,MAX "
        "(degrees Celsius, if they are temperatures).",
        rich_help_panel=THERMAL,
    ),
]
VisRange = Annotated[
    str,
    typer.Option(
        help="What of the visible's numbers becomes black and white, as --ir-range; auto finds the 10, 12 or 14 bits "
        "of a camera in 16.",
        rich_help_panel=INPUT,
    ),
]
Alpha = Annotated[
    str,
    typer.Option(
        help="Transparency of the visible image: keep, drop, or ir: it is the infrared image.", rich_help_panel=INPUT
    ),
]
ResizeIr = Annotated[
    bool,
    typer.Option(
        "--resize-ir",
        help="Bring an infrared of another size to that of the visible first.",
        rich_help_panel=THERMAL,
    ),
]
Unit = Annotated[
    str,
    typer.Option(
        help="What the infrared's numbers are: ck (centikelvin), k or c; auto: no temperatures, or the file says it.",
        rich_help_panel=THERMAL,
    ),
]
Emissivity = Annotated[
    float | None,
    typer.Option(help="Of radiometric files, instead of what they say: 0 to 1.", rich_help_panel=THERMAL),
]
Reflected = Annotated[
    float | None,
    typer.Option(help="The same: the reflected temperature, degrees Celsius.", rich_help_panel=THERMAL),
]
Distance = Annotated[float | None, typer.Option(help="The same: to the object, metres.", rich_help_panel=THERMAL)]
Temperature = Annotated[
    str | None,
    typer.Option(
        help="Write the temperatures too, as the result lies: .tif (degrees Celsius), folder or template.",
        rich_help_panel=THERMAL,
    ),
]
Tile = Annotated[
    str,
    typer.Option(help="Side of tiles for large images: auto, pixels, or 0 (one piece).", rich_help_panel=LARGE_JOBS),
]
Overlap = Annotated[
    int | None,
    typer.Option(
        help="Pixels that tiles see beyond their edges; the default leaves no seam.", rich_help_panel=LARGE_JOBS
    ),
]
MaxPixels = Annotated[int, typer.Option(help="Larger images (width x height) are refused.", rich_help_panel=LARGE_JOBS)]
Frame = Annotated[
    str, typer.Option(help="Of animated images: only (they are refused), or first.", rich_help_panel=INPUT)
]
Shard = Annotated[
    str | None, typer.Option(help="i/n: the i-th of n equal parts, for job arrays.", rich_help_panel=LARGE_JOBS)
]
FailFast = Annotated[
    bool, typer.Option("--fail-fast", help="Stop at the first one that fails.", rich_help_panel=LARGE_JOBS)
]
SkipExisting = Annotated[
    bool,
    typer.Option("--skip-existing", help="Leave out what is done: resumes a job.", rich_help_panel=LARGE_JOBS),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.", rich_help_panel=MACHINE)]
Dtype = Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.", rich_help_panel=MACHINE)]
Threads = Annotated[
    int | None, typer.Option(help="CPU threads to compute with; the default is one a core.", rich_help_panel=MACHINE)
]
Backend = Annotated[
    str,
    typer.Option(
        help="auto (small jobs on a CPU: onnxruntime, which starts sooner; else torch), torch, or onnx (onnxruntime).",
        rich_help_panel=MACHINE,
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.", rich_help_panel=OUTPUT)]
AsJson = Annotated[
    bool, typer.Option("--json", help="One line of JSON for each result on stdout.", rich_help_panel=OUTPUT)
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Only errors.", rich_help_panel=OUTPUT)]

BenchWeights = Annotated[
    list[str] | None,
    typer.Option(help="Shipped name, file or owner/repo[@revision]; may be repeated; 'none': no model."),
]
TablesAsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout instead of tables.")]
Csv = Annotated[Path | None, typer.Option(help="Write one row an image.")]
Markdown = Annotated[Path | None, typer.Option(help="Write the tables as Markdown.")]
OnlyResults = Annotated[bool, typer.Option("-q", "--quiet", help="Only results and errors.")]
