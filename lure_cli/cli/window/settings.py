"""How the window is served, and the library that serves it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from lure_cli.errors import LureError


@dataclass(frozen=True, kw_only=True)
class Settings:
    """See `lure ui --help`."""

    port: int = 7860
    host: str = "127.0.0.1"
    browser: bool = True
    auth: str | None = None
    share: bool = False
    max_upload: int = 200
    max_pixels: int = 50_000_000
    weights: str = "lure-small"
    device: str = "auto"
    dtype: str = "auto"
    threads: int | None = None


def require_gradio() -> Any:
    """The gradio module, its telemetry off; LureError with what to install where it is missing."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import gradio
    except ImportError as error:
        raise LureError("the window needs Gradio, which is not installed", 'pip install "lure-cli[ui]"') from error
    return gradio
