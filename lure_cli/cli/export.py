"""`lure export`: models as files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lure_cli.cli.output import emit, emit_json, note

export = typer.Typer(help="Write a model as a file for other programs.", no_args_is_help=True, rich_markup_mode=None)


@export.callback()
def _root() -> None:
    pass


@export.command()
def onnx(
    weights: Annotated[str, typer.Option(help="Name of shipped weights, or a .safetensors file.")] = "lure-small",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File to write; the default is the weights' name and .onnx.")
    ] = None,
    variant: Annotated[str, typer.Option(help="fp32, or fp16: nearly half the size, for GPUs.")] = "fp32",
    check: Annotated[bool, typer.Option(help="Compare the file's pictures with the model's before it is kept.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON.")] = False,
) -> None:
    """Write a model as ONNX: images of any size and number in, fused pictures out, prompts as vectors.

    The vectors of all prompts are written beside it (NAME.prompts.json). Needs the extra 'export'.
    """
    from dataclasses import asdict

    from lure_cli.tasks.weights.export import ExportOptions, export_onnx

    done = export_onnx(ExportOptions(weights, output, variant, check, overwrite))
    if as_json:
        emit_json(asdict(done) | {"path": str(done.path), "prompts": str(done.prompts)})
        return
    if done.comparison is not None:
        comparison = done.comparison
        note(
            f"compared with the model on {comparison.pictures} pictures: largest difference "
            f"{comparison.difference:.1e} (of 1), PSNR at least {comparison.psnr:.0f} dB"
        )
    emit(str(done.path))
    emit(str(done.prompts))
