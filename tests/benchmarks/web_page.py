"""Time and memory of the page of examples/web in headless Chromium; not a test.

    python -m tests.benchmarks.web_page [--device wasm] [--rounds 5] [--large 4000x3000] [--site FOLDER]

Builds the page as its README says (npm reaches its registry) unless --site names a built one, fuses the 640x480 example
pair with haze alone, with haze and noise, and without a prompt, by all threads and by one, and prints the median of the
page's own seconds (model, without reading and drawing; the first run apart), the time to the first picture from a
visitor's first click, the sizes of what is built and loaded, and the peak memory of the browser's processes. Then, with
--large, one large pair. Quote figures with the machine, and only when nothing else runs.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.helpers.browser import browser, serve
from tests.helpers.documents import commands
from tests.helpers.files import EXAMPLES, UNBUILT
from tests.helpers.shell import FRESH, shims

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

STREET = EXAMPLES / "street"
PROMPTS = {
    "haze": ("#vis [value=haze]",),
    "haze, noise in the infrared": ("#vis [value=haze]", "#ir [value=noise]"),
    "none": (),
}
HOUR = 3_600_000
"""In milliseconds, as long as anything may take."""


def build(root: Path) -> Path:
    """The folder of the page, built there."""
    shutil.copytree(EXAMPLES, root / "examples", ignore=UNBUILT)
    env = shims(root / "bin", FRESH)
    for command in commands(EXAMPLES / "web" / "README.md"):
        subprocess.run(command, shell=True, cwd=root, env=env, check=True, stdout=subprocess.DEVNULL)
    return root / "examples" / "web" / "dist"


def resident() -> int:
    """Bytes that the processes of Chromium hold, shared ones counted once (Linux: proportional set size)."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"chrom" in (folder / "cmdline").read_bytes().split(b"\0")[0]:
                pss = re.search(r"^Pss:\s+(\d+)", (folder / "smaps_rollup").read_text(), re.MULTILINE)
                total += int(pss[1]) << 10 if pss else 0
        except OSError:
            continue
    return total


@contextmanager
def peak() -> Iterator[list[int]]:
    """The largest `resident()` while the block runs, looked at four times a second."""
    largest, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.25):
            largest[0] = max(largest[0], resident())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield largest
    finally:
        done.set()
        thread.join()


def opened(chromium: Browser, address: str, pair: tuple[Path, Path]) -> Page:
    """The page in a visit of its own, with a pair chosen."""
    context = chromium.new_context()
    context.set_default_timeout(HOUR)
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("#runs-on:has-text('(')")
    for side, file in zip(("ir", "vis"), pair, strict=True):
        page.set_input_files(f"#{side} input[type=file]", file)
        page.wait_for_selector(f"#{side} .chosen:not([hidden])")
    return page


def fuse(page: Page, ticks: tuple[str, ...]) -> float:
    """The seconds that the page gives."""
    for box in page.locator(".wrong input").all():
        box.uncheck()
    for tick in ticks:
        page.check(tick)
    page.click("#fuse")
    page.wait_for_selector("#cancel", state="hidden")
    assert page.is_hidden("#fault"), page.inner_text("#fault")
    seconds = re.search(r"([\d.]+) s\.", page.inner_text("#caption"))
    assert seconds
    return float(seconds[1])


def measure(site: Path, device: str, rounds: int, large: str | None) -> None:
    """Print all of it."""
    sizes = {p.name: p.stat().st_size for p in site.rglob("*") if p.is_file()}
    gpu = sum(n for name, n in sizes.items() if "asyncify" in name or "webgpu" in name)
    cpu = sum(n for name, n in sizes.items() if re.match(r"ort-wasm-simd-threaded\.(mjs|wasm)$|ort\.wasm", name))
    total = sum(sizes.values())
    built, by_cpu, by_gpu = (n / 2**20 for n in (total, total - gpu, total - cpu))
    print(f"built {built:.1f} MiB; loaded by WASM {by_cpu:.1f}, by WebGPU {by_gpu:.1f}")
    pair = (STREET / "ir_noisy.png", STREET / "vis_hazy.png")
    with browser() as chromium, serve(site) as url:
        began = time.perf_counter()
        first = chromium.new_context().new_page()
        first.set_default_timeout(HOUR)
        first.goto(url)
        first.wait_for_selector("body[data-ready]")
        first.click("#example")
        first.wait_for_selector("#result:not([hidden])")
        print(f"first picture {time.perf_counter() - began:.1f} s after the address was entered")
        first.context.close()
        for threads in (0, 1):
            for name, ticks in PROMPTS.items():
                page = opened(chromium, f"{url}?device={device}&threads={threads}", pair)
                with peak() as memory:
                    cold = fuse(page, ticks)
                    warm = [fuse(page, ticks) for _ in range(rounds)]
                where = page.inner_text("#runs-on")
                print(
                    f"640x480, {where}, prompt {name}: {statistics.median(warm):.1f} s (first {cold:.1f}), "
                    f"peak {memory[0] / 2**30:.2f} GiB"
                )
                page.context.close()
        if large:
            from PIL import Image

            width, height = map(int, large.split("x"))
            with tempfile.TemporaryDirectory() as folder:
                files = Path(folder) / "ir.png", Path(folder) / "vis.png"
                for source, file in zip(pair, files, strict=True):
                    with Image.open(source) as image:
                        image.resize((width, height), Image.Resampling.BICUBIC).save(file, compress_level=1)
                with peak() as memory:
                    page = opened(chromium, f"{url}?device={device}", files)
                    seconds = fuse(page, PROMPTS["haze"])
                    with page.expect_download() as download:
                        page.click("#save")
                    size = download.value.path().stat().st_size
                print(
                    f"{large}, prompt haze: {seconds:.0f} s, "
                    f"peak {memory[0] / 2**30:.2f} GiB, saved {size / 2**20:.0f} MiB"
                )


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("auto", "wasm", "webgpu"), default="wasm")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large")
    parser.add_argument("--site", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(args.site or build(Path(folder)), args.device, args.rounds, args.large)


if __name__ == "__main__":
    main()
