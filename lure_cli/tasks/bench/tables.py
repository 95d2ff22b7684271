"""Its tables."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict
from typing import Any

from lure_cli.tasks.bench.result import MEAN, SELF, Bench, defined
from lure_cli.tasks.report.table import Cell, Table, format_number, markdown_table, marks_of


def to_dict(found: Bench) -> dict[str, Any]:
    """JSON-ready: means by split, metric, case and method, and the values of every image; undefined is null, and so is
    the self-PSNR of equal images."""
    from lure_cli.tasks.bench.adherence import honesty_records

    honesty = honesty_records(found)
    return {
        "convention": found.convention,
        "prompts": dict(found.prompts),
        **({"wrong_prompts": {c: asdict(p) for c, p in found.wrong.items()}, "honesty": honesty} if honesty else {}),
        "methods": list(found.methods),
        "means": {
            split: {
                metric: {
                    case: {m: defined(found.mean(case, m, metric, split)[0]) for m in found.methods}
                    for case in found.values
                }
                | {MEAN: {m: defined(found.mean_of_degraded(m, metric, split)) for m in found.methods}}
                for metric in found.metrics
            }
            for split in found.splits
        },
        "images": {
            case: {m: {i: {k: defined(v) for k, v in x.items()} for i, x in y.items()} for m, y in of.items()}
            for case, of in found.values.items()
        },
    }


def tables(found: Bench) -> list[Table]:
    """One table a metric: cases x methods, the best method of each case marked; means of the degraded cases below.
    Then, if there were runs with wrong prompts, one of honesty for each weights file."""
    from lure_cli.tasks.bench.adherence import honesty_tables

    made = []
    images = max(
        (n for case in found.values for m in found.methods if (n := found.mean(case, m, "SSIM")[1])), default=0
    )
    for metric in found.metrics:
        rows = []
        for label, means in found.rows(metric):
            ranks = [
                float(1 + sum(other > mean for other in means)) if math.isfinite(mean) else math.nan for mean in means
            ]
            decimals = 2 if metric == SELF else 3
            if len(means) == 1:
                ranks = [math.nan]
            cells = [
                Cell(format_number(mean, decimals), mark) for mean, mark in zip(means, marks_of(ranks), strict=True)
            ]
            rows.append((label, tuple(cells)))
        title = f"{metric} ↑, against the clean sources, convention {found.convention}, up to {images} images a case"
        if metric == SELF:
            title = f"{metric} ↑ in dB, against the method's own fusion of the clean pair, up to {images} images a case"
        made.append(Table(title, ("case", *found.methods), tuple(rows), ()))
    return made + honesty_tables(found)


def to_markdown(found: Bench) -> str:
    """The tables, one below the other."""
    return "\n".join(map(markdown_table, tables(found)))


def to_csv(found: Bench) -> str:
    """One row an image: convention, case, prompt (that of the case), with wrong prompts the wrong one, method, image,
    then the metrics; undefined is empty."""
    from lure_cli.tasks.bench.adherence import told

    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    also = ["wrong_prompt"] if found.wrong else []
    table.writerow(["convention", "case", "prompt", *also, "method", "image", *found.metrics])
    for case, of in found.values.items():
        prompts = [found.prompts[case], *([told(found.wrong[case])] if found.wrong else [])]
        for method, images in of.items():
            for image, values in images.items():
                cells = [repr(values[k]) if math.isfinite(values[k]) else "" for k in found.metrics]
                table.writerow([found.convention, case, *prompts, method, image, *cells])
    return text.getvalue()
