"""What names a clip: by name, or by the first bytes."""

from __future__ import annotations

from pathlib import Path

from lure_cli.core.video.source import is_live, is_video
from tests.helpers.clips import make_clip


def test_recognised_by_content(tmp_path: Path) -> None:
    for suffix in (".mp4", ".mkv", ".avi", ".ts"):
        clip = make_clip(tmp_path / f"a{suffix}", 3)
        bare = clip.rename(tmp_path / f"clip{suffix[1:]}")
        assert is_video(str(bare)), suffix
    (tmp_path / "text").write_text("ftyp " * 100)
    assert not is_video(str(tmp_path / "text"))
    assert not is_video("a.png")
    assert is_video("rtsp://camera/1")
    assert is_live("/dev/video0")
    assert is_live("v4l2:/dev/video1")
    assert not is_live("C:/clips/a.mp4")
    assert not is_live("a:b.mp4")
