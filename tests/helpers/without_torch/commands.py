"""Run commands in this process, which is to find no torch: JSON lists of arguments from stdin, results to stdout."""

from __future__ import annotations

import io
import json
import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout

from lure_cli.cli import main


def run(args: list[str]) -> tuple[int | None, str, str]:
    """Exit code (None: a traceback), stdout and stderr of `lure ARGS`."""
    out, err = io.StringIO(), io.StringIO()
    code: int | None = None
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(args)
        except SystemExit as stop:
            code = int(stop.code or 0)
        except Exception:
            traceback.print_exc()
    return code, out.getvalue(), err.getvalue()


if __name__ == "__main__":
    json.dump([run(args) for args in json.load(sys.stdin)], sys.stdout)
