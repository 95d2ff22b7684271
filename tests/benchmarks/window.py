"""`lure ui`: time to the first picture, memory after many requests, throughput against the Python call; not a test.

    python -m tests.benchmarks.window [--requests 200] [--rounds 10]

Starts the server and Chromium. Time: from the command to the wipe of the example pair on the screen. Memory: resident,
of the server's process, after the first 10 requests to `/fuse` and after all of them. Throughput: the pair of 640x480
by the Python call (files in, PNG out, one process) and by `/fuse` (upload, fuse, download), in turn; the median of the
paired ratios. Quote figures with the machine, and only when nothing else runs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.helpers.browser import browser

STREET = Path(__file__).parents[2] / "examples" / "street"
PAIR = {"ir": STREET / "ir_noisy.png", "vis": STREET / "vis_hazy.png"}
PROMPT = "haze, ir noise"


def start() -> tuple[subprocess.Popen[str], str]:
    """The server, and its address."""
    command = [sys.executable, "-m", "lure_cli", "ui", "--no-browser", "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    return server, server.stdout.readline().strip()


def first_picture() -> tuple[float, float]:
    """Seconds from the command to the page, and to the result of the example pair on it."""
    with browser() as chromium:
        page = chromium.new_page()
        started = time.perf_counter()
        server, url = start()
        try:
            page.goto(url)
            page.locator("#example").click()
            ready = time.perf_counter() - started
            page.locator("#viewer .viewer:not(.empty)").wait_for()
            page.locator("#go").click()
            page.locator("#save").wait_for()
            page.wait_for_function("[...document.querySelectorAll('#viewer img')].every((i) => i.naturalWidth === 640)")
            return ready, time.perf_counter() - started
        finally:
            server.terminate()
            server.wait()


def resident(process: int) -> float:
    """MiB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """See the module."""
    from gradio_client import Client, handle_file

    from lure_cli import Fuser
    from lure_cli.core.images.picture import write_image

    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args()
    ready, seen = first_picture()
    print(f"page after {ready:.1f} s, result after {seen:.1f} s")
    server, url = start()
    try:
        client = Client(url, verbose=False)

        def request() -> float:
            started = time.perf_counter()
            given: dict[str, Any] = {side: handle_file(str(path)) for side, path in PAIR.items()}
            client.predict(**given, prompt=PROMPT, api_name="/fuse")
            return time.perf_counter() - started

        before = 0.0
        for n in range(args.requests):
            request()
            if n == 9:
                before = resident(server.pid)
        print(f"resident after 10: {before:.0f} MiB, after {args.requests}: {resident(server.pid):.0f} MiB")
        fuser = Fuser.from_pretrained()
        with tempfile.TemporaryDirectory() as folder:

            def call() -> float:
                started = time.perf_counter()
                write_image(Path(folder) / "fused.png", fuser(PAIR["ir"], PAIR["vis"], prompt=PROMPT))
                return time.perf_counter() - started

            call()
            pairs = [(call(), request()) for _ in range(args.rounds)]
        direct, through = (statistics.median(each) for each in zip(*pairs, strict=True))
        ratio = statistics.median(b / a for a, b in pairs)
        print(f"Python call {direct:.2f} s, request {through:.2f} s, ratio {ratio:.2f}")
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
