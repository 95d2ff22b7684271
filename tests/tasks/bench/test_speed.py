"""Ways of running the model: bands, what is left out, number types, threads, batches, compiling, `lure bench speed`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lure_cli import Fuser
from lure_cli.config import Provenance
from lure_cli.core import devices
from lure_cli.core.model import layers, precision
from lure_cli.core.model.engine import TorchEngine
from lure_cli.core.model.layers import EncoderLayer, pixelwise
from lure_cli.errors import LureError
from lure_cli.tasks.bench import speed, speed_row
from lure_cli.tasks.bench.speed_result import Row, Speed, SpeedOptions
from tests.helpers.files import Outcome
from tests.helpers.models import TEXT, texts, tiny

Run = Callable[..., Outcome]
PAIR = torch.rand(2, 1, 40, 56), torch.rand(2, 3, 40, 56)


@pytest.fixture(scope="module")
def fuser() -> Fuser:
    return Fuser(TorchEngine(tiny(), TEXT, torch.device("cpu"), torch.float32), Provenance())


@torch.no_grad()
@pytest.mark.parametrize("band", [1, 100, 5000, 10**9])
def test_bands_do_not_change_the_picture(band: int, monkeypatch: pytest.MonkeyPatch) -> None:
    net, args = tiny(), (*PAIR, texts("noise", batch=2), texts("haze", batch=2))
    with torch.enable_grad():
        whole = net(*args).detach()
    monkeypatch.setattr(layers, "BAND", band)
    torch.testing.assert_close(net(*args), whole, atol=1e-6, rtol=1e-5)


def test_pixelwise_takes_bands_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def f(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        seen.append(x.shape[2])
        return x * y

    x, y = torch.rand(2, 4, 30, 64), torch.rand(2, 1, 30, 64)
    monkeypatch.setattr(layers, "BAND", 8 * 2 * 5 * 64)  # rows, images, channels, columns
    with torch.no_grad():
        assert torch.equal(pixelwise(f, x, y), x * y)
    assert seen == [8, 8, 8, 6]
    seen.clear()
    with torch.enable_grad():
        pixelwise(f, x, y)
    assert seen == [30]


@torch.no_grad()
def test_encoders_that_are_asked_for_nothing_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    net, ran = tiny(), []
    monkeypatch.setattr(EncoderLayer, "forward", lambda self, x, *_: ran.append(self) or x)
    net(*PAIR, texts(batch=2), texts(batch=2))
    assert ran == []
    net(*PAIR, texts(batch=2), TEXT.encode([(), ("haze",)]))
    assert {id(layer) for layer in ran} <= {id(layer) for layer in net.encoders["vis"].modules()}
    assert len(ran) == 5


@torch.no_grad()
def test_leaving_them_out_is_exact() -> None:
    net, args = tiny(), (*PAIR, texts(batch=2), texts(batch=2))
    plain = net(*args)
    with torch.enable_grad():  # where nothing is left out
        torch.testing.assert_close(net(*args).detach(), plain, atol=1e-6, rtol=1e-5)


def test_shipped_weights_keep_the_pseudo_prompt_to_the_last_bit() -> None:
    shipped = Fuser.from_pretrained("lure-small", device="cpu")
    assert torch.equal(shipped.engine.model.pseudo_prompt, shipped.engine.text.encode([()])[0])


def test_auto_dtype_takes_what_is_native_and_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    net, cpu = tiny(), torch.device("cpu")
    monkeypatch.setattr(devices, "native_bf16", lambda device: True)
    assert devices.pick_dtype("auto", cpu) == torch.bfloat16
    assert precision.agreement(net, TEXT, torch.float32) == pytest.approx(120)
    measured = precision.agreement(net, TEXT, torch.bfloat16)
    assert 20 < measured < 90
    for needed, taken in ((measured - 1, torch.bfloat16), (measured + 1, torch.float32)):
        monkeypatch.setattr(precision, "LEAST", needed)
        assert precision.resolve_dtype("auto", net, TEXT) == taken
        assert precision.resolve_dtype("bf16", net, TEXT) == torch.bfloat16  # asked for by name
    monkeypatch.setattr(devices, "native_bf16", lambda device: False)
    assert precision.resolve_dtype("auto", net, TEXT) == torch.float32


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't allocate memory")])
def test_auto_dtype_leaves_it_to_the_images_to_tell_of_memory(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> float:
        raise error

    monkeypatch.setattr(devices, "native_bf16", lambda device: True)
    monkeypatch.setattr(precision, "agreement", fail)
    assert precision.resolve_dtype("auto", tiny(), TEXT) == torch.float32


@pytest.mark.parametrize(
    ("machine", "flags", "native"),
    [
        ("x86_64", {"_is_avx512_bf16_supported"}, True),
        ("AMD64", {"_is_amx_tile_supported"}, True),
        ("x86_64", set(), False),
        ("aarch64", {"_is_mkldnn_bf16_supported"}, True),
        ("arm64", set(), False),
    ],
)
def test_native_bf16_asks_the_right_flag(
    machine: str, flags: set[str], native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices.platform, "machine", lambda: machine)
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda name=name: name in flags)
    asked = SimpleNamespace(_is_mkldnn_bf16_supported=lambda: "_is_mkldnn_bf16_supported" in flags)
    monkeypatch.setattr(torch.ops, "mkldnn", asked)
    assert devices.native_bf16(torch.device("cpu")) is native


def test_shipped_weights_agree_in_bf16() -> None:
    shipped = Fuser.from_pretrained("lure-small", device="cpu", dtype="fp32")
    assert precision.agreement(shipped.engine.model, shipped.engine.text, torch.bfloat16) >= precision.LEAST


def test_a_batch_is_its_pairs(fuser: Fuser) -> None:
    ir, vis = PAIR
    made = fuser.batch(ir, vis, prompt=["haze", None], prompt_ir="noise")
    assert made.shape == (2, 3, 40, 56)
    assert made.dtype == torch.float32
    for i, prompt in enumerate(("haze", None)):
        alone = fuser(ir[i, 0].numpy(), vis[i].permute(1, 2, 0).numpy(), prompt, prompt_ir="noise")
        np.testing.assert_allclose(made[i].permute(1, 2, 0).numpy(), alone, atol=1e-5)
    bytes_ = (vis * 255).round().byte()
    whole = fuser.batch(ir, bytes_, strength=0.5, prompt="haze")
    torch.testing.assert_close(whole, fuser.batch(ir, bytes_.float() / 255, "haze", strength=0.5))
    assert not torch.allclose(whole, fuser.batch(ir, bytes_, prompt="haze"), atol=1e-3)
    assert not made.requires_grad
    (made.requires_grad_() * 2).sum().backward()  # an ordinary tensor: it may go on into training


def test_a_batch_in_tiles_knows_grey_from_colour(fuser: Fuser) -> None:
    tiled = Fuser(fuser.engine, fuser.provenance, tile=64)
    ir, vis = torch.rand(2, 1, 90, 150), torch.rand(2, 3, 90, 150)
    vis[1] = vis[1, :1]
    made = tiled.batch(ir, vis, prompt="haze")
    torch.testing.assert_close(made, fuser.batch(ir, vis, prompt="haze"), atol=1e-5, rtol=1e-4)
    assert torch.equal(made[1, 0], made[1, 2])
    assert not torch.equal(made[0, 0], made[0, 2])


def test_a_batch_is_examined_pair_by_pair(fuser: Fuser, monkeypatch: pytest.MonkeyPatch) -> None:
    names = iter([("haze",), ()])
    detector = SimpleNamespace(detect=lambda *_: [SimpleNamespace(degradation=n) for n in next(names)])
    monkeypatch.setattr("lure_cli.tasks.detect.shipped_detector", lambda: detector)
    made = fuser.batch(*PAIR, prompt_vis="auto")
    torch.testing.assert_close(made, fuser.batch(*PAIR, prompt_vis=["haze", None]))


@pytest.mark.parametrize(
    ("ir", "vis", "prompt", "text"),
    [
        (torch.rand(1, 8, 8), torch.rand(1, 3, 8, 8), None, "no batch of infrared images"),
        (torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8), None, "no batch of infrared images"),
        (torch.rand(1, 1, 8, 8), torch.rand(2, 3, 8, 8), None, "do not fit each other"),
        (torch.rand(1, 1, 8, 8), torch.rand(1, 3, 8, 9), None, "do not fit each other"),
        (torch.rand(1, 1, 8, 8).mul(255), torch.rand(1, 3, 8, 8), None, "outside"),
        (torch.full((1, 1, 8, 8), math.nan), torch.rand(1, 3, 8, 8), None, "NaN"),
        (torch.ones(1, 1, 8, 8).long(), torch.rand(1, 3, 8, 8), None, "not understood"),
        (torch.rand(1, 1, 8, 8), torch.rand(1, 3, 8, 8), ["haze", "haze"], "2 prompts for 1 pairs"),
        (torch.rand(0, 1, 8, 8), torch.rand(0, 3, 8, 8), None, "no batch"),
    ],
)
def test_batches_that_are_none(
    ir: torch.Tensor, vis: torch.Tensor, prompt: list[str] | None, text: str, fuser: Fuser
) -> None:
    with pytest.raises(LureError, match=text):
        fuser.batch(ir, vis, prompt)


def test_one_fuser_in_many_threads(fuser: Fuser) -> None:
    """Sizes, prompts and strengths differ, so that anything that threads share by mistake would show."""
    rng = np.random.default_rng(0)
    prompts = [None, "haze", "noise", "rain; stripes in the infrared image", "low light"]
    jobs = []
    for i in range(40):
        h, w = rng.integers(8, 70, 2)
        image = rng.random((h, w), np.float32), rng.random((h, w, 3), np.float32)
        jobs.append((*image, prompts[i % len(prompts)], None, None, (1.0, 0.5, 1.5)[i % 3]))
    alone = [fuser(*job) for job in jobs]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda job: fuser(*job), jobs))
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_threads_are_set_and_wrong_numbers_refused(lure: Run, examples: Path) -> None:
    pair = ["fuse", "--ir", "examples/pairs/ir/gate.png", "--vis", "examples/pairs/vis/gate.png"]
    assert lure(*pair, "-o", "one.png", "--threads", "1").code == 0
    assert torch.get_num_threads() == 1
    done = lure(*pair, "-o", "none.png", "--threads", "0")
    assert done.code == 2
    assert "--threads 0" in done.err
    with pytest.raises(LureError, match="0 threads"):
        Fuser.from_pretrained("lure-small", threads=0)


def test_no_compiler_is_said_at_once(lure: Run, examples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("No working C++ compiler found\nand more")

    monkeypatch.setattr(torch, "compile", broken)
    done = lure("fuse", "--ir", "examples/pairs/ir", "--vis", "examples/pairs/vis", "-o", "out/", "--compile")
    assert done.code == 2
    assert done.err.splitlines()[-2:] == [
        "error: torch.compile does not work here (No working C++ compiler found)",
        "hint: on a CPU it needs a C++ compiler (g++ or clang); or leave --compile out",
    ]


def test_parts_that_are_compiled_are_traced_whole_and_make_the_same_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the C++ compiler's minute: what is traced is run as it is."""
    from lure_cli.tasks.inference.loading import compile_parts

    compiler = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f: compiler(f, backend="eager", fullgraph=True))
    plain, compiled = tiny(), tiny()
    compile_parts(compiled)
    with torch.no_grad():
        args = *PAIR, texts("noise", batch=2), texts(batch=2)
        torch.testing.assert_close(compiled(*args), plain(*args), atol=1e-5, rtol=1e-4)


def test_bench_speed_rows_and_figures(lure: Run, tmp_path: Path) -> None:
    done = lure(
        "bench", "speed", "--sizes", "64x48", "--dtypes", "fp32", "--prompts", "none,both", "--runs", "1",
        "--threads", "1", "--json", "--markdown", tmp_path / "speed.md",
    )  # fmt: skip
    assert done.code == 0
    none, both = (json.loads(line) for line in done.out.splitlines())
    assert (none["prompt"], both["prompt"]) == ("none", "both")
    assert none["agreement"] == both["agreement"] == 120
    assert both["gflop"] == pytest.approx(23.8 * 64 * 48 / (640 * 480), rel=0.1)
    assert none["gflop"] < 0.5 * both["gflop"]
    for row in (none, both):
        assert row["share"] == pytest.approx(row["gflop"] / row["model_seconds"] / row["peak_gflops"], rel=0.01)
        assert 150 < row["memory"] < 3000
        assert row["file_seconds"] > 0
        assert row["machine"]["threads"] == 1
    assert (tmp_path / "speed.md").read_text().count("\n| 64x48") == 2


def test_bench_speed_goes_on_after_a_row_that_fails(lure: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(options: object, rows: tuple[Row, ...], stop: object) -> Iterator[Speed]:
        for row in rows:
            error = LureError("it is broken", "mend it") if row.prompt == "vis" else None
            yield Speed(row, 0.5, 0.75, 20.0, 100.0, 0.4, 300.0, 120.0, error)

    monkeypatch.setattr(speed, "measure_speed", measured)
    monkeypatch.setenv("COLUMNS", "150")  # one grid
    done = lure("bench", "speed", "--sizes", "64x64", "-q")
    assert done.code == 1
    assert done.err == "error: it is broken\nhint: mend it\n"
    numbers = [line.split() for line in done.out.splitlines() if "prompt none" in line]
    assert numbers[0][-9:] == ["0.500", "2.00", "0.750", "1.33", "20.0", "40", "40", "300", "120"]
    assert any(line.split()[-1] == "-" for line in done.out.splitlines() if "prompt vis" in line)


def test_a_process_that_dies_is_a_row_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    options = SpeedOptions(sizes=("64x64",), prompts=("none",), runs=1)
    monkeypatch.setattr(speed_row, "measure_into", math.exp)  # a function that cannot take the arguments
    (row,) = speed.measure_speed(options, speed.plan_speed(options))
    assert row.error is not None
    assert "ended early" in row.error.message


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("--sizes", "64"), "'64' is not WIDTHxHEIGHT"),
        (("--sizes", "8x8"), "not WIDTHxHEIGHT"),
        (("--backends", "tensorflow"), "backend 'tensorflow' is not known"),
        (("--dtypes", "int4"), "dtype 'int4' is not known"),
        (("--prompts", "fog"), "prompt 'fog' is not known"),
        (("--runs", "0"), "--runs 0"),
        (("--threads", "0"), "--threads 0"),
        (("--weights", "nothing"), "'nothing' are not known"),
    ],
)
def test_bench_speed_bad_usage(args: tuple[str, ...], text: str, lure: Run) -> None:
    done = lure("bench", "speed", *args)
    assert done.code == 2
    assert text in done.err


def test_bench_is_a_group_of_three(lure: Run) -> None:
    listed = lure("bench", "--help").out
    assert all(name in listed for name in ("fusion", "restore", "speed"))
    assert lure("bench").code == 2
    done = lure("bench", "cases")  # once the folder of `fusion`
    assert done.code == 2
    assert "No such command 'cases'" in done.err
