"""The results of `lure bench fusion` and `lure bench restore`, for people and for other programs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from lure_cli.tasks.bench.adherence import adherence_records, adherence_tables, describe_prompt
from lure_cli.tasks.bench.restoration import FITTED, RestorationSet, RestoreBench, named_wrongly
from lure_cli.tasks.bench.result import MEAN, SELF, FusionBench
from lure_cli.tasks.report.table import Cell, Results, Table, defined, format_number, marks_of


def fusion_results(bench: FusionBench) -> Results:
    """One table a metric: cases x methods, the best method of each case marked; means of the degraded cases below.
    Then, if there were runs with wrong prompts, those of prompt adherence, for each weights file.

    The record holds means by split, metric, case and method, and the values of every image; undefined is null, and so
    is the self-PSNR of equal images. For CSV one row an image: convention, case, prompt (that of the case), with wrong
    prompts the wrong one, method, image, then the metrics.
    """
    adherence = adherence_records(bench)
    wrong_prompts = {case: asdict(prompt) for case, prompt in bench.wrong.items()}
    record = {
        "convention": bench.convention,
        "prompts": dict(bench.prompts),
        **({"wrong_prompts": wrong_prompts, "prompt_adherence": adherence} if adherence else {}),
        "methods": list(bench.methods),
        "means": {
            split: {
                metric: {
                    case: {m: defined(bench.mean(case, m, metric, split)[0]) for m in bench.methods}
                    for case in bench.values
                }
                | {MEAN: {m: defined(bench.mean_of_degraded(m, metric, split)) for m in bench.methods}}
                for metric in bench.metrics
            }
            for split in bench.splits
        },
        "images": {
            case: {m: {i: {k: defined(v) for k, v in x.items()} for i, x in y.items()} for m, y in of.items()}
            for case, of in bench.values.items()
        },
    }
    also = ["wrong_prompt"] if bench.wrong else []
    head = ("convention", "case", "prompt", *also, "method", "image", *bench.metrics)
    return Results((*_fusion_tables(bench), *adherence_tables(bench)), record, head, tuple(_fusion_rows(bench)))


def _fusion_tables(bench: FusionBench) -> Iterator[Table]:
    images = max(
        (n for case in bench.values for m in bench.methods if (n := bench.mean(case, m, "SSIM")[1])), default=0
    )
    for metric in bench.metrics:
        decimals = 2 if metric == SELF else 3
        rows = tuple((label, _cells(means, decimals, marked=len(means) > 1)) for label, means in bench.rows(metric))
        title = f"{metric} ↑, against the clean sources, convention {bench.convention}, up to {images} images a case"
        if metric == SELF:
            title = f"{metric} ↑ in dB, against the method's own fusion of the clean pair, up to {images} images a case"
        yield Table(title, ("case", *bench.methods), rows, ())


def _fusion_rows(bench: FusionBench) -> Iterator[tuple[object, ...]]:
    for case, of in bench.values.items():
        prompts = [bench.prompts[case], *([describe_prompt(bench.wrong[case])] if bench.wrong else [])]
        for method, images in of.items():
            for image, values in images.items():
                yield bench.convention, case, *prompts, method, image, *(values[k] for k in bench.metrics)


def restoration_results(bench: RestoreBench) -> Results:
    """One table a metric: sets x methods, the best one of each set marked.

    The record holds the means of each set and the values of every image; undefined and infinite is null. For CSV one
    row an image and method: set, prompt, method, image, then the metrics.
    """
    record = {
        "methods": list(bench.methods),
        "sets": [
            {
                "set": s.name,
                "modality": s.modality,
                "prompt": s.degradation,
                **({"wrong_prompt": named_wrongly(s)} if bench.wrong else {}),
                "images": bench.count(s.name),
                "means": {m: {k: defined(bench.mean(s.name, m, k)) for k in bench.metrics} for m in bench.methods},
                "identical": {m: bench.identical(s.name, m) for m in bench.methods},
            }
            for s in bench.sets
        ],
        "images": {
            name: {m: {i: {k: defined(v) for k, v in x.items()} for i, x in y.items()} for m, y in of.items()}
            for name, of in bench.values.items()
        },
    }
    rows = (
        (s.name, s.degradation or "", method, image, *(values[k] for k in bench.metrics))
        for s in bench.sets
        for method, images in bench.values[s.name].items()
        for image, values in images.items()
    )
    head = ("set", "prompt", "method", "image", *bench.metrics)
    return Results(tuple(_restoration_tables(bench)), record, head, tuple(rows))


def _restoration_tables(bench: RestoreBench) -> Iterator[Table]:
    titles = {
        "PSNR": "PSNR ↑ in dB against the clean images, 8 bits, all channels, mean over images",
        "SSIM": "SSIM ↑ against the clean images, 8 bits, 7x7 uniform window, mean over channels and images",
        FITTED: "PSNR ↑ in dB after the best gain and offset of each image's brightness, mean over images",
    }
    notes = [
        f"{s.name}, {method}: {count} of {bench.count(s.name)} images came out as their reference to the last bit; "
        "they are not in the mean PSNR"
        for s in bench.sets
        for method in bench.methods
        if (count := bench.identical(s.name, method))
    ]
    if bench.wrong:
        notes.append("wrong prompts: " + ", ".join(f"{s.name}: {named_wrongly(s)}" for s in bench.sets))
    for metric in bench.metrics:
        rows = tuple(
            (s.name, (Cell(str(bench.count(s.name))), *_restoration_cells(bench, s, metric))) for s in bench.sets
        )
        yield Table(titles[metric], ("set", "images", *bench.methods), rows, tuple(notes if metric == "PSNR" else ()))


def _restoration_cells(bench: RestoreBench, each: RestorationSet, metric: str) -> tuple[Cell, ...]:
    means = [bench.mean(each.name, method, metric) for method in bench.methods]
    marked = each.degradation is not None  # of clean images nothing is best but the input
    return _cells(means, 3 if metric == "SSIM" else 2, marked=marked)


def _cells(means: Sequence[float], decimals: int, *, marked: bool) -> tuple[Cell, ...]:
    """One a method, the highest marked."""
    marks = marks_of([-mean if marked else math.nan for mean in means])
    return tuple(Cell(format_number(mean, decimals), mark) for mean, mark in zip(means, marks, strict=True))
