"""The ONNX file that ships: made of the shipped weights by the exporter as it is, with their pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

from lure_cli import Fuser
from lure_cli.core.files import sha256
from lure_cli.core.onnx.record import KEY
from lure_cli.errors import LureError
from lure_cli.tasks.weights import find
from lure_cli.tasks.weights.export import ExportOptions, export_onnx
from lure_cli.tasks.weights.find import ONNX, SHIPPED, TERMS, find_weights, onnx_of, shipped_path
from tests.helpers.files import EXAMPLES, ROOT
from tests.helpers.hub_files import Run
from tests.helpers.ship import BYTES, GOLDEN, is_close

NAME = "lure-small"
FILE = f"{NAME}.onnx"


def record_of(proto: onnx.ModelProto) -> dict[str, object]:
    return json.loads(next(p.value for p in proto.metadata_props if p.key == KEY))


def wiring(graph: onnx.GraphProto) -> Iterator[tuple[object, ...]]:
    """Nodes and how they are wired, those of branches too; constants but for their types and shapes are left out."""
    yield from (("constant", t.name, t.data_type, *t.dims) for t in graph.initializer)
    for node in graph.node:
        yield node.op_type, *node.input, *node.output
        for attribute in node.attribute:
            yield from wiring(attribute.g)


def test_it_is_the_recorded_one() -> None:
    path = find_weights(FILE)
    assert isinstance(path, Path)
    assert sha256(path) == ONNX[FILE].sha256
    assert path.stat().st_size <= BYTES[FILE]
    assert onnx_of(NAME) == onnx_of(str(shipped_path(NAME))) == path
    assert onnx_of("lure-base") is onnx_of("other/lure-small.safetensors") is onnx_of(FILE) is None


def test_it_is_what_the_exporter_makes_of_the_shipped_weights(tmp_path: Path) -> None:
    """`python -m tests.helpers.ship` brings it up to date. Numbers that export computes may differ in their last bits
    between machines; those are seen in the pictures, below."""
    shipped = onnx.load(str(onnx_of(NAME)))
    made = onnx.load(str(export_onnx(ExportOptions(NAME, tmp_path / FILE, check=False)).path))
    records = [record_of(proto) for proto in (shipped, made)]
    assert records[0]["weights_sha256"] == SHIPPED[NAME].sha256
    for key in ("format", "model", "variant", "weights_sha256", "degradations", "config", "provenance", "text_encoder"):
        assert records[0][key] == records[1][key], key
    assert list(wiring(shipped.graph)) == list(wiring(made.graph))


def test_its_pictures_are_those_of_the_model_to_one_grey_level() -> None:
    fuser = Fuser.from_pretrained(FILE, device="cpu")
    for pair, prompt in GOLDEN.items():
        fused = fuser(EXAMPLES / "pairs" / "ir" / f"{pair}.png", EXAMPLES / "pairs" / "vis" / f"{pair}.png", prompt)
        assert is_close(fused, ROOT / "tests" / "golden" / NAME / f"{pair}.png"), pair


def test_commands_know_it(lure: Run) -> None:
    listed = {e["name"]: e for e in map(json.loads, lure("weights", "list", "--json").out.splitlines())}
    assert (listed[FILE]["kind"], listed[FILE]["state"], listed[FILE]["terms"]) == ("ONNX model", "ok", TERMS)
    assert f"{FILE}: ok" in lure("weights", "verify").out
    assert lure("weights", "path", FILE).out.strip() == str(onnx_of(NAME))
    details = json.loads(lure("weights", "info", FILE, "--json").out)
    model = json.loads(lure("weights", "info", NAME, "--json").out)
    assert details["checksum"] == "ok"
    assert all(details[key] == model[key] for key in ("degradations", "provenance", "terms", "text_encoder"))
    assert FILE in lure("info").out
    done = lure("weights", "push", FILE, "ann/other", "--dry-run")
    assert done.code == 2
    assert "an ONNX file" in done.err


def test_a_damaged_one_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bad = tmp_path / FILE
    bad.write_bytes(b"damaged")
    monkeypatch.setattr(find, "locate", lambda file, found=find.locate: bad if file == FILE else found(file))
    with pytest.raises(LureError, match="checksum differs") as caught:
        onnx_of(NAME)
    assert NAME in caught.value.hint
