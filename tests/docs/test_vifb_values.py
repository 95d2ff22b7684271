"""`examples/vifb_values.py`: what counts as equal to a published value of five digits, and who is said to differ."""

from __future__ import annotations

import csv
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.files import EXAMPLES

SCRIPT = EXAMPLES / "vifb_values.py"


@pytest.mark.parametrize(
    ("value", "published", "expected"),
    [
        (1.93279, 1.9328, True),
        (1.93285, 1.9328, True),
        (1.93295, 1.9328, False),
        (899.7491, 899.75, True),
        (899.77, 899.75, False),
        (0.0640395, 0.06404, True),
        (-0.12344, -0.12345, True),
        (0.0, 0.0, True),
        (0.001, 0.0, False),
    ],
)
def test_five_digits(value: float, published: float, expected: bool) -> None:
    assert runpy.run_path(str(SCRIPT))["agrees"](value, published) is expected


def test_what_agrees_and_who_differs(tmp_path: Path) -> None:
    singles = tmp_path / "singles"
    singles.mkdir()
    published = {("a", "one"): 7.1, ("b", "one"): 6.2, ("a", "two"): 0.0, ("b", "two"): 4.0}
    for (image, method), value in published.items():
        (singles / f"{image}_{method}_Entropy.txt").write_text(f"{value}\n")
    table = tmp_path / "t.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["convention", "method", "image", "EN", "VIF"])
        for (image, method), value in published.items():
            writer.writerow(["vifb", method, image, value * (1.1 if (image, method) == ("b", "two") else 1), 1])
        writer.writerow(["vifb", "mine", "a", 3, 1])
    done = subprocess.run([sys.executable, SCRIPT, table, singles], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[2:] == ["| EN | 4 | 3 | 0.00% | 10.00% | two (1) |"]
    lonely = subprocess.run([sys.executable, SCRIPT, table, tmp_path], capture_output=True, text=True, check=False)
    assert lonely.returncode == 1
    assert "holds no values" in lonely.stderr
