"""`lure bench detect`: what fused pictures are worth to an object detector that is trained on them.

For each method and seed a small detector is trained on the method's pictures of the training pairs, and tested on those
of the test pairs: clean ones, and pairs of which one image is degraded, fused as they are, restored by the right
prompt, and restored by what `auto` finds. All have the same seeds and budget. What is done is kept:

    settings.json                             what the results in it were measured with
    fused/<method>/<set>/<name>.png           pictures, `<set>` is `train` or the name of a test
    degraded/<case>/<name>.png                degraded images
    detectors/<method>/seed-<n>.safetensors   detectors
    detectors/<method>/seed-<n>.json          their results, by test
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lure_cli.core.files import sha256, write_file
from lure_cli.core.records import open_record, save_record
from lure_cli.errors import LureError
from lure_cli.tasks.bench.cases import label_weights
from lure_cli.tasks.bench.detection_images import Pictures, Test, read_seen, tests_of
from lure_cli.tasks.bench.detection_options import (
    FLOORS,
    SOURCES,
    DetectBenchOptions,
    DetectPlan,
    LabelledPairs,
    plan_detection,
)
from lure_cli.tasks.bench.detection_result import METRICS, DetectBench
from lure_cli.tasks.inference.loading import check_prompts
from lure_cli.tasks.report.table import defined

if TYPE_CHECKING:
    from lure_cli.core.objects.network import ObjectDetector
    from lure_cli.core.objects.scenes import Scene

_FORMAT, _KIND = 1, "object detector"
_REPORTS = 6
"""How often a training says how far it is."""


def bench_detection(
    options: DetectBenchOptions,
    progress: Callable[[str], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> DetectBench:
    """Train and test all that is not done yet: the first seed of every method, then the second, and so on.

    Args:
        options: what to do.
        progress: told what is done next.
        stop: asked often; what is in hand is then left, what is done is kept.

    Raises:
        LureError: as `plan_detection`; weights that cannot be used, pictures that cannot be read, an output folder of
            other settings, packages that are missing.
    """
    notify, stopped = progress or (lambda line: None), stop or (lambda: False)
    plan = plan_detection(options)
    weights = label_weights(options.weights, progress)
    methods = (*SOURCES, *weights, *plan.fused, *(FLOORS if options.floors else ()))
    if len(set(methods)) < len(methods):
        raise LureError("two methods have the same name", "tell them apart: --fused NAME=DIR")
    for name, path in weights.items():
        check_prompts([case.prompt for case in plan.cases], path, name)
    run = _Run(plan, weights, notify, stopped)
    end = None if options.minutes is None else time.monotonic() + 60 * options.minutes
    finished = True
    for seed in range(options.seeds):
        for method in methods:
            if missing := run.missing(method, seed):
                late = end is not None and time.monotonic() > end
                finished = finished and not late and not stopped() and run.detector(method, seed, missing)
    values = {m: {s: r for s in range(options.seeds) if (r := run.results(m, s))} for m in methods}
    cases = tuple(case.name for case in plan.cases)
    return DetectBench(methods, plan.classes, cases, values, run.settings, finished, plan.notes)


class _Run:
    """The detectors of one plan, and what is kept of them."""

    def __init__(
        self, plan: DetectPlan, weights: Mapping[str, Path], notify: Callable[[str], None], stop: Callable[[], bool]
    ) -> None:
        from lure_cli.core.cpu import keep_buffers
        from lure_cli.core.devices import pick_device, pick_dtype
        from lure_cli.core.objects.average_precision import require_packages
        from lure_cli.core.objects.network import ObjectDetector

        require_packages()
        o = plan.options
        self.plan, self.notify, self.stop = plan, notify, stop
        self.device = pick_device(o.device)
        self.dtype = pick_dtype(o.dtype, self.device)
        if self.device.type == "cpu":
            keep_buffers()
        self.pictures = Pictures(plan, weights, notify, stop)
        self.settings: dict[str, Any] = {
            "format": _FORMAT,
            "classes": list(plan.classes),
            "train_pairs": len(plan.train.pairs),
            "train_objects": plan.train.count,
            "test_pairs": len(plan.test.pairs),
            "test_objects": plan.test.count,
            "labels": plan.train.digest()[:16] + plan.test.digest()[:16],
            "size": o.size,
            "epochs": o.epochs,
            "dtype": str(self.dtype).removeprefix("torch."),
            "parameters": sum(p.numel() for p in ObjectDetector(len(plan.classes)).parameters()),
        }
        self._check_settings()
        made_of = {name: sha256(path) for name, path in weights.items()}
        made_of |= {name: str(path.resolve()) for name, path in o.fused}
        for method, origin in made_of.items():
            self._check_origin(method, origin)

    def _check_settings(self) -> None:
        """Results of one folder are of one kind; LureError if it holds others."""
        path = self.plan.options.output / "settings.json"
        kept = _read_json(path)
        for key, value in self.settings.items():
            if kept and kept.get(key) != value:
                raise LureError(
                    f"{path.parent}: holds results of other settings ({key}: {kept.get(key)}, not {value})",
                    "give the same options, or another folder to -o",
                )
        _write_json(path, self.settings)

    def _check_origin(self, method: str, origin: str) -> None:
        """Pictures of one name are of one origin: the checksum of weights, or a folder."""
        path = self.plan.options.output / "detectors" / method / "method.json"
        kept = _read_json(path)
        if kept and kept.get("origin") != origin:
            raise LureError(
                f"{path.parent}: is of other weights or another folder ({kept.get('origin')})",
                "give another folder to -o, or another name: --fused NAME=DIR",
            )
        _write_json(path, {"origin": origin})

    def _place(self, method: str, seed: int, suffix: str) -> Path:
        return self.plan.options.output / "detectors" / method / f"seed-{seed}{suffix}"

    def results(self, method: str, seed: int) -> dict[str, dict[str, float]]:
        """test -> metric -> value, of what is done; NaN for a class that does not occur."""
        kept = _read_json(self._place(method, seed, ".json"))
        return {test: {k: math.nan if v is None else v for k, v in of.items()} for test, of in kept.items()}

    def missing(self, method: str, seed: int) -> list[Test]:
        """What a detector was not tested on yet."""
        return [test for test in tests_of(method, self.plan) if test.name not in self.results(method, seed)]

    def detector(self, method: str, seed: int, missing: Sequence[Test]) -> bool:
        """Train one, unless it is there, and test it; whether all is done."""
        net = self._trained(method, seed)
        return net is not None and all(self._tested(net, method, seed, test) for test in missing)

    def _trained(self, method: str, seed: int) -> ObjectDetector | None:
        from lure_cli.core.devices import place
        from lure_cli.core.objects.network import ObjectDetector
        from lure_cli.core.objects.training import train

        path, o = self._place(method, seed, ".safetensors"), self.plan.options
        if path.is_file():
            net = place(ObjectDetector(len(self.plan.classes)), self.device).eval()
            tensors, _ = open_record(path, _KIND, _FORMAT, "an object detector", "delete it", framework="pt")
            net.load_state_dict(tensors)
            return net
        files = self.pictures.training(method)
        if files is None:
            return None
        scenes = self._read(method, files, self.plan.train)
        self.notify(f"{method}, seed {seed}: training")
        every = max(1, o.epochs // _REPORTS)

        def report(epoch: int, loss: float) -> bool:
            if epoch % every == 0:
                self.notify(f"{method}, seed {seed}: epoch {epoch} of {o.epochs}, loss {loss:.3f}")
            return self.stop()

        trained = train(scenes, len(self.plan.classes), o.epochs, seed, self.device, self.dtype, report)
        if trained is not None:
            tensors = {k: v.cpu().contiguous() for k, v in trained.state_dict().items()}
            save_record(path, tensors, {"format": _FORMAT, "kind": _KIND, "settings": self.settings}, "pt")
        return trained

    def _tested(self, net: ObjectDetector, method: str, seed: int, test: Test) -> bool:
        from lure_cli.core.objects.average_precision import average_precision
        from lure_cli.core.objects.training import detect

        files = self.pictures.testing(method, test)
        if files is None or self.stop():
            return False
        scenes, classes = self._read(method, files, self.plan.test), self.plan.classes
        found = [detect(net, scene, self.device, self.dtype) for scene in scenes]
        wanted = [self.plan.test.objects[name] for name in files]
        ap = average_precision(wanted, found, [scene.original for scene in scenes], len(classes))
        values = dict(zip(METRICS, (ap.ap50, ap.ap), strict=True))
        values |= {f"AP50 {name}": value for name, value in zip(classes, ap.ap50_of, strict=True)}
        kept = self.results(method, seed) | {test.name: values}
        defined_ones = {name: {k: defined(v) for k, v in of.items()} for name, of in kept.items()}
        _write_json(self._place(method, seed, ".json"), defined_ones)
        self.notify(f"{method}, seed {seed}: {test.name}: AP50 {ap.ap50:.3f}")
        return True

    def _read(self, method: str, files: Mapping[str, Path], split: LabelledPairs) -> list[Scene]:
        """The pictures of a set, in the size in which detectors see them."""
        from lure_cli.core.objects.scenes import scene

        return [
            scene(read_seen(path, method), split.objects[pair], self.plan.options.size) for pair, path in files.items()
        ]


def _read_json(path: Path) -> dict[str, Any]:
    """What an earlier run kept; empty if there is no such file."""
    if not path.is_file():
        return {}
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LureError(f"{path}: cannot be read ({error})", "delete it, to measure that again") from error
    return kept if isinstance(kept, dict) else {}


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_file(path, (json.dumps(content, indent=2) + "\n").encode())
