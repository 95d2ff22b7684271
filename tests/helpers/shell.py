"""An environment for commands of the documents and for example scripts."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from tests.helpers.files import ROOT

FRESH = [sys.executable, "-m", "lure_cli"]
"""`lure` of this checkout, in a fresh interpreter."""
SMALL_RUN = ["--steps", "1", "--set", "crop=48", "--set", "batch_vis=2", "--set", "batch_ir=2"]
"""Added to training commands, so that they take seconds."""
QUICK_DETECTORS = ["--seeds", "1", "--epochs", "1", "--size", "96"]
"""The same for detectors of objects."""


def shims(folder: Path, lure: list[str]) -> dict[str, str]:
    """An environment in which `lure` is the command given, and `python` this interpreter."""
    folder.mkdir()
    for name, command in {"lure": lure, "python": [sys.executable]}.items():
        file = folder / name
        file.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
        file.chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path, "HF_HUB_OFFLINE": "1"}
