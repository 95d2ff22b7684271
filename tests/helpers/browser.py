"""A real browser, headless, and a server of plain files for it. Importing this needs neither."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserType

CHROMIUM = next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None)
MISSING = (
    "no Chromium (apt install chromium)"
    if CHROMIUM is None
    else "no Playwright (pip install playwright; no browser of its own is needed)"
    if importlib.util.find_spec("playwright") is None
    else ""
)
"""What a test in a browser lacks; empty if nothing."""


@contextmanager
def browser(*flags: str) -> Iterator[Browser]:
    """Chromium as it is installed. One at a time: `launch` starts others of its kind beside it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, launch(playwright.chromium, *flags) as opened:
        yield opened


@contextmanager
def launch(kind: BrowserType, *flags: str) -> Iterator[Browser]:
    """A browser that neither looks up nor updates anything by itself."""
    quiet = ("--no-sandbox", "--disable-background-networking", "--disable-component-update", "--no-first-run")
    opened = kind.launch(executable_path=CHROMIUM, args=[*quiet, *flags])
    try:
        yield opened
    finally:
        opened.close()


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Keep silent."""


@contextmanager
def serve(folder: Path, headers: Sequence[tuple[str, str]] = ()) -> Iterator[str]:
    """The address of a server of the files in a folder, as any static host: with no header of its own but `headers`."""

    class Handler(_Handler):
        def end_headers(self) -> None:
            for header in headers:
                self.send_header(*header)
            super().end_headers()

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()
