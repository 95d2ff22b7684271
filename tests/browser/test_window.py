"""`lure ui` as a person and as a program meet it: one server for all, in headless Chromium."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.browser import MISSING, browser
from tests.helpers.documents import blocks
from tests.helpers.files import EXAMPLES, ROOT

pytest.importorskip("gradio")

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.skipif(bool(MISSING), reason=MISSING or "nothing is missing")]
GUIDE = EXAMPLES / "guides" / "window.md"
PROMPT = "haze in the visible image and noise in the infrared image"
LURE_UI = ("-m", "lure_cli", "ui", "--no-browser")
WAIT = 60_000
"""Milliseconds; nothing takes as long."""


@contextmanager
def server(home: Path, *args: str, command: tuple[str, ...] = LURE_UI, **variables: str) -> Iterator[Any]:
    """The running server; `url` is what it printed."""
    env = os.environ | {"TMPDIR": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    env |= variables
    started = subprocess.Popen(
        [sys.executable, *command, *args], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert started.stdout is not None
        started.url = started.stdout.readline().strip().rstrip("/")  # type: ignore[attr-defined]
        yield started
    finally:
        started.terminate()
        started.communicate(timeout=60)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server's temporary files lie."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def url(home: Path) -> Iterator[str]:
    """The address of the server; its way to anywhere else is a proxy that nobody may call."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        at = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        with server(home, "--port", "0", http_proxy=at, https_proxy=at, all_proxy=at) as started:
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+", started.url), started.communicate()
            yield started.url
        proxy.settimeout(0)
        with pytest.raises(BlockingIOError):
            proxy.accept()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@contextmanager
def opened(chromium: Browser, url: str, refused: str = "(?!)", **how: Any) -> Iterator[Page]:
    """The page, in a browser profile of its own. Every request to elsewhere is denied, and fails the test, as do errors
    on the page, but for messages that match `refused`."""
    context = chromium.new_context(**how)
    page = context.new_page()
    faults: list[str] = []

    def only_here(route: Any) -> None:
        if route.request.url.startswith(url):
            route.continue_()
        else:
            faults.append(f"asked for {route.request.url}")
            route.abort()

    context.route("**/*", only_here)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.goto(url)
    page.locator("#go").wait_for()
    try:
        yield page
        assert not [fault for fault in faults if not re.search(refused, fault)]
    finally:
        context.close()


def take_example(page: Page) -> None:
    page.locator("#example").click()
    page.locator("#viewer .viewer:not(.empty)").wait_for(timeout=WAIT)
    page.wait_for_function(f"document.querySelector('#prompt textarea').value === {PROMPT!r}")


def fuse(page: Page) -> None:
    page.locator("#go").click()
    page.locator("#save").wait_for(timeout=WAIT)


def drop(page: Page, side: str, file: Path) -> None:
    page.set_input_files(f"#{side} input[type=file]", str(file))
    page.locator(f"#{side}").get_by_text(file.suffix).first.wait_for(timeout=WAIT)


def saved(page: Page, folder: Path, button: str = "#save") -> Path:
    with page.expect_download() as download:
        page.locator(button).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def files_in(home: Path) -> set[Path]:
    """Files with content in the server's folder, which may go while they are counted."""
    walks = [os.walk(folder) for folder in home.glob("lure-ui-*")]
    paths = {Path(folder, name) for walk in walks for folder, _, names in walk for name in names}
    sizes = {}
    for path in paths:
        with suppress(FileNotFoundError):
            sizes[path] = path.stat().st_size
    return {path for path, size in sizes.items() if size}


def wait_for(condition: Any) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


def test_newcomer_sees_a_wipe_of_the_example_pair(chromium: Browser, url: str, tmp_path: Path) -> None:
    with opened(chromium, url) as page:
        take_example(page)
        assert "visible: haze · infrared: noise" in page.locator("#understood").inner_text()
        fuse(page)
        left, right = (page.locator(f"#viewer select[data-part={side}]") for side in ("left", "right"))
        assert (left.input_value(), right.input_value()) == ("visible", "result")
        assert left.locator("option").all_inner_texts() == ["infrared", "visible", "plain fusion", "result"]
        page.wait_for_function("[...document.querySelectorAll('#viewer img')].every((i) => i.naturalWidth === 640)")
        over = page.locator("#viewer img[data-part=over]")
        half = over.evaluate("(i) => i.style.clipPath")
        wipe = page.locator("#viewer input[type=range]")
        wipe.focus()
        for _ in range(20):
            page.keyboard.press("ArrowRight")
        assert wipe.input_value() == "60"
        assert over.evaluate("(i) => i.style.clipPath") != half
        before = over.get_attribute("src")
        left.select_option("infrared")
        assert over.get_attribute("src") != before
        page.locator("#viewer [data-part=stage]").focus()
        page.keyboard.press("1")
        assert page.locator("#viewer [data-part=zoom]").inner_text() == "100 %"
        words = page.locator("#command .cm-content").inner_text()
        assert words.startswith("lure fuse --ir ir_noisy.png --vis vis_hazy.png")
        from PIL import Image

        assert Image.open(saved(page, tmp_path)).size == (640, 480)


def test_prompt_is_understood_as_it_is_typed_and_enter_fuses(chromium: Browser, url: str) -> None:
    with opened(chromium, url) as page:
        take_example(page)
        prompt = page.locator("#prompt textarea")
        prompt.fill("xyzzy")
        error = page.locator("#understood .error")
        error.wait_for()
        assert re.match(r"error: .*\nhint: .*", error.inner_text())
        prompt.fill("auto")
        page.get_by_text("visible: to be examined").wait_for()
        prompt.press("Enter")
        page.locator("#save").wait_for(timeout=WAIT)
        assert "visible: found haze" in page.locator("#said").inner_text()


def test_two_prompts_side_by_side(chromium: Browser, url: str) -> None:
    with opened(chromium, url) as page:
        take_example(page)
        page.locator("#compare button").first.click()
        page.locator("#second textarea").fill("low light")
        fuse(page)
        left, right = (page.locator(f"#viewer select[data-part={side}]") for side in ("left", "right"))
        assert (left.input_value(), right.input_value()) == ("second result", "result")
        address = [page.locator(f"#viewer img[data-part={part}]").get_attribute("src") for part in ("over", "under")]
        first, second = (urllib.request.urlopen(f"{url}/{each}").read() for each in address)
        assert first != second


def test_everything_is_reached_by_the_keyboard_and_shows_that_it_is(chromium: Browser, url: str) -> None:
    with opened(chromium, url) as page:
        take_example(page)
        fuse(page)
        page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
        reached: dict[str, bool] = {}
        for _ in range(60):
            page.keyboard.press("Tab")
            place, visible = page.evaluate(
                """() => { const e = document.activeElement, s = getComputedStyle(e);
                const part = e.dataset.part || e.closest('[id]:not([id^=component])')?.id || e.tagName;
                const around = e.closest('.block, .input-container') ? getComputedStyle(e.closest('.block')) : s;
                return [part, s.outlineStyle !== 'none' || s.boxShadow !== 'none' || around.boxShadow !== 'none'] }"""
            )
            reached[place] = visible
        wanted = "ir vis example prompt go stop compare thermal ranges output left right out in one fit stage wipe save"
        assert set(wanted.split()) <= reached.keys()
        assert not [place for place in ("go", "left", "in", "stage", "wipe", "save", "prompt") if not reached[place]]


def test_broken_file_is_an_error_of_two_lines_and_the_next_works(chromium: Browser, url: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes((EXAMPLES / "street/ir.png").read_bytes()[:3000])
    with opened(chromium, url) as page:
        drop(page, "ir", broken)
        drop(page, "vis", EXAMPLES / "street/vis.png")
        error = page.locator("#said .error")
        error.wait_for(timeout=WAIT)
        lines = error.inner_text().splitlines()
        assert len(lines) == 2
        assert lines[0].startswith("error: broken.png")
        take_example(page)
        fuse(page)
        assert not error.is_visible()


def test_two_users_at_once_get_their_own(chromium: Browser, url: str, tmp_path: Path) -> None:
    with opened(chromium, url) as one, opened(chromium, url) as two:
        for page, name in ((one, "gate"), (two, "drone")):
            for side in ("ir", "vis"):
                drop(page, side, EXAMPLES / f"pairs/{side}/{name}.png")
            page.locator("#viewer .viewer:not(.empty)").wait_for(timeout=WAIT)
        for page in (one, two):
            page.locator("#go").click()
        results = []
        for page, name in ((one, "gate"), (two, "drone")):
            page.locator("#save").wait_for(timeout=WAIT)
            assert f"{name}_fused.png" in page.locator("#command .cm-content").inner_text()
            (tmp_path / name).mkdir()
            results.append(saved(page, tmp_path / name).read_bytes())
        assert results[0] != results[1]


def test_radiometric_file_alone_with_colours_and_temperatures(chromium: Browser, url: str, tmp_path: Path) -> None:
    pytest.importorskip("flyr")
    import tifffile

    with opened(chromium, url) as page:
        drop(page, "ir", EXAMPLES / "thermal/Aqua_Tower_thermal_image.jpg")
        page.locator("#viewer .viewer:not(.empty)").wait_for(timeout=WAIT)
        for panel in ("thermal", "compare"):
            page.locator(f"#{panel} button").first.click()
        page.locator("#palette input").click()
        page.get_by_role("option", name="iron").click()
        for label in ("Legend", "File of temperatures", "Map of provenance"):
            page.get_by_label(label).check()
        fuse(page)
        assert "measured: -68.1 to -0.2 °C" in page.locator("#said").inner_text()
        assert "provenance" in page.locator("#viewer select").first.inner_text()
        celsius = tifffile.imread(saved(page, tmp_path, "#save_temperatures"))
        assert celsius.shape == (480, 480)


def test_clip_is_played_on_the_page(chromium: Browser, url: str) -> None:
    pytest.importorskip("av")
    with opened(chromium, url) as page:
        drop(page, "ir", EXAMPLES / "clip/ir.mp4")
        drop(page, "vis", EXAMPLES / "clip/vis.mp4")
        page.locator("#go").click()
        page.locator("#save").wait_for(timeout=WAIT)
        page.wait_for_function("document.querySelector('#viewer video').readyState >= 2", timeout=WAIT)
        assert page.evaluate("document.querySelector('#viewer video').videoWidth") == 160


def test_closed_page_leaves_no_work_and_no_files(chromium: Browser, url: str, home: Path, tmp_path: Path) -> None:
    """Of twelve megapixels, which would take long."""
    from PIL import Image

    for side, name in (("ir", "ir_noisy"), ("vis", "vis_hazy")):
        with Image.open(EXAMPLES / f"street/{name}.png") as image:
            image.resize((4000, 3000)).save(tmp_path / f"{side}.jpg")
    wait_for(lambda: not files_in(home))
    with opened(chromium, url) as page:
        for side in ("ir", "vis"):
            drop(page, side, tmp_path / f"{side}.jpg")
        page.locator("#viewer .viewer:not(.empty)").wait_for(timeout=WAIT)
        page.locator("#go").click()
        page.wait_for_timeout(1000)
        assert files_in(home)
    wait_for(lambda: not files_in(home))
    with opened(chromium, url) as page:  # the model is free at once
        take_example(page)
        fuse(page)


def test_stop_ends_the_work_on_a_picture(chromium: Browser, url: str, tmp_path: Path) -> None:
    from PIL import Image

    for side in ("ir", "vis"):
        with Image.open(EXAMPLES / f"street/{side}.png") as image:
            image.resize((4000, 3000)).save(tmp_path / f"{side}.jpg")
    with opened(chromium, url) as page:
        for side in ("ir", "vis"):
            drop(page, side, tmp_path / f"{side}.jpg")
        page.locator("#viewer .viewer:not(.empty)").wait_for(timeout=WAIT)
        assert "lure fuse" in page.locator("#command .cm-content").inner_text()
        page.locator("#go").click()
        page.wait_for_timeout(1000)
        page.locator("#stop").click()
        page.get_by_text("stopped before there was a result").wait_for(timeout=WAIT)
        assert not page.locator("#save").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_screen_needs_no_scrolling_sideways(chromium: Browser, url: str, scheme: Any) -> None:
    with opened(chromium, url, viewport={"width": 360, "height": 740}, color_scheme=scheme) as page:
        take_example(page)
        for panel in ("compare", "thermal", "ranges", "output"):
            page.locator(f"#{panel} button").first.click()
        fuse(page)
        page.wait_for_function("document.querySelector('#viewer img').naturalWidth > 0")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        beyond = """[...document.querySelectorAll('button, select, textarea, label, .bar, .stage, #said ul')].filter(
            (e) => e.offsetParent && e.getBoundingClientRect().right > 360).map((e) => e.outerHTML.slice(0, 80))"""
        assert page.evaluate(beyond) == []
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 200) == (scheme == "dark")


def test_page_of_the_interface_fetches_nothing_either(chromium: Browser, url: str) -> None:
    with opened(chromium, url, refused="status of 40[34]") as page:  # statistics of calls, and MCP, which are off
        page.get_by_text("API").last.click()
        page.get_by_text("/fuse").first.wait_for(timeout=WAIT)


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "{home}/../../etc/passwd", "{home}/results/link.png", "{root}/pyproject.toml", "pyproject.toml"],
)
def test_nothing_outside_of_the_folder_is_read(url: str, home: Path, path: str) -> None:
    (folder,) = home.glob("lure-ui-*")
    link = folder / "results" / "link.png"
    if not link.is_symlink():
        link.symlink_to(EXAMPLES / "street" / "ir.png")
    for form in ("file=", "file/"):
        with pytest.raises(urllib.error.HTTPError, match=r"403|404"):
            urllib.request.urlopen(f"{url}/gradio_api/{form}{path.format(home=folder, root=ROOT)}")


def test_program_cannot_name_the_files_of_others(url: str, home: Path) -> None:
    import json

    (folder,) = home.glob("lure-ui-*")
    below = folder / "somebody"
    below.mkdir(exist_ok=True)
    (below / "secret.png").write_bytes((EXAMPLES / "street/ir.png").read_bytes())

    def answer(path: str) -> str:
        data = [{"path": path, "meta": {"_type": "gradio.FileData"}}] * 2 + [None, 1, "auto", "auto", 8]
        headers = {"content-type": "application/json"}
        body = json.dumps({"data": data}).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(f"{url}/gradio_api/call/fuse", body, headers)) as reply:
                event = json.load(reply)["event_id"]
        except urllib.error.HTTPError as error:
            return f"{error.code}"
        with urllib.request.urlopen(f"{url}/gradio_api/call/fuse/{event}") as reply:
            return str(reply.read().decode())

    assert answer(str(EXAMPLES / "street/ir.png")) == "403"
    assert answer(f"{url}/a.png") == "403"
    assert "is not among the uploads" in answer(f"{folder}/*/secret.png")


def test_programs_of_the_guide_run(url: str, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(EXAMPLES)
    from PIL import Image

    (shell,) = blocks(GUIDE, "bash")
    (python,) = blocks(GUIDE, "py")
    for command in (["bash", "-euc", shell], [sys.executable, "-c", python]):
        command[-1] = command[-1].replace("http://127.0.0.1:7860", url)
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "fused.png") as image:
        assert image.size == (640, 480)
    assert "haze" in done.stdout


def test_upload_above_the_limit_is_refused_and_the_folder_goes_at_the_end(tmp_path: Path) -> None:
    with server(tmp_path, "--port", "0", "--max-upload", "1", "--host", "0.0.0.0") as started:
        at = started.url.replace("0.0.0.0", "127.0.0.1")
        content = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n' + b"0" * 2_000_000
        headers = {"content-type": "multipart/form-data; boundary=x"}
        with pytest.raises(urllib.error.HTTPError, match="413"):
            urllib.request.urlopen(urllib.request.Request(f"{at}/gradio_api/upload", content + b"\r\n--x--", headers))
        assert list(tmp_path.glob("lure-ui-*"))
        started.terminate()
        _, said = started.communicate(timeout=60)
    assert "warning: others can reach this page" in said
    assert started.returncode == 0
    assert not list(tmp_path.glob("lure-ui-*"))


def test_password_is_asked_for(tmp_path: Path) -> None:
    with server(tmp_path, "--port", "0", "--auth", "lab:secret") as started:
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{started.url}/config")
        form = b"username=lab&password=secret"
        cookies = urllib.request.HTTPCookieProcessor()
        visitor = urllib.request.build_opener(cookies)
        visitor.open(f"{started.url}/login", form)
        assert visitor.open(f"{started.url}/config").status == 200


def test_port_that_is_taken_is_an_error_of_two_lines(url: str, tmp_path: Path) -> None:
    with server(tmp_path, "--port", url.rsplit(":", 1)[1]) as started:
        assert started.url == ""
        _, said = started.communicate(timeout=60)
    assert re.fullmatch(r"error: port \d+ of 127\.0\.0\.1 cannot be used\nhint: .*\n", said)
    assert started.returncode == 2


def test_space_serves_the_same_page(tmp_path: Path) -> None:
    where = {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": "0"}
    with server(tmp_path, command=(str(EXAMPLES / "space" / "app.py"),), **where) as started:
        assert "LURE" in urllib.request.urlopen(started.url).read().decode()
