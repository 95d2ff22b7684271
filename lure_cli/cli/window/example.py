"""The pair that comes with the program."""

from __future__ import annotations

from pathlib import Path

from lure_cli.core.files import PACKAGE
from lure_cli.errors import LureError

PROMPT = "haze in the visible image and noise in the infrared image"
FILES = ("ir_noisy.png", "vis_hazy.png")
_FOLDERS = (PACKAGE / "cli" / "window" / "pictures", PACKAGE.parent / "examples" / "street")
"""In the installed package, in the checkout."""


def example_pair() -> tuple[Path, Path, str]:
    """Infrared, visible, prompt.

    Raises:
        LureError: the files are missing.
    """
    for folder in _FOLDERS:
        ir, vis = (folder / name for name in FILES)
        if ir.is_file() and vis.is_file():
            return ir, vis, PROMPT
    raise LureError("the example pair is missing from this installation", "install lure-cli again")
