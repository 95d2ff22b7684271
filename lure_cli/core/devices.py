"""Devices and number types."""

from __future__ import annotations

import platform
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch

from lure_cli.errors import LureError

M = TypeVar("M", bound=torch.nn.Module)

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(name: str) -> torch.device:
    """`auto` (CUDA, then MPS, then CPU), `cpu`, `cuda`, `cuda:N` or `mps`; LureError if it is not there."""
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise LureError(f"device '{name}' is not known", "use auto, cpu, cuda or mps") from None
    there = {"cpu": True, "cuda": cuda and (device.index or 0) < torch.cuda.device_count(), "mps": mps}
    if not there.get(device.type, False):
        raise LureError(f"device '{name}' is not available here", "use --device cpu or auto")
    return device


def native_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware (emulation is up to ten times slower than float32).

    On CPUs: AVX512-BF16 or AMX (x86), the BF16 extension of NEON and SVE (ARM).
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    if platform.machine().lower() in ("aarch64", "arm64"):
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """`auto` is the fastest type that the device computes in hardware: bfloat16, else float16 on CUDA and float32
    elsewhere; see also `lure_cli.core.model.precision`. LureError on an unknown name."""
    if name == "auto":
        if native_bf16(device):
            return torch.bfloat16
        return torch.float16 if device.type == "cuda" else torch.float32
    if name not in DTYPES:
        raise LureError(f"dtype '{name}' is not known", f"use auto, {', '.join(DTYPES)}")
    if name == "fp16" and device.type == "cpu":
        raise LureError("dtype fp16 is not supported on the CPU", "use --dtype bf16 or fp32")
    return DTYPES[name]


def place(model: M, device: torch.device) -> M:
    """Move a model to a device, in the memory layout that its convolutions are fastest in."""
    return model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Autocast to `dtype`; nothing to do for float32."""
    if dtype == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch or Python says that memory ran out; torch's are RuntimeErrors."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "memory" in str(error))
