"""The page of examples/web, built as its README says, in a real browser."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from lure_cli.core.text.vocabulary import DEGRADATIONS
from tests.helpers.browser import browser, launch, serve
from tests.helpers.documents import commands
from tests.helpers.files import EXAMPLES, UNBUILT, Outcome
from tests.helpers.shell import FRESH, shims

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = [pytest.mark.browser, pytest.mark.skipif(shutil.which("npm") is None, reason="no Node.js")]

WEB = EXAMPLES / "web"
PATIENCE = 120_000
"""Milliseconds to wait at most, on a machine that is busy."""
NO_NETWORK = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the examples, in which the commands of the README have been run."""
    root = tmp_path_factory.mktemp("web")
    shutil.copytree(EXAMPLES, root / "examples", ignore=UNBUILT)
    env = shims(root / "bin", FRESH)
    for command in commands(WEB / "README.md"):
        done = subprocess.run(command, shell=True, cwd=root, env=env, capture_output=True, text=True, check=False)
        if "npm" in command and any(word in done.stderr for word in NO_NETWORK):
            pytest.skip("npm reaches no registry")
        assert done.returncode == 0, done.stdout + done.stderr
    return root


@pytest.fixture(scope="module")
def address(project: Path) -> Iterator[str]:
    """Of the page, in a sub-folder of a host that sends no header of its own."""
    host = project / "host"
    shutil.copytree(project / "examples" / "web" / "dist", host / "some" / "where")
    with serve(host) as url:
        yield f"{url}some/where/"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    opened = chromium.new_context(viewport={"width": 1280, "height": 900})
    opened.set_default_timeout(PATIENCE)
    yield opened
    opened.close()


@pytest.fixture
def page(context: BrowserContext, address: str) -> Page:
    """The page, ready."""
    return open_page(context, address)


def open_page(context: BrowserContext, address: str) -> Page:
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda e: faults.append(str(e)))
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    assert not faults
    return page


def choose(page: Page, ir: Path, vis: Path) -> None:
    for side, file in (("ir", ir), ("vis", vis)):
        page.set_input_files(f"#{side} input[type=file]", file)


def settle(page: Page, state: str = "#result:not([hidden]), #fault:not([hidden])") -> None:
    page.wait_for_selector(state)
    page.wait_for_selector("#cancel", state="hidden")


def fault(page: Page) -> list[str]:
    """The error and the hint that are shown."""
    settle(page, "#fault:not([hidden])")
    return [page.inner_text(line) for line in ("#message", "#hint")]


def fuse(page: Page, ir: Path, vis: Path, ticks: tuple[str, ...] = ()) -> None:
    choose(page, ir, vis)
    for tick in ticks:
        page.check(tick)
    page.click("#fuse")
    settle(page)
    assert page.is_hidden("#fault"), page.inner_text("#fault")


def save(page: Page, path: Path) -> np.ndarray:
    with page.expect_download() as download:
        page.click("#save")
    download.value.save_as(path)
    return pixels(path)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image).astype(int)


def clipped(page: Page) -> str:
    return str(page.evaluate("document.querySelector('#over').style.clipPath"))


def cut(name: str, *, left: int = 200, top: int = 150, width: int = 131, height: int = 90) -> Image.Image:
    """A part of the example pair, of odd size."""
    with Image.open(EXAMPLES / "street" / name) as image:
        return image.crop((left, top, left + width, top + height))


def pair_8_bits(root: Path) -> tuple[Path, Path]:
    """With a colour profile, and a note that no decoder likes."""
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    cut("ir_noisy.png").save(root / "ir.png")
    cut("vis_hazy.png").save(root / "vis.png", icc_profile=profile)
    png = (root / "vis.png").read_bytes()
    (root / "vis.png").write_bytes(png[:33] + b"\0\0\0\3tEXt\1\2\3none" + png[33:])
    return root / "ir.png", root / "vis.png"


def pair_16_bits(root: Path) -> tuple[Path, Path]:
    """14 bits in 16, with the black border of a warped image; the visible one of 12 bits."""
    import imagecodecs

    ir = np.asarray(cut("ir_noisy.png"), np.uint16) * 9 + 7100
    ir[:, :11] = 0
    Image.fromarray(ir).save(root / "ir.png")
    vis = np.asarray(cut("vis_hazy.png"), np.uint16) * 16 + 5
    (root / "vis.png").write_bytes(imagecodecs.png_encode(vis))
    return root / "ir.png", root / "vis.png"


def pair_jpeg(root: Path) -> tuple[Path, Path]:
    """The infrared one in colour, the visible one with subsampled colour, on its side by EXIF."""
    cut("vis.png").save(root / "ir.jpg", quality=90)
    exif = Image.Exif()
    exif[274] = 6
    cut("vis_hazy.png").transpose(Image.Transpose.ROTATE_90).save(root / "vis.jpg", quality=90, exif=exif)
    return root / "ir.jpg", root / "vis.jpg"


def pair_grey_and_transparent(root: Path) -> tuple[Path, Path]:
    cut("ir_noisy.png").save(root / "ir.webp", lossless=True)
    alpha = np.zeros((90, 131), np.uint8)
    alpha[:, :] = np.arange(131)
    grey = cut("vis_hazy.png").convert("L").convert("LA")
    grey.putalpha(Image.fromarray(alpha))
    grey.save(root / "vis.png")
    return root / "ir.webp", root / "vis.png"


def pair_tiny(root: Path) -> tuple[Path, Path]:
    cut("ir_noisy.png", width=7, height=1).save(root / "ir.bmp")
    cut("vis_hazy.png", width=7, height=1).quantize(12).save(root / "vis.png")
    return root / "ir.bmp", root / "vis.png"


@pytest.mark.parametrize(
    "pair", [pair_8_bits, pair_16_bits, pair_jpeg, pair_grey_and_transparent, pair_tiny], ids=lambda p: p.__name__
)
def test_the_picture_is_that_of_the_command_line(
    page: Page, tmp_path: Path, lure: Callable[..., Outcome], pair: Callable[[Path], tuple[Path, Path]]
) -> None:
    ir, vis = pair(tmp_path)
    page.fill("#vis .strength input", "1.3")
    fuse(page, ir, vis, ("#ir [value=noise]", "#vis [value=haze]", "#vis [value=lowlight]"))
    result = save(page, tmp_path / "page.png")
    prompts = ("--prompt-ir", "noise", "--prompt-vis", "haze and low light", "--strength-vis", "1.3")
    out = tmp_path / "lure.png"
    done = lure("fuse", "--ir", ir, "--vis", vis, *prompts, "--dtype", "fp32", "--threads", "1", "-o", out)
    assert done.code == 0, done.err
    expected = pixels(out)
    assert result.shape == expected.shape
    assert np.abs(result - expected).max() <= 1
    with Image.open(tmp_path / "page.png") as image, Image.open(out) as other:
        assert image.info.get("icc_profile") == other.info.get("icc_profile")
        assert ("icc_profile" in image.info) == (pair is pair_8_bits)
    if pair is pair_16_bits:
        assert "percentiles 0.5 and 99.5" in page.inner_text("#ir .about")
        assert "pixels are no measurement" in page.inner_text("#ir .about")
        assert "white of 12 bits" in page.inner_text("#vis .about")
    if pair is pair_jpeg:
        assert "luma" in page.inner_text("#ir .about")


@pytest.mark.slow  # 1.6 million pixels are computed twice
def test_a_large_picture_in_tiles_is_that_of_the_command_line(
    page: Page, tmp_path: Path, lure: Callable[..., Outcome]
) -> None:
    files = [tmp_path / "ir.png", tmp_path / "vis.png"]
    for name, file in zip(("ir_noisy.png", "vis_hazy.png"), files, strict=True):
        with Image.open(EXAMPLES / "street" / name) as image:
            image.resize((1275, 1259), Image.Resampling.BICUBIC).save(file)
    fuse(page, *files, ("#vis [value=haze]",))
    result = save(page, tmp_path / "page.png")
    out = tmp_path / "lure.png"
    args = ("--prompt-vis", "haze", "--dtype", "fp32", "-o", out)
    assert lure("fuse", "--ir", files[0], "--vis", files[1], *args).code == 0
    assert np.abs(result - pixels(out)).max() <= 1


def test_numbers_of_16_bits_are_mapped_as_by_the_command_line(project: Path, tmp_path: Path) -> None:
    """Borders, dead pixels, saturated ones, few bits, one number alone: by Node.js, as that is one start for all."""
    import imagecodecs

    from lure_cli.core.images.picture import read_picture
    from lure_cli.core.images.value_range import parse_range

    rng = np.random.default_rng(0)
    files = {}
    for modality in ("ir", "vis"):
        for n in range(14):
            channels = 1 if n % 3 else 3
            low, spread = rng.integers(0, 30000), rng.choice([0, 1, 40, 900, 20000, 35000])
            x = (low + rng.random((61, 83, channels)) * spread).astype(np.uint16)
            x[:, : rng.integers(0, 9)] = rng.choice([0, 65535, low])
            if n % 2:
                x[rng.random((61, 83)) < 0.004] = rng.choice([0, 40000, 65535, 9999])
            name = f"{modality}{n}.png"
            (tmp_path / name).write_bytes(imagecodecs.png_encode(x))
            value_range = parse_range("auto", modality)
            expected = read_picture(tmp_path / name, channels=1 if modality == "ir" else 3, value_range=value_range)
            files[name] = (modality, expected.x, expected.mapping)
    for name, mode in (("ir1bit.png", "1"), ("irpalette.png", "P")):
        cut("ir.png").convert(mode).save(tmp_path / name)
        files[name] = ("ir", read_picture(tmp_path / name, channels=1).x, None)
    web = project / "examples" / "web"
    script = tmp_path / "numbers.ts"
    script.write_text(
        """import { readFileSync, writeFileSync } from "node:fs";
        import { planes } from "./src/fuse"; import { readPicture } from "./src/images";
        for (const [name, modality] of JSON.parse(process.argv[2])) {
          const file = new Blob([readFileSync(name)]);
          const p = await readPicture(file, name, modality);
          const all = { left: 0, top: 0, right: p.width, bottom: p.height };
          writeFileSync(name + ".raw", planes(p, modality === "ir" ? 1 : 3, all));
          writeFileSync(name + ".txt", p.numbers.mapping ?? "");
        }"""
    )
    shutil.copy(script, web / "numbers.ts")
    bundle = tmp_path / "numbers.mjs"
    build = ["npx", "esbuild", "numbers.ts", "--bundle", "--format=esm", "--platform=node", f"--outfile={bundle}"]
    subprocess.run(build, cwd=web, check=True, capture_output=True)
    wanted = json.dumps([(name, modality) for name, (modality, _, _) in files.items()])
    subprocess.run(["node", str(bundle), wanted], cwd=tmp_path, check=True)
    mapped = 0
    for name, (_, expected, mapping) in files.items():
        x = np.fromfile(tmp_path / f"{name}.raw", np.float32).reshape(expected.shape[2], *expected.shape[:2])
        assert np.abs(x.transpose(1, 2, 0) - expected).max() < 1e-5, name
        said = (tmp_path / f"{name}.txt").read_text()
        assert bool(said) == (mapping is not None), (name, said, mapping)
        mapped += bool(said)
    assert mapped >= 8


def test_nothing_is_asked_of_any_other_host_and_nothing_is_sent(
    context: BrowserContext, address: str, tmp_path: Path
) -> None:
    """Everything that is asked for is recorded, by the workers too; then the network is cut."""
    requests: list[tuple[str, str, object]] = []
    context.on("request", lambda r: requests.append((r.method, r.url, r.post_data)))
    page = open_page(context, address)
    page.wait_for_selector("#runs-on:has-text('(')")
    context.set_offline(True)
    before = len(requests)
    fuse(page, *pair_8_bits(tmp_path), ("#vis [value=haze]",))
    assert len(requests) == before
    assert {urlsplit(url).netloc for _, url, _ in requests if not url.startswith(("blob:", "data:"))} == {
        urlsplit(address).netloc
    }
    assert {(method, data) for method, _, data in requests} == {("GET", None)}
    assert any(url.endswith("model.onnx") for _, url, _ in requests)


def test_threads_by_a_service_worker_and_one_thread_without(
    chromium: Browser, page: Page, address: str, tmp_path: Path
) -> None:
    page.wait_for_selector("#runs-on:has-text('(')")
    assert page.evaluate("crossOriginIsolated")
    if page.evaluate("navigator.hardwareConcurrency") > 1:
        assert "threads)" in page.inner_text("#runs-on")
    alone = chromium.new_context(service_workers="block")
    alone.set_default_timeout(PATIENCE)
    other = open_page(alone, address)
    fuse(other, *pair_8_bits(tmp_path))
    assert "one thread" in other.inner_text("#runs-on")
    assert not other.evaluate("crossOriginIsolated")
    alone.close()


def test_every_degradation_can_be_ticked_by_its_name_in_words(page: Page) -> None:
    for modality, names in DEGRADATIONS.items():
        boxes = page.locator(f"#{modality} .wrong input")
        assert [boxes.nth(i).input_value() for i in range(boxes.count())] == list(names)
    labels = page.locator(".wrong label").all_inner_texts()
    assert {"low light", "over-exposure", "low resolution", "low contrast", "stripes"} <= set(labels)


def test_by_keyboard_alone_the_example_is_fused_and_wiped(page: Page) -> None:
    def tab_to(selector: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("s => document.activeElement.matches(s)", selector):
                outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert outline != "none", f"{selector} does not show that it has the focus"
                return
        raise AssertionError(f"{selector} is not reached")

    tab_to("#example")
    page.keyboard.press("Enter")
    settle(page)
    assert "haze in the visible image" in page.inner_text("#caption")
    tab_to("#compare input")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#left:has-text('infrared')")
    tab_to("#zoom")
    page.keyboard.press("End")
    assert page.evaluate("document.querySelector('#sheet').offsetWidth") == 16 * 640
    tab_to("#view")
    at = page.evaluate("document.querySelector('#view').scrollLeft")
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(500)
    assert page.evaluate("document.querySelector('#view').scrollLeft") > at
    page.select_option("#zoom", "1")
    tab_to("#wipe")
    page.keyboard.press("Home")
    assert clipped(page) == "inset(0px)"
    page.keyboard.press("End")
    assert clipped(page) == "inset(0px 0px 0px 640px)"
    for _ in range(10):
        page.keyboard.press("ArrowLeft")
    assert clipped(page) == "inset(0px 0px 0px 576px)"
    assert page.get_attribute("#wipe", "aria-valuetext") == "90 % infrared, the rest fused"


def test_the_wipe_compares_with_what_is_chosen(page: Page, tmp_path: Path) -> None:
    def under() -> list[int]:
        return page.evaluate(
            "[...document.querySelector('#under').getContext('2d').getImageData(0, 0, 131, 90).data].slice(0, 400)"
        )

    ir, vis = pair_8_bits(tmp_path)
    fuse(page, ir, vis, ("#vis [value=haze]",))
    seen = under()
    assert tuple(seen[:3]) == cut("vis_hazy.png").getpixel((0, 0))
    page.check("#compare [value=ir]")
    assert under()[:3] == [pixels(ir)[0, 0]] * 3
    page.check("#compare [value=plain]")
    page.wait_for_selector("#left:has-text('plain fusion')")
    plain = under()
    assert plain != seen
    box = page.locator("#view").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 100, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 50)
    page.mouse.up()
    assert page.input_value("#wipe") == "25"
    page.uncheck("#vis [value=haze]")
    page.click("#fuse")
    settle(page)
    over = page.evaluate(
        "[...document.querySelector('#over').getContext('2d').getImageData(0, 0, 131, 90).data].slice(0, 400)"
    )
    assert over == plain


def test_files_can_be_dropped(page: Page, tmp_path: Path) -> None:
    _, vis = pair_8_bits(tmp_path)
    transfer = page.evaluate_handle(
        """bytes => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "dropped.png"));
            return transfer;
        }""",
        list(vis.read_bytes()),
    )
    page.dispatch_event("#vis", "drop", {"dataTransfer": transfer})
    page.wait_for_selector("#vis .about:has-text('dropped.png: 131\u00d790')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_shows_all_of_it(chromium: Browser, address: str, scheme: str, tmp_path: Path) -> None:
    context = chromium.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme, has_touch=True)
    context.set_default_timeout(PATIENCE)
    page = open_page(context, address)
    fuse(page, *pair_8_bits(tmp_path), ("#vis [value=haze]",))
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    for control in page.locator("button:visible, input:visible, select:visible, #view").all():
        box = control.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
    with Image.open(_shot(page, tmp_path)) as image:
        corner = image.convert("L").getpixel((2, 2))
    assert (corner > 200) == (scheme == "light")
    context.close()


def _shot(page: Page, folder: Path) -> Path:
    page.screenshot(path=folder / "page.png")
    return folder / "page.png"


def test_faults_are_an_error_and_a_hint_and_the_page_goes_on(page: Page, tmp_path: Path) -> None:
    ir, vis = pair_8_bits(tmp_path)
    page.click("#fuse")
    assert fault(page) == ["no infrared image is chosen", "choose the infrared image, or take the example pair"]

    def refused(name: str, data: bytes) -> str:
        (tmp_path / name).write_bytes(data)
        page.set_input_files("#ir input[type=file]", tmp_path / name)
        page.wait_for_selector(f"#message:has-text('{name}')")
        assert page.inner_text("#hint")
        assert page.is_hidden("#ir .chosen")
        return page.inner_text("#message").removeprefix(f"{name}: ")

    png = ir.read_bytes()
    cut("vis.png").save(tmp_path / "whole.jpg")
    jpeg = (tmp_path / "whole.jpg").read_bytes()
    huge = png[:16] + (30000).to_bytes(4, "big") * 2 + png[24:]
    Image.new("L", (9, 9)).save(tmp_path / "frames.png", save_all=True, append_images=[Image.new("L", (9, 9), 9)])
    cut("vis.png").convert("RGBA").resize((9, 9)).point(lambda v: v // 2).save(tmp_path / "alpha.webp", lossless=True)
    assert refused("short.png", png[:-600]).startswith("damaged or cut short")
    assert refused("changed.png", png[:900] + b"!" + png[901:]).startswith("damaged or cut short")
    assert refused("short.jpg", jpeg[: len(jpeg) // 2]).startswith("damaged")
    assert refused("text.png", b"no picture at all") == "no image of a type that this page reads"
    assert refused("empty.png", b"") == "no image of a type that this page reads"
    assert refused("huge.png", huge).startswith("30000x30000 is more than this page takes")
    assert refused("two.png", (tmp_path / "frames.png").read_bytes()) == "holds several frames"
    assert refused("half.webp", (tmp_path / "alpha.webp").read_bytes()) == "has transparent pixels"
    cut("ir.png", width=40).save(tmp_path / "other.png")
    choose(page, tmp_path / "other.png", vis)
    page.click("#fuse")
    assert fault(page)[0] == "other.png is 40x90 but vis.png is 131x90"
    fuse(page, ir, vis)
    assert page.is_visible("#result")


def test_cancel_ends_it_and_a_closed_tab_leaves_nothing_behind(
    context: BrowserContext, page: Page, address: str, tmp_path: Path
) -> None:
    large = [tmp_path / "ir.png", tmp_path / "vis.png"]
    for name, file in zip(("ir_noisy.png", "vis_hazy.png"), large, strict=True):
        with Image.open(EXAMPLES / "street" / name) as image:
            image.resize((2048, 1536)).save(file, compress_level=1)
    choose(page, *large)
    page.wait_for_selector("#vis .about:has-text('2048')")
    page.click("#fuse")
    page.wait_for_selector("#status:has-text('part 1 of')")
    assert page.is_disabled("#vis input[type=file]")
    page.keyboard.press("Escape")
    settle(page, "#status:has-text('Cancelled.')")
    assert page.is_hidden("#fault")
    page.click("#fuse")  # the new worker has been given the pictures again
    page.wait_for_selector("#status:has-text('part 1 of')")
    page.close()
    other = open_page(context, address)
    (tmp_path / "small").mkdir()
    fuse(other, *pair_8_bits(tmp_path / "small"))


def test_the_build_says_what_is_missing(project: Path, tmp_path: Path) -> None:
    def built(*args: str) -> str:
        command = ["node", str(project / "examples" / "web" / "build.mjs"), *args]
        done = subprocess.run(command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        error, hint = done.stderr.splitlines()
        assert error.startswith("error: ")
        assert hint.startswith("hint: lure export onnx")
        return error

    assert "none.onnx: no such file" in built("none.onnx")
    shutil.copy(project / "examples" / "web" / "model.prompts.json", tmp_path / "bad.prompts.json")
    model = (project / "examples" / "web" / "model.onnx").read_bytes()
    (tmp_path / "bad.onnx").write_bytes(model[:100_000])
    assert "damaged" in built("bad.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"")
    assert "its inputs are not those" in built("bad.onnx")


@pytest.mark.slow  # a graphics card is imitated by the processor
def test_webgpu_gives_the_same_picture(chromium: Browser, address: str, tmp_path: Path) -> None:
    imitation = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--use-vulkan=swiftshader")
    pictures = []
    with launch(chromium.browser_type, *imitation, "--enable-features=Vulkan") as opened:
        for device in ("wasm", "webgpu"):
            context = opened.new_context()
            context.set_default_timeout(2 * PATIENCE)
            page = open_page(context, f"{address}?device={device}")
            page.wait_for_selector("#runs-on:has-text('(')")
            if device == "webgpu" and "WebGPU" not in page.inner_text("#runs-on"):
                pytest.skip("this Chromium imitates no graphics card")
            folder = tmp_path / device
            folder.mkdir()
            for side, name in (("ir", "ir_noisy.png"), ("vis", "vis_hazy.png")):
                cut(name, width=41, height=35).save(folder / f"{side}.png")
            fuse(page, folder / "ir.png", folder / "vis.png", ("#ir [value=noise]", "#vis [value=haze]"))
            pictures.append(save(page, folder / "out.png"))
    assert np.abs(pictures[0] - pictures[1]).max() <= 1
