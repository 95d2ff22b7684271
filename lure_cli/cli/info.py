"""`lure info`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lure_cli.cli.output import emit, emit_json, printable, show_error, show_weights

if TYPE_CHECKING:
    from lure_cli.tasks.info import FileInfo


def info(
    files: Annotated[list[Path] | None, typer.Argument(help="Image files to look into.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON; of files, one for each.")] = False,
) -> None:
    """Show what image files hold, thermal ones also in degrees; without files: versions, devices and weights."""
    if files:
        _show_files(files, as_json=as_json)
        return
    from lure_cli.tasks.info import collect_info

    environment = collect_info()
    if as_json:
        emit_json(asdict(environment))
        return
    emit(f"lure {environment.lure}, Python {environment.python}, {environment.system}, {environment.threads} threads")
    for title, table in (("packages", environment.packages), ("devices", environment.devices)):
        emit(f"{title}:")
        for key, value in table.items():
            emit(f"  {key:16} {value}")
    emit("weights:")
    for w in environment.weights:
        show_weights(asdict(w))


def _show_files(files: list[Path], *, as_json: bool) -> None:
    from lure_cli.tasks.info import describe_files

    failed = False
    for each in describe_files(files):
        if each.error:
            failed = True
            show_error(each.error)
            if as_json:
                emit_json({"file": str(each.file), "error": each.error.message, "hint": each.error.hint})
        elif as_json:
            emit_json({**asdict(each), "file": str(each.file)})
        else:
            emit(printable(f"{each.file}:"))
            for name, value in _rows(each):
                emit(f"  {name:16} {printable(value)}")
    if failed:
        raise typer.Exit(1)


def _rows(each: FileInfo) -> list[tuple[str, str]]:
    """(name, value) of what is known, for a person."""
    (w, h), colour = each.size, "grey" if each.channels == 1 else "colour"
    rows = [("type", each.type)]
    if each.radiometric is None:
        alpha = ", with alpha" if each.alpha else ""
        rows.append(("picture", f"{w}x{h}, {colour}{alpha}, {each.bits} bits {each.numbers}"))
    span = "" if each.least is None else f"{each.least:.7g} to {each.most:.7g}, mean {each.mean:.7g}"
    r = each.radiometric
    if r is None:
        rows.append(("numbers", span or "none is finite"))
    else:
        if each.least is not None:
            span = f"{each.least:.1f} to {each.most:.1f} degrees Celsius, mean {each.mean:.1f}"
        camera = " ".join(filter(None, (r.make, r.model)))
        rows += [
            ("camera", camera or "not said"),
            ("date", r.date or "not said"),
            ("infrared", f"{w}x{h}"),
            ("temperatures", span or "none"),
            ("emissivity", _number(r.emissivity, "")),
            ("reflected", _number(r.reflected, " degrees Celsius")),
            ("distance", _number(r.distance, " m")),
            ("atmosphere", _number(r.atmosphere, " degrees Celsius")),
            ("humidity", "not said" if r.humidity is None else f"{r.humidity:.0%}"),
            ("photo", "none inside" if r.photo is None else f"{r.photo[0]}x{r.photo[1]}"),
        ]
        if r.photo is not None:
            place = "not said"
            if r.ratio is not None and r.offset is not None:
                place = f"ratio {r.ratio:.3f}, offset {r.offset[0]}, {r.offset[1]} px of the photo"
            rows.append(("alignment", place))
    if each.remark:
        rows += [("maker", each.maker), ("note", each.remark)]
    return rows


def _number(value: float | None, unit: str) -> str:
    return "not said" if value is None else f"{value:.4g}{unit}"
