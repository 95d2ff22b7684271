"""The page: what can be chosen at the left, the comparison at the right."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lure_cli.cli.output import SIDES
from lure_cli.cli.window.session import Session, Shown, are_clips, two_lines
from lure_cli.cli.window.settings import require_gradio
from lure_cli.errors import LureError

TITLE = "LURE"
INTRODUCTION = "Infrared and visible, fused and restored. Drop a pair, say what is wrong with it, compare."
SUFFIXES = (".png", ".tif", ".jpg", ".webp")
EXAMPLE = "haze in the visible image and noise in the infrared image"
_HERE = files("lure_cli.cli.window")


def build_page(session: Session) -> tuple[Any, dict[str, Any]]:
    """The page as Gradio's Blocks, and how it looks (arguments of its `launch`)."""
    gr = require_gradio()
    page = Page(session)
    with gr.Blocks(analytics_enabled=False, title=TITLE, fill_width=True, delete_cache=(600, 3600)) as blocks:
        gr.Markdown(f"# {TITLE}\n{INTRODUCTION}")
        with gr.Row():
            with gr.Column(scale=1, min_width=320):
                chosen, second, suffix = _controls(gr, session)
                with gr.Row():
                    go = gr.Button("Fuse", variant="primary", elem_id="go")
                    stop = gr.Button("Stop", elem_id="stop")
            with gr.Column(scale=2, min_width=320):
                viewer = gr.HTML(
                    {},
                    html_template=_text("viewer.html"),
                    css_template=_text("viewer.css"),
                    js_on_load=_text("viewer.js"),
                    elem_id="viewer",
                )
                clip = gr.Video(label="Result", visible=False, elem_id="clip")
                said = gr.HTML(elem_id="said")
                command = gr.Code(
                    label="The same as a command", language="shell", interactive=False, lines=1, elem_id="command"
                )
                save = gr.DownloadButton("Save the result", visible=False, elem_id="save")
        run = gr.State(None, delete_callback=session.drop)
        page.names = tuple(chosen)
        private: dict[str, Any] = {"api_visibility": "private"}
        outputs = [viewer, clip, said, command, save, run]
        inputs = [*chosen.values(), *second, suffix, run]
        work = private | {"concurrency_id": "model"}
        for side in ("ir", "vis"):
            chosen[side].change(page.look, [*chosen.values(), run], outputs, show_progress="minimal", **private)
        runs = [on(page.fuse, inputs, outputs, **work) for on in (go.click, chosen["prompt"].submit)]
        stop.click(None, cancels=runs, **private)
        _api(gr, page, work)
    font = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    return blocks, {"theme": gr.themes.Default(**font), "css": _text("page.css")}


def _controls(gr: Any, session: Session) -> tuple[dict[str, Any], list[Any], Any]:
    """What is chosen, by the names of the parameters of `lure fuse`; the second prompt and model; the type."""
    ir = gr.File(label="Infrared", height=92, elem_id="ir")
    vis = gr.File(label="Visible", height=92, elem_id="vis")
    example = gr.Button("Take the example pair", size="sm", elem_id="example")
    prompt = gr.Textbox(
        label="What is wrong?",
        placeholder="haze, grainy infrared, ...",
        info="In your own words. Empty: nothing is. auto: look for it.",
        elem_id="prompt",
    )
    understood = gr.HTML(elem_id="understood")
    with gr.Row():
        strength_vis = gr.Slider(0, 2, 1, step=0.05, label="Strength, visible")
        strength_ir = gr.Slider(0, 2, 1, step=0.05, label="Strength, infrared")
    with gr.Accordion("Ranges and registration", open=False):
        ir_range = gr.Textbox("auto", label="Infrared range", info="auto, full, percentile or MIN,MAX")
        vis_range = gr.Textbox("auto", label="Visible range", info="auto, full, percentile or MIN,MAX")
        align = gr.Dropdown(["none", "auto", "affine"], value="none", label="Register the infrared")
        resize_ir = gr.Checkbox(label="Resize the infrared to the visible")
    with gr.Accordion("Compare with a second prompt or model", open=False):
        second = [
            gr.Textbox(label="Second prompt", elem_id="second"),
            gr.Textbox(label="Second model", placeholder=session.settings.weights, elem_id="second_model"),
        ]
    with gr.Accordion("Output", open=False):
        suffix = gr.Dropdown(list(SUFFIXES), value=".png", label="Type")
        bits = gr.Radio([8, 16], value=8, label="Bits a channel", info="16: .png and .tif")
    prompt.change(
        understand,
        prompt,
        understood,
        show_progress="hidden",
        queue=False,
        trigger_mode="always_last",
        api_visibility="private",
    )
    example.click(example_pair, None, [ir, vis, prompt], api_visibility="private")
    chosen = {
        "ir": ir,
        "vis": vis,
        "prompt": prompt,
        "strength_ir": strength_ir,
        "strength_vis": strength_vis,
        "ir_range": ir_range,
        "vis_range": vis_range,
        "align": align,
        "resize_ir": resize_ir,
        "bits": bits,
    }
    return chosen, second, suffix


def _api(gr: Any, page: Page, work: Mapping[str, Any]) -> None:
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
    button.click(page.api, inputs, outputs, api_name="fuse", concurrency_id=work["concurrency_id"])


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
    return f'<p class="understood">{" · ".join(parts)}</p>'


def example_pair() -> tuple[str, str, str]:
    """The pair that comes with the program: infrared, visible, prompt."""
    return str(_HERE / "example" / "ir_noisy.png"), str(_HERE / "example" / "vis_hazy.png"), EXAMPLE


class Page:
    """What the page's buttons do. Each gives the viewer's value, the clip, what is said, the command, the file to save
    and the folder of the run."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.names: tuple[str, ...] = ()

    def look(self, *values: Any) -> tuple[Any, ...]:
        """Show the pair as it is read, once both are there."""
        gr = require_gradio()
        arguments, (before,) = self._split(values)
        if "ir" not in arguments or "vis" not in arguments or are_clips(arguments):
            return tuple(gr.skip() for _ in range(6))
        folder = self.session.new_folder()
        try:
            shown = self.session.look(arguments, folder)
        except LureError as error:
            self.session.drop(str(folder))
            return gr.skip(), gr.skip(), _error(error), gr.skip(), gr.update(visible=False), gr.skip()
        self.session.drop(before)
        view = _view(shown.layers, shown.size, "infrared", "visible")
        return view, gr.update(visible=False), _said(shown), shown.command, gr.update(visible=False), str(folder)

    def fuse(self, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Fuse the pair, and a second time if there is something to compare with; or two clips."""
        gr = require_gradio()
        arguments, (second_prompt, second_weights, suffix, before) = self._split(values)
        folder = self.session.new_folder()
        whole = False
        try:
            if not arguments.keys() & {"ir", "vis"}:
                raise LureError("no pair is chosen", "drop an infrared and a visible image, or take the example pair")
            if are_clips(arguments):
                for shown in self.session.fuse_clips(arguments, folder, suffix, lambda: False):
                    if not isinstance(shown, Shown):
                        done, total = shown
                        yield gr.skip(), gr.skip(), _progress(done, total), gr.skip(), gr.skip(), gr.skip()
                layers: tuple[tuple[str, Path], ...] = ()
            else:
                shown = self.session.fuse(arguments, folder, suffix)
                layers = shown.layers
                if second_prompt or second_weights:
                    layers += self._second(arguments, second_prompt, second_weights, folder)
            whole = True
        except LureError as error:
            yield gr.skip(), gr.skip(), _error(error), gr.skip(), gr.skip(), gr.skip()
            return
        finally:
            if not whole:
                self.session.drop(str(folder))
        self.session.drop(before)
        assert isinstance(shown, Shown)
        view = _view(layers, shown.size, "visible", "result")
        film = gr.update(value=str(shown.file), visible=True) if not layers else gr.update(value=None, visible=False)
        yield view, film, _said(shown), shown.command, gr.update(value=str(shown.file), visible=True), str(folder)

    def _second(
        self, arguments: Mapping[str, Any], prompt: str, weights: str, folder: Path
    ) -> tuple[tuple[str, Path], ...]:
        """The result of the second prompt and model, to compare with."""
        other = {**arguments, **({"prompt": prompt} if prompt else {}), **({"weights": weights} if weights else {})}
        below = folder / "second"
        below.mkdir()
        return (("second result", self.session.fuse(other, below).layers[-1][1]),)

    def _split(self, values: tuple[Any, ...]) -> tuple[dict[str, Any], tuple[Any, ...]]:
        """What was chosen, by name, without what is empty; and the rest."""
        arguments = {k: v for k, v in zip(self.names, values, strict=False) if v not in (None, "")}
        return arguments | {"weights": self.session.settings.weights}, values[len(self.names) :]

    def api(
        self, ir: str, vis: str, prompt: str, strength: float, ir_range: str, vis_range: str, bits: int
    ) -> tuple[str, Any]:
        """Fuse a pair of uploaded images.

        Args:
            ir: the infrared image.
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
        given |= {"ir_range": ir_range, "vis_range": vis_range, "weights": self.session.settings.weights}
        folder = self.session.new_folder()
        try:
            shown = self.session.fuse({k: v for k, v in given.items() if v not in (None, "")}, folder)
        except LureError as error:
            self.session.drop(str(folder))
            raise gr.Error(two_lines(error), print_exception=False) from error
        return str(shown.file), json.loads(json.dumps(shown.record))


def _text(name: str) -> str:
    return (_HERE / name).read_text("utf-8")


def _view(layers: tuple[tuple[str, Path], ...], size: tuple[int, int], left: str, right: str) -> dict[str, Any]:
    """What the viewer shows; nothing of a clip."""
    listed = [{"name": name, "url": f"gradio_api/file={quote(str(path))}"} for name, path in layers]
    return {"layers": listed, "size": size, "left": left, "right": right} if listed else {}


def _progress(done: int, total: int | None) -> str:
    part = f' max="{total}"' if total else ""
    of = f" of {total}" if total else ""
    return f'<p class="said" role="status">frame {done}{of} <progress value="{done}"{part}></progress></p>'


def _said(shown: Shown) -> str:
    seconds = shown.record.get("seconds")
    lines = [f"{shown.size[0]}x{shown.size[1]}" + ("" if seconds is None else f", {seconds:.2f} s"), *shown.said]
    return '<ul class="said">' + "".join(f"<li>{html.escape(line)}</li>" for line in lines) + "</ul>"


def _error(error: LureError) -> str:
    return f'<pre class="error" role="alert">{html.escape(two_lines(error))}</pre>'
