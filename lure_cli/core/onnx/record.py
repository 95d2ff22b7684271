"""What a model file says of itself: digest, prompts and checks of its graph."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lure_cli.config import Provenance
from lure_cli.core.model.lure import Lure
from lure_cli.core.onnx.graph import INPUTS, OPERATORS, OPTIONAL
from lure_cli.core.pixels import CHANNELS
from lure_cli.core.records import newer_format
from lure_cli.core.text.encoders import TextEncoder
from lure_cli.core.text.vocabulary import ALL, DEGRADATIONS, NONE, known_names
from lure_cli.errors import LureError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, TensorProto


FORMAT = 1
"""Version of the record; a newer one is refused."""
KEY = "lure"


HINT = "give a file written by `lure export onnx`"


class PromptTable:
    """The text encoder of an exported model: a vector for every set of degradations that an image can have.

    Args:
        vectors: sets of names (the empty one: p0) -> vectors (D,).
        spec: of the encoder that they come from.
    """

    def __init__(self, vectors: dict[frozenset[str], Tensor], spec: str) -> None:
        self.vectors_of, self.spec = vectors, spec
        self.dim = len(vectors[frozenset()])

    def encode(self, names: Sequence[Sequence[str]]) -> Tensor:
        """See `TextEncoder.encode`. KeyError on names that no image has (or not together)."""
        return torch.stack([self.vectors_of[frozenset(each) - {NONE}] for each in names])

    @property
    def names(self) -> tuple[str, ...]:
        """Every degradation that there is a vector for."""
        return tuple(name for name in ALL if frozenset({name}) in self.vectors_of)


def tensors_of(proto: ModelProto) -> Iterator[TensorProto]:
    """All constants of a file, those in branches and attributes too."""

    def walk(graph: GraphProto) -> Iterator[TensorProto]:
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        for node in graph.node:
            for attribute in node.attribute:
                yield from (attribute.t, *attribute.tensors)
                for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                    yield from (sparse.values, sparse.indices)
                for inner in (attribute.g, *attribute.graphs):
                    yield from walk(inner)

    yield from walk(proto.graph)


def digest(proto: ModelProto) -> str:
    """SHA-256 of what a graph computes, however it is stored: nodes, how they are wired, attributes, constants."""
    total = hashlib.sha256()

    def add(*parts: object) -> None:
        total.update(repr(parts).encode())

    def walk(graph: GraphProto) -> None:
        add("graph", [i.name for i in graph.input], [o.name for o in graph.output])
        for tensor in graph.initializer:
            add(tensor.name, tensor.data_type, list(tensor.dims), len(tensor.raw_data))
            total.update(tensor.raw_data)
        for node in graph.node:
            add(node.op_type, node.domain, list(node.input), list(node.output))
            for a in node.attribute:
                add(a.name, a.type, a.i, a.f, a.s, list(a.ints), list(a.floats), list(a.strings))
                if a.HasField("g"):
                    walk(a.g)

    walk(proto.graph)
    add([(o.domain, o.version) for o in proto.opset_import])
    return total.hexdigest()


def describe(
    proto: ModelProto, model: Lure, text: TextEncoder, provenance: Provenance, variant: str, weights_sha256: str
) -> dict[str, Any]:
    """The record of an exported model, ready for JSON. What a program in another language needs of it is `prompts`:

    `prompts["vis"]["haze+noise"]` is the vector (D,) to hand in as `prompt_vis` for haze and noise; names of a key
    stand in the order of `degradations["vis"]`, which lists what the model was trained to restore; `"none"` is the
    pseudo prompt, that nothing is wrong with the image.
    """
    record = dataclasses.asdict(provenance)
    known = known_names(record.pop("degradations"))
    degradations = {m: [name for name in names if name in known] for m, names in DEGRADATIONS.items()}
    prompts: dict[str, dict[str, list[float]]] = {}
    for modality, names in degradations.items():
        sets = [each for n in range(len(names) + 1) for each in combinations(names, n)]
        rows = text.encode(sets).tolist()  # as doubles; nine digits tell all float32 values apart
        prompts[modality] = {
            "+".join(each) or NONE: [float(f"{v:.9g}") for v in row] for each, row in zip(sets, rows, strict=True)
        }
    return {
        "format": FORMAT,
        "model": model.cfg.name,
        "variant": variant,
        "weights_sha256": weights_sha256,
        "graph_sha256": digest(proto),
        "multiple": model.multiple,
        "reach": model.halo,
        "text_encoder": text.spec,
        "text_dim": model.cfg.text_dim,
        "degradations": degradations,
        "config": dataclasses.asdict(model.cfg),
        "provenance": record,
        "prompts": prompts,
    }


def parse_record(text: str, name: str) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise LureError(f"{name}: its record is damaged ({e})", "export it again") from e
    version = record.get("format") if isinstance(record, dict) else None
    if type(version) is not int or version < 1:
        raise LureError(f"{name}: its record is damaged (no format)", "export it again")
    if version > FORMAT:
        raise newer_format(name, version)
    return record  # type: ignore[no-any-return]


def check_graph(proto: ModelProto, record: dict[str, Any], name: str) -> None:
    """Before anything runs: no files outside, no operators but ours, and all as it was exported."""
    if any(t.external_data or t.data_location for t in tensors_of(proto)):
        raise LureError(f"{name}: refers to data in other files, which ours never do", HINT)

    def kinds(graph: GraphProto) -> Iterator[tuple[str, str]]:
        for node in graph.node:
            yield node.domain, node.op_type
            for attribute in node.attribute:
                for inner in (attribute.g, *attribute.graphs):
                    yield from kinds(inner)

    foreign = {f"{domain}.{kind}".lstrip(".") for domain, kind in kinds(proto.graph) if domain or kind not in OPERATORS}
    inputs = {i.name for i in proto.graph.input}  # those of earlier files cannot restore: they have no `output`
    if foreign or proto.functions or inputs | {"output"} != {*INPUTS, *OPTIONAL}:
        what = f"operators ({', '.join(sorted(foreign))})" if foreign else "inputs or functions"
        raise LureError(f"{name}: holds {what} that ours never do", HINT)
    if digest(proto) != record.get("graph_sha256"):
        raise LureError(f"{name}: damaged, or changed since it was exported", "get it again, or export it again")


def vectors_of(prompts: Any, dim: int) -> dict[frozenset[str], Tensor]:
    """The record's `prompts`, checked; ValueError names the fault."""
    vectors: dict[frozenset[str], Tensor] = {}
    for modality in CHANNELS:
        for key, row in prompts[modality].items():
            vector = torch.tensor(row, dtype=torch.float32)
            names = frozenset(key.split("+")) - {NONE}
            if vector.shape != (dim,) or not vector.isfinite().all() or not names <= {*ALL}:
                raise ValueError(f"prompt {key}")
            vectors[names] = vector
    return vectors
