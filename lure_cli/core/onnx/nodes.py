"""An ONNX graph in the making: nodes and constants, added one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

_FEW = 2048
"""Constants of fewer values are not worth the step that unpacks them."""
_BY_PIXEL = ("Add", "Concat", "Mul", "Sigmoid", "Sub")


class Graph:
    """A graph in the making. Values are their names; what runs in a branch is a graph of its own that sees outwards.

    `half` computes the layers in float16, and leaves text, norms' statistics and sums over channels in float32.
    """

    def __init__(self, half: bool = False, outer: Graph | None = None) -> None:
        self.half = half
        self.nodes: list[Any] = []
        self.weights: dict[str, np.ndarray] = {}
        self._values: dict[tuple[str, tuple[int, ...], bytes], str] = {}  # those that are equal are kept once
        self.scales: dict[str, int] = {}
        """The scale of features."""
        self._sizes: dict[str, int] = {}
        self._unpacked: dict[tuple[str, tuple[int, ...]], str] = {}
        self._names: list[int] = [0] if outer is None else outer._names  # one count for all, so names are unique
        self._file: Graph = self if outer is None else outer._file

    def name(self, kind: str) -> str:
        self._names[0] += 1
        return f"{kind}_{self._names[0]}"

    def op(self, kind: str, *inputs: str, spare: int = 0, **attributes: Any) -> str:
        """Add a node; its one output, or the first where `spare` more must be named."""
        from onnx import helper

        output = self.name(kind.lower())
        outputs = [output, *(self.name("spare") for _ in range(spare))]
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=output, **attributes))
        if kind in _BY_PIXEL and inputs[0] in self.scales:
            self.scales[output] = self.scales[inputs[0]]
        return output

    def sized(self, x: str, scale: int) -> str:
        """Say that x are features of a scale: onnxruntime keeps the order of its convolutions over a sum or a product
        only where it knows that both are of the same size. A graph or branch has one size of image."""
        self.scales[x] = self._sizes[x] = scale
        return x

    def value(self, values: Any, dtype: Any = np.float32) -> str:
        """A constant; added if there is none like it."""
        array = values.detach().float().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
        array = np.ascontiguousarray(array).astype(dtype)
        key = array.dtype.str, array.shape, array.tobytes()
        if key not in self._values:
            self._values[key] = self.name("value")
            self.weights[self._values[key]] = array
        return self._values[key]

    def ints(self, *values: int) -> str:
        return self.value(values, np.int64)

    def weight(self, values: Tensor) -> str:
        """Add a constant of the layers, in the number type that they compute in."""
        return self._file.value(values, np.float16) if self.half else self.packed(values)

    def packed(self, values: Tensor) -> str:
        """A constant in float32 that the file holds once, however many branches use it, and as float16 where that is
        the same numbers, as those of weight files are.

        Runtimes unpack it once, when they load the file; onnxruntime brings only what a branch holds itself into the
        order of its fastest convolutions, and what is folded in a branch is its own.
        """
        array = values.detach().float().cpu().numpy()
        if array.size < _FEW:
            return self.value(values)
        with np.errstate(over="ignore"):
            exact = bool((array.astype(np.float16) == array).all())
        kept = self._file.value(values, np.float16) if exact else self._file.value(values.flatten())
        key = kept, array.shape
        if key not in self._unpacked:
            unpack = self.op("Cast", kept, to=1) if exact else self.op("Reshape", kept, self.ints(*array.shape))
            self._unpacked[key] = unpack
        return self._unpacked[key]

    def layered(self, x: str) -> str:
        """From float32 to the layers' number type."""
        return self.op("Cast", x, to=10) if self.half else x  # 10: float16

    def float32(self, x: str) -> str:
        """From the layers' number type to float32."""
        return self.op("Cast", x, to=1) if self.half else x

    def branch(self, condition: str, asked: tuple[Graph, list[str]], unasked: tuple[Graph, list[str]]) -> list[str]:
        """An `If`: values of the layers' type, those of `asked` where the condition (1) is true."""
        from onnx import helper

        parts = [
            part.proto(
                part.name("branch"),
                [],
                [helper.make_tensor_value_info(v, 10 if self.half else 1, None) for v in values],
            )
            for part, values in (asked, unasked)
        ]
        outputs = [self.name("if") for _ in asked[1]]
        self.nodes.append(helper.make_node("If", [condition], outputs, then_branch=parts[0], else_branch=parts[1]))
        return outputs

    def proto(self, name: str, inputs: list[Any], outputs: list[Any]) -> Any:
        from onnx import helper, numpy_helper

        kind, weights = 10 if self.half else 1, [numpy_helper.from_array(v, k) for k, v in self.weights.items()]
        sizes = [
            helper.make_tensor_value_info(x, kind, ["images", None, f"rows_{scale}", f"columns_{scale}"])
            for x, scale in self._sizes.items()
        ]
        return helper.make_graph(self.nodes, name, inputs, outputs, weights, value_info=sizes)
