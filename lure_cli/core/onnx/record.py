"""What a model file says of itself: digest, prompts and checks of its graph."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from lure_cli.config import Provenance
from lure_cli.core.onnx.interface import INPUTS, OPERATORS, OPTIONAL
from lure_cli.core.onnx.wire import Message, read_message
from lure_cli.core.pixels import CHANNELS
from lure_cli.core.records import newer_format
from lure_cli.core.text.vocabulary import ALL, DEGRADATIONS, NONE, known_names
from lure_cli.errors import LureError

if TYPE_CHECKING:
    from onnx import ModelProto

    from lure_cli.core.model.lure import Lure
    from lure_cli.core.text.encoders import TextEncoder

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

    def __init__(self, vectors: dict[frozenset[str], np.ndarray], spec: str) -> None:
        self.vectors_of, self.spec = vectors, spec
        self.dim = len(vectors[frozenset()])

    def encode(self, names: Sequence[Sequence[str]]) -> np.ndarray:
        """As `TextEncoder.encode`, float32 (B, D). KeyError on names that no image has (or not together)."""
        return np.stack([self.vectors_of[frozenset(each) - {NONE}] for each in names])

    @property
    def names(self) -> tuple[str, ...]:
        """Every degradation that there is a vector for."""
        return tuple(name for name in ALL if frozenset({name}) in self.vectors_of)


def graphs_in(graph: Message) -> Iterator[Message]:
    """A graph, and those in branches of it."""
    yield graph
    for node in graph["node"]:
        for attribute in node["attribute"]:
            if attribute["g"] is not None:
                yield from graphs_in(attribute["g"])


def digest(model: Message) -> str:
    """SHA-256 of what a graph computes, however it is stored: nodes, how they are wired, attributes, constants."""
    total = hashlib.sha256()

    def add(*parts: object) -> None:
        total.update(repr(parts).encode())

    def walk(graph: Message) -> None:
        add("graph", [i["name"] for i in graph["input"]], [o["name"] for o in graph["output"]])
        for tensor in graph["initializer"]:
            add(tensor["name"], tensor["data_type"], tensor["dims"], len(tensor["raw_data"]))
            total.update(tensor["raw_data"])
        if graph["value_info"]:  # earlier files have none
            add("sizes", [(v["name"], bytes(v["type"])) for v in graph["value_info"]])
        for node in graph["node"]:
            add(node["op_type"], node["domain"], node["input"], node["output"])
            for a in node["attribute"]:
                strings = [bytes(each) for each in a["strings"]]
                add(a["name"], a["type"], a["i"], a["f"], bytes(a["s"]), a["ints"], a["floats"], strings)
                if a["g"] is not None:
                    walk(a["g"])

    walk(model["graph"])
    add([(o["domain"], o["version"]) for o in model["opset_import"]])
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
        "graph_sha256": digest(read_message(proto.SerializeToString())),
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


def check_graph(model: Message, record: dict[str, Any], name: str) -> None:
    """Before anything runs: no files outside, no operators but ours, and all as it was exported.

    Args:
        model: from `read_message`, which has refused what ours never hold already: functions, sparse tensors ..

    Raises:
        LureError: the file, called `name`, is not as `lure export onnx` writes it.
    """
    graphs = [*graphs_in(model["graph"])]
    if any(t["external_data"] or t["data_location"] for graph in graphs for t in graph["initializer"]):
        raise LureError(f"{name}: refers to data in other files, which ours never do", HINT)
    kinds = {(node["domain"], node["op_type"]) for graph in graphs for node in graph["node"]}
    foreign = {f"{domain}.{kind}".lstrip(".") for domain, kind in kinds if domain or kind not in OPERATORS}
    inputs = {i["name"] for i in graphs[0]["input"]}  # those of earlier files cannot restore: they have no `output`
    if foreign or inputs | {"output"} != {*INPUTS, *OPTIONAL}:
        what = f"operators ({', '.join(sorted(foreign))})" if foreign else "inputs"
        raise LureError(f"{name}: holds {what} that ours never do", HINT)
    if digest(model) != record.get("graph_sha256"):
        raise LureError(f"{name}: damaged, or changed since it was exported", "get it again, or export it again")


def vectors_of(prompts: Any, dim: int) -> dict[frozenset[str], np.ndarray]:
    """The record's `prompts`, checked; ValueError names the fault."""
    vectors: dict[frozenset[str], np.ndarray] = {}
    for modality in CHANNELS:
        for key, row in prompts[modality].items():
            with np.errstate(over="ignore"):  # what is too large is refused
                vector = np.array(row, np.float64).astype(np.float32)
            names = frozenset(key.split("+")) - {NONE}
            if vector.shape != (dim,) or not np.isfinite(vector).all() or not names <= {*ALL}:
                raise ValueError(f"prompt {key}")
            vectors[names] = vector
    return vectors
