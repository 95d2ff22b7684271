"""What to install beside LURE where torch does not fit: `python -m lure_cli.without_torch [EXTRA...]`.

pip can add packages to an installation (extras), but leave none out. So the package is installed alone, and this, which
needs nothing but Python, prints the rest as pip reads it:

    pip install --no-deps lure-cli
    python -m lure_cli.without_torch > requirements.txt
    pip install -r requirements.txt

It is read from the package's own metadata. For the same reason an extra is not installed by its name, which would bring
torch along: name it here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, requires

LEFT_OUT = ("torch", "open_clip_torch", "torchvision", "accelerate", "torchmetrics")
"""torch itself, and what brings it along, being of no use without."""


def requirements(declared: Sequence[str], extras: Sequence[str] = ()) -> list[str]:
    """Those of the declared requirements that are wanted without torch.

    Args:
        declared: as a package's metadata have them, such as `av>=18; extra == "video"`.
        extras: whose requirements are wanted too.

    Raises:
        ValueError: an extra that is not declared.
    """
    wanted: dict[str, None] = {}
    known: set[str] = set()
    for each in declared:
        requirement, _, marker = each.partition(";")
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", marker)
        known |= {extra[1]} if extra else set()
        name = re.split(r"[^\w.-]", requirement.strip(), maxsplit=1)[0].lower().replace("-", "_")
        if name not in LEFT_OUT and name != "lure_cli" and (extra is None or extra[1] in extras):
            wanted[requirement.strip()] = None
    for extra_name in extras:
        if extra_name not in known:
            raise ValueError(f"no extra '{extra_name}'; there are {', '.join(sorted(known))}")
    return list(wanted)


def main() -> None:
    """Print them, one a line."""
    try:
        print("\n".join(requirements(requires("lure-cli") or (), sys.argv[1:])))
    except PackageNotFoundError:
        sys.exit("error: lure-cli is not installed\nhint: pip install --no-deps lure-cli")
    except ValueError as error:
        sys.exit(f"error: {error}\nhint: name extras as pyproject.toml does")


if __name__ == "__main__":
    main()
