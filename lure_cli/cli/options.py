"""Options that several commands share, declared once."""

from __future__ import annotations

from typing import Annotated

import typer

Strength = Annotated[
    float, typer.Option(help="How much of the restoration is done: 0 none, 1 all that the prompt asks, up to 2.")
]
Recursive = Annotated[bool, typer.Option("--recursive", "-r", help="Sub-folders too; they are kept.")]
IrRange = Annotated[
    str,
    typer.Option(
        help="What of the infrared's numbers becomes black and white: auto, full (as they are), percentile or MIN,MAX."
    ),
]
ResizeIr = Annotated[
    bool, typer.Option("--resize-ir", help="Bring an infrared of another size to that of the visible first.")
]
Tile = Annotated[str, typer.Option(help="Side of tiles for large images: auto, pixels, or 0 (one piece).")]
Overlap = Annotated[
    int | None, typer.Option(help="Pixels that tiles see beyond their edges; the default leaves no seam.")
]
MaxPixels = Annotated[int, typer.Option(help="Larger images (width x height) are refused.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Dtype = Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")]
Threads = Annotated[int | None, typer.Option(help="CPU threads to compute with; the default is torch's.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")]
SkipExisting = Annotated[bool, typer.Option("--skip-existing", help="Leave out what is done: resumes a job.")]
Shard = Annotated[str | None, typer.Option(help="i/n: the i-th of n equal parts, for job arrays.")]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first one that fails.")]
AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON for each result on stdout.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Only errors.")]
