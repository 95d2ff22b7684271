"""LURE: degradation-aware infrared-visible image fusion.

`from lure_cli import Fuser, METRICS, colour_by_heat, read_temperature`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lure_cli.version import __version__

if TYPE_CHECKING:
    from lure_cli.core.metrics import METRICS
    from lure_cli.tasks.inference.fuser import Fuser
    from lure_cli.tasks.inference.heat import colour_by_heat
    from lure_cli.tasks.inference.inputs import read_temperature

__all__ = ["METRICS", "Fuser", "__version__", "colour_by_heat", "read_temperature"]


def __getattr__(name: str) -> Any:
    """Load the API on first use, so that the command line starts without torch."""
    if name == "Fuser":
        from lure_cli.tasks.inference.fuser import Fuser

        return Fuser
    if name == "read_temperature":
        from lure_cli.tasks.inference.inputs import read_temperature

        return read_temperature
    if name == "METRICS":
        from lure_cli.core.metrics import METRICS

        return METRICS
    if name == "colour_by_heat":
        from lure_cli.tasks.inference.heat import colour_by_heat

        return colour_by_heat
    raise AttributeError(f"module 'lure_cli' has no attribute '{name}'")
