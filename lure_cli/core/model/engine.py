"""The model in torch, ready to run on a device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from lure_cli.core.cpu import keep_buffers
from lure_cli.core.devices import DTYPES, autocast, is_out_of_memory, place
from lure_cli.core.model.lure import Lure
from lure_cli.core.text.encoders import TextEncoder


class TorchEngine:
    """See `Engine`.

    Args:
        model, text: from `load_model`; the model is moved to the device.
        device, dtype: where it computes and in which numbers.
    """

    def __init__(self, model: Lure, text: TextEncoder, device: torch.device, dtype: torch.dtype) -> None:
        if device.type == "cpu":
            keep_buffers()
        self.model = place(model, device).eval()
        self.text, self.device, self.dtype = text, device, dtype

    @property
    def computed_by(self) -> str:
        """See `Engine`."""
        return f"torch {self.device} {next(name for name, dtype in DTYPES.items() if dtype == self.dtype)}"

    def image(self, pixels: np.ndarray) -> Tensor:
        """See `Engine`; channels last, on the device."""
        x = torch.from_numpy(pixels).permute(2, 0, 1)[None]
        return x.to(self.device).contiguous(memory_format=torch.channels_last)

    def adopt(self, x: Tensor) -> Tensor:
        """See `Engine`."""
        return x

    def array(self, x: Tensor) -> np.ndarray:
        """See `Engine`."""
        array: np.ndarray = x[0].permute(1, 2, 0).cpu().numpy()
        return array

    def vectors(self, names: Sequence[Sequence[str]]) -> Tensor:
        """See `Engine`."""
        return self.text.encode(names).to(self.device)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """No gradients, numbers of the engine's type; see `Engine`."""
        try:
            with torch.no_grad(), autocast(self.device, self.dtype):
                yield
        except RuntimeError as error:  # torch has no error of its own for the CPU's memory
            if is_out_of_memory(error):
                raise MemoryError(str(error)) from error
            raise
