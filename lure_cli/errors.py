"""The one error type that a user's input can cause; a leaf, imported by every layer."""

from __future__ import annotations


class LureError(Exception):
    """Bad input, told in two lines.

    Args:
        message: what is wrong, naming the file or value at fault; shown behind `error:`.
        hint: what to do about it; shown behind `hint:`.

    Anything else that is raised is a bug and keeps its traceback.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message
