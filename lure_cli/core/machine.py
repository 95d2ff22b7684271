"""What this machine and this installation have, told without importing torch."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from lure_cli.errors import LureError

_NVIDIA = (
    "/dev/nvidiactl",
    "/proc/driver/nvidia/version",
    "/dev/dxg",  # WSL
    "/dev/nvmap",  # Jetson
)
"""One of them is there where Linux's kernel drives a GPU of NVIDIA's."""
_AMD = "/dev/kfd"
_CPUS = "/proc/cpuinfo"


def torch_installed() -> bool:
    """Whether torch can be imported, as far as its folder tells."""
    return torch_loaded() or find_spec("torch") is not None


def onnxruntime_installed() -> bool:
    """The same of onnxruntime, which every installation has but those without dependencies."""
    return find_spec("onnxruntime") is not None


def torch_loaded() -> bool:
    """Whether this process has imported torch already."""
    return sys.modules.get("torch") is not None


def require_torch(what: str, otherwise: str = "") -> None:
    """LureError if torch is not installed, about what needs it; `otherwise` says what can be done without."""
    if not torch_installed():
        hint = "pip install torch" + (f"; or {otherwise}" if otherwise else "")
        raise LureError(f"{what}: needs PyTorch, which is not installed", hint)


def gpu_expected() -> bool:
    """Whether `--device auto` of torch is likely to find a GPU.

    To ask torch is to import it, which takes seconds, and to ask CUDA is to start it. So: is this torch built for a
    kind of GPU, and is the driver of that kind here? On Linux that is a file that the kernel's driver makes, and CUDA's
    library (a container may have either alone); AMD's compute device, which has to be open to this user; on Windows
    NVIDIA's library; on a Mac its processor. CUDA_VISIBLE_DEVICES hides the GPUs as it does from torch.

    A wrong yes has torch look and find none, as it always did; a wrong no costs a small job the GPU, and no picture.
    """
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    built = _built_for()
    if "cuda" in built and os.environ.get("CUDA_VISIBLE_DEVICES", "0") not in ("", "-1") and _nvidia():
        return True
    return "hip" in built and os.access(_AMD, os.R_OK | os.W_OK)


@cache
def _built_for() -> frozenset[str]:
    """`cuda` and `hip`, as far as the installed torch was built for them; both where its version file does not say."""
    if not torch_installed():
        return frozenset()
    spec = find_spec("torch")
    try:
        text = (Path(spec.origin or "").with_name("version.py") if spec else Path()).read_text()
    except OSError:
        return frozenset({"cuda", "hip"})
    return frozenset(kind for kind in ("cuda", "hip") if re.search(rf"^{kind}\b[^=\n]*= *['\"]", text, re.MULTILINE))


def _nvidia() -> bool:
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    if sys.platform != "win32" and not any(map(os.path.exists, _NVIDIA)):
        return False
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def bf16_expected() -> bool:
    """Whether torch is likely to compute in bfloat16 on this CPU: AVX512-BF16 or AMX (x86), BF16 (ARM), as Linux lists
    them. Where the system has no such list: yes."""
    try:
        with open(_CPUS) as file:  # a line at a time: of many processors the whole takes long
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() in ("flags", "Features"):
                    return not {"avx512_bf16", "amx_tile", "bf16"}.isdisjoint(value.split())
    except OSError:
        return True
    return False
