"""Serving the window: safe by default, and nothing is fetched from outside."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lure_cli.cli.interrupt import StopSignal, interruptible
from lure_cli.cli.output import emit, note
from lure_cli.cli.window.guard import Guard
from lure_cli.cli.window.settings import Settings, require_gradio
from lure_cli.errors import LureError

if TYPE_CHECKING:
    from lure_cli.cli.window.session import Session

_LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})
_PREFIX = "lure-ui-"
"""Of the names of folders for uploads and results."""
_LEFT = 86400.0
"""Seconds after which such a folder, which is touched all the time, is that of a server that was killed."""
_BETWEEN = 60.0
"""Seconds from one look for old files to the next."""


def serve(settings: Settings) -> None:
    """Serve the page until Ctrl-C; uploads and results lie in a folder of their own, which is removed at the end.

    Raises:
        LureError: Gradio is missing, the weights cannot be used, or the port is taken.
    """
    with interruptible() as stop:
        _remove_left()
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        os.environ["GRADIO_TEMP_DIR"] = str(folder)
        _call_itself_directly(settings.host)
        try:
            require_gradio()
            from lure_cli.cli.window.page import build_page
            from lure_cli.cli.window.session import Session

            session = Session(settings, folder)
            session.fuser(settings.weights[0])  # what cannot be used shows before the page does
            if settings.share or (not _is_local(settings.host) and settings.auth is None):
                note("warning: others can reach this page; --auth NAME:PASSWORD asks them for a password")
            page, look = build_page(session)
            _launch(page, look, settings, session)
            _wait(session, stop)
            session.close()
            page.close(verbose=False)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_left() -> None:
    """Remove what killed servers have left."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > _LEFT:
                shutil.rmtree(folder, ignore_errors=True)


def _launch(page: Any, look: dict[str, Any], settings: Settings, session: Session) -> None:
    """Start the server and say where it is."""
    from starlette.middleware import Middleware

    own = _is_local(settings.host) and settings.auth is None and not settings.share
    guard = Middleware(Guard, folder=str(session.folder), hosts=_LOCAL if own else None)
    try:
        _, local, public = page.queue(default_concurrency_limit=1, max_size=32).launch(
            server_name=settings.host,
            server_port=settings.port or _free_port(settings.host),
            share=settings.share,
            auth=tuple(settings.auth.split(":", 1)) if settings.auth else None,
            inbrowser=settings.browser,
            max_file_size=settings.max_upload * 1_000_000,
            allowed_paths=[str(session.results)],
            blocked_paths=[],
            app_kwargs={"middleware": [guard], "docs_url": None, "redoc_url": None},
            prevent_thread_lock=True,
            quiet=True,
            ssr_mode=False,
            mcp_server=False,
            enable_monitoring=False,
            footer_links=["api"],
            **look,
        )
    except OSError as error:
        raise LureError(
            f"port {settings.port} of {settings.host} cannot be used", "give another --port, or 0"
        ) from error
    emit(public or local)


def _wait(session: Session, stop: StopSignal) -> None:
    """Until it is to stop; old files go meanwhile."""
    last = time.monotonic()
    while not stop():
        time.sleep(0.2)
        if time.monotonic() - last > _BETWEEN:
            os.utime(session.folder)
            session.sweep()
            last = time.monotonic()


def _call_itself_directly(host: str) -> None:
    """Gradio asks its own server whether it runs: not by way of a proxy that the environment names."""
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), host, "localhost", "127.0.0.1"]))


def _free_port(host: str) -> int:
    import socket

    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
    return port


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
