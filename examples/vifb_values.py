"""Compare values of `lure eval` with those that VIFB publishes for each image.

    python examples/vifb_values.py TABLE.csv VIFB/output/evaluation_metrics_single

TABLE.csv is what `lure eval --csv` wrote for VIFB's fused images (https://github.com/xingchenzhang/VIFB); the guide
examples/guides/peers.md has the command. VIFB publishes five significant digits. For each metric: how many values there
are, how many agree to all five (one in the last may differ, as they are rounded), and how far the others are off.
"""

from __future__ import annotations

import csv
import math
import statistics
import sys
from pathlib import Path

NAMES = {
    "AG": "Avg_gradient",
    "CE": "Cross_entropy",
    "EI": "Edge_intensity",
    "EN": "Entropy",
    "MI": "Mutinf",
    "PSNR": "Psnr",
    "Qabf": "Qabf",
    "Qcb": "Qcb",
    "Qcv": "Qcv",
    "RMSE": "Rmse",
    "SD": "Variance",
    "SF": "Spatial_frequency",
    "SSIM": "Ssim",
}


def agrees(value: float, published: float) -> bool:
    """Whether they differ by at most one in the fifth significant digit."""
    digit = 10.0 ** (math.floor(math.log10(abs(published))) - 4) if published else 1e-4
    return abs(value - published) <= 1.01 * digit


def main(table: Path, singles: Path) -> None:
    """Print a line a metric, and the methods whose values do not agree."""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    metrics = [name for name in NAMES if rows and name in rows[0]]
    if not metrics:
        sys.exit(f"{table}: holds none of {', '.join(NAMES)}")
    print("| metric | values | agree | median difference | largest | methods that differ |")
    print("| --- | ---: | ---: | ---: | ---: | --- |")
    for name in metrics:
        off: list[float] = []
        differ: dict[str, int] = {}
        good = 0
        for row in rows:
            file_of_one = singles / f"{row['image']}_{row['method']}_{NAMES[name]}.txt"
            if not file_of_one.is_file():  # a method of one's own
                continue
            published, value = float(file_of_one.read_text()), float(row[name])
            off.append(abs(value - published) / (abs(published) or 1.0))
            if agrees(value, published):
                good += 1
            else:
                differ[row["method"]] = differ.get(row["method"], 0) + 1
        if not off:
            sys.exit(f"{singles}: holds no values of the methods and images of {table}")
        who = "all" if len(differ) > 5 else ", ".join(f"{m} ({n})" for m, n in sorted(differ.items()))
        print(f"| {name} | {len(off)} | {good} | {statistics.median(off):.2%} | {max(off):.2%} | {who} |")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
