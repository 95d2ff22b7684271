"""What a graph of ours takes and may hold; known without the packages that write or run one."""

from __future__ import annotations

INPUTS = ("ir", "vis", "prompt_ir", "prompt_vis")
OPTIONAL = ("strength_ir", "strength_vis", "thumb_ir", "thumb_vis", "output")
"""Inputs that may be left out; files of version 0.2 have no `output`."""
OUTPUT = {"vis": 1, "ir": 2}
"""Values of `output` that have one image restored; 0 fuses."""
OPERATORS = frozenset(
    "Abs Add And AveragePool Cast Clip Concat Conv DepthToSpace Div Equal Exp Gemm Greater GreaterOrEqual Identity If "
    "IsNaN LayerNormalization Less Log MatMul MaxPool Min Mul Neg Pad Pow Range ReduceMax ReduceMean ReduceMin "
    "ReduceSum Reshape Resize Shape Sigmoid Slice Sqrt Squeeze Sub TopK Transpose Unsqueeze Where".split()
)
"""All that a graph may hold; a file with others is not ours. `Pow` is in files of version 0.2."""
