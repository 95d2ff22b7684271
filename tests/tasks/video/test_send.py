"""Live outputs: what arrives, beside the file, and what happens when nobody takes it."""

from __future__ import annotations

import itertools
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lure_cli.core.video import sender as sending
from lure_cli.core.video.clip import ClipInfo, Frame
from lure_cli.core.video.live_output import LiveOutput
from lure_cli.core.video.reader import VideoFile
from lure_cli.core.video.sender import Sender
from lure_cli.errors import LureError
from lure_cli.tasks.inference.request import ModelOutput, Request
from lure_cli.tasks.video.live import LiveFrames
from tests.helpers.clips import Both, level, make_clip, number, only, pairs_of, read_clip
from tests.helpers.files import Outcome
from tests.helpers.live import Datagrams, decoded, free_port, rtsp_server

Run = Callable[..., Outcome]
av = pytest.importorskip("av")
SIZE = ClipInfo(size=(64, 48), rate=Fraction(25), count=None)
LONG = 60.0
"""Seconds that are far more than is needed."""


@pytest.fixture(autouse=True)
def _clips(here: Path) -> None:
    for side in ("ir", "vis"):
        make_clip(here / f"{side}.mp4", 12)


def wait_for(what: Callable[[], Any]) -> None:
    """Until it holds; fails in the end."""
    end = time.monotonic() + LONG
    while not what():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.02)


def shown(frames: list[tuple[float, np.ndarray]]) -> list[tuple[int, int]]:
    """Which infrared and which visible frame each one was made of."""
    return [(number(x[..., 0]), number(x[..., 1])) for _, x in frames]


def picture(i: int = 0) -> np.ndarray:
    return np.full((48, 64, 3), level(i % 12) / 255, np.float32)


@pytest.mark.parametrize(("scheme", "header"), [("udp", 0), ("rtp", 12)])
def test_what_is_sent_arrives_at_its_own_rate_and_the_file_is_kept(
    fuse: Run, here: Path, scheme: str, header: int
) -> None:
    with Datagrams(header=header) as port:
        url = f"{scheme}://127.0.0.1:{port.port}"
        done = fuse("ir.mp4", "vis.mp4", "out.mkv", live=(url,), as_json=True)
        assert done.code == 0, done.err
        record = json.loads(done.out)
        assert record["live"] == [{"output": url, "sent": 12, "lost": 0}]
        assert record["output"] == "out.mkv"
        wait_for(lambda: len(decoded(port.data)) >= 12)
        frames = decoded(port.data)
    assert shown(frames) == [(i, i) for i in range(12)]
    steps = np.diff([t for t, _ in frames])
    assert steps.min() > 0.039  # never faster than the clip, slower where the machine is
    assert pairs_of(here / "out.mkv") == [(i, i) for i in range(12)]
    assert [t for t, _ in read_clip(here / "out.mkv")] == [Fraction(i, 25) for i in range(12)]


def test_an_rtsp_server_records_what_is_sent(fuse: Run, here: Path) -> None:
    with rtsp_server(here / "server") as server:
        done = fuse("ir.mp4", "vis.mp4", live=(server.url,))
        assert done.code == 0, done.err
        assert done.out.split() == [server.url]
        wait_for(lambda: server.requests[-1] == "TEARDOWN")
        assert server.requests[-4:] == ["ANNOUNCE", "SETUP", "RECORD", "TEARDOWN"]
        assert shown(decoded(server.data, "h264")) == [(i, i) for i in range(12)]


def test_an_hls_folder(fuse: Run, here: Path) -> None:
    for side in ("ir", "vis"):
        make_clip(here / f"{side}.mp4", 12, rate=6)
    done = fuse("ir.mp4", "vis.mp4", live=("out/live.m3u8",))
    assert done.code == 0, done.err
    playlist = (here / "out" / "live.m3u8").read_text().splitlines()
    segments = [line for line in playlist if not line.startswith("#")]
    assert len(segments) >= 2  # of a second each, if the machine keeps up
    assert playlist[-1] == "#EXT-X-ENDLIST"
    only(here / "out", "live.m3u8", *segments)
    only(here, "ir.mp4", "vis.mp4", "out")
    assert pairs_of(here / "out" / "live.m3u8") == [(i, i) for i in range(12)]

    refused = fuse("ir.mp4", "vis.mp4", live=("out/live.m3u8",))
    assert refused.code == 2
    assert "live.m3u8 exists already" in refused.err
    (here / "out" / "live.m3u8").unlink()
    (here / "out" / "live_new.ts").touch()
    refused = fuse("ir.mp4", "vis.mp4", live=("out/live.m3u8",))
    assert refused.code == 2
    assert f"{segments[0]} exists already" in refused.err
    again = fuse("ir.mp4", "vis.mp4", live=("out/live.m3u8",), overwrite=True)
    assert again.code == 0, again.err
    new = [s for s in (here / "out" / "live.m3u8").read_text().splitlines() if not s.startswith("#")]
    assert not {*new} & {*segments}
    only(here / "out", "live.m3u8", "live_new.ts", *new)


def test_nobody_is_there(fuse: Run, here: Path) -> None:
    nobody = free_port()
    live = (f"udp://127.0.0.1:{nobody}", f"rtsp://127.0.0.1:{nobody}/fused")
    done = fuse("ir.mp4", "vis.mp4", "out.mkv", live=live, as_json=True)
    assert done.code == 0
    assert done.err.count("warning: ") == 2
    assert done.err.count("the receiver is lost (Connection refused); fusing goes on") == 2
    live_record = json.loads(done.out)["live"]
    assert [(each["sent"] + each["lost"], each["lost"] > 8) for each in live_record] == [(12, True)] * 2
    assert pairs_of(here / "out.mkv") == [(i, i) for i in range(12)]
    alone = fuse("ir.mp4", "vis.mp4", live=live[1:])
    assert alone.code == 1
    assert "nothing could be sent" in alone.err


def test_a_host_that_is_not_known_takes_nothing(fuse: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    done = fuse("ir.mp4", "vis.mp4", live=("rtp://camera.invalid:5000",))
    assert done.code == 1
    assert "rtp://camera.invalid:5000: nothing could be sent" in done.err


def test_a_server_that_never_answers_does_not_end_the_run(fuse: Run, here: Path) -> None:
    with rtsp_server(here / "server", silent=True) as server:
        done = fuse("ir.mp4", "vis.mp4", "out.mkv", live=(server.url,))
    assert done.code == 0
    assert "the receiver is lost" in done.err
    assert pairs_of(here / "out.mkv") == [(i, i) for i in range(12)]


@pytest.mark.parametrize("kind", ["udp", "rtsp"])
def test_a_receiver_that_goes_and_comes_back(here: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(sending, "RETRY", 0.2)

    def receiver(port: int, folder: str) -> Any:
        return Datagrams(port) if kind == "udp" else rtsp_server(here / folder, port)

    events: list[str] = []

    def go_on(i: int) -> None:
        sender.put(picture(i), i / 25)
        time.sleep(0.02)
        events.extend(text for text, _ in iter(lambda: sender.events.popleft() if sender.events else None, None))

    with receiver(0, "first") as first:
        address = f"{kind}://127.0.0.1:{first.port}" + ("/fused" if kind == "rtsp" else "")
        sender = Sender(LiveOutput.parse(address), SIZE, keep=5)
        steps = iter(range(100_000))
        wait_for(lambda: [go_on(next(steps))] and sender.sent >= 5)
    wait_for(lambda: [go_on(next(steps))] and any("lost" in e for e in events))
    with receiver(first.port, "second") as second:
        wait_for(lambda: [go_on(next(steps))] and any("is back" in e for e in events))
        sender.close()
        wait_for(lambda: len(decoded(second.data, "mpegts" if kind == "udp" else "h264")) >= sending.STEADY)
    assert [("back" in e) for e in events] == [False, True], events


def test_a_receiver_that_takes_nothing_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    held, entered = threading.Event(), threading.Event()

    def stuck(self: Sender, x: np.ndarray, shown: float) -> bool:
        entered.set()
        return held.wait(LONG)

    monkeypatch.setattr(Sender, "_send", stuck)
    monkeypatch.setattr(sending, "PATIENCE", 0.0)
    sender = Sender(LiveOutput.parse("udp://127.0.0.1:5000"), SIZE, keep=1)
    sender.put(picture(), 0.0)
    assert entered.wait(LONG)
    for i in range(1, 5):
        sender.put(picture(i), i / 25)
    assert sender.lost == 3  # the newest one waits, the first one is in hand
    assert [text for text, _ in sender.events] == [
        "udp://127.0.0.1:5000: the receiver is lost (it takes nothing any more); fusing goes on"
    ]
    sender.close(patience=0.1)
    assert sender.lost == 5
    held.set()


class Cameras:
    """Two cameras in step, which show their frame's number; from the first picture that is fused on, each of them lets
    `STEP` frames out while one picture is fused."""

    STEP = 4

    def __init__(self) -> None:
        self.taken = {True: 0, False: 0}  # grey or not: frames that have come
        self.allowed: int | None = None
        self.late: list[int] = []
        self.ended = False

    def frames(self, clip: VideoFile) -> Iterator[Frame]:
        """In the place of `VideoFile.frames`."""
        for i in itertools.count():
            while not self.ended and self.allowed is not None and i >= self.allowed:
                time.sleep(0.002)
            if self.allowed is None:
                time.sleep(0.01)
            pixels = np.full((48, 64, 1 if clip.grey else 3), level(i % 28), np.uint8)
            yield Frame(pixels, Fraction(i, 25), Fraction(1, 25), i)
            self.taken[clip.grey] = i + 1

    def fused(self, vis: np.ndarray) -> None:
        """A picture is being fused."""
        if self.allowed is not None:
            self.late.append((self.allowed - 1 - number(vis)) % 28)
        self.allowed = max(self.taken.values()) + self.STEP
        wait_for(lambda: min(self.taken.values()) >= (self.allowed or 0))


def test_of_cameras_the_newest_frames_are_fused(fuse: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of those that came meanwhile is fused, and none waits while another one is."""
    from lure_cli.tasks.video import plan, sync, target

    cameras = Cameras()
    for module in (plan, sync, target):
        monkeypatch.setattr(module, "is_realtime", lambda source: True)
    monkeypatch.setattr(VideoFile, "frames", lambda clip: cameras.frames(clip))

    class Slow(Both):
        def fuse_request(self, ir: np.ndarray, vis: np.ndarray, request: Request) -> ModelOutput:
            cameras.fused(vis)
            cameras.ended = len(self.requests) == 5
            return super().fuse_request(ir, vis, request)

    with Datagrams() as port:
        url = f"udp://127.0.0.1:{port.port}"
        done = fuse("ir.mp4", "vis.mp4", "out.mkv", live=(url,), fuser=Slow(), limit=6)
        assert done.code == 0, done.err
    assert cameras.late == [0] * 5
    assert "live frames were skipped" in done.err
    pairs = pairs_of(Path("out.mkv"))
    assert [(v - i) % 28 for i, v in pairs] == [0] * 6, pairs


def test_cameras_whose_clocks_differ_pair_by_when_their_frames_come() -> None:
    def frames(zero: int) -> Iterator[Frame]:
        for i in range(3):
            time.sleep(0.01)
            yield Frame(np.zeros((1, 1, 1), np.uint8), Fraction(zero) + Fraction(i, 100), Fraction(1, 100), i)

    sources = [LiveFrames(frames(zero)) for zero in (0, 1000)]
    last = [list(source)[-1] for source in sources]
    ir, vis = (source.arrival(frame) for source, frame in zip(sources, last, strict=True))
    assert abs(ir - vis) < 100
    assert [source.ended for source in sources] == [True, True]


def test_a_link_in_the_folder_is_replaced_not_followed(fuse: Run, here: Path) -> None:
    (here / "mine").write_text("mine")
    (here / "out").mkdir()
    for name in ("live.m3u8", "live.m3u8.tmp", "live_1.ts", "live_1.ts.tmp"):
        (here / "out" / name).symlink_to(here / "mine")
    done = fuse("ir.mp4", "vis.mp4", live=("out/live.m3u8",), overwrite=True)
    assert done.code == 0, done.err
    assert (here / "mine").read_text() == "mine"
    assert not any(p.is_symlink() for p in (here / "out").iterdir())


def test_srt_where_there_is_none_and_where_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(error: type[Exception]) -> Callable[..., Any]:
        def opened(*_: object, **__: object) -> None:
            raise error(1, "no")

        return opened

    monkeypatch.setattr(av, "open", fails(av.error.ProtocolNotFoundError))
    with pytest.raises(LureError, match="cannot send to srt://"):
        LiveOutput.parse("srt://127.0.0.1:9000")
    monkeypatch.setattr(av, "open", fails(OSError))
    output = LiveOutput.parse("srt://127.0.0.1:9000?passphrase=secret")
    assert output.target == "srt://127.0.0.1:9000?passphrase=secret&pkt_size=1316"
    assert output.name == "srt://127.0.0.1:9000?passphrase=***"


def test_an_interrupted_stream_ends_properly(fuse: Run, here: Path) -> None:
    class Interrupted(Both):
        def fuse_request(self, ir: np.ndarray, vis: np.ndarray, request: Request) -> ModelOutput:
            if len(self.requests) == 5:
                signal.raise_signal(signal.SIGINT)
            return super().fuse_request(ir, vis, request)

    done = fuse("ir.mp4", "vis.mp4", "out.mkv", Interrupted(), live=("out/live.m3u8",))
    assert done.code == 130
    assert (here / "out" / "live.m3u8").read_text().endswith("#EXT-X-ENDLIST\n")
    assert pairs_of(here / "out" / "live.m3u8") == [(i, i) for i in range(6)]
    assert pairs_of(here / "out.mkv") == [(i, i) for i in range(6)]


def test_a_failure_in_the_middle_ends_the_stream_too(fuse: Run, here: Path) -> None:
    class Broken(Both):
        def fuse_request(self, ir: np.ndarray, vis: np.ndarray, request: Request) -> ModelOutput:
            if len(self.requests) == 3:
                raise LureError("no memory", "buy some")
            return super().fuse_request(ir, vis, request)

    done = fuse("ir.mp4", "vis.mp4", "out.mkv", Broken(), live=("out/live.m3u8",))
    assert done.code == 1
    assert (here / "out" / "live.m3u8").read_text().endswith("#EXT-X-ENDLIST\n")
    only(here, "ir.mp4", "vis.mp4", "out")


def test_folders_of_clips_are_not_sent(fuse: Run, here: Path) -> None:
    for side in ("ir", "vis"):
        (here / side).mkdir()
        make_clip(here / side / "a.mp4", 2)
    done = fuse("ir", "vis", live=("udp://127.0.0.1:5000",))
    assert done.code == 2
    assert "takes one pair of clips" in done.err


def test_what_would_be_sent(fuse: Run) -> None:
    live = ("rtsp://me:secret@127.0.0.1/fused",)
    done = fuse("ir.mp4", "vis.mp4", "out.mkv", live=live, dry_run=True)
    assert done.out == "planned: ir.mp4 + vis.mp4 -> out.mkv, rtsp://me:***@127.0.0.1/fused\n"
    record = json.loads(fuse("ir.mp4", "vis.mp4", live=live, dry_run=True, as_json=True).out)
    assert record["output"] is None
    assert record["live"] == [{"output": "rtsp://me:***@127.0.0.1/fused"}]
