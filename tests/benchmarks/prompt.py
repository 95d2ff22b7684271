"""How long the prompt parser takes to load and to read a prompt: medians. Not a test: run it on an idle machine.

python -m tests.benchmarks.prompt [--rounds 15]
"""

from __future__ import annotations

import argparse
import time
from statistics import median

from lure_cli.core.text.parser import PromptParser
from lure_cli.tasks.weights.find import text_weights

PROMPT = "the visible image is dark and foggy, and the thermal camera shows vertical lines"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=15)
    loading, reading = [], []
    for _ in range(parser.parse_args().rounds):
        started = time.perf_counter()
        fresh = PromptParser.load(text_weights())
        loaded = time.perf_counter()
        for _ in range(20):
            fresh.parse(PROMPT)
        loading.append(loaded - started)
        reading.append((time.perf_counter() - loaded) / 20)
    print(f"load {median(loading):.3f} s, one prompt {1000 * median(reading):.2f} ms")


if __name__ == "__main__":
    main()
