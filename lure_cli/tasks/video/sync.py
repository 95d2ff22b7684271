"""Two clips as one stream of pairs: which infrared frame belongs to which visible one, mapped, resized and aligned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from lure_cli.core.images.picture import to_channels
from lure_cli.core.images.value_range import ValueRange, apply_range, resolve_range, temperatures
from lure_cli.core.registration.alignment import Model
from lure_cli.core.thermal.colouring import HeatColours, Unit
from lure_cli.core.thermal.painter import HeatPainter
from lure_cli.core.video.clip import Frame
from lure_cli.core.video.picture_folder import PictureFolder
from lure_cli.core.video.pixels import is_coloured
from lure_cli.core.video.reader import VideoFile
from lure_cli.core.video.source import is_live, is_realtime
from lure_cli.errors import LureError
from lure_cli.tasks.inference.options import ReadOptions
from lure_cli.tasks.inference.placement import fit_of, place, what_is_beyond
from lure_cli.tasks.inference.stream import Fused
from lure_cli.tasks.video.live import KEEP, LiveFrames

if TYPE_CHECKING:
    import numpy as np

    from lure_cli.core.registration.alignment import Alignment

    FramePair = tuple[np.ndarray, np.ndarray, Frame]
    """Infrared float32 (H, W, 1) in [0, 1], visible (H, W, 3), and the visible frame."""


@dataclass(frozen=True)
class HotFrame(Frame):
    """A visible frame with the heat of its partner, on its own grid: (H, W), degrees Celsius (NaN: not measured) if the
    infrared's numbers are temperatures, else the infrared in [0, 1]."""

    heat: np.ndarray | None = None


Clip = VideoFile | PictureFolder
Sync = Literal["auto", "index", "time"]
SYNC = ("auto", "index", "time")
SAMPLES = 7
"""Frames of a clip, spread over it, by which its value range and its alignment are set."""
_SAME_RATE = Fraction(1, 5000)
"""Rates that differ by less, relatively, are the same: what headers round."""


def open_clip(source: str, side: str, options: ReadOptions, rate: Fraction | None, *, sound: bool = False) -> Clip:
    """A video file, camera, stream or folder of numbered pictures; LureError if it cannot be read.

    Args:
        source: what the user named.
        side: `ir` or `vis`.
        options: see there.
        rate: pictures a second of a folder.
        sound: hand the sound over too.
    """
    grey = side == "ir"
    if not is_live(source) and Path(source).is_dir():
        return PictureFolder(source, grey=grey, max_pixels=options.max_pixels, rate=rate, radiometry=options.radiometry)
    return VideoFile(source, grey=grey, sound=sound, max_pixels=options.max_pixels)


@dataclass
class FramePairs:
    """The pairs of two clips, read one after another.

    Args:
        ir, vis: the clips.
        options: how the infrared is mapped, resized and aligned; an alignment is one for the clip.
        sync: how frames find each other: `index`: the first with the first, and so on; `time`: to each visible frame
            the infrared one that is nearest in time; `auto`: `time` where a clip is live, else `index`, if the rates
            are equal and as long as the time stamps run alike.
        limit: at most so many pairs.
        heat: how the fused frames are coloured by heat; its scale is one for the clip.
        newest: of cameras only the newest frames are taken, and they pair as they come.

    Attributes:
        notes: what was done that the user may want to know.
        taken: how many pairs there were so far.
        left: how many frames had no partner, by side; -1: some, it is not known how many.
        apart: set where `auto` stopped since the clips' time stamps drifted apart.
        alignment: the transform that was found, or is known.
        painter: what colours the frames.
    """

    ir: Clip
    vis: Clip
    options: ReadOptions
    sync: Sync = "auto"
    limit: int | None = None
    heat: HeatColours | None = None
    newest: bool = False
    notes: list[str] = field(default_factory=list, init=False)
    taken: int = field(default=0, init=False)
    left: dict[str, int] = field(default_factory=dict, init=False)
    apart: str | None = field(default=None, init=False)
    alignment: Alignment | None = field(default=None, init=False)
    _placed: Alignment | None = field(default=None, init=False)
    painter: HeatPainter | None = field(default=None, init=False)
    _vis_range: ValueRange = field(default=ValueRange("full"), init=False)
    _pairs: Iterator[tuple[Frame, Frame]] = field(init=False)
    _passed: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        live = self.ir.info.live or self.vis.info.live
        keep = 1 if self.newest else KEEP
        self._sources = [
            LiveFrames(clip.frames(), keep) if is_realtime(clip.source) else clip.frames()
            for clip in (self.ir, self.vis)
        ]
        rates = self.ir.info.rate, self.vis.info.rate
        self._own_times = isinstance(self.ir, VideoFile) and isinstance(self.vis, VideoFile)
        self.how = self.sync if self.sync != "auto" else "time" if live else "index"
        if self.sync == "auto" and not live and None not in rates:
            a, b = cast(tuple[Fraction, Fraction], rates)
            if abs(a - b) > _SAME_RATE * b:
                raise LureError(
                    f"{self.ir.source} has {_rate(a)} frames a second, {self.vis.source} has {_rate(b)}",
                    "--sync time takes the nearest infrared frame for each visible one; --sync index ignores time",
                )
        self._check_numbers()
        if self.sync == "auto" and not live and self._own_times:
            late = float(self.vis.info.start - self.ir.info.start)
            if abs(late) > 1.5 / float(rates[1] or 25):
                first, second = (self.vis, self.ir) if late > 0 else (self.ir, self.vis)
                self.notes.append(
                    f"{first.source} starts {abs(late):.2f} s later than {second.source}; frames are paired by their "
                    "numbers (--sync time pairs by time)"
                )

    def _check_numbers(self) -> None:
        if self.sync == "auto" and isinstance(self.ir, PictureFolder) and isinstance(self.vis, PictureFolder):
            a, b = self.ir.first_number, self.vis.first_number
            if a != b:
                raise LureError(
                    f"{self.ir.source} begins with number {a}, {self.vis.source} with {b}",
                    "--sync index pairs the first with the first all the same",
                )

    @property
    def total(self) -> int | None:
        """How many pairs there will be, as far as the headers tell."""
        counts = [c for c in (self.ir.info.count, self.vis.info.count) if c is not None]
        if self.how == "time":
            counts = [self.vis.info.count] if self.vis.info.count is not None else []
        if self.ir.info.live or self.vis.info.live:
            counts = []
        if self.limit is not None:
            counts.append(self.limit)
        return min(counts, default=None)

    def start(self) -> None:
        """Read the first pairs and find what holds for the whole clip: the infrared's range, the alignment and the
        scale of the colours by heat.

        Raises:
            LureError: sizes that differ, numbers that are no temperatures but are to be, a range or a scale that cannot
                be found, an alignment that is not plausible.
        """
        by_time = self._newest if self.newest else self._by_time
        pairs = by_time() if self.how == "time" else self._by_index()
        live = self.ir.info.live or self.vis.info.live
        if self.newest:  # what is looked at first is old by the time that the model is loaded
            head = list(islice(pairs, SAMPLES))
            self._pairs = islice(pairs, self.limit)
            self._passed = len(head)
        else:
            pairs = islice(pairs, self.limit)
            head = list(islice(pairs, SAMPLES if live else 1))
            self._pairs = chain(head, pairs)
        if not head:
            raise LureError(self._why_nothing(), "check that both are whole and show the same time")
        self._place(head[0][0].pixels, head[0][1].pixels)
        wanted, vis_wanted = self.options.check()
        wanted = replace(wanted, unit=self._unit)
        if not self._radiometric:
            self.options.radiometry.refuse_overrides(f"{self.ir.source}: it is not radiometric: it holds no raw data")
        if self._unit != "auto":
            self._check_temperatures(head[0][0].pixels)
        deep = head[0][0].pixels.dtype != "uint8"
        by_content = wanted.kind == "percentile" or (wanted.kind == "auto" and deep) or wanted.of_temperatures
        align = self.options.align != "none"
        irs = [pair[0].pixels for pair in head]
        if not live and (by_content or align or self.heat is not None):
            irs = self.ir.sample(SAMPLES) or irs
        try:
            self._range, mapping, _ = resolve_range(irs, wanted, trusted=self._radiometric)
        except LureError as error:
            raise LureError(f"{self.ir.source}: {error.message}", error.hint) from error
        if isinstance(self.vis, PictureFolder) and head[0][1].pixels.dtype != "uint8":
            self._map_visible(vis_wanted)
        if self.ir.coloured:
            first = head[0][1].pixels
            grey = first.shape[2] == 1 or (first.dtype == "uint8" and not is_coloured(first))
            swapped = f" and {self.vis.source} is grey: were infrared and visible swapped?"
            self.notes.append(
                f"{self.ir.source} is in colour{swapped if grey else ': its luma is taken for the infrared'}"
            )
        if mapping is not None:
            self.notes.append(f"{self.ir.source}: {mapping}, for the whole clip")
        if align:
            viss = [pair[1].pixels for pair in head] if live else self.vis.sample(SAMPLES)
            self._align(irs, viss)
        if self.heat is not None:
            self._settle(self.heat, irs)

    def _map_visible(self, wanted: ValueRange) -> None:
        """Settle which numbers of numbered pictures are black and white; those of videos use their full range."""
        try:
            self._vis_range, mapping, _ = resolve_range(self.vis.sample(SAMPLES), wanted)
        except LureError as error:
            raise LureError(f"{self.vis.source}: {error.message}", error.hint) from error
        if mapping is not None:
            self.notes.append(f"{self.vis.source}: {mapping}, for the whole clip")

    @property
    def _unit(self) -> str:
        """That of the infrared's numbers."""
        return "c" if self._radiometric else self.options.radiometry.unit

    @property
    def _radiometric(self) -> bool:
        """Whether the infrared frames are radiometric files, whose numbers are degrees."""
        return isinstance(self.ir, PictureFolder) and self.ir.celsius

    def _check_temperatures(self, pixels: np.ndarray) -> None:
        if pixels.dtype == "uint8" or not self.ir.as_recorded:
            raise LureError(
                f"{self.ir.source} does not hold temperatures: --unit needs 16 bits of grey, as they were recorded",
                "leave --unit out, or give FFV1 of gray16le, or a folder of 16-bit or float pictures",
            )

    def _settle(self, heat: HeatColours, irs: list[np.ndarray]) -> None:
        """Settle the colours by heat, on some frames of the infrared."""
        heats = [self._heat(pixels, self._infrared(pixels)) for pixels in irs]
        try:
            unit: Unit = "range" if self._unit == "auto" else "celsius"
            self.painter = HeatPainter(heat, heats, unit, sampled=True)
        except LureError as error:
            raise LureError(f"{self.ir.source}: {error.message}", error.hint) from error
        self.notes.append(f"{self.ir.source}: {self.painter}, for the whole clip")

    def _heat(self, pixels: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The heat (H, W) on the visible grid, see `HotFrame`, of the infrared's numbers and of what they become."""
        import numpy as np

        from lure_cli.core.registration.alignment import inside, warp_values

        if not self._range.of_temperatures:
            return x[..., 0] if self._placed is None else np.where(inside(self._placed), x[..., 0], np.float32(np.nan))
        celsius = temperatures(pixels, self._range)
        return celsius if self._placed is None else warp_values(celsius, self._placed)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the coloured frames."""
        width, height = self.vis.info.size
        return width + (0 if self.painter is None else self.painter.wider), height

    def coloured(self, fused: Fused) -> Fused:
        """A fused frame, coloured by the heat that came with it, if that is wanted."""
        if self.painter is None:
            return fused
        return replace(fused, picture=self.painter.paint(fused.picture, fused.extra.heat))

    def _place(self, ir: np.ndarray, vis: np.ndarray) -> None:
        """Settle where the infrared goes, unless that is to be estimated."""
        known = self.options.rig
        if self.options.align != "none":
            return
        names = str(self.ir.source), str(self.vis.source)
        self._placed = place(ir.shape[1::-1], vis.shape[1::-1], self.options, known, names)
        if known is not None:
            self.alignment = self._placed
            self.notes.append(f"the whole clip: {fit_of(self._placed, known)}{what_is_beyond(self._placed)}")
        elif not self._placed.is_identity:
            (w, h), (wv, hv) = self._placed.source_size, self._placed.size
            self.notes.append(f"{self.ir.source}: {w}x{h} resized to {wv}x{hv}")

    def _align(self, irs: list[np.ndarray], viss: list[np.ndarray]) -> None:
        from lure_cli.core.registration.alignment import describe
        from lure_cli.core.registration.estimate import estimate_once

        pairs = [
            (self._infrared(i), to_channels(_visible(v, self._vis_range, unit=True), 1))
            for i, v in zip(irs, viss, strict=False)
        ]
        model, same_view = cast(Model, self.options.align), self.options.resize_ir
        try:
            self.alignment = self._placed = estimate_once(pairs, model=model, same_view=same_view)
        except LureError as error:
            raise LureError(f"{self.ir.source}: {error.message}", error.hint) from error
        self.notes.append(f"the whole clip: {describe(self.alignment)}")

    def _infrared(self, pixels: np.ndarray, vis: np.ndarray | None = None) -> np.ndarray:
        """As a clip holds it -> float32 (H, W, 1) in [0, 1], on the visible's grid once it is known where; beyond the
        infrared's edge the visible frame stands in it, if that is given, see `lay`."""
        from lure_cli.core.registration.alignment import lay, shown, warp

        x = to_channels(apply_range(pixels, self._range), 1)
        if self._placed is None:
            return x
        if vis is None or shown(self._placed) is None:
            return warp(x, self._placed)
        return lay(x, to_channels(_visible(vis, self._vis_range, unit=True), 1), self._placed)

    def __iter__(self) -> Iterator[FramePair]:
        """The pairs, after `start`."""
        for ir, vis in self._pairs:
            try:
                x = self._infrared(ir.pixels, vis.pixels)
            except LureError as error:
                raise LureError(f"{self.ir.source}, frame {ir.number}: {error.message}", error.hint) from error
            self.taken += 1
            frame = vis if self.painter is None else HotFrame(**vars(vis), heat=self._heat(ir.pixels, x))
            yield x, _visible(vis.pixels, self._vis_range), frame

    def _by_index(self) -> Iterator[tuple[Frame, Frame]]:
        irs, viss = self._sources
        offset: Fraction | None = None
        for vis in viss:
            ir = next(irs, None)
            if ir is None:
                self._leave("vis", self.vis, vis)
                return
            drift = vis.time - ir.time - (offset if offset is not None else vis.time - ir.time)
            offset = vis.time - ir.time if offset is None else offset
            if self.sync == "auto" and self._own_times and abs(drift) > Fraction(3, 4) * vis.duration:
                late, other = (self.ir, self.vis) if drift < 0 else (self.vis, self.ir)
                self.apart = (
                    f"{late.source} lacks frames: from frame {vis.number} on it is {abs(float(drift)):.2f} s ahead of "
                    f"{other.source}"
                )
                return
            yield ir, vis
        if (extra := next(irs, None)) is not None:
            self._leave("ir", self.ir, extra)

    def _leave(self, side: str, clip: Clip, first: Frame) -> None:
        """Remember how many frames of the longer clip are left, from this one on."""
        place = first.number - (clip.first_number if isinstance(clip, PictureFolder) else 0)
        count = clip.info.count
        self.left[side] = count - place if count is not None and count > place else -1

    def _by_time(self) -> Iterator[tuple[Frame, Frame]]:
        irs, viss = self._sources
        now, following = next(irs, None), next(irs, None)
        if now is None:
            return
        before, last, sound = 0, None, cast(tuple[Any, ...], ())  # sound of frames without a partner
        for vis in viss:
            while following is not None and abs(following.time - vis.time) <= abs(now.time - vis.time):
                now, following = following, next(irs, None)
            if now.time - vis.time > now.duration or (following is not None and vis.time - now.time > now.duration):
                before += 1
                sound += vis.packets
                self.left["vis"] = before
                continue
            if following is None and vis.time > now.time + now.duration:
                count = self.vis.info.count
                self.left["vis"] = before + count - vis.number if count is not None and count > vis.number else -1
                return
            yield now, replace(vis, packets=sound + vis.packets) if sound else vis
            last, sound = vis, ()
        if following is not None and last is not None and following.time > last.time + 2 * last.duration:
            self.left["ir"] = -1

    def _newest(self) -> Iterator[tuple[Frame, Frame]]:
        """The newest visible frame with the newest infrared one; where that is more than half a frame older, the next
        is waited for, no longer than a frame. It counts when they come: the time stamps of each begin at their own 0.
        """
        irs, viss = self._sources
        ir, sound = next(irs, None), cast(tuple[Any, ...], ())
        for vis in viss:
            sound += vis.packets
            if isinstance(irs, LiveFrames):
                ir = irs.newer(0.0) or ir
            while ir is not None and _behind(ir, irs, vis, viss):
                newer = irs.newer(float(ir.duration)) if isinstance(irs, LiveFrames) else next(irs, None)
                if newer is None:
                    break
                ir = newer
            if ir is None or (isinstance(irs, LiveFrames) and irs.ended):
                return
            yield ir, replace(vis, packets=sound)
            sound = ()

    def _why_nothing(self) -> str:
        for clip in (self.ir, self.vis):
            if clip.damage is not None:
                return f"{clip.source}: {clip.damage}"
        return f"{self.ir.source} and {self.vis.source} have no pair of frames"

    @property
    def dropped(self) -> int:
        """How many frames of cameras were skipped, as there was no time for them."""
        return self._passed + sum(source.dropped for source in self._sources if isinstance(source, LiveFrames))

    def damages(self) -> list[str]:
        """What cut the stream short, if anything did; a live source that broke off has just ended."""
        damages = [f"{clip.source}: {clip.damage}" for clip in (self.ir, self.vis) if clip.damage is not None]
        return damages + ([self.apart] if self.apart is not None else [])

    def close(self) -> None:
        """Give both clips back."""
        for source in self._sources:
            if isinstance(source, LiveFrames):
                source.close()
        self.ir.close()
        self.vis.close()


def _visible(pixels: np.ndarray, value_range: ValueRange, *, unit: bool = False) -> np.ndarray:
    """As a clip holds it -> (H, W, 3), uint8 or uint16 over the full range as it is, all else (and with `unit`)
    float32."""
    if unit or value_range.kind != "full" or pixels.dtype not in ("uint8", "uint16"):
        pixels = apply_range(pixels, value_range)
    return to_channels(pixels, 3)


def _behind(ir: Frame, irs: Iterator[Frame], vis: Frame, viss: Iterator[Frame]) -> bool:
    """Whether an infrared frame is more than half a frame older than a visible one."""
    if isinstance(irs, LiveFrames) and isinstance(viss, LiveFrames):
        return viss.arrival(vis) - irs.arrival(ir) > float(ir.duration) / 2
    return vis.time - ir.time > ir.duration / 2


def _rate(rate: Fraction) -> str:
    return f"{float(rate):.6g}"
