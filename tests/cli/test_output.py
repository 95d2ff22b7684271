"""What is printed where the terminal's encoding lacks a character: no job ends by it, and JSON stays JSON."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path

import pytest

from lure_cli.cli import main

NAMES = ["图1", "night 🌃", "café"]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_names_that_the_encoding_of_stdout_lacks(small: Path, monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    for side in ("ir", "vis"):
        Path(side).mkdir()
        for name in NAMES:
            shutil.copy(f"examples/pairs/{side}/gate.png", f"{side}/{name}.png")
    Path("p.csv").write_text("stem,prompt\n" + "".join(f"{name},haze\n" for name in NAMES), encoding="utf-8")
    pair = ["--ir", "ir", "--vis", "vis"]

    def run(*args: str) -> tuple[int, str, str]:
        streams = [io.BytesIO(), io.BytesIO()]
        for name, stream in zip(("stdout", "stderr"), streams, strict=True):
            monkeypatch.setattr(sys, name, io.TextIOWrapper(stream, encoding, "strict"))
        with pytest.raises(SystemExit) as stop:
            main(list(args))
        sys.stdout.flush()
        out, err = (stream.getvalue().decode(encoding) for stream in streams)
        return int(stop.value.code or 0), out, err

    for command in (
        ["fuse", *pair, "-o", "图"],
        ["fuse", *pair, "-o", "图", "--prompt-file", "p.csv", "--overwrite"],
        ["fuse", *pair, "-o", "more/", "--dry-run"],
        ["restore", "--vis", "vis", "-o", "图/one/"],
        ["detect", "vis", "--modality", "vis"],
        ["align", *pair, "-o", "图/aligned/"],
        ["eval", *pair, "--fused", "图=图", "--jobs", "1", "--metrics", "EN,VIF_min"],
        ["prompt", "haze 🌃"],
    ):
        code, out, err = run(*command)
        assert code == 0 or command[0] == "prompt", err
        if command[0] not in ("align", "prompt"):
            code, out, _ = run(*command, "--json", *(["--overwrite"] if command[0] in ("fuse", "restore") else []))
            assert code == 0
            records = [json.loads(line) for line in out.splitlines()]
            if command[0] == "fuse":
                assert {record["name"] for record in records} == set(NAMES)
    assert len(list(Path("图").glob("*.png"))) == 3
    code, _, err = run("fuse", "--ir", "没有.png", "--vis", "vis", "-o", "x/")
    assert code == 2 and err.startswith("error: ")
    code, _, err = run("data", "check", "没有")
    assert code == 2 and "error: " in err
