"""What jobs on many images have in common, whether pairs are fused or single images restored: the three steps of each
item (read, compute, write), and what became of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from lure_cli.core.files import sweep, whole_file
from lure_cli.core.images.formats import TIFF, check_output, format_of_suffix
from lure_cli.core.images.picture import Metadata, encode_image, write_image
from lure_cli.core.images.tiff import encode_temperatures
from lure_cli.core.text.vocabulary import Prompt
from lure_cli.core.thermal.temperature import Temperatures
from lure_cli.errors import LureError
from lure_cli.tasks.inference.fuser import Fuser
from lure_cli.tasks.inference.inputs import Note, no_temperatures
from lure_cli.tasks.inference.options import JobOptions
from lure_cli.tasks.inference.pipeline import run_pipeline
from lure_cli.tasks.inference.plan import finished
from lure_cli.tasks.inference.request import FuserLike, ModelOutput, Request, left_out
from lure_cli.tasks.paths.find import STANDARD
from lure_cli.tasks.paths.outputs import Item, files_of

if TYPE_CHECKING:
    import numpy as np

    from lure_cli.core.registration.alignment import Alignment
    from lure_cli.tasks.inference.inputs import Inputs
    from lure_cli.tasks.inference.request import Findings

AnyItem = TypeVar("AnyItem", bound=Item)
Read = TypeVar("Read", bound="Inputs")
Stop = Callable[[], bool]


@dataclass(frozen=True)
class Result(Generic[AnyItem]):
    """What became of one item. `seconds` is the work of reading, computing and writing; size is (width, height) in
    pixels; `prompt` is the one that was used, `findings` what was found in the images that were examined; `invalid`
    counts the pixels without a measurement, by modality; `temperatures` are those of the infrared on the result's grid,
    if it holds any; `data` is the file's content where it goes to standard output; `palette` is the record of the
    colours by heat; `computed_by` as `Fuser.computed_by`.
    """

    item: AnyItem
    request: Request
    prompt: Prompt
    status: Literal["done", "skipped", "failed"]
    seconds: float = 0.0
    size: tuple[int, int] | None = None
    error: LureError | None = None
    findings: Findings = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    alignment: Alignment | None = None
    invalid: Mapping[str, int] = field(default_factory=dict)
    temperatures: Temperatures | None = None
    data: bytes | None = field(default=None, repr=False)
    palette: Mapping[str, Any] = field(default_factory=dict)
    computed_by: str = ""

    def record(self) -> dict[str, Any]:
        """What a script may want to know, ready for JSON."""
        item = self.item
        sides = [side for side in ("vis", "ir") if side in item.sources]  # of `by_colour` none has a prompt
        record: dict[str, Any] = {"name": item.name, "status": self.status, "output": str(item.output)}
        files = {what: str(path) for what, path in item.extras.items()}
        heat = files.pop("temperature", None)
        record |= {side: str(path) for side, path in item.sources.items()} | files
        record |= {"seconds": round(self.seconds, 4), "size": self.size}
        if sides:
            record |= {"prompt": {m: getattr(self.prompt, m) for m in sides}}
            record |= {"strength": {m: getattr(self.request, f"strength_{m}") for m in sides}}
        if self.computed_by:
            record |= {"computed_by": self.computed_by}
        if self.findings:
            record |= {"detected": {m: [asdict(f) for f in each] for m, each in self.findings.items()}}
        if self.notes:
            record |= {"notes": [note.text for note in self.notes]}
        if self.invalid:
            record |= {"invalid": dict(self.invalid)}
        if self.temperatures is not None:
            record |= {"temperature": self.temperatures.record() | {"file": heat}}
        if self.alignment is not None:
            record |= {"alignment": self.alignment.record()}
        if self.palette:
            record |= {"palette": dict(self.palette)}
        if self.error:
            record |= {"error": self.error.message, "hint": self.error.hint}
        return record


@dataclass(frozen=True)
class Computed(Generic[AnyItem]):
    """A picture, float32 (H, W, 1) or (H, W, 3) in [0, 1], with what it was read with and what is known of it; further
    pictures by what they show."""

    picture: np.ndarray
    inputs: Inputs
    result: Result[AnyItem]
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)


def load_fuser(options: JobOptions, weights: Path) -> Fuser:
    """The model of a job; LureError if the weights or the device cannot be used."""
    return Fuser.from_pretrained(
        weights,
        device=options.device,
        dtype=options.dtype,
        tile=options.tile_size(),
        overlap=options.overlap,
        threads=options.threads,
        compiled=options.compiled,
        backend=options.backend,
    )


class ImageWorker(Generic[AnyItem, Read]):
    """Does the items of a job. A job says how an item is loaded (`load`) and what the model makes of it (`apply`).

    Args:
        options: those of the job.
        weights: the weight file.
        fuser: the model; None: it is loaded when the first item needs it.
    """

    def __init__(self, options: JobOptions, weights: Path, fuser: FuserLike | None = None) -> None:
        self.options, self.weights, self._fuser = options, weights, fuser

    def load(self, item: AnyItem) -> Read:
        """The files of an item -> arrays; LureError if they cannot be read."""
        raise NotImplementedError

    def apply(self, inputs: Read, request: Request) -> ModelOutput:
        """Arrays -> the picture; LureError if that cannot be done."""
        raise NotImplementedError

    def finish(self, computed: Computed[AnyItem]) -> Computed[AnyItem]:
        """The picture of the model -> that which is written."""
        return computed

    @cached_property
    def fuser(self) -> FuserLike:
        """The model; LureError if the weights or the device cannot be used."""
        return self._fuser or load_fuser(self.options, self.weights)

    def run(self, job: tuple[AnyItem, Request]) -> Result[AnyItem]:
        """All of one item; LureError only for what holds for all of them."""
        return self.write(job, self.compute(job, self.read(job)))

    def read(self, job: tuple[AnyItem, Request]) -> Read | Result[AnyItem]:
        """First step: the files -> arrays, or already the result."""
        item, request = job
        if finished(item, self.options):
            return Result(item, request, request.prompt, "skipped")
        started = time.perf_counter()
        try:
            inputs = self.load(item)
            if "temperature" in item.extras and inputs.celsius is None:
                raise no_temperatures(item.sources["ir"])
            if inputs.alpha is not None and item.output != STANDARD:
                _check_alpha(item, self.options.bits)
            return replace(
                inputs, notes=(*inputs.notes, *_losses(item, inputs.metadata)), seconds=time.perf_counter() - started
            )
        except LureError as error:
            return _failed(job, error, started)

    def compute(
        self, job: tuple[AnyItem, Request], inputs: Read | Result[AnyItem]
    ) -> Computed[AnyItem] | Result[AnyItem]:
        """Second step: arrays -> the picture."""
        if isinstance(inputs, Result):
            return inputs
        item, request = job
        if finished(item, self.options):  # since it was read, by another process on the same folder
            return Result(item, request, request.prompt, "skipped")
        _ = self.fuser  # loaded before the clock starts
        started = time.perf_counter()
        try:
            output = self.apply(inputs, request)
        except LureError as error:
            return _failed(job, LureError(f"{_last(item)}: {error.message}", error.hint), started, inputs)
        result = Result(
            item,
            request,
            output.prompt,
            "done",
            size=(output.picture.shape[1], output.picture.shape[0]),
            findings=output.findings,
            notes=(*inputs.notes, *(Note("untrained", text) for text in self._left_out(item, output))),
            alignment=inputs.alignment,
            invalid=inputs.invalid,
            temperatures=inputs.temperatures,
            computed_by=output.computed_by,
        )
        computed = self.finish(Computed(output.picture, inputs, result, output.extras))
        seconds = inputs.seconds + time.perf_counter() - started
        return replace(computed, result=replace(computed.result, seconds=seconds))

    def _left_out(self, item: AnyItem, output: ModelOutput) -> list[str]:
        if not output.findings:
            return []
        return [f"{_last(item)}: {text}" for text in left_out(output.findings, self.fuser.degradations)]

    def write(self, job: tuple[AnyItem, Request], computed: Computed[AnyItem] | Result[AnyItem]) -> Result[AnyItem]:
        """Last step: the picture and what is wanted beside it -> their files, all or none. With `skip_existing`, what
        is there stays and what is missing is added."""
        if isinstance(computed, Result):
            return computed
        item, result, started = job[0], computed.result, time.perf_counter()
        how: dict[str, Any] = {
            "alpha": computed.inputs.alpha,
            "metadata": computed.inputs.metadata,
            "bits": self.options.bits,
        }
        data, files = None, files_of(item)
        there = [] if self.options.overwrite else list(filter(os.path.lexists, files))
        try:
            if there and not self.options.skip_existing:  # made by another process meanwhile
                raise LureError(f"{there[0]} has come into being meanwhile", "give --overwrite to replace it")
            if there == files and item.output != STANDARD:
                return replace(result, status="skipped", computed_by="")
            if item.output in there:  # its picture is an earlier one
                result = replace(result, computed_by="")
            with ExitStack() as kept:
                for what, path in item.extras.items():
                    if path not in there:
                        kept.enter_context(whole_file(path)).write_bytes(_content(what, path, computed))
                if item.output == STANDARD:
                    data = encode_image(computed.picture, ".png", **how)
                elif item.output not in there:
                    write_image(item.output, computed.picture, **how)
        except LureError as error:
            return replace(result, status="failed", error=error)
        return replace(result, seconds=result.seconds + time.perf_counter() - started, data=data)


def _content(what: str, path: Path, computed: Computed[AnyItem]) -> bytes:
    """That of a file beside the picture."""
    inputs = computed.inputs
    if what != "temperature":
        return encode_image(computed.extras[what], path.suffix)
    assert inputs.celsius is not None
    return encode_temperatures(inputs.celsius, inputs.metadata.georeference)


def _last(item: Item) -> Path:
    """What errors of computing name: the visible file, if there is one; of two without such names the second."""
    return list(item.sources.values())[-1]


def _losses(item: Item, metadata: Metadata) -> list[Note]:
    """What of the metadata does not go into the output."""
    if metadata.georeference is None:
        return []
    source = _last(item)
    if not metadata.georeference:
        text = f"{source}: its georeference is left out, being damaged or that of the picture before it was turned"
    elif item.output != STANDARD and format_of_suffix(item.output.suffix) is TIFF:
        return []
    else:
        text = f"{source}: its georeference is left out; only .tif outputs hold it"
    return [Note("georeference", text)]


def _check_alpha(item: Item, bits: int) -> None:
    """Before the work: whether the output can hold the image's transparency."""
    try:
        check_output(item.output.suffix, bits, True)
    except LureError as error:
        raise LureError(f"{item.output}: {error.message}, which {_last(item)} has", error.hint) from error


def _failed(
    job: tuple[AnyItem, Request], error: LureError, started: float, inputs: Inputs | None = None
) -> Result[AnyItem]:
    seconds, notes = (inputs.seconds, inputs.notes) if inputs else (0.0, ())
    seconds += time.perf_counter() - started
    return Result(*job, job[1].prompt, "failed", seconds, error=error, notes=notes)


def clean_up(items: Iterable[Item]) -> None:
    """Remove what killed processes left where a job writes."""
    for folder in {path.parent for item in items for path in files_of(item)}:
        sweep(folder)


def run_locally(
    worker: ImageWorker[AnyItem, Read], jobs: Iterable[tuple[AnyItem, Request]], stop: Stop
) -> Generator[Result[AnyItem], None, None]:
    """Do every item of a job in this process, in order; reading, computing and writing overlap."""
    return run_pipeline(jobs, worker.read, worker.compute, worker.write, stop)


def until_failed(results: Generator[Result[AnyItem], None, None], fail_fast: bool) -> Iterator[Result[AnyItem]]:
    """The results, up to the first failed one where that ends the job."""
    with closing(results):
        for result in results:
            yield result
            if result.status == "failed" and fail_fast:
                return
