"""`lure restore`: single images of one modality in, restored files out; planned first, then carried out one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lure_cli.core.text.vocabulary import Prompt
from lure_cli.errors import LureError
from lure_cli.tasks.inference.inputs import OneInput, ReadOptions, read_one
from lure_cli.tasks.inference.job import (
    ImageWorker,
    JobOptions,
    Result,
    Stop,
    check_options,
    check_types,
    clean_up,
    part_of,
    refuse_existing,
    run_here,
    until_failed,
)
from lure_cli.tasks.inference.request import Request, request_of_one
from lure_cli.tasks.paths.find import IMAGES, STANDARD, is_many, search
from lure_cli.tasks.paths.outputs import Names, Naming, check_outputs, folder_of_outputs, output_of
from lure_cli.tasks.weights.find import detector_path, resolve_weights

if TYPE_CHECKING:
    import numpy as np

    from lure_cli.core.text.vocabulary import Finding

Modality = Literal["ir", "vis"]
RESTORED = Naming("restored", "images", "known fields: {stem} (the file's name without suffix), {folder} (sub-folder)")


@dataclass(frozen=True)
class RestoreOptions(JobOptions):
    """What `lure restore` was asked to do; see the command's help. Exactly one of `ir` and `vis` is given."""

    ir: Path | None = None
    vis: Path | None = None
    output: str | None = None
    prompt: str | None = None
    strength: float = 1.0
    recursive: bool = False
    read: ReadOptions = field(default_factory=ReadOptions)


@dataclass(frozen=True)
class One:
    """One image, its name (that of the file without suffix, with the sub-folder) and the file to write."""

    name: str
    modality: Modality
    image: Path
    output: Path

    @property
    def sources(self) -> Mapping[str, Path]:
        """The one file."""
        return {self.modality: self.image}


@dataclass(frozen=True)
class RestorePlan:
    """A job that has been checked as far as that goes without reading pixels."""

    options: RestoreOptions
    request: Request
    images: tuple[One, ...]
    weights: Path


def plan_restore(options: RestoreOptions, say: Callable[[str], None] | None = None) -> RestorePlan:
    """Check everything that can be checked before the model loads; no torch is imported.

    Args:
        options: the job.
        say: told if weights are downloaded.

    Raises:
        LureError: a prompt that is not understood, a folder without images, outputs that collide, cannot be written or
            exist (unless `overwrite` or `skip_existing` says what to do with them), missing weights or some that only
            fuse.
    """
    o = options
    if o.ir is not None and o.vis is not None:
        raise LureError("--ir and --vis are two images, but one is restored", "give one; `lure fuse` takes pairs")
    if o.ir is None and o.vis is None:
        raise LureError("no image is given", "name it by what it shows: --vis hazy.png, or --ir FOLDER")
    modality: Modality = "vis" if o.ir is None else "ir"
    source = o.vis if o.ir is None else o.ir
    assert source is not None
    if modality == "vis" and o.read != ReadOptions(max_pixels=o.read.max_pixels):
        raise LureError("--ir-range is for infrared images", "leave it out, or give the image to --ir")
    many = is_many(source)
    if o.recursive and not many:
        raise LureError("--recursive is for folders", "leave it out")
    images = _find(source, modality, many, o)
    check_outputs(images, (), RESTORED)
    check_types(images, o.bits)
    check_options(o)
    o.read.check()
    request = request_of_one(modality, o.prompt, o.strength)
    if request.auto:
        detector_path()
    images = list(part_of(images, o.shard))[: o.limit]
    refuse_existing(images, o)
    weights = resolve_weights(o.weights, say)
    if weights.suffix.lower() == ".onnx":
        raise LureError(f"{weights}: ONNX files fuse, they cannot restore one image", "use the .safetensors weights")
    return RestorePlan(o, request, tuple(images), weights)


def _find(source: Path, modality: Modality, many: bool, o: RestoreOptions) -> list[One]:
    """The images that are meant, sorted by name. What lies in the output's folder is no input."""
    if not many:
        names = Names("image" if source == STANDARD else source.stem)
        return [One(names.name, modality, source, output_of(o.output, names, False, RESTORED))]
    found = []
    for file in search(source, o.recursive, folder_of_outputs(o.output, RESTORED), IMAGES):
        names = Names(file.below.stem, file.below.parent.parts)
        found.append(One(names.name, modality, file.path, output_of(o.output, names, True, RESTORED)))
    return sorted(found, key=lambda one: one.name)


class Restorer(ImageWorker[One, OneInput]):
    """Restores the images of a job.

    Args:
        options: those of the job.
        weights: the weight file.
    """

    def __init__(self, options: RestoreOptions, weights: Path) -> None:
        super().__init__(options, weights)
        self.reading = options.read

    def load(self, item: One) -> OneInput:
        """See `ImageWorker`."""
        return read_one(item.image, item.modality, self.reading)

    def make(self, inputs: OneInput, request: Request) -> tuple[np.ndarray, Prompt, Mapping[str, tuple[Finding, ...]]]:
        """See `ImageWorker`."""
        return self.fuser.fulfil_one(inputs.x, "ir" if inputs.x.shape[2] == 1 else "vis", request)


def restore(plan: RestorePlan, stop: Stop = lambda: False) -> Iterator[Result[One]]:
    """Restore every image of a plan, in order, one result at a time; one that fails does not stop the others, unless
    the options say `fail_fast`.

    Args:
        plan: from `plan_restore`.
        stop: asked before each image; once it says yes, what is in hand is finished and the rest left.

    Raises:
        LureError: the weights or the device cannot be used at all.
    """
    clean_up(plan.images)
    jobs = ((image, plan.request) for image in plan.images)
    yield from until_failed(run_here(Restorer(plan.options, plan.weights), jobs, stop), plan.options.fail_fast)
