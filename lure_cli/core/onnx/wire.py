"""Reading ONNX files of ours without the package `onnx`, which takes longer to import than the file to read.

Only what our files hold is understood (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, in the encoding of
https://protobuf.dev/programming-guides/encoding/); anything else is refused: other fields, fields of another type, ones
that come twice. So no other reader, onnxruntime's least of all, can see more in a file than this one.
"""

from __future__ import annotations

import struct
from typing import Any

Message = dict[str, Any]
"""The fields of a message by their names; those that repeat are lists, those that are not there have their default, and
messages that are not there are None."""

_FIELDS = {
    "model": {
        1: "ir_version int",
        2: "producer_name str",
        7: "graph graph",
        8: "opset_import opset*",
        14: "metadata_props entry*",
    },
    "opset": {1: "domain str", 2: "version int"},
    "entry": {1: "key str", 2: "value str"},
    "graph": {
        1: "node node*",
        2: "name str",
        5: "initializer tensor*",
        11: "input value*",
        12: "output value*",
        13: "value_info value*",
    },
    "node": {
        1: "input str*",
        2: "output str*",
        3: "name str",
        4: "op_type str",
        5: "attribute attribute*",
        7: "domain str",
    },
    "attribute": {
        1: "name str",
        2: "f float",
        3: "i int",
        4: "s bytes",
        6: "g graph",
        7: "floats float*",
        8: "ints int*",
        9: "strings bytes*",
        20: "type int",
    },
    "tensor": {
        1: "dims int*",
        2: "data_type int",
        8: "name str",
        9: "raw_data bytes",
        13: "external_data bytes*",  # which ours never have; named, so that it can be said
        14: "data_location int",
    },
    "value": {1: "name str", 2: "type bytes"},
}
_SCHEMA = {
    kind: {
        number: (name, of.rstrip("*"), of.endswith("*"))
        for number, (name, of) in ((n, text.split()) for n, text in fields.items())
    }
    for kind, fields in _FIELDS.items()
}
_DEFAULTS: dict[str, Any] = {"int": 0, "float": 0.0, "str": "", "bytes": b""}
_LARGEST = {"type": 14, "data_type": 1 << 30, "data_location": 1}
"""Of numbers that others keep in fewer bits, or take for unknown if they know no name for them."""
_WIRE = {"int": 0, "float": 5}
"""How numbers are encoded; all else has a length before it."""
_DEEPEST = 8
"""Graphs in attributes of nodes of graphs; of ours four lie in each other."""


class ForeignField(ValueError):
    """A field that files of ours never hold."""


def read_message(data: bytes | memoryview, kind: str = "model", depth: int = 0) -> Message:
    """Read one message.

    Args:
        data: its encoding.
        kind: what it is, of `_FIELDS`.

    Raises:
        ForeignField: it holds what ours never do.
        ValueError: it is damaged.
    """
    if depth > _DEEPEST:
        raise ForeignField("graphs in graphs")
    fields, view = _SCHEMA[kind], memoryview(data)
    message: Message = {name: [] if many else _DEFAULTS.get(of) for name, of, many in fields.values()}
    seen: set[str] = set()
    place, end = 0, len(view)
    while place < end:
        tag, place = _number(view, place)
        if tag & 7 not in (0, 1, 2, 5):
            raise ValueError("no field begins like that")
        if tag >> 3 not in fields:
            raise ForeignField(f"field {tag >> 3} of a {kind}")
        name, of, many = fields[tag >> 3]
        if tag & 7 != _WIRE.get(of, 2) or (name in seen and not many):
            raise ValueError(f"{name} of a {kind}")
        seen.add(name)
        value: Any
        if of == "int":
            value, place = _number(view, place)
            value -= (value >> 63) << 64  # two's complement
            if name in _LARGEST and not 0 <= value <= _LARGEST[name]:
                raise ValueError(f"{name} of a {kind}")
        else:
            length = 4
            if of != "float":
                length, place = _number(view, place)
            part = view[place : place + length]
            place += length
            if place > end:
                raise ValueError("it ends too soon")
            if of == "float":
                value = struct.unpack("<f", part)[0]
            elif of == "bytes":
                value = part
            elif of == "str":
                value = str(part, "utf-8")
            else:
                value = read_message(part, of, depth + (of == "graph"))
        if many:
            message[name].append(value)
        else:
            message[name] = value
    return message


def _number(view: memoryview, place: int) -> tuple[int, int]:
    """A number of up to 64 bits, seven in each byte, the least first; and the place after it."""
    value = shift = 0
    while shift < 64:
        if place >= len(view):
            raise ValueError("it ends too soon")
        byte = view[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if value >> 64:
                break
            return value, place
        shift += 7
    raise ValueError("a number is too large")
