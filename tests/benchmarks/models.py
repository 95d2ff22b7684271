"""The models that ship, against each other: seconds, arithmetic and peak memory of a pair; not a test.

    python -m tests.benchmarks.models [--weights lure-small,lure-base] [--sizes 640x480] [--runs 9] [--rounds 3]
    python -m tests.benchmarks.models --device cuda --sizes 640x480,1280x1024 --dtypes fp32,bf16,fp16 --json gpu.jsonl

Plain and with prompts for both images, from tensor to tensor. Each figure comes from a process of its own, so that its
peak memory is its own: resident memory of the process on a CPU, what torch has allocated on a GPU. The models take
turns, `--rounds` times, and the table shows the median of the rounds and their spread: a machine's clock drifts. Of
packages, torch, numpy and safetensors are needed, and for ONNX its own. Quote the figures with the machine, and
only when nothing else runs.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import statistics
import tempfile
from pathlib import Path
from typing import Any

from lure_cli.tasks.bench.speed_result import PROMPTS, SpeedOptions, parse_size

ONNX = "onnx"
"""Among the number types: the model's ONNX file, run by onnxruntime."""
Row = tuple[str, str, str, str]
"""Weights, size, number type, prompt."""


def measure(row: Row, file: str, device_name: str, threads: int | None, runs: int, pipe: Any) -> None:
    """In a process of its own: send what was measured, or why it could not be."""
    try:
        pipe.send(_measure(row, file, device_name, threads, runs))
    except Exception as error:
        pipe.send({"error": f"{type(error).__name__}: {error}".splitlines()[0]})


def _measure(row: Row, file: str, device_name: str, threads: int | None, runs: int) -> dict[str, Any]:
    import numpy as np
    import torch

    from lure_cli.core.devices import DTYPES, autocast, pick_device
    from lure_cli.core.model.checkpoint import load_model
    from lure_cli.core.model.cost import pair_gflop
    from lure_cli.core.model.engine import TorchEngine
    from lure_cli.tasks.bench.speed_row import WARM, clock, peak_memory, rendered_pair

    if threads is not None:
        torch.set_num_threads(threads)
    _, size, dtype, prompt = row
    width, height = parse_size(size)
    device = pick_device(device_name)
    record: dict[str, Any] = {}
    if dtype == ONNX:
        from lure_cli.core.onnx.runtime import OnnxEngine, load_onnx

        engine: Any = OnnxEngine(*load_onnx(Path(file), device.type)[:2])
        record["provider"] = engine.model.provider
    else:
        model, text, _ = load_model(Path(file))
        record["gflop"] = round(pair_gflop(model, height, width)[prompt != "none"], 1)
        engine = TorchEngine(model, text, device, DTYPES[dtype])
    of_vis, of_ir = PROMPTS[prompt]
    images = [x.astype(np.float32) / 255 for x in rendered_pair(width, height)]
    ir, vis = engine.image(images[0][..., None]), engine.image(images[1])
    t_ir, t_vis = (engine.vectors([(name,) if name else ()]) for name in (of_ir, of_vis))
    seconds = []
    with torch.inference_mode(), autocast(device, DTYPES.get(dtype, torch.float32)):
        for run in range(WARM + runs):
            start = clock(device)
            engine.model(ir, vis, t_ir, t_vis)
            if run >= WARM:
                seconds.append(clock(device) - start)
    return record | {"seconds": statistics.median(seconds), "memory_mib": round(peak_memory(device))}


def in_turn(args: argparse.Namespace, rows: list[Row], files: dict[tuple[str, bool], str]) -> dict[Row, dict[str, Any]]:
    """Every row, `--rounds` times; rows stand so that the models take turns."""
    spawn = multiprocessing.get_context("spawn")
    rounds: dict[Row, list[dict[str, Any]]] = {row: [] for row in rows}
    for _ in range(args.rounds):
        for row in rows:
            here, there = spawn.Pipe(duplex=False)
            file = files[row[0], row[2] == ONNX]
            process = spawn.Process(target=measure, args=(row, file, args.device, args.threads, args.runs, there))
            process.start()
            there.close()
            try:
                rounds[row].append(here.recv())
            except EOFError:
                rounds[row].append({"error": "the process ended early"})
            process.join()
    merged = {}
    for row, each in rounds.items():
        merged[row] = each[0] | next((r for r in each if "error" in r), {})
        if "error" not in merged[row]:
            seconds = [r["seconds"] for r in each]
            merged[row]["seconds"] = statistics.median(seconds)
            merged[row]["spread"] = [min(seconds), max(seconds)]
            merged[row]["memory_mib"] = max(r["memory_mib"] for r in each)
    return merged


def main() -> None:
    """Print a Markdown table; with --json also write a line a row."""
    from lure_cli.tasks.bench.speed import find_machine
    from lure_cli.tasks.weights.find import resolve_weights

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="lure-small,lure-base")
    parser.add_argument("--sizes", default="640x480")
    parser.add_argument("--dtypes", default="fp32,bf16,onnx", help="fp32, bf16, fp16, onnx")
    parser.add_argument("--prompts", default="none,both")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    weights, dtypes = args.weights.split(","), args.dtypes.split(",")
    rows = [
        (name, size, dtype, prompt)
        for size in args.sizes.split(",")
        for dtype in dtypes
        for prompt in args.prompts.split(",")
        for name in weights
    ]
    with tempfile.TemporaryDirectory() as folder:
        files = {(name, False): str(resolve_weights(name)) for name in weights}
        if ONNX in dtypes:
            from lure_cli.tasks.weights.export import ExportOptions, export_onnx

            for n, name in enumerate(weights):
                options = ExportOptions(name, Path(folder, f"{n}.onnx"), check=False)
                files[name, True] = str(export_onnx(options).path)
        measured = in_turn(args, rows, files)
    here = find_machine(SpeedOptions(device=args.device, threads=args.threads))
    chip = here.processor if here.device == "cpu" else here.device
    machine = f"{chip}, {here.threads} threads, torch {here.torch}, Python {platform.python_version()}"
    print(f"{machine}; {args.rounds} rounds of {args.runs} pairs\n")
    print("| size | type | prompts | weights | GFLOP | s a pair (rounds) | GFLOP/s | MiB |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    lines = []
    gflop = {(row[0], row[1], row[3]): r["gflop"] for row, r in measured.items() if "gflop" in r}
    for row, r in measured.items():
        name, size, dtype, prompt = row
        lines.append(
            json.dumps({"weights": name, "size": size, "type": dtype, "prompts": prompt} | r | {"on": machine})
        )
        if "error" in r:
            print(f"| {size} | {dtype} | {prompt} | {name} | {r['error']} | - | - | - |")
            continue
        count, (low, high) = gflop.get((name, size, prompt)), r["spread"]
        rate = f"{count / r['seconds']:.0f}" if count else "-"
        print(
            f"| {size} | {dtype} | {prompt} | {name} | {count or '-'} | "
            f"{r['seconds']:.4g} ({low:.4g} to {high:.4g}) | {rate} | {r['memory_mib']} |"
        )
    if args.json:
        args.json.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
