"""ONNX: the graph gives the model's pictures, files that are not ours never run, and other programs can use ours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from PIL import Image

from lure_cli import Fuser
from lure_cli.config import Provenance
from lure_cli.core.engine.steady import SteadyViews
from lure_cli.core.engine.tiling import fuse_tiled
from lure_cli.core.files import sha256
from lure_cli.core.model.checkpoint import load_model, save_model
from lure_cli.core.model.lure import Lure
from lure_cli.core.onnx import conditions
from lure_cli.core.onnx.graph import build_onnx
from lure_cli.core.onnx.interface import INPUTS, OPERATORS, OPTIONAL
from lure_cli.core.onnx.record import KEY, describe, digest
from lure_cli.core.onnx.runtime import OnnxLure, load_onnx, open_onnx
from lure_cli.core.onnx.wire import read_message
from lure_cli.core.pixels import psnr
from lure_cli.core.text.vocabulary import DEGRADATIONS
from lure_cli.errors import LureError
from lure_cli.tasks.weights import export as task
from lure_cli.tasks.weights.export import ExportOptions, compare, export_onnx
from lure_cli.tasks.weights.find import shipped_path
from tests.helpers.files import EXAMPLES, SHARED, Outcome
from tests.helpers.models import TEXT, texts, tiny

Run = Callable[..., Outcome]
EXACT = "--dtype", "fp32", "--device", "cpu"
GATE = EXAMPLES / "pairs" / "ir" / "gate.png", EXAMPLES / "pairs" / "vis" / "gate.png"


def content(model: Lure, half: bool = False) -> bytes:
    """A model as the content of a file."""
    proto = build_onnx(model, half=half)
    record = describe(proto, model, TEXT, Provenance(), "fp16" if half else "fp32", "")
    proto.metadata_props.add(key=KEY, value=json.dumps(record))
    return proto.SerializeToString()


class Exported:
    """An `OnnxLure` that takes tensors, and gives one: for comparison with the model."""

    def __init__(self, inner: OnnxLure) -> None:
        self.inner = inner

    def __call__(self, *args: Any, conditions: Any = None) -> torch.Tensor:
        return torch.from_numpy(
            self.inner(*map(np.asarray, args), conditions=conditions and [*map(np.asarray, conditions)])
        )

    def tiled(self, *args: Any, **options: Any) -> torch.Tensor:
        return torch.from_numpy(fuse_tiled(self.inner, *map(np.asarray, args), **options))


def run_onnx(model: Lure, half: bool = False) -> OnnxLure:
    return open_onnx(content(model, half), "tiny.onnx", "cpu")[0]


def pair(batch: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(height * width)
    return tuple(torch.rand((batch, c, height, width), generator=generator) for c in (1, 3))  # type: ignore[return-value]


@pytest.fixture(autouse=True)
def _one_thread(_same_number_of_threads: None) -> None:
    """Pictures this small are done by one thread soonest."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model() -> Lure:
    return tiny()


@pytest.fixture(scope="module")
def data(model: Lure) -> bytes:
    return content(model)


@pytest.fixture(scope="module")
def exported(data: bytes) -> Exported:
    return Exported(open_onnx(data, "tiny.onnx", "cpu")[0])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped weights as ONNX."""
    return export_onnx(ExportOptions(output=tmp_path_factory.mktemp("onnx") / "small.onnx")).path


# The graph


@torch.inference_mode()
@pytest.mark.parametrize("size", [(1, 1, 1), (1, 1, 6), (1, 5, 1), (1, 7, 9), (2, 33, 47), (3, 16, 24)])
def test_any_size_and_batch(size: tuple[int, int, int], model: Lure, exported: Exported) -> None:
    ir, vis = pair(*size)
    plain = texts(batch=size[0])
    for t_ir, t_vis in ((plain, plain), (texts("noise", batch=size[0]), texts("haze", "blur", batch=size[0]))):
        fused = exported(ir, vis, t_ir, t_vis)
        torch.testing.assert_close(fused, model(ir, vis, t_ir, t_vis), atol=1e-5, rtol=0)
    assert (exported(ir, vis, plain, plain) - fused).abs().max() > 1e-3  # the prompt does something


@torch.inference_mode()
@pytest.mark.parametrize(
    "changes",
    [
        {"text_guided_attention": False},
        {"inner_residual": False},
        {"global_context": False},
        {"tone": False},
        {"airlight": False},
        {"expansions": (2, 1, 1), "decoder_blocks": (1, 0, 2), "encoder_blocks": (0, 2, 1)},
        {"widths": (24, 16), "encoder_blocks": (1, 1), "refine_blocks": (2,), "decoder_blocks": (0, 0)}
        | {"fusion_blocks": (0, 1), "expansions": (1, 4)},
    ],
    ids=lambda c: "-".join(c)[:40],
)
def test_every_switch_of_the_model(changes: dict[str, Any]) -> None:
    """All that `lure export onnx` compares: prompts, strengths, batches, grey, parts of larger images."""
    model = tiny(**changes)
    comparison = compare(model, TEXT, run_onnx(model))
    assert comparison.difference < 1e-5
    assert comparison.pictures == 3 * (3 * 5 + 1) + 1  # each fused, and restored twice; but the part


@torch.inference_mode()
def test_each_image_of_a_batch_has_its_own_prompt_strength_and_grey(model: Lure, exported: Exported) -> None:
    ir, vis = pair(3, 20, 28)
    vis[1] = vis[1, :1]
    t_ir, t_vis = TEXT.encode([(), ("stripe",), ("noise",)]), TEXT.encode([("rain",), (), ("lowlight",)])
    strengths = torch.tensor([0.5, 1.0, 1.6])
    fused = exported(ir, vis, t_ir, t_vis, strengths, strengths)
    for i, s in enumerate(strengths.tolist()):
        alone = model(ir[i : i + 1], vis[i : i + 1], t_ir[i : i + 1], t_vis[i : i + 1], s, s)
        torch.testing.assert_close(fused[i : i + 1], alone, atol=1e-5, rtol=0)
    assert (fused[1] == fused[1, :1]).all()
    assert (fused[0] != fused[0, :1]).any()


@torch.inference_mode()
def test_plain_fusion_does_not_run_the_encoders_layers() -> None:
    """Were they run, what is not a number would reach the picture."""
    broken = tiny()
    for encoder in broken.encoders.values():
        for p in encoder.layers.parameters():  # type: ignore[union-attr]
            p.fill_(float("nan"))
    exported, (ir, vis) = Exported(run_onnx(broken)), pair(1, 24, 24)
    assert exported(ir, vis, texts(), texts()).isfinite().all()
    assert not exported(ir, vis, texts("noise"), texts()).isfinite().all()
    rounded = (texts() * 1e4).round() / 1e4  # as a text file may hold it
    assert exported(ir, vis, texts(), rounded / rounded.norm()).isfinite().all()


@torch.inference_mode()
@pytest.mark.parametrize(("height", "width"), [(1, 1), (13, 40), (32, 64), (100, 97)])
def test_a_view_from_outside_is_the_same_as_the_own_one(
    height: int, width: int, model: Lure, exported: Exported
) -> None:
    ir, vis = pair(1, height, width)
    t_ir, t_vis = texts("lowcontrast"), texts("lowlight")
    views = model.context_view(ir), model.context_view(vis)
    own = exported(ir, vis, t_ir, t_vis)
    torch.testing.assert_close(exported(ir, vis, t_ir, t_vis, conditions=views), own, atol=1e-6, rtol=0)
    other = views[0], torch.zeros_like(views[1])
    assert not torch.equal(exported(ir, vis, t_ir, t_vis, conditions=other), own)


@torch.inference_mode()
def test_tiles_give_the_whole_picture(model: Lure, exported: Exported) -> None:
    ir, vis = pair(1, 150, 203)
    args = ir, vis, texts("noise"), texts("haze"), 0.7, 1.0
    whole = exported(*args)
    torch.testing.assert_close(exported.tiled(*args, tile=64), whole, atol=1e-5, rtol=0)
    torch.testing.assert_close(fuse_tiled(model, *args, tile=0), whole, atol=1e-5, rtol=0)
    assert exported.inner.halo == model.halo


@torch.inference_mode()
@pytest.mark.parametrize("tile", [0, 64])
def test_streams_are_as_steady_as_the_models(tile: int, model: Lure, exported: Exported) -> None:
    ir, vis = pair(1, 90, 101)
    texts_of_both = texts("lowcontrast"), texts("haze")
    ours, theirs = SteadyViews(), SteadyViews()
    for i in range(4):
        args = ir, vis * (1 - 0.02 * i), *texts_of_both, 0.7, 1.2
        expected = fuse_tiled(model, *args, tile=tile, steady=ours.step)
        torch.testing.assert_close(exported.tiled(*args, tile=tile, steady=theirs.step), expected, atol=1e-5, rtol=0)
        alone = fuse_tiled(model, *args, tile=tile)
        assert torch.equal(expected, alone) == (i == 0)


@torch.inference_mode()
def test_half_precision_is_close(model: Lure) -> None:
    half = compare(model, TEXT, run_onnx(model, half=True))
    assert 1e-5 < half.difference < 1e-2
    assert half.psnr > 55
    assert build_onnx(model, half=True).ByteSize() < 0.8 * build_onnx(model).ByteSize()  # these are not of a file


def test_the_file_is_plain_onnx(model: Lure) -> None:
    """Valid to the last shape, without branches too, and of the operators that a file may hold, no others."""

    def kinds_of(graph: onnx.GraphProto) -> set[str]:
        inner = (kinds_of(a.g) for n in graph.node for a in n.attribute if a.HasField("g"))
        return {n.op_type for n in graph.node}.union(*inner)

    proto = build_onnx(model)
    kinds = set()
    for graph in (proto, build_onnx(model, half=True), build_onnx(model, branches=False)):
        onnx.checker.check_model(graph, full_check=True)
        kinds |= kinds_of(graph.graph)
    assert kinds == OPERATORS - {"Pow"}
    assert "If" not in {n.op_type for n in build_onnx(model, branches=False).graph.node}
    assert {i.name for i in proto.graph.input} == {*INPUTS, *OPTIONAL}
    assert {i.name for i in proto.graph.input} & {w.name for w in proto.graph.initializer} == set(OPTIONAL)


def test_files_from_before_restoring_fuse(model: Lure, exported: Exported) -> None:
    """They have no input `output`; nor have those without branches."""
    proto = build_onnx(model, branches=False)
    assert "output" not in {i.name for i in proto.graph.input}
    proto.metadata_props.add(key=KEY, value=json.dumps(describe(proto, model, TEXT, Provenance(), "fp32", "")))
    earlier = Exported(open_onnx(proto.SerializeToString(), "earlier.onnx", "cpu")[0])
    args = *pair(1, 9, 13), texts("noise"), texts("haze")
    torch.testing.assert_close(earlier(*args), exported(*args), atol=1e-5, rtol=0)
    with pytest.raises(LureError, match=r"earlier.onnx: this ONNX file fuses, it cannot restore") as caught:
        earlier.inner.restore(args[1].numpy(), args[3].numpy(), "vis")
    assert "lure export onnx" in caught.value.hint


def test_one_session_for_many_threads(exported: Exported) -> None:
    inputs = [(*pair(1, 16 + i, 24), texts("noise"), texts("haze")) for i in range(8)]
    alone = [exported(*each) for each in inputs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda each: exported(*each), inputs))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


# The file


def test_export_and_what_lies_beside_it(lure: Run, tmp_path: Path) -> None:
    file = tmp_path / "out" / "model.onnx"
    done = lure("export", "onnx", "-o", file, "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["path"] == str(file)
    assert report["bytes"] == file.stat().st_size < 3_200_000
    assert report["comparison"]["difference"] < 1e-4
    assert sorted(p.name for p in file.parent.iterdir()) == ["model.onnx", "model.prompts.json"]
    record = json.loads((file.parent / "model.prompts.json").read_text())
    weights = shipped_path("lure-small")
    assert weights is not None
    assert record["weights_sha256"] == sha256(weights)
    assert (record["model"], record["variant"], record["format"], record["text_dim"]) == ("lure-small", "fp32", 1, 32)
    _, text, provenance = load_model(weights)
    for modality, every in DEGRADATIONS.items():
        names = tuple(name for name in every if name in provenance.degradations)
        assert record["degradations"][modality] == list(names)
        vectors = record["prompts"][modality]
        assert len(vectors) == 2 ** len(names)
        for chosen in (s for n in range(len(names) + 1) for s in combinations(names, n)):
            vector = torch.tensor(vectors["+".join(chosen) or "none"])
            assert torch.equal(vector, text.encode([chosen])[0])
    assert load_onnx(file, "cpu")[2] == provenance
    metadata = {p.key: p.value for p in onnx.load(file).metadata_props}
    assert json.loads(metadata[KEY]) == record


@torch.inference_mode()
def test_the_largest_model(tmp_path: Path) -> None:
    """To one grey level, plain and with prompts."""
    file = export_onnx(ExportOptions("lure-base", tmp_path / "base.onnx", check=False)).path
    assert file.stat().st_size < 36_000_000
    base = Fuser.from_pretrained("lure-base", device="cpu", dtype="fp32")
    exported = Fuser.from_pretrained(file, device="cpu")
    images = [np.asarray(Image.open(p))[:72, :88] for p in GATE]
    for prompt in (None, "low light, and noise in both images"):
        assert np.abs(exported(*images, prompt=prompt) - base(*images, prompt=prompt)).max() < 1 / 255


def test_export_for_people(lure: Run, examples: Path) -> None:
    done = lure("export", "onnx", "--variant", "fp16")
    assert done.code == 0
    assert done.out.split() == ["lure-small.onnx", "lure-small.prompts.json"]
    assert "largest difference" in done.err
    size = Path("lure-small.onnx").stat().st_size
    again = lure("export", "onnx", "--no-check")
    assert again.code == 2
    assert "exists already" in again.err
    assert lure("export", "onnx", "--no-check", "--overwrite").code == 0
    assert size != Path("lure-small.onnx").stat().st_size < 3_200_000  # half numbers lose nothing of the weights


def test_a_file_that_gives_other_pictures_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, lure: Run, tmp_path: Path
) -> None:
    weights = tmp_path / "tiny.safetensors"
    save_model(weights, tiny(), TEXT, Provenance(), torch.float32)
    monkeypatch.setattr(conditions, "silu", lambda g, x: x)
    for variant in ("fp32", "fp16"):
        done = lure("export", "onnx", "--weights", weights, "-o", tmp_path / "bad.onnx", "--variant", variant)
        assert done.code == 2
        assert "nothing was written" in done.err
    monkeypatch.undo()
    monkeypatch.setattr(task, "compare", lambda *_: task.Comparison(float("nan"), float("nan"), 1))
    assert lure("export", "onnx", "--weights", weights, "-o", tmp_path / "bad.onnx").code == 2
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.safetensors"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--variant", "int8"], "variant 'int8' is not known"),
        (["-o", "x.pt"], "x.pt: the output's name must end in .onnx"),
        (["--weights", "nothing.safetensors"], "no such weight file"),
        (["--weights", "x.onnx"], "x.onnx: no such weight file"),
        (["--weights", "exported.onnx"], "exported.onnx is an ONNX file already"),
        (["-o", "exported.onnx"], "exported.onnx exists already"),
        (["-o", "exported.onnx/x.onnx", "--no-check"], "cannot be written"),
        (["-o", "folder.onnx", "--overwrite"], "folder.onnx exists already"),
    ],
)
def test_exports_that_are_refused(
    args: list[str], message: str, lure: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("exported.onnx").write_bytes(b"kept")
    Path("folder.onnx").mkdir()
    done = lure("export", "onnx", *args)
    assert done.code == 2
    assert message in done.err
    assert done.err.count("hint: ") == 1
    assert sorted(os.listdir()) == ["exported.onnx", "folder.onnx"]
    assert Path("exported.onnx").read_bytes() == b"kept"


def change(data: bytes, how: Callable[[onnx.ModelProto, dict[str, Any]], None]) -> bytes:
    """A file with its graph or its record changed."""
    proto = onnx.load_model_from_string(data)
    record = json.loads(proto.metadata_props[0].value)
    how(proto, record)
    proto.metadata_props[0].value = json.dumps(record)
    return proto.SerializeToString()


def external(proto: onnx.ModelProto, record: dict[str, Any]) -> None:
    """A constant, in a branch, that lies in another file."""
    branch = next(n for n in proto.graph.node if n.op_type == "If").attribute
    weight = max((w for a in branch for w in a.g.initializer), key=lambda w: len(w.raw_data))
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="/etc/passwd")
    record["graph_sha256"] = digest(read_message(proto.SerializeToString()))


def node(kind: str, domain: str = "") -> Callable[[onnx.ModelProto, dict[str, Any]], None]:
    def add(proto: onnx.ModelProto, record: dict[str, Any]) -> None:
        proto.graph.node.append(helper.make_node(kind, ["fused"], ["more"], domain=domain))

    return add


def flip(proto: onnx.ModelProto, record: dict[str, Any]) -> None:
    weight = max(proto.graph.initializer, key=lambda w: len(w.raw_data))
    weight.raw_data = bytes([weight.raw_data[0] ^ 64]) + weight.raw_data[1:]


def unknown_size(proto: onnx.ModelProto, record: dict[str, Any]) -> None:
    weight = max(proto.graph.initializer, key=lambda w: len(w.raw_data))
    weight.dims[0] += 1
    record["graph_sha256"] = digest(read_message(proto.SerializeToString()))


def attribute(proto: onnx.ModelProto, record: dict[str, Any]) -> None:
    """A convolution of a branch with other padding."""
    branch = next(n for n in proto.graph.node if n.op_type == "If").attribute
    conv = next(n for a in branch for n in a.g.node if n.op_type == "Conv")
    next(a for a in conv.attribute if a.name == "pads").ints[0] = 1 << 30


def keys(**values: Any) -> Callable[[onnx.ModelProto, dict[str, Any]], None]:
    return lambda proto, record: record.update(values)


def foreign() -> bytes:
    io = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in "ab"]
    graph = helper.make_graph([helper.make_node("Abs", ["a"], ["b"])], "g", io[:1], io[1:])
    return helper.make_model(graph).SerializeToString()


HUGE = {"vis": {"none": [1e39] * 32}, "ir": {"none": [0.0] * 32}}
DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda d: b"", "damaged or not an ONNX file"),
    "text": (lambda d: b"onnx" * 100, "damaged or not an ONNX file"),
    "truncated": (lambda d: d[: len(d) // 2], "damaged or not an ONNX file"),
    "foreign": (lambda d: foreign(), "an ONNX file, but not written by LURE"),
    "newer": (lambda d: change(d, keys(format=2)), "format 2 is newer"),
    "no format": (lambda d: change(d, keys(format="1")), "no format"),
    "external data": (lambda d: change(d, external), "data in other files"),
    "loop": (lambda d: change(d, node("Loop")), "Loop"),
    "other domain": (lambda d: change(d, node("EPContext", "com.microsoft")), "com.microsoft.EPContext"),
    "flipped bit": (lambda d: change(d, flip), "changed since it was exported"),
    "attribute": (lambda d: change(d, attribute), "changed since it was exported"),
    "odd shape": (lambda d: change(d, unknown_size), "onnxruntime cannot load it"),
    "config": (lambda d: change(d, keys(config={"widths": [1 << 40]})), "record is damaged"),
    "config key": (lambda d: change(d, keys(config={"depth": 3})), "unknown key 'depth'"),
    "no prompts": (lambda d: change(d, keys(prompts={})), "record is damaged"),
    "prompts": (lambda d: change(d, keys(prompts=HUGE)), "record is damaged"),
    "reach": (lambda d: change(d, keys(reach=1 << 60)), "record is damaged"),
    "multiple": (lambda d: change(d, keys(multiple=0)), "record is damaged"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_files_that_are_not_ours_never_run(kind: str, data: bytes, lure: Run, tmp_path: Path) -> None:
    how, message = DAMAGE[kind]
    file, out = tmp_path / "x.onnx", tmp_path / "out.png"
    file.write_bytes(how(data))
    done = lure("fuse", "--ir", GATE[0], "--vis", GATE[1], "--weights", file, "-o", out)
    assert done.code == 2
    assert f"error: {file}: " in done.err
    assert message in done.err
    assert done.err.count("hint: ") == 1
    assert not out.exists()


def test_damage_anywhere_is_an_error_or_changes_nothing(data: bytes, exported: Exported) -> None:
    generator = np.random.default_rng(0)
    args = *pair(1, 9, 9), texts("noise"), texts("haze")
    expected, refused = exported(*args), 0
    for place in generator.integers(0, len(data), 60):
        damaged = bytearray(data)
        damaged[place] ^= 1 << generator.integers(8)
        try:
            assert torch.equal(Exported(open_onnx(bytes(damaged), "x.onnx", "cpu")[0])(*args), expected)
        except LureError:
            refused += 1
    assert refused > 50


def test_no_file_is_larger_than_an_onnx_file_can_be(tmp_path: Path) -> None:
    file = tmp_path / "x.onnx"
    with file.open("wb") as f:
        f.truncate(1 << 31)
    with pytest.raises(LureError, match="larger than 2047 MiB"):
        load_onnx(file)
    with pytest.raises(LureError, match="cannot be read"):
        load_onnx(tmp_path)


def test_without_onnxruntime_the_way_out_is_named(
    lure: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small: Path
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for args in (
        ["export", "onnx", "-o", tmp_path / "x.onnx"],
        ["fuse", "--ir", GATE[0], "--vis", GATE[1], "--weights", small, "-o", tmp_path / "x.png"],
    ):
        done = lure(*args)
        assert done.code == 2
        assert "pip install onnxruntime" in done.err
    assert not any(tmp_path.iterdir())


# Fusing with it


def test_fuse_gives_the_same_files(lure: Run, small: Path, examples: Path) -> None:
    prompts = ["--prompt-vis", "auto", "--prompt-ir", "noise", "--strength-ir", "0.6"]
    common = ["fuse", "--ir", GATE[0], "--vis", GATE[1], *prompts]
    assert lure(*common, "-o", "torch.png", "--backend", "torch", *EXACT).code == 0
    assert lure(*common, "-o", "onnx.png", "--weights", small, "--backend", "onnx").code == 0
    assert lure(*common, "-o", "tiles.png", "--weights", small, "--tile", "192").code == 0
    expected, *others = (np.asarray(Image.open(f"{n}.png"), np.int16) for n in ("torch", "onnx", "tiles"))
    for each in others:
        assert np.abs(each - expected).max() <= 1
        assert (each != expected).mean() < 1e-3


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--backend", "onnx", "--weights", "lure-base"], "lure export onnx"),
        (["--backend", "torch", "--weights", "{small}"], "--backend torch cannot run"),
        (["--backend", "tensorrt"], "backend 'tensorrt' is not known"),
        (["--weights", "{small}", "--dtype", "bf16"], "computes as exported"),
        (["--weights", "{small}", "--device", "cuda"], "cuda"),
        (["--weights", "{small}", "--device", "mps"], "device 'mps'"),
        (["--weights", "none.onnx"], "none.onnx: no such weight file"),
    ],
)
def test_what_does_not_fit_is_refused(args: list[str], message: str, lure: Run, small: Path, tmp_path: Path) -> None:
    if "cuda" in args and "CUDAExecutionProvider" in pytest.importorskip("onnxruntime").get_available_providers():
        pytest.skip("there is CUDA")
    out = tmp_path / "x.png"
    args = [a.format(small=small) for a in args]
    done = lure("fuse", "--ir", GATE[0], "--vis", GATE[1], "-o", out, *args)
    assert done.code == 2
    assert message in done.err
    assert done.err.count("hint: ") == 1
    assert not out.exists()


def test_python(small: Path) -> None:
    fuser = Fuser.from_pretrained(small)
    expected = Fuser.from_pretrained("lure-small", dtype="fp32", device="cpu")
    for prompt in (None, "low light, infrared stripes"):
        np.testing.assert_allclose(fuser(*GATE, prompt=prompt), expected(*GATE, prompt=prompt), atol=1e-3)
    assert fuser.provenance == expected.provenance
    assert isinstance(fuser.engine.model, OnnxLure)
    assert fuser.engine.model.session.get_session_options().intra_op_num_threads == torch.get_num_threads()
    for image, modality, prompt in zip(GATE, ("ir", "vis"), ("stripes", "low light"), strict=True):
        restored = fuser.restore(image, modality, prompt, 0.8)  # type: ignore[arg-type]
        wanted = expected.restore(image, modality, prompt, 0.8)  # type: ignore[arg-type]
        np.testing.assert_allclose(restored, wanted, atol=1e-3)


def test_too_large_an_image_names_the_way_out(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fuser = Fuser.from_pretrained(small)

    class Session:
        def run(self, *_: object) -> list[np.ndarray]:
            raise Exception("Failed to allocate memory for requested buffer of size 1")

    monkeypatch.setattr(fuser.engine.model, "session", Session())
    with pytest.raises(LureError, match="not enough memory") as caught:
        fuser(*GATE)
    assert "--tile" in caught.value.hint


# Other programs


def picture(path: str) -> np.ndarray:
    return np.asarray(Image.open(path), np.int16)


@pytest.mark.parametrize("program", ["fuse.py", "fuse.js"])
def test_programs_without_lure(program: str, small: Path, lure: Run, examples: Path) -> None:
    """The JavaScript one where Node.js finds the packages that it needs (NODE_PATH)."""
    interpreter = sys.executable if program.endswith(".py") else shutil.which("node")
    if interpreter != sys.executable:
        if interpreter is None:
            pytest.skip("no Node.js")
        needs = "require('onnxruntime-node'); require('sharp')"
        if subprocess.run([interpreter, "-e", needs], capture_output=True, check=False).returncode:
            pytest.skip("Node.js without onnxruntime-node and sharp")
    source = (EXAMPLES / "onnx" / program).read_text()
    assert "lure_cli" not in source
    assert len(source.splitlines()) <= 30
    command = [interpreter, f"examples/onnx/{program}", str(small), *map(str, GATE), "fused.png", "haze", "noise"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": ""}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    options = ["--prompt-vis", "haze", "--prompt-ir", "noise", "-o", "expected.png", *EXACT]
    assert lure("fuse", "--ir", GATE[0], "--vis", GATE[1], *options).code == 0
    assert np.abs(picture("fused.png") - picture("expected.png")).max() <= 1


@pytest.mark.shared
@torch.inference_mode()
def test_real_pairs(small: Path, tmp_path: Path) -> None:
    """fp32 within 1e-3 of the model and fp16 above 45 dB, on real pairs with and without prompts."""
    from lure_cli.core.images.picture import read_picture

    folder = SHARED / "data" / "fusion"
    files = [p for p in sorted(folder.glob("*/test/ir/*.*")) if (p.parents[1] / "vi" / p.name).is_file()]
    if not files:
        pytest.skip("no pairs")
    half = load_onnx(export_onnx(ExportOptions(output=tmp_path / "h.onnx", variant="fp16", check=False)).path, "cpu")[0]
    full, text, _ = load_onnx(small, "cpu")
    half, full = Exported(half), Exported(full)
    weights = shipped_path("lure-small")
    assert weights is not None
    model = load_model(weights)[0]
    for file in files[:: max(1, len(files) // 4)][:4]:
        ir, vis = (
            torch.from_numpy(read_picture(p, channels=c).x[:128, :160]).permute(2, 0, 1)[None].contiguous()
            for p, c in ((file, 1), (file.parents[1] / "vi" / file.name, 3))
        )
        for names in (((), ()), (("noise",), ("lowlight",))):
            args = ir, vis, *(torch.from_numpy(text.encode([n])) for n in names)
            expected = model(*args)
            assert (full(*args) - expected).abs().max() < 1e-3
            assert psnr(half(*args), expected).item() > 45
