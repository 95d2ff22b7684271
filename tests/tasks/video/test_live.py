"""Live sources: streams that end, fall silent, or come faster than they are fused."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lure_cli.tasks.inference.request import ModelOutput, Request
from tests.helpers.clips import Both, make_clip, only, pairs_of, sound_of
from tests.helpers.files import Outcome

Run = Callable[..., Outcome]


@pytest.fixture
def server(here: Path) -> Iterator[str]:
    """An http server that sends a transport stream without saying how long it is, as a camera does."""
    go_on = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not (here / self.path[1:].removesuffix("?hang")).exists():
                self.send_error(404)
                return
            data = (here / self.path[1:].removesuffix("?hang")).read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", "video/mp2t")
            self.end_headers()
            for start in range(0, len(data), 1316):
                self.wfile.write(data[start : start + 1316])
                time.sleep(0.01)
            if self.path.endswith("?hang"):
                go_on.wait(20)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as it:
        thread = threading.Thread(target=it.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{it.server_port}"
        go_on.set()
        it.shutdown()
        thread.join()


def test_network_streams(fuse: Run, here: Path, server: str) -> None:
    for side in ("ir", "vis"):
        make_clip(here / f"{side}.ts", 12)
    done = fuse(f"{server}/ir.ts", f"{server}/vis.ts", "out.mkv", as_json=True)
    assert done.code == 0, done.err
    assert pairs_of(here / "out.mkv") == [(i, i) for i in range(12)]
    assert json.loads(done.out)["sync"] == "time"
    unnamed = fuse(f"{server}/ir.ts", f"{server}/vis.ts", None)
    assert unnamed.code == 2
    assert "give -o" in unnamed.err
    gone = fuse(f"{server}/none.ts", f"{server}/vis.ts", "x.mkv")
    assert gone.code == 1
    assert "cannot be read as a clip" in gone.err
    only(here, "ir.ts", "vis.ts", "out.mkv")


def test_a_stream_that_falls_silent(fuse: Run, here: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came is a whole file; the rest is not waited for without end."""
    from lure_cli.core.video import reader as video

    monkeypatch.setattr(video, "PATIENCE", 1.5)
    for side in ("ir", "vis"):
        make_clip(here / f"{side}.ts", 12)
    begun = time.monotonic()
    done = fuse("ir.ts", f"{server}/vis.ts?hang", "out.mkv")
    assert done.code == 0, done.err
    assert time.monotonic() - begun < 12
    assert "vis.ts?hang ended (" in done.err
    pairs = pairs_of(here / "out.mkv")
    assert len(pairs) >= 6
    assert pairs == [(i, i) for i in range(len(pairs))]


def test_a_camera_faster_than_the_model(fuse: Run, here: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest frames are taken, partners stay partners, what was skipped is said."""
    from lure_cli.tasks.video import sync as frames

    class Slow(Both):
        def fuse_request(self, ir: np.ndarray, vis: np.ndarray, request: Request) -> ModelOutput:
            time.sleep(0.05)
            return super().fuse_request(ir, vis, request)

    monkeypatch.setattr(frames, "is_realtime", lambda source: True)
    for side in ("ir", "vis"):
        make_clip(here / f"{side}.ts", 28, sound="aac" if side == "vis" else None)
    done = fuse(f"{server}/ir.ts", f"{server}/vis.ts", "out.mkv", Slow(), as_json=True)
    assert done.code == 0, done.err
    assert "live frames were skipped" in done.err
    pairs = pairs_of(here / "out.mkv")
    assert 8 <= len(pairs) < 28
    assert all(abs(i - v) <= 1 for i, v in pairs), pairs  # the partner itself may have been skipped
    assert sorted({v for _, v in pairs}) == [v for _, v in pairs]
    assert len(sound_of(here / "out.mkv")) >= len(sound_of(here / "vis.ts")) - 10
