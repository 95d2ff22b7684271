"""The page: what can be chosen at the left, the comparison at the right."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from shutil import copy
from typing import Any
from urllib.parse import quote

from lure_cli.cli.output import SIDES
from lure_cli.cli.window.example import example_pair
from lure_cli.cli.window.session import Run, Session, Shown, Stopped, are_clips, is_pair, two_lines
from lure_cli.cli.window.settings import require_gradio
from lure_cli.errors import LureError

TITLE = "LURE"
INTRODUCTION = "Infrared and visible, fused and restored. Drop a pair, say what is wrong with it, compare."
SUFFIXES = (".png", ".tif", ".jpg", ".webp")
RANGE = "auto, full, percentile or MIN,MAX"
NUMBERS = ("emissivity", "reflected", "distance")
NEUTRAL = {"strength_ir": 1, "strength_vis": 1}
"""Values that say nothing, where they are not the command's defaults."""
PRIVATE: Mapping[str, Any] = {"api_visibility": "private"}
MODEL = {"concurrency_id": "model"}
"""One run at a time, of whatever page."""
_HERE = files("lure_cli.cli.window")


def build_page(session: Session) -> tuple[Any, dict[str, Any]]:
    """The page as Gradio's Blocks, and how it looks (arguments of its `launch`)."""
    gr = require_gradio()
    page = Page(session)
    with gr.Blocks(analytics_enabled=False, title=TITLE, fill_width=True) as blocks:
        gr.Markdown(f"# {TITLE}\n{INTRODUCTION}")
        with gr.Row(equal_height=False):
            with gr.Column(scale=1, min_width=300):
                chosen, go, stop = page.controls(gr)
            with gr.Column(scale=2, min_width=300):
                viewer = gr.HTML(
                    {},
                    html_template=_text("viewer.html"),
                    css_template=_text("viewer.css"),
                    js_on_load=_text("viewer.js"),
                    elem_id="viewer",
                )
                with gr.Row():
                    save = gr.DownloadButton("Save the result", visible=False, elem_id="save")
                    temperatures = gr.DownloadButton(
                        "Save the temperatures", visible=False, elem_id="save_temperatures"
                    )
                said = gr.HTML(elem_id="said", padding=False)
                command = gr.Code(
                    label="The same as a command",
                    language="shell",
                    interactive=False,
                    lines=1,
                    wrap_lines=True,
                    elem_id="command",
                )
        page.names = tuple(chosen)
        inputs, outputs = list(chosen.values()), [viewer, said, command, save, temperatures]
        changes = [chosen[side].change for side in ("ir", "vis")]
        gr.on(changes, page.look, inputs, outputs, show_progress_on=viewer, trigger_mode="always_last", **PRIVATE)
        gr.on(
            [go.click, chosen["prompt"].submit], page.run, inputs, outputs, show_progress_on=viewer, **MODEL, **PRIVATE
        )
        stop.click(page.stop, None, None, queue=False, **PRIVATE)
        blocks.unload(page.leave)
        _api(gr, page)
    font = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    return blocks, {"theme": gr.themes.Default(**font), "css": _text("page.css")}


def _api(gr: Any, page: Page) -> None:
    """The endpoint `/fuse` for programs: the same job, with the same words as the command's options."""
    with gr.Row(visible=False):
        inputs = [
            gr.File(label="ir"),
            gr.File(label="vis"),
            gr.Textbox(None, label="prompt"),
            gr.Number(1, label="strength"),
            gr.Textbox("auto", label="ir_range"),
            gr.Textbox("auto", label="vis_range"),
            gr.Number(8, label="bits", precision=0),
        ]
        outputs = [gr.File(label="fused"), gr.JSON(label="record")]
        button = gr.Button()
    button.click(page.api, inputs, outputs, api_name="fuse", **MODEL)


def understand(prompt: str) -> str:
    """How a prompt is understood, or why it is not; as HTML."""
    from lure_cli.tasks.inference.request import request_of

    if not prompt.strip():
        return ""
    try:
        request = request_of(prompt)
    except LureError as error:
        return _error(error)
    parts = []
    for m in ("vis", "ir"):
        names = "to be examined" if m in request.auto else ", ".join(getattr(request.prompt, m)) or "nothing"
        parts.append(f"{SIDES[m]}: <b>{html.escape(names)}</b>")
    return f'<p class="understood" role="status">{" · ".join(parts)}</p>'


@dataclass(frozen=True)
class _Asked:
    """What was chosen: arguments of `lure fuse` by name, and what that command does not have."""

    arguments: dict[str, Any]
    suffix: str
    plain: bool
    second: dict[str, Any]


class Page:
    """What the page's buttons do. Each gives the viewer's value, what is said, the command, the file to save and that
    of the temperatures."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.names: tuple[str, ...] = ()
        """Of the values that the buttons are given."""
        gr = require_gradio()
        for method in (Page.look, Page.run, Page.stop, Page.leave):
            method.__annotations__["request"] = gr.Request  # by which Gradio knows that it is to be given

    def controls(self, gr: Any) -> tuple[dict[str, Any], Any, Any]:
        """What can be chosen, most by the name of the parameter of `lure fuse`; the buttons Fuse and Stop."""
        models = self.session.settings.weights
        c: dict[str, Any] = {}
        c["ir"] = gr.File(label="Infrared (or a radiometric file alone)", height=124, elem_id="ir")
        c["vis"] = gr.File(label="Visible", height=124, elem_id="vis")
        example = gr.Button("Take the example pair", size="sm", elem_id="example")
        c["prompt"] = gr.Textbox(
            label="What is wrong with the pair?",
            placeholder="haze in the visible image, noise in the infrared image",
            info="In your own words; auto: look for it; empty: nothing is wrong.",
            elem_id="prompt",
        )
        understood = gr.HTML(elem_id="understood", padding=False)
        with gr.Row():
            go = gr.Button("Fuse", variant="primary", elem_id="go", min_width=120)
            stop = gr.Button("Stop", elem_id="stop", min_width=80)
        with gr.Accordion("Strength of the restoration", open=True):
            c["strength_vis"] = gr.Slider(0, 2, 1, step=0.05, label="Visible", info="0 none, 1 as asked for, up to 2")
            c["strength_ir"] = gr.Slider(0, 2, 1, step=0.05, label="Infrared")
        with gr.Accordion("Compare with", open=False, elem_id="compare"):
            c["plain"] = gr.Checkbox(True, label="Plain fusion", info="The same pair without a prompt")
            c["provenance"] = gr.Checkbox(
                label="Map of provenance",
                info="How much of each place is infrared (orange), visible (blue), restored (white)",
                elem_id="provenance",
            )
            c["second_prompt"] = gr.Textbox(label="A second prompt", elem_id="second")
            c["second_weights"] = gr.Dropdown(
                ["", *models], value="", label="A second model", visible=len(models) > 1, elem_id="second_model"
            )
        with gr.Accordion("Temperatures and colours", open=False, elem_id="thermal"):
            c["unit"] = gr.Dropdown(
                [("auto (as the file says)", "auto"), ("degrees Celsius", "c"), ("kelvin", "k"), ("centikelvin", "ck")],
                value="auto",
                label="Unit of the infrared's numbers",
            )
            c["palette"] = gr.Dropdown(
                [("none", ""), *_palettes()], value="", label="Colour by heat", elem_id="palette"
            )
            with gr.Row():
                c["palette_from"] = gr.Textbox(label="From", placeholder="90%", info="30: °C; 90%: rank", min_width=100)
                c["palette_to"] = gr.Textbox(label="To", placeholder="hottest", info="the same", min_width=100)
            c["legend"] = gr.Checkbox(label="Legend", info="The palette's scale beside the picture")
            c["temperature"] = gr.Checkbox(
                label="File of temperatures", info="TIFF, degrees Celsius, as the result lies", elem_id="temperature"
            )
            gr.Markdown("Of radiometric files, instead of what they say:")
            with gr.Row():
                c["emissivity"] = gr.Textbox(label="Emissivity", placeholder="0.95", min_width=90)
                c["reflected"] = gr.Textbox(label="Reflected, °C", placeholder="20", min_width=90)
                c["distance"] = gr.Textbox(label="Distance, m", placeholder="1", min_width=90)
        with gr.Accordion("Ranges and registration", open=False, elem_id="ranges"):
            c["ir_range"] = gr.Textbox("auto", label="Infrared range", info=f"{RANGE} (°C of temperatures)")
            c["vis_range"] = gr.Textbox("auto", label="Visible range", info=RANGE)
            c["align"] = gr.Dropdown(
                [("no", "none"), ("shift, rotation, scale", "auto"), ("affine", "affine")],
                value="none",
                label="Register the infrared to the visible",
            )
            c["resize_ir"] = gr.Checkbox(label="Resize the infrared to the visible", info="Same view, another size")
            c["rig"] = gr.File(label="Rig: a file of `lure align --transform`", height=80, file_types=[".json"])
        with gr.Accordion("Output", open=False, elem_id="output"):
            c["weights"] = gr.Dropdown(list(models), value=models[0], label="Model", visible=len(models) > 1)
            c["suffix"] = gr.Dropdown(list(SUFFIXES), value=".png", label="Type", info="Clips: .mp4, with .tif .mkv")
            c["bits"] = gr.Radio([8, 16], value=8, label="Bits a channel", info="16: .png and .tif")
        changed = {"show_progress": "hidden", "queue": False, "trigger_mode": "always_last"}
        c["prompt"].change(understand, c["prompt"], understood, **changed, **PRIVATE)
        example.click(self.example, None, [c["ir"], c["vis"], c["prompt"]], show_progress="minimal", **PRIVATE)
        return c, go, stop

    def example(self) -> tuple[str, str, str]:
        """The pair that comes with the program: infrared, visible, prompt."""
        ir, vis, prompt = example_pair()
        folder = self.session.folder / "example"  # from elsewhere no file is given to the page
        folder.mkdir(exist_ok=True)
        return str(copy(ir, folder)), str(copy(vis, folder)), prompt

    def look(self, request: Any, *values: Any) -> tuple[Any, ...]:
        """Show the pair as it is read, once it is there."""
        try:
            arguments = self._asked(values).arguments
            if are_clips(arguments) or not is_pair(arguments) or self.session.is_shown(request.session_hash, arguments):
                return _outputs()
            with self.session.run(request.session_hash, arguments) as run:
                shown = self.session.look(arguments, run)
        except LureError as error:
            return self._failed(error)
        view = _view(shown.layers, shown.size, "infrared", "visible")
        return _outputs(view, _said(shown), shown.command, _file(None), _file(None))

    def run(self, request: Any, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Fuse the pair, and a second time if there is something to compare with; or two clips."""
        try:
            asked = self._asked(values)
            if not asked.arguments.keys() & {"ir", "vis"}:
                raise LureError("no pair is chosen", "drop an infrared and a visible image, or take the example pair")
            with self.session.run(request.session_hash, asked.arguments) as run:
                if are_clips(asked.arguments):
                    for shown in self.session.fuse_clips(asked.arguments, run, asked.suffix):
                        if isinstance(shown, Shown):
                            yield _clip(shown)
                        else:
                            yield _outputs(said=_progress(*shown))
                else:
                    yield self._pair(asked, run)
        except LureError as error:
            yield self._failed(error)

    def _pair(self, asked: _Asked, run: Run) -> tuple[Any, ...]:
        shown = self.session.fuse(asked.arguments, run, asked.suffix, plain=asked.plain)
        layers = shown.layers
        if asked.second:
            below = Run(run.folder / "second", run.stop)
            below.folder.mkdir()
            other = self.session.fuse(asked.arguments | asked.second, below, plain=False)
            layers += (("second result", dict(other.layers)["result"]),)
        view = _view(layers, shown.size, "second result" if asked.second else "visible", "result")
        return _outputs(view, _said(shown), shown.command, _file(shown.file), _file(shown.temperature))

    def stop(self, request: Any) -> None:
        """End what the page is waiting for."""
        self.session.stop(request.session_hash)

    def leave(self, request: Any) -> None:
        """The page was closed."""
        self.session.leave(request.session_hash)

    def _asked(self, values: tuple[Any, ...]) -> _Asked:
        """What was chosen, without what is empty or says nothing."""
        named = zip(self.names, values, strict=True)
        a = {k: v for k, v in named if not (v is None or v is False or v == "" or v == NEUTRAL.get(k))}
        a |= {name: _number(name, a[name]) for name in NUMBERS if name in a}
        self.session.check_uploads(a)
        second = {k: a.pop(f"second_{k}") for k in ("prompt", "weights") if f"second_{k}" in a}
        return _Asked(a, a.pop("suffix", ".png"), a.pop("plain", False), second)

    def _failed(self, error: LureError) -> tuple[Any, ...]:
        hidden = LureError(self.session.without_folders(error.message), error.hint)
        said = f'<p class="said" role="status">{hidden.message}</p>' if isinstance(error, Stopped) else _error(hidden)
        return _outputs(said=said)

    def api(
        self,
        ir: str,
        vis: str | None = None,
        prompt: str | None = None,
        strength: float = 1,
        ir_range: str = "auto",
        vis_range: str = "auto",
        bits: int = 8,
    ) -> tuple[str, Any]:
        """Fuse a pair of uploaded images.

        Args:
            ir: the infrared image, or a radiometric file that is both.
            vis: the visible image.
            prompt: what is wrong with them; auto: look for it.
            strength: how much of the restoration is done, 0 to 2.
            ir_range, vis_range: as the options of `lure fuse`.
            bits: 8 or 16.

        Returns:
            The fused PNG, and the record that `lure fuse --json` gives.
        """
        gr = require_gradio()
        given = {"ir": ir, "vis": vis, "prompt": prompt, "strength": strength, "bits": bits}
        given |= {"ir_range": ir_range, "vis_range": vis_range}
        try:
            if not ir:
                raise LureError("no infrared image is given", "upload one, and give its path")
            self.session.check_uploads(given)
            with self.session.run(None, given) as run:
                given = {k: v for k, v in given.items() if v not in (None, "")}
                shown = self.session.fuse(given, run, plain=False, layers=False)
        except LureError as error:
            raise gr.Error(self.session.without_folders(two_lines(error)), print_exception=False) from error
        return str(shown.file), shown.record


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise LureError(f"--{name} {text} is no number", "write it as 0.95, or leave it out") from None


def _palettes() -> list[str]:
    from lure_cli.core.thermal.palettes import PALETTES

    return list(PALETTES)


def _text(name: str) -> str:
    return (_HERE / name).read_text("utf-8")


def _outputs(*values: Any, said: str | None = None) -> tuple[Any, ...]:
    """A value for each of the page's outputs; those that are left out stay as they are."""
    gr = require_gradio()
    if said is not None:
        values = (gr.skip(), said)
    return (*values, *(gr.skip() for _ in range(5 - len(values))))


def _file(path: Path | None) -> Any:
    gr = require_gradio()
    return gr.update(value=None, visible=False) if path is None else gr.update(value=str(path), visible=True)


def _clip(shown: Shown) -> tuple[Any, ...]:
    assert shown.file is not None
    playable = shown.file.suffix == ".mp4"
    view = {"clip": _url(shown.file), "size": shown.size} if playable else {}
    return _outputs(view, _said(shown), shown.command, _file(shown.file), _file(None))


def _view(layers: tuple[tuple[str, Path], ...], size: tuple[int, int], left: str, right: str) -> dict[str, Any]:
    """What the viewer shows."""
    listed = [{"name": name, "url": _url(path)} for name, path in layers]
    return {"layers": listed, "size": size, "left": left, "right": right}


def _url(path: Path) -> str:
    return f"gradio_api/file={quote(str(path))}"


def _progress(done: int, total: int | None) -> str:
    part = f' max="{total}"' if total else ""
    of = f" of {total}" if total else ""
    return f'<p class="said" role="status">frame {done}{of} <progress value="{done}"{part}></progress></p>'


def _said(shown: Shown) -> str:
    seconds = shown.record.get("seconds")
    lines = [f"{shown.size[0]}x{shown.size[1]}" + ("" if seconds is None else f", {seconds:.2f} s"), *shown.said]
    return '<ul class="said" role="status">' + "".join(f"<li>{html.escape(line)}</li>" for line in lines) + "</ul>"


def _error(error: LureError) -> str:
    return f'<pre class="error" role="alert">{html.escape(two_lines(error))}</pre>'
