"""How the window is served, and the library that serves it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from lure_cli.errors import LureError

_KEPT = {"GRADIO_TEMP_DIR", "GRADIO_ROOT_PATH"}
"""Of the variables by which Gradio's defaults can be changed from outside, those that are left."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """See `lure ui --help`; `weights`: the first is taken where none is chosen, and no other than these can be."""

    port: int = 7860
    host: str = "127.0.0.1"
    browser: bool = True
    auth: str | None = None
    share: bool = False
    max_upload: int = 200
    max_pixels: int = 50_000_000
    weights: tuple[str, ...] = ("lure-small",)
    device: str = "auto"
    dtype: str = "auto"
    threads: int | None = None


def require_gradio() -> Any:
    """The gradio module, its telemetry and its history of runs off, its other defaults not changed from outside;
    LureError with what to install where it is missing."""
    for name in [n for n in os.environ if n.startswith("GRADIO_") and n not in _KEPT]:
        del os.environ[name]
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_RUN_HISTORY": "False"}
    os.environ |= {"HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
    try:
        import gradio
    except ImportError as error:
        raise LureError("the window needs Gradio, which is not installed", 'pip install "lure-cli[ui]"') from error
    return gradio
