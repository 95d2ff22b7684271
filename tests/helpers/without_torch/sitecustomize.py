"""A folder for PYTHONPATH: Python behaves as if torch were not installed, in the processes that it starts, too."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import DistributionFinder
from types import ModuleType
from typing import Any

HIDDEN = {"torch", "torchvision", "open_clip", "timm"}
DISTRIBUTIONS = {"torch", "torchvision", "open_clip_torch", "timm"}


class WithoutTorch(PathFinder):
    """As the import system's own, which knows nothing of these packages."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None for what is hidden."""
        return None if fullname.partition(".")[0] in HIDDEN else super().find_spec(fullname, path, target)

    @classmethod
    def find_distributions(cls, context: Any = DistributionFinder.Context()) -> Any:  # noqa: B008 (as the original)
        """None of what is hidden."""
        return () if context.name in DISTRIBUTIONS else PathFinder.find_distributions(context)


sys.meta_path[:] = [WithoutTorch if finder is PathFinder else finder for finder in sys.meta_path]
