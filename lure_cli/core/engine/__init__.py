"""What the runtimes share, without importing either: the interface, tiles, steadiness.

`core/model` computes with torch, `core/onnx` with numpy and onnxruntime; what is written here serves both's arrays.
"""
