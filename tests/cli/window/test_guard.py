"""What does not reach Gradio."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from lure_cli.cli.window.guard import LARGEST, Guard

LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


def ask(
    path: str, body: bytes | None = None, hosts: frozenset[str] | None = LOCAL, **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    """Status, what the guarded server was given, headers of the answer."""
    given = bytearray()
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            message = await receive()
            given.extend(message["body"])
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})

    parts = [body[i : i + 1000] for i in range(0, len(body), 1000)] if body else [b""]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message: Any) -> None:
        sent.append(message)

    all_headers = {"host": "127.0.0.1:7860", "content-type": "application/json"} | headers
    scope = {
        "type": "http",
        "path": path,
        "method": "GET" if body is None else "POST",
        "headers": [(k.encode(), v.encode()) for k, v in all_headers.items()],
    }
    asyncio.run(Guard(app, "/uploads", hosts)(scope, receive, send))
    return sent[0]["status"], bytes(given), {k.decode(): v.decode() for k, v in sent[0]["headers"]}


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=http://example.org/a.png",
        "/gradio_api/file=HTTPS://example.org/a.png",
        "/gradio_api/file/https://example.org/a.png",
        "/gradio_api/proxy=https://example.org/",
        "/gradio_api/deep_link",
        "/gradio_api/run-history/buckets",
        "/gradio_api/vibe-edit/",
    ],
)
def test_nothing_is_fetched_from_elsewhere_or_kept(path: str) -> None:
    assert ask(path)[0] == 403


@pytest.mark.parametrize(
    "path", ["/", "/config", "/gradio_api/file=/elsewhere/a.png", "/gradio_api/call/fuse", "/assets/run.js"]
)
def test_what_the_page_needs_passes(path: str) -> None:
    status, _, headers = ask(path)
    assert status == 200
    assert headers["content-security-policy"].startswith("default-src 'self'")


@pytest.mark.parametrize(
    "path",
    [
        "http://example.org/a.png",
        " https://example.org/a.png",
        "/etc/passwd",
        "/uploads/../a",
        "/uploads-too",
        "a",
        ["/"],
    ],
)
def test_file_from_elsewhere_is_refused_wherever_it_stands(path: object) -> None:
    body = {"data": [None, [{"a": {"path": path, "meta": {"_type": "gradio.FileData"}}}]]}
    assert ask("/gradio_api/call/fuse", json.dumps(body).encode())[0] == 403


def test_body_reaches_the_server_as_it_is() -> None:
    body = json.dumps({"data": [{"path": "/uploads/a.png", "url": "http://127.0.0.1/x"}, "x" * 5000]}).encode()
    assert ask("/gradio_api/call/fuse", body)[:2] == (200, body)


def test_long_body_is_refused_unless_it_is_an_upload() -> None:
    body = b" " * (LARGEST + 1)
    assert ask("/gradio_api/call/fuse", body)[0] == 413
    upload = {"content-type": "multipart/form-data; boundary=x"}
    assert ask("/gradio_api/upload", body, **upload)[:2] == (200, body)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "localhost:7860"}, 200),
        ({"host": "[::1]:7860"}, 200),
        ({"host": "evil.example:7860"}, 403),
        ({"origin": "http://127.0.0.1:7860"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"origin": "null"}, 403),
    ],
)
def test_other_pages_of_the_browser_cannot_call_a_local_server(headers: dict[str, str], status: int) -> None:
    assert ask("/config", None, **headers)[0] == status
    assert ask("/config", None, None, **headers)[0] == 200
