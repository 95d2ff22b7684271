"""What happens while clips are fused, and what becomes of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

from lure_cli.core.text.vocabulary import Prompt
from lure_cli.errors import LureError
from lure_cli.tasks.inference.request import Request
from lure_cli.tasks.video.plan import ClipPair

if TYPE_CHECKING:
    from lure_cli.tasks.inference.request import Findings


@dataclass(frozen=True)
class Progress:
    """One frame is fused. total: how many there will be, as far as that is known."""

    pair: ClipPair
    done: int
    total: int | None


@dataclass(frozen=True)
class Message:
    """Something about a clip that its owner may want to know; `warning`: the result is not all that was asked for."""

    text: str
    warning: bool = False


@dataclass(frozen=True)
class Change:
    """The prompt from a frame on, where the clip was examined, and what was found there."""

    frame: int
    prompt: Prompt
    findings: Findings

    def record(self) -> dict[str, Any]:
        """Ready for JSON."""
        detected = {m: [asdict(f) for f in each] for m, each in self.findings.items()}
        return {"frame": self.frame, "vis": self.prompt.vis, "ir": self.prompt.ir, "detected": detected}


@dataclass
class ClipResult:
    """What became of two clips.

    frames: how many were fused; size is (width, height); rate in frames a second; truncated: why it ended before its
    time; interrupted: the user ended it; changes: the prompts in turn, where they were looked for; live: to each live
    output, how many pictures were `sent` and `lost`; computed_by: as `Fuser.computed_by`.
    """

    pair: ClipPair
    request: Request
    status: Literal["done", "skipped", "failed"] = "done"
    frames: int = 0
    seconds: float = 0.0
    size: tuple[int, int] | None = None
    rate: Fraction | None = None
    sync: str | None = None
    truncated: str | None = None
    interrupted: bool = False
    changes: list[Change] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    alignment: dict[str, Any] | None = None
    palette: dict[str, Any] | None = None
    live: list[dict[str, Any]] = field(default_factory=list)
    computed_by: str = ""
    error: LureError | None = None

    def record(self) -> dict[str, Any]:
        """What a script may want to know, ready for JSON."""
        pair = self.pair
        record: dict[str, Any] = {"name": pair.name, "status": self.status, "output": pair.output}
        record |= {"ir": pair.ir, "vis": pair.vis, "seconds": round(self.seconds, 4), "size": self.size}
        record |= {"frames": self.frames, "fps": str(self.rate) if self.rate else None, "sync": self.sync}
        record |= {"prompt": {"vis": self.request.prompt.vis, "ir": self.request.prompt.ir}}
        record |= {"strength": {"vis": self.request.strength_vis, "ir": self.request.strength_ir}}
        record |= {"truncated": self.truncated, "interrupted": self.interrupted}
        if self.computed_by:
            record |= {"computed_by": self.computed_by}
        if self.changes:
            record |= {"prompts": [change.record() for change in self.changes]}
        if self.notes:
            record |= {"notes": self.notes}
        if self.alignment is not None:
            record |= {"alignment": self.alignment}
        if self.palette is not None:
            record |= {"palette": self.palette}
        if self.live:
            record |= {"live": self.live}
        if self.error:
            record |= {"error": self.error.message, "hint": self.error.hint}
        return record


Event = Progress | Message | Change | ClipResult
