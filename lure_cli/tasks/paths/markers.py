"""Names of files that say which of the two sources they are: markers such as "ir" and "visible", and DJI's letters."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

from lure_cli.tasks.paths.find import File

_INFRARED = ("ir", "infrared", "thermal", "tir", "lwir", "nir")
_MARKERS = "|".join((*_INFRARED, "vis|vi|visible|rgb|color|colour"))
_MARKER = re.compile(_MARKERS, re.IGNORECASE)
_ENDS = re.compile(rf"(?P<stem>.+)[-_. ](?P<marker>{_MARKERS})", re.IGNORECASE | re.DOTALL)
_STARTS = re.compile(rf"(?P<marker>{_MARKERS})[-_. ](?P<stem>.+)", re.IGNORECASE | re.DOTALL)
_BEFORE_NUMBER = re.compile(
    rf"(?P<stem>|.*[-_. ])(?P<marker>{_MARKERS})[-_. ]?(?P<number>\d+)", re.IGNORECASE | re.DOTALL
)
DJI = re.compile(r"(DJI(?:_(\d{14}))?_(\d+))_([TVWZ])(|_.+)", re.IGNORECASE | re.DOTALL)
"""DJI's names: time, number, and what took the picture: thermal, or the visible, wide or zoom camera."""


def pair_stem(stem: str) -> str:
    """The stem without one infrared or visible marker: 'street_ir', 'VIS-street' and 'street' all give 'street'.

    A marker stands at the end or, failing that, at the start, set off by '_', '-', '.' or a space, or else before the
    number at the end ('IR12', 'street_ir_12'), in any case; in DJI's names it is one of _T, _V, _W and _Z.
    A stem that is nothing but a marker stays as it is. In composed Unicode (NFC).
    """
    stem = unicodedata.normalize("NFC", stem)
    if match := DJI.fullmatch(stem):
        return match[1] + match[5]
    if match := _ENDS.fullmatch(stem) or _STARTS.fullmatch(stem):
        return match["stem"]
    match = _BEFORE_NUMBER.fullmatch(stem)
    return match["stem"] + match["number"] if match else stem


def side_of(file: File) -> Literal["ir", "vis"] | None:
    """Which of the two a file shows: by the marker in its name (see `pair_stem`) or else by that of the innermost
    sub-folder that is nothing but one; None: neither says."""
    stem = unicodedata.normalize("NFC", file.below.stem)
    if match := DJI.fullmatch(stem):
        return "ir" if match[4] in "Tt" else "vis"
    match = _ENDS.fullmatch(stem) or _STARTS.fullmatch(stem) or _BEFORE_NUMBER.fullmatch(stem)
    folders = [part for part in file.below.parent.parts if is_marker(part)]
    marker = match["marker"] if match else folders[-1] if folders else None
    return marker and ("ir" if marker.lower() in _INFRARED else "vis")  # type: ignore[return-value]


def is_marker(name: str) -> bool:
    """Whether a folder's name only says which of the two sources it holds."""
    return _MARKER.fullmatch(name) is not None
