"""Where an infrared image goes on the visible grid, if nothing has to be estimated, and how that is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lure_cli.core.registration.alignment import beyond
from lure_cli.errors import LureError
from lure_cli.tasks.inference.options import ReadOptions

if TYPE_CHECKING:
    from lure_cli.core.registration.alignment import Alignment


def place(
    source: tuple[int, ...],
    size: tuple[int, ...],
    options: ReadOptions,
    known: Alignment | None,
    names: tuple[str, str],
) -> Alignment:
    """Where an infrared image goes on the visible grid, if nothing is estimated.

    Args:
        source, size: (width, height) of the infrared and of the visible image.
        options: whether the infrared may be resized.
        known: the transform, if there is one.
        names: what errors call the two images.

    Raises:
        LureError: the sizes do not fit each other, or the transform.
    """
    from lure_cli.core.registration.alignment import Alignment

    (w, h), (wv, hv) = source, size
    if known is not None:
        try:
            return known.fitted((w, h), (wv, hv))
        except LureError as error:
            raise LureError(f"{names[0]} and {names[1]}: {error.message}", error.hint) from error
    if source != size and not options.resize_ir:
        raise LureError(
            f"{names[0]} is {w}x{h} but {names[1]} is {wv}x{hv}",
            "give --resize-ir if both show the same view, --rig or --align if not, or crop one of them",
        )
    return Alignment.stretched((w, h), (wv, hv))


def fit_of(placed: Alignment, known: Alignment) -> str:
    """For a person: a known transform as it was used, and whether it was made to fit other sizes."""
    from lure_cli.core.registration.alignment import describe

    if placed == known:
        return describe(placed)
    (w, h), (wv, hv) = known.source_size, known.size
    return f"{describe(placed)}; estimated for {w}x{h} on {wv}x{hv} and scaled"


def what_is_beyond(placed: Alignment) -> str:
    """How much of the picture is the visible image alone, for a person; empty if none is."""
    share = beyond(placed)
    return f"; {share:.0%} of the picture, beyond the infrared's edge, is the visible image alone" if share else ""
