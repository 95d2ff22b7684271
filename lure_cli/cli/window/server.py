"""Serving the window: safe by default, and nothing is fetched from outside."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from lure_cli.cli.interrupt import interruptible
from lure_cli.cli.output import emit, note
from lure_cli.cli.window.settings import Settings, require_gradio
from lure_cli.errors import LureError


def serve(settings: Settings) -> None:
    """Serve the page until Ctrl-C; uploads and results lie in a folder of their own, which is removed at the end.

    Raises:
        LureError: Gradio is missing, the weights cannot be used, or the port is taken.
    """
    from lure_cli.cli.window.page import build_page
    from lure_cli.cli.window.session import Session

    folder = Path(tempfile.mkdtemp(prefix="lure-ui-"))
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "uploads")
    try:
        require_gradio()
        session = Session(settings, folder / "results")
        session.fuser(settings.weights)  # what cannot be used shows before the page does
        if settings.share or (not _is_local(settings.host) and settings.auth is None):
            note("warning: others can reach this page; --auth NAME:PASSWORD asks them for a password")
        page, look = build_page(session)
        _launch(page, look, settings, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _launch(page: Any, look: dict[str, Any], settings: Settings, folder: Path) -> None:
    try:
        _, local, public = page.queue(default_concurrency_limit=1, max_size=32).launch(
            server_name=settings.host,
            server_port=settings.port or _free_port(settings.host),
            share=settings.share,
            auth=tuple(settings.auth.split(":", 1)) if settings.auth else None,
            inbrowser=settings.browser,
            max_file_size=settings.max_upload * 1_000_000,
            allowed_paths=[str(folder / "results")],
            prevent_thread_lock=True,
            quiet=True,
            ssr_mode=False,
            footer_links=["api"],
            **look,
        )
    except OSError as error:
        raise LureError(f"port {settings.port} cannot be used ({error})", "give another --port, or 0") from error
    emit(public or local)
    with interruptible() as stop:
        while not stop():
            time.sleep(0.2)
    page.close(verbose=False)


def _free_port(host: str) -> int:
    import socket

    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
    return port


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
