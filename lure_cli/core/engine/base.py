"""The interface to what computes pictures: torch (`core/model/engine.py`) or onnxruntime (`core/onnx/runtime.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import torch

    from lure_cli.core.engine.tiling import TileableModel


class Engine(Protocol):
    """A model that is ready to run. Its arrays are whatever it computes with: tensors on a device, or numpy's."""

    @property
    def model(self) -> TileableModel:
        """Of images and vectors as the engine makes them; to be called within `computing`."""

    @property
    def computed_by(self) -> str:
        """Runtime, device and number type, for a record: "torch cuda:0 bf16", "onnxruntime cpu fp32"."""

    @property
    def device(self) -> torch.device:
        """The `torch.device` that batches come from."""

    @property
    def dtype(self) -> torch.dtype:
        """The `torch.dtype` that the network computes in."""

    def image(self, pixels: np.ndarray) -> Any:
        """float32 (H, W, C) in [0, 1] -> (1, C, H, W)."""

    def adopt(self, x: torch.Tensor) -> Any:
        """A batch (B, C, H, W) on `device` -> the engine's array."""

    def array(self, x: Any) -> np.ndarray:
        """The only image of a batch (1, C, H, W) -> float32 (H, W, C)."""

    def vectors(self, names: Sequence[Sequence[str]]) -> Any:
        """The texts of images: one sequence of degradation names each (empty: the pseudo prompt) -> (B, D)."""

    def computing(self) -> AbstractContextManager[None]:
        """Within this the model may be called; MemoryError where memory does not last."""
