"""`lure ui`."""

from __future__ import annotations

from typing import Annotated

import typer

from lure_cli.cli import options as o
from lure_cli.errors import LureError


def ui(
    port: Annotated[int, typer.Option(help="Port of the page; 0 takes a free one.")] = 7860,
    host: Annotated[str, typer.Option(help="Address to listen on; 127.0.0.1 is this machine alone.")] = "127.0.0.1",
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    auth: Annotated[
        str | None, typer.Option(help="NAME:PASSWORD that the page asks for.", envvar="LURE_UI_AUTH")
    ] = None,
    share: Annotated[bool, typer.Option("--share", help="Through a public address at gradio.live.")] = False,
    max_upload: Annotated[int, typer.Option(help="Largest file that is taken, in MB.")] = 200,
    max_pixels: o.MaxPixels = 50_000_000,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            help="Shipped name, .safetensors file or owner/repo[@revision]; may be repeated, to choose on the page. "
            "The default is lure-small."
        ),
    ] = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
    threads: o.Threads = None,
) -> None:
    """Open a page in the browser: drop a pair, see how the prompt is understood, fuse, compare, save.

    The page is served by this machine to this machine, and nothing leaves it. Its address is printed on stdout once it
    is ready; Ctrl-C ends it and removes what was uploaded.
    """
    from lure_cli.cli.window.server import serve
    from lure_cli.cli.window.settings import Settings

    if not 0 <= port <= 65535:
        raise LureError(f"--port {port} is no port", "give 1 to 65535, or 0 for a free one")
    if auth is not None and not all(auth.partition(":")):
        raise LureError("--auth is not NAME:PASSWORD", "for example --auth lab:secret")
    if max_upload < 1 or max_pixels < 1:
        raise LureError("--max-upload and --max-pixels leave nothing", "give numbers from 1 on")
    serve(
        Settings(
            port=port,
            host=host,
            browser=browser,
            auth=auth,
            share=share,
            max_upload=max_upload,
            max_pixels=max_pixels,
            weights=tuple(weights or ["lure-small"]),
            device=device,
            dtype=dtype,
            threads=threads,
        )
    )
