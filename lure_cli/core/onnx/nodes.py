"""An ONNX graph in the making: nodes and constants, added one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor


class Graph:
    """A graph in the making. Values are their names; what runs in a branch is a graph of its own that sees outwards.

    `half` computes the layers in float16, and leaves text, norms' statistics and sums over channels in float32.
    """

    def __init__(self, half: bool = False, outer: Graph | None = None) -> None:
        self.half = half
        self.nodes: list[Any] = []
        self.weights: dict[str, np.ndarray] = {}
        self._values: dict[tuple[str, tuple[int, ...], bytes], str] = {}  # those that are equal are kept once
        self._names: list[int] = [0] if outer is None else outer._names  # one count for all, so names are unique

    def name(self, kind: str) -> str:
        self._names[0] += 1
        return f"{kind}_{self._names[0]}"

    def op(self, kind: str, *inputs: str, spare: int = 0, **attributes: Any) -> str:
        """Add a node; its one output, or the first where `spare` more must be named."""
        from onnx import helper

        output = self.name(kind.lower())
        outputs = [output, *(self.name("spare") for _ in range(spare))]
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=output, **attributes))
        return output

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
        return self.value(values, np.float16 if self.half else np.float32)

    def layered(self, x: str) -> str:
        """From float32 to the layers' number type."""
        return self.op("Cast", x, to=10) if self.half else x  # 10: float16

    def float32(self, x: str) -> str:
        """From the layers' number type to float32."""
        return self.op("Cast", x, to=1) if self.half else x

    def proto(self, name: str, inputs: list[Any], outputs: list[Any]) -> Any:
        from onnx import helper, numpy_helper

        return helper.make_graph(
            self.nodes, name, inputs, outputs, [numpy_helper.from_array(v, k) for k, v in self.weights.items()]
        )
