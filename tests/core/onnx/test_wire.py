"""The reader of ONNX files sees what the package `onnx` sees, or refuses; never anything else."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from onnx import helper, numpy_helper

from lure_cli.core.onnx.graph import build_onnx
from lure_cli.core.onnx.wire import ForeignField, Message, read_message
from tests.helpers.models import tiny


@pytest.fixture(scope="module")
def data() -> bytes:
    proto = build_onnx(tiny())
    proto.metadata_props.add(key="lure", value="{}")
    return proto.SerializeToString()


def same(ours: Message, theirs: Any) -> None:
    """Every field, to the last one: what is missing from ours has its default in theirs."""
    assert {f.name for f, _ in theirs.ListFields()} <= ours.keys()
    for name, value in ours.items():
        expected = getattr(theirs, name)
        if value is None:
            assert not theirs.HasField(name)
        elif isinstance(value, dict):
            same(value, expected)
        elif isinstance(value, list):
            assert len(value) == len(expected)
            for a, b in zip(value, expected, strict=True):
                _same_value(a, b)
        else:
            _same_value(value, expected)


def _same_value(ours: Any, theirs: Any) -> None:
    if isinstance(ours, dict):
        same(ours, theirs)
    elif isinstance(ours, memoryview):
        assert (bytes(ours) if isinstance(theirs, bytes) else type(theirs).FromString(bytes(ours))) == theirs
    elif isinstance(ours, float):
        assert struct.pack("<f", ours) == struct.pack("<f", theirs)
    else:
        assert ours == theirs


def test_all_of_a_file(data: bytes) -> None:
    message = read_message(data)
    same(message, onnx.load_model_from_string(data))
    assert len(message["graph"]["node"]) > 100


def test_numbers_at_their_limits() -> None:
    ints, floats = [0, 1, -1, 127, 128, (1 << 63) - 1, -(1 << 63)], [0.0, -0.0, 1e-45, 3.4e38, float("inf")]
    node = helper.make_node("Clip", ["a", "", "ü"], ["b"], domain="", x=1.5, i=-7, s="text", ints=ints, floats=floats)
    same(read_message(node.SerializeToString(), "node"), node)
    for value in ints:
        attribute = helper.make_attribute("i", value)
        assert read_message(attribute.SerializeToString(), "attribute")["i"] == value


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """A few bits flipped, bytes taken out, or put in; where the structure is, not in the weights."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(len(changed)))
        match rng.integers(3):
            case 0:
                changed[place] ^= 1 << int(rng.integers(8))
            case 1:
                del changed[place : place + int(rng.integers(1, 4))]
            case _:
                changed[place:place] = rng.integers(0, 256, rng.integers(1, 4), np.uint8).tobytes()
    return bytes(changed)


def test_what_it_reads_is_what_protobuf_reads() -> None:
    """A small file with every kind of field, damaged many times over: refused, or read as by protobuf."""
    branch = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "then", [], [])
    nodes = [helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch, f=0.5, ints=[1, 2, -3])]
    weight = numpy_helper.from_array(np.arange(4, dtype=np.float32), "w")
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("c", 9, [1])], [], [weight])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], producer_name="p")
    proto.metadata_props.add(key="k", value="v")
    data, rng, read = proto.SerializeToString(), np.random.default_rng(0), 0
    for _ in range(6000):
        changed = damaged(data, rng)
        try:
            ours = read_message(changed)
        except ValueError:
            continue
        try:
            theirs = onnx.load_model_from_string(changed)
        except DecodeError:  # inside of what ours leaves as bytes
            continue
        read += 1
        same(ours, theirs)
    assert read > 200


def test_what_ours_never_hold_is_refused(data: bytes) -> None:
    def changed(how: Any) -> bytes:
        proto = onnx.load_model_from_string(data)
        how(proto)
        return proto.SerializeToString()

    foreign = [
        lambda p: p.functions.add(name="f"),
        lambda p: setattr(p, "doc_string", "text"),
        lambda p: p.graph.initializer[0].float_data.append(1.0),
        lambda p: p.graph.sparse_initializer.add(),
        lambda p: p.graph.node[0].attribute.add(name="t").t.dims.append(1),
        lambda p: p.training_info.add(),
    ]
    for how in foreign:
        with pytest.raises(ForeignField):
            read_message(changed(how))


def test_fields_that_come_twice_are_refused(data: bytes) -> None:
    """Of two readers one may take the first, the other the last, or both."""
    for more in (b"\x08\x08", b"\x3a\x00", b"\x12\x01x"):  # ir_version, graph, producer_name
        assert onnx.load_model_from_string(data + more) is not None
        with pytest.raises(ValueError, match="of a model"):
            read_message(data + more)


@pytest.mark.parametrize(
    "data",
    [b"\x08", b"\x08" + b"\x80" * 10, b"\x08" + b"\xff" * 9 + b"\x02", b"\x3a\x05ab", b"\x0b\x0c", b"\x12\x01\xff"],
    ids=["cut", "endless", "large", "short", "group", "no text"],
)
def test_what_is_no_message(data: bytes) -> None:
    with pytest.raises(ValueError):
        read_message(data)


def test_graphs_in_graphs_without_end() -> None:
    inner = b""
    for _ in range(50):
        attribute = b"\x32" + _length(inner) + inner
        node = b"\x2a" + _length(attribute) + attribute
        inner = b"\x0a" + _length(node) + node
    with pytest.raises(ForeignField, match="graphs in graphs"):
        read_message(inner, "graph")


def _length(data: bytes) -> bytes:
    n, out = len(data), b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])
