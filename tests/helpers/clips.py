"""Clips for the tests, where every frame carries its number in its grey level, and what stands for the model there."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lure_cli.core.text.vocabulary import ALL
from lure_cli.tasks.inference.options import FuseOptions, ReadOptions
from lure_cli.tasks.inference.request import ModelOutput, Request
from lure_cli.tasks.video.plan import ClipPlan, VideoOptions, plan_video

av = pytest.importorskip("av")

SIZE = (64, 48)


def level(i: int) -> int:
    """The grey level of frame i; coding moves it by less than half a step."""
    return 20 + 8 * i


def number(pixels: np.ndarray) -> int:
    """The frame that a picture shows, by its mean grey level (uint8, or uint16 scaled down)."""
    return round((float(pixels.mean()) / (257 if pixels.dtype == np.uint16 else 1) - 20) / 8)


def make_clip(
    path: Path,
    frames: int | Sequence[np.ndarray] = 12,
    *,
    size: tuple[int, int] = SIZE,
    rate: Fraction | int = 25,
    codec: str = "libx264",
    fmt: str = "yuv420p",
    sound: str | None = None,
    times: Sequence[Fraction] | None = None,
    aspect: Fraction = Fraction(1),
    turn: int = 0,
    matrix: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    colour: tuple[int, int] | None = None,
    gop: int = 4,
) -> Path:
    """Write a clip; given frames are uint8 (H, W, 3), or of `fmt` as PyAV takes it."""
    pictures = (
        frames
        if not isinstance(frames, int)
        else [np.full((size[1], size[0], 3), level(i), np.uint8) for i in range(frames)]
    )
    unit = Fraction(1, 90000)
    with av.open(f"file:{path}", "w", options=options or {}) as out:
        s = out.add_stream(codec, rate=rate)
        s.height, s.width = pictures[0].shape[:2]
        s.pix_fmt = fmt
        s.codec_context.sample_aspect_ratio = aspect
        if turn:
            s.set_display_rotation(turn)
        if matrix is not None:
            s.set_display_matrix(matrix)
        if codec == "libx264":
            s.options = {"crf": "4", "g": str(gop)}
        if colour is not None:
            s.codec_context.colorspace, s.codec_context.color_range = colour
        if times is not None:
            s.codec_context.time_base = unit
        a = out.add_stream(sound, rate=48000) if sound else None
        for i, x in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(
                x, "rgb24" if x.ndim == 3 else "gray16le" if x.dtype == np.uint16 else "gray"
            )
            if colour is not None:
                frame = frame.reformat(format=fmt, dst_colorspace=colour[0], dst_color_range=colour[1])
            if times is not None:
                frame.pts, frame.time_base = round(times[i] / unit), unit
            out.mux(s.encode(frame))
            if a is not None:
                count = round(48000 / rate)
                wave = (0.3 * np.sin(np.arange(2 * count) / 20)).astype(np.float32)[None]
                heard = av.AudioFrame.from_ndarray(wave, format="flt", layout="stereo")
                heard.sample_rate, heard.pts, heard.time_base = 48000, i * count, Fraction(1, 48000)
                out.mux(a.encode(heard))
        out.mux(s.encode(None))
        if a is not None:
            out.mux(a.encode(None))
    return path


def read_clip(path: Path, fmt: str = "rgb24") -> list[tuple[Fraction, np.ndarray]]:
    """Time and pixels of every frame, read by PyAV alone."""
    with av.open(f"file:{path}") as file:
        s = file.streams.video[0]
        return [(Fraction(f.pts * s.time_base), f.to_ndarray(format=fmt)) for f in file.decode(s)]


def sound_of(path: Path) -> list[tuple[Fraction, bytes]]:
    """Time and content of every packet of sound."""
    with av.open(f"file:{path}") as file:
        return [(Fraction(p.pts * p.time_base), bytes(p)) for p in file.demux(audio=0) if p.dts is not None]


class Both:
    """In the place of the model: red is the infrared, green the visible image's red, blue its blue."""

    degradations = ALL

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def fuse_request(self, ir: np.ndarray, vis: np.ndarray, request: Request) -> ModelOutput:
        self.requests.append(request)
        v = vis.astype(np.float32) / (np.iinfo(vis.dtype).max if vis.dtype.kind == "u" else 1)
        assert ir.shape[2] == 1
        assert ir.dtype == np.float32
        return ModelOutput(np.concatenate([ir, v[..., :1], v[..., 2:]], 2), request.prompt, {})

    def detect(self, image: np.ndarray, modality: str) -> tuple[()]:
        return ()


def plan(ir: str, vis: str, output: str | None, **options: Any) -> ClipPlan:
    """The plan of `lure fuse` with these options, named as there."""

    def those_of(kind: type) -> dict[str, Any]:
        return {name: options.pop(name) for name in [*options] if name in kind.__dataclass_fields__}

    read, clips = ReadOptions(**those_of(ReadOptions)), those_of(VideoOptions)
    return plan_video(VideoOptions(FuseOptions(Path(), Path(), output, read=read, **options), ir, vis, **clips))


def pairs_of(path: Path) -> list[tuple[int, int]]:
    """Which infrared and which visible frame each fused frame was made of."""
    return [(number(x[..., 0]), number(x[..., 1])) for _, x in read_clip(path)]


def only(folder: Path, *names: str) -> None:
    """Nothing else is there, hidden files included."""
    assert sorted(p.name for p in folder.iterdir()) == sorted(names)
