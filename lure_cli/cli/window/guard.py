"""What is refused before Gradio sees it: to fetch something from elsewhere, and to be called by other pages."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

LARGEST = 1 << 20
"""Bytes of a request that is no upload."""
POLICY = b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"
"""The browser itself fetches nothing from elsewhere (Content-Security-Policy)."""
_REFUSED = re.compile(r"/(proxy=|file[=/]\s*https?:|deep_link|run-history|runs\b|dev/|vibe|undo-vibe|monitoring)", re.I)
"""What Gradio would do beyond what the page needs: fetch addresses, keep states and histories, edit code."""


class Guard:
    """Between the network and Gradio (ASGI).

    Args:
        app: what is guarded.
        folder: where all files that requests may name lie.
        hosts: names that requests may call this server by, as a browser's other pages could otherwise do under a name
            of their own; None: any.
    """

    def __init__(self, app: Any, folder: str, hosts: frozenset[str] | None = None) -> None:
        self.app, self.folder, self.hosts = app, folder, hosts

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(b"content-security-policy", POLICY), (b"x-content-type-options", b"nosniff")]
                message["headers"] = [*message.get("headers", ()), *own, (b"referrer-policy", b"same-origin")]
            await send(message)

        if self.hosts is not None and not self._is_ours(headers):
            await _refuse(answer, 403, "this server is called by another name, or by another page")
        elif _REFUSED.search(scope["path"]):
            await _refuse(answer, 403, "not offered here")
        elif scope["method"] != "POST" or headers.get("content-type", "").startswith("multipart/form-data"):
            await self.app(scope, receive, answer)
        else:
            body = await _body(receive)
            if body is None:
                await _refuse(answer, 413, "too long")
            elif self._names_another_file(body):
                await _refuse(answer, 403, "files are uploaded, not read or fetched from elsewhere")
            else:
                await self.app(scope, _replayed(body, receive), answer)

    def _names_another_file(self, body: bytes) -> bool:
        """Whether a file in the data is an address, which Gradio would fetch, or lies outside of the folder."""
        try:
            waiting = [json.loads(body)]
        except (ValueError, RecursionError):
            return False  # Gradio does not understand it either
        while waiting:
            value = waiting.pop()
            if isinstance(value, dict):
                path = value.get("path", self.folder)
                if not isinstance(path, str) or not Path(os.path.abspath(path)).is_relative_to(self.folder):
                    return True
                waiting += value.values()
            elif isinstance(value, list):
                waiting += value
        return False

    def _is_ours(self, headers: dict[str, str]) -> bool:
        host = headers.get("host", "")
        origin = headers.get("origin")
        name = urlsplit(f"//{host}").hostname
        return name in (self.hosts or ()) and (origin is None or urlsplit(origin).netloc == host)


async def _refuse(send: Send, status: int, why: str) -> None:
    content = json.dumps({"detail": why}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def _body(receive: Receive) -> bytes | None:
    """All of it; None if it is too long."""
    parts = bytearray()
    while True:
        message = await receive()
        parts += message.get("body", b"")
        if len(parts) > LARGEST:
            return None
        if not message.get("more_body"):
            return bytes(parts)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """What gives the body that was read already, then what comes."""
    whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def read() -> Message:
        return whole.pop() if whole else await receive()

    return read
