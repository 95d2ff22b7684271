"""Puts weight files in the place of those that ship, and brings along what depends on them.

    python -m tests.helpers.ship runs/small/weights.safetensors runs/base/weights.safetensors

Each file goes where the name in its config belongs: `weights/NAME.safetensors`, in half precision, with terms if it
states none; its checksum goes into `lure_cli/tasks/weights/find.py`, and its pictures into `tests/golden/NAME`. Without
files, only the pictures are made. A picture stays as it is where the new one is within a grey level of it. The ONNX
file of a model that ships one is exported anew in both cases, and its checksum noted.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from lure_cli import Fuser
from lure_cli.core.files import sha256
from lure_cli.core.model.checkpoint import load_model, load_tensors, save_model
from lure_cli.tasks.weights import find
from lure_cli.tasks.weights.export import ExportOptions, export_onnx
from lure_cli.tasks.weights.inspect import UNSTATED
from tests.helpers.files import EXAMPLES, ROOT

GOLDEN = {
    "street": None,
    "gate": "low light",
    "drone": "noise in the infrared image",
}
"""Pair of examples/pairs -> prompt of the pictures in tests/golden/NAME: fused on a CPU in fp32."""
BYTES = {"lure-small": 6_000_000, "lure-base": 32_000_000, "lure-small.onnx": 4_000_000}
"""What a shipped file may take at most."""


def ship(file: Path) -> str:
    """Put one file into its place, and give its name."""
    model, text, provenance = load_model(file)
    name = model.cfg.name
    place = ROOT / "weights" / find.SHIPPED[name].file
    stated = provenance.licence not in ("", UNSTATED)
    types = {tensor.dtype for key, tensor in load_tensors(file)[0].items() if key != "pseudo_prompt"}
    if stated and types == {torch.float16}:
        if file.resolve() != place:
            shutil.copyfile(file, place)  # as it is, to the byte
    else:
        licence = provenance.licence if stated else find.TERMS
        save_model(place, model, text, dataclasses.replace(provenance, licence=licence), torch.float16)
    assert place.stat().st_size <= BYTES[name], f"{place} is too large"
    _record(find.SHIPPED[name], place)
    return name


def ship_onnx(name: str) -> Path | None:
    """Export the shipped weights as ONNX where such a file ships, and give its place; None if none does."""
    shipped = find.ONNX.get(f"{name}.onnx")
    if shipped is None:
        return None
    place = ROOT / "weights" / shipped.file
    with tempfile.TemporaryDirectory() as folder:
        source = str(ROOT / "weights" / find.SHIPPED[name].file)
        made = export_onnx(ExportOptions(weights=source, output=Path(folder) / shipped.file)).path
        assert made.stat().st_size <= BYTES[shipped.file], f"{place} is too large"
        shutil.copyfile(made, place)
    _record(shipped, place)
    return place


def _record(shipped: find.ShippedFile, place: Path) -> None:
    """Write the checksum of a file into the list of those that ship."""
    code = Path(find.__file__)
    code.write_text(code.read_text().replace(shipped.sha256, sha256(place)))


def golden(name: str) -> dict[str, np.ndarray]:
    """The pictures of shipped weights, float32 (H, W, 3) in [0, 1]."""
    fuser = Fuser.from_pretrained(ROOT / "weights" / find.SHIPPED[name].file, device="cpu", dtype="fp32")
    pairs = EXAMPLES / "pairs"
    return {pair: fuser(pairs / "ir" / f"{pair}.png", pairs / "vis" / f"{pair}.png", GOLDEN[pair]) for pair in GOLDEN}


def is_close(picture: np.ndarray, file: Path) -> bool:
    """Whether a picture in [0, 1] is that of a file to one grey level, on top of the file's own rounding."""
    with Image.open(file) as image:
        expected = np.asarray(image, np.float32)
    return picture.shape == expected.shape and bool(np.abs(picture * 255 - expected).max() <= 1.5)


def main() -> None:
    """Print what was written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    names = [ship(file) for file in parser.parse_args().files] or list(find.SHIPPED)
    for name in names:
        folder = ROOT / "tests" / "golden" / name
        folder.mkdir(parents=True, exist_ok=True)
        for pair, picture in golden(name).items():
            file = folder / f"{pair}.png"
            if not (file.is_file() and is_close(picture, file)):
                Image.fromarray((picture * 255).round().astype(np.uint8)).save(file, optimize=True)
        for place in (ROOT / "weights" / find.SHIPPED[name].file, ship_onnx(name)):
            if place is not None:
                print(f"{place.relative_to(ROOT)}: {place.stat().st_size / 1e6:.1f} MB, {sha256(place)}")


if __name__ == "__main__":
    main()
