"""What a job is asked to do: how its sources are read, computed and written. `plan.py` makes a job of it."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lure_cli.config import nearest
from lure_cli.core.images.value_range import ValueRange, parse_range
from lure_cli.core.registration.alignment import MODELS
from lure_cli.core.text.vocabulary import Prompt
from lure_cli.core.thermal.colouring import HeatColours
from lure_cli.core.thermal.radiometry import Radiometry
from lure_cli.errors import LureError
from lure_cli.tasks.inference.backend import torch_only
from lure_cli.tasks.inference.loading import pick_backend
from lure_cli.tasks.inference.request import Request, no_provenance, request_of, request_of_one
from lure_cli.tasks.paths.outputs import EXTRAS
from lure_cli.tasks.paths.pairing import Pairing
from lure_cli.tasks.prompt import read_prompt_file
from lure_cli.tasks.weights.find import DEFAULT

if TYPE_CHECKING:
    from lure_cli.core.pixels import Modality
    from lure_cli.core.registration.alignment import Alignment

ENGINES = ("local", "ray")


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How the sources are read.

    ir_range, vis_range: how the numbers of either image are mapped to [0, 1]; see
        `lure_cli.core.images.value_range.ValueRange`.
    alpha: of a visible image with transparency: `keep` it in the result, `drop` it, or `ir`: it is the infrared image.
    resize_ir: bring an infrared of another size to that of the visible, instead of refusing it.
    align: register the infrared to the visible: `auto` (shift, rotation, scale), `affine`, or `none`.
    align_once: one transform for all pairs, estimated on some of them: for cameras that are fixed to each other.
    rig: the transform of such cameras, known beforehand; it excludes the three before.
    max_pixels: larger images are refused from their headers.
    frame: of an animated file: `only` (it is refused), or `first`.
    radiometry: how the infrared's numbers become temperatures.
    """

    ir_range: str = "auto"
    vis_range: str = "auto"
    alpha: str = "keep"
    resize_ir: bool = False
    align: str = "none"
    align_once: bool = False
    rig: Alignment | None = None
    max_pixels: int = 200_000_000
    frame: str = "only"
    radiometry: Radiometry = field(default_factory=Radiometry)

    def check(self) -> tuple[ValueRange, ValueRange]:
        """The parsed ranges of infrared and visible; LureError on options that cannot be meant."""
        if self.alpha not in ("keep", "drop", "ir"):
            raise LureError(f"--alpha {self.alpha} is not known", "use keep, drop or ir")
        if self.align not in ("none", *MODELS):
            raise LureError(f"--align {self.align} is not known", "use auto, affine or none")
        if self.align_once and self.align == "none":
            raise LureError("--align-once needs --align", "give --align auto or --align affine as well")
        if self.rig is not None and (self.align != "none" or self.resize_ir):
            raise LureError(
                "--rig excludes --align, --align-once and --resize-ir", "a known rig is neither estimated nor resized"
            )
        if self.max_pixels < 1:
            raise LureError(f"--max-pixels {self.max_pixels} leaves no image", "give the largest width x height")
        if self.frame not in ("only", "first"):
            raise LureError(f"--frame {self.frame} is not known", "use only or first")
        self.radiometry.check()
        if self.alpha == "ir" and self.radiometry != Radiometry():
            raise LureError("an alpha channel holds no temperatures", "leave --alpha ir or the options of them out")
        ir_range = replace(parse_range(self.ir_range), unit=self.radiometry.unit)
        if ir_range.of_temperatures:
            ir_range.in_numbers()
        return ir_range, parse_range(self.vis_range, "vis")


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """How a job is read, computed and written; see the commands' help."""

    read: ReadOptions = field(default_factory=ReadOptions)
    temperature: str | None = None
    bits: int = 8
    weights: str = DEFAULT
    device: str = "auto"
    dtype: str = "auto"
    threads: int | None = None
    compiled: bool = False
    backend: str = "auto"
    tile: str = "auto"
    overlap: int | None = None
    overwrite: bool = False
    skip_existing: bool = False
    limit: int | None = None
    shard: str | None = None
    fail_fast: bool = False

    def check(self) -> None:
        """LureError on options that exclude each other or cannot be meant."""
        if self.overwrite and self.skip_existing:
            raise LureError("--overwrite and --skip-existing exclude each other", "give one of them")
        if self.limit is not None and self.limit < 1:
            raise LureError(f"--limit {self.limit} leaves nothing to do", "give a number from 1 on")
        if self.threads is not None and self.threads < 1:
            raise LureError(f"--threads {self.threads} cannot compute anything", "give a number from 1 on")
        if self.temperature is not None and self.read.alpha == "ir":
            raise LureError("an alpha channel holds no temperatures", "leave --temperature out")
        self.tile_size()
        self.read.check()

    @property
    def extras(self) -> Mapping[str, str]:
        """What is wanted beside the pictures and where that goes, by the options of `EXTRAS`."""
        given = {what: getattr(self, what, None) for what in EXTRAS}
        return {what: output for what, output in given.items() if output is not None}

    def tile_size(self) -> int | Literal["auto"]:
        """The tile size as the model takes it; LureError if it makes no sense."""
        if self.overlap is not None and self.overlap < 0:
            raise LureError(f"--overlap {self.overlap} is negative", "give pixels, from 0 on")
        if self.tile == "auto":
            return "auto"
        if not self.tile.isascii() or not self.tile.isdigit() or 0 < int(self.tile) < 64:
            raise LureError(f"--tile {self.tile} is no tile size", "give auto, 0 (one piece), or pixels from 64 on")
        return int(self.tile)

    def torch_only(self) -> str | None:
        """What of this only torch can do; None if there is nothing."""
        return torch_only(self.device, self.dtype, self.compiled)

    def requests(self, names: Sequence[str]) -> Sequence[Request]:
        """What is wanted of each item, by its name; LureError if that is not understood."""
        raise NotImplementedError

    def check_weights(self, path: Path) -> None:
        """LureError if the weights cannot do such a job."""
        pick_backend(self.backend, path)


@dataclass(frozen=True)
class FuseOptions(JobOptions):
    """What `lure fuse` was asked to do; see the command's help. Without `vis`, files of `ir` hold both images. With
    `by_colour` nobody says that the two are infrared and visible: see `read_by_colour`."""

    ir: Path
    vis: Path | None = None
    output: str | None = None
    _: KW_ONLY
    prompt: str | None = None
    prompt_ir: str | None = None
    prompt_vis: str | None = None
    prompt_file: Path | None = None
    strength: float = 1.0
    strength_ir: float | None = None
    strength_vis: float | None = None
    pairing: Pairing = field(default_factory=Pairing)
    provenance: str | None = None
    heat: HeatColours | None = None
    by_colour: bool = False
    engine: str = "local"
    workers: int | None = None

    @property
    def in_one(self) -> bool:
        """Whether each file is both images of a pair."""
        return self.vis is None or (self.read.alpha == "ir" and self.ir == self.vis)

    def check(self) -> None:
        """See `JobOptions`."""
        super().check()
        if self.prompt_file is not None and (self.prompt, self.prompt_ir, self.prompt_vis) != (None, None, None):
            raise LureError("--prompt-file excludes --prompt, --prompt-ir and --prompt-vis", "write all into the file")
        if self.by_colour:
            self._check_by_colour()

    def _check_by_colour(self) -> None:
        """LureError on what only an infrared or a visible image has."""
        given = {
            "--prompt": self.prompt or self.prompt_ir or self.prompt_vis or self.prompt_file,
            "--strength": (self.strength, self.strength_ir, self.strength_vis) != (1.0, None, None),
            "--provenance": self.provenance,
            "--palette": self.heat,
            "--temperature": self.temperature,
            "--alpha ir": self.read.alpha == "ir",
            "--unit": self.read.radiometry != Radiometry(),
        }
        for option, value in given.items():
            if value:
                raise LureError(
                    f"{option} is about infrared and visible images, which --a and --b are not",
                    "leave it out, or name the images by --ir and --vis",
                )

    def torch_only(self) -> str | None:
        """See `JobOptions`; a cluster's workers stay, and may have a GPU."""
        if self.engine == "ray":
            return "--engine ray"
        return super().torch_only() if self.provenance is None else "--provenance"

    def check_weights(self, path: Path) -> None:
        """See `JobOptions`."""
        if pick_backend(self.backend, path) == "onnx" and self.provenance is not None:
            raise no_provenance(f"--provenance: ONNX files such as {path}")

    def requests(self, names: Sequence[str]) -> Sequence[Request]:
        """See `JobOptions`; a file of prompts has one for each pair, and no other."""
        request = request_of(
            self.prompt, self.prompt_ir, self.prompt_vis, self.strength, self.strength_ir, self.strength_vis
        )
        if self.prompt_file is None:
            return [request] * len(names)
        prompts = _prompts_of(names, read_prompt_file(self.prompt_file), self.prompt_file)
        return [replace(request, prompt=prompt) for prompt in prompts]


def _prompts_of(names: Sequence[str], prompts: Mapping[str, Prompt], file: Path) -> list[Prompt]:
    """The prompt of each pair; every pair has one, and every one a pair."""
    composed = [unicodedata.normalize("NFC", name) for name in names]
    for name in composed:
        if name not in prompts:
            raise LureError(
                f"{file}: no prompt for '{name}'", "give every pair a line; an empty prompt is plain fusion"
            )
    known = set(composed)
    for stem in prompts:
        if stem not in known:
            raise LureError(f"{file}: there is no pair '{stem}'", f"pairs: {nearest(stem, list(names))}")
    return [prompts[name] for name in composed]


@dataclass(frozen=True, kw_only=True)
class RestoreOptions(JobOptions):
    """What `lure restore` was asked to do; see the command's help. Exactly one of `ir` and `vis` is given."""

    ir: Path | None = None
    vis: Path | None = None
    output: str | None = None
    prompt: str | None = None
    strength: float = 1.0
    recursive: bool = False

    def source(self) -> tuple[Modality, Path]:
        """The one that is given; LureError if that is none or both, or if options do not fit it."""
        if self.ir is not None and self.vis is not None:
            raise LureError("--ir and --vis are two images, but one is restored", "give one; `lure fuse` takes pairs")
        if self.ir is not None:
            if self.read.vis_range != ReadOptions().vis_range:
                raise LureError("--vis-range is for visible images", "give --ir-range, or give the image to --vis")
            return "ir", self.ir
        if self.vis is None:
            raise LureError("no image is given", "name it by what it shows: --vis hazy.png, or --ir FOLDER")
        if self.read.ir_range != ReadOptions().ir_range:
            raise LureError("--ir-range is for infrared images", "give --vis-range, or give the image to --ir")
        if self.read.alpha == "ir":
            raise LureError("--alpha ir is for infrared images", "give the image to --ir")
        if self.read.radiometry != Radiometry() or self.temperature is not None:
            raise LureError("temperatures are those of infrared images", "give the image to --ir")
        return "vis", self.vis

    def requests(self, names: Sequence[str]) -> Sequence[Request]:
        """See `JobOptions`."""
        return [request_of_one(self.source()[0], self.prompt, self.strength)] * len(names)
