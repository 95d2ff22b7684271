"""The page: what can be chosen at the left, the comparison at the right."""

from __future__ import annotations

import html
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from lure_cli.cli.output import SIDES
from lure_cli.cli.window.server import require_gradio
from lure_cli.cli.window.session import Session, Shown, two_lines
from lure_cli.errors import LureError

TITLE = "LURE"
INTRODUCTION = "Infrared and visible, fused and restored. Drop a pair, say what is wrong with it, compare."
SUFFIXES = (".png", ".tif", ".jpg", ".webp")


def build_page(session: Session) -> tuple[Any, dict[str, Any]]:
    """The page as Gradio's Blocks, and how it looks (arguments of its `launch`)."""
    gr = require_gradio()
    here = files("lure_cli.cli.window")
    page = Page(session)
    with gr.Blocks(analytics_enabled=False, title=TITLE, fill_width=True, delete_cache=(600, 3600)) as blocks:
        gr.Markdown(f"# {TITLE}\n{INTRODUCTION}")
        with gr.Row():
            with gr.Column(scale=1, min_width=320):
                with gr.Row():
                    ir = gr.File(label="Infrared", height=110, elem_id="ir")
                    vis = gr.File(label="Visible", height=110, elem_id="vis")
                example = gr.Button("Take the example pair", size="sm", elem_id="example")
                prompt = gr.Textbox(
                    label="What is wrong?",
                    placeholder="haze, grainy infrared ... or auto",
                    info="In your own words; empty: nothing is. auto: look for it.",
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
                    second_prompt = gr.Textbox(label="Second prompt")
                    second_weights = gr.Textbox(label="Second model", placeholder=session.settings.weights)
                with gr.Accordion("Output", open=False):
                    suffix = gr.Dropdown(list(SUFFIXES), value=".png", label="Type")
                    bits = gr.Radio([8, 16], value=8, label="Bits a channel")
                with gr.Row():
                    go = gr.Button("Fuse", variant="primary", elem_id="go")
                    stop = gr.Button("Stop", elem_id="stop")
            with gr.Column(scale=2, min_width=320):
                viewer = gr.HTML(
                    {},
                    html_template=(here / "viewer.html").read_text("utf-8"),
                    css_template=(here / "viewer.css").read_text("utf-8"),
                    js_on_load=(here / "viewer.js").read_text("utf-8"),
                    elem_id="viewer",
                )
                said = gr.HTML(elem_id="said")
                command = gr.Code(label="The same as a command", language="shell", interactive=False, elem_id="command")
                file = gr.DownloadButton("Save the result", visible=False, elem_id="save")
        run = gr.State(None, delete_callback=session.drop)
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
        others = [second_prompt, second_weights, suffix, run]
        page.names = tuple(chosen)
        prompt.change(
            page.understand,
            prompt,
            understood,
            show_progress="hidden",
            queue=False,
            trigger_mode="always_last",
            api_visibility="private",
        )
        example.click(page.example, None, [ir, vis, prompt], api_visibility="private")
        outputs = [viewer, said, command, file, run]
        fusing = go.click(
            page.fuse, [*chosen.values(), *others], outputs, api_visibility="private", concurrency_id="model"
        )
        prompt.submit(page.fuse, [*chosen.values(), *others], outputs, api_visibility="private", concurrency_id="model")
        stop.click(None, cancels=[fusing], api_visibility="private")
    font = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    return blocks, {"theme": gr.themes.Default(**font), "css": (here / "page.css").read_text("utf-8")}


class Page:
    """What the page's buttons do."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.names: tuple[str, ...] = ()

    def understand(self, prompt: str) -> str:
        """How the prompt is understood, or why it is not."""
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

    def example(self) -> tuple[str, str, str]:
        """The pair that comes with the program."""
        folder = files("lure_cli.cli.window") / "example"
        return (
            str(folder / "ir_noisy.png"),
            str(folder / "vis_hazy.png"),
            "haze in the visible image and noise in the infrared image",
        )

    def fuse(self, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Fuse the pair, and a second time if there is something to compare with."""
        gr = require_gradio()
        arguments = {k: v for k, v in zip(self.names, values, strict=False) if v not in (None, "")}
        second_prompt, second_weights, suffix, before = values[len(self.names) :]
        folder = self.session.new_folder()
        try:
            if "vis" not in arguments or "ir" not in arguments:
                raise LureError("no pair is chosen", "drop an infrared and a visible image, or take the example pair")
            arguments["weights"] = self.session.settings.weights
            first = self.session.fuse(arguments, folder, suffix)
            layers = [(name, path) for name, path in first.layers]
            if second_prompt or second_weights:
                other = arguments | {"prompt": second_prompt or arguments.get("prompt")}
                if second_weights:
                    other["weights"] = second_weights
                below = folder / "second"
                below.mkdir()
                second = self.session.fuse(other, below, suffix)
                layers.append(("second result", second.layers[-1][1]))
        except LureError as error:
            self.session.drop(str(folder))
            yield gr.skip(), _error(error), gr.skip(), gr.skip(), gr.skip()
            return
        self.session.drop(before)
        yield (
            _view(layers, first),
            _said(first),
            first.command,
            gr.update(value=str(first.file), visible=True),
            str(folder),
        )


def _view(layers: list[tuple[str, Path]], shown: Shown) -> dict[str, Any]:
    """What the viewer shows."""
    from urllib.parse import quote

    listed = [{"name": name, "url": f"gradio_api/file={quote(str(path))}"} for name, path in layers]
    return {"layers": listed, "size": shown.size, "left": "visible", "right": "result"}


def _said(shown: Shown) -> str:
    lines = [f"{shown.size[0]}x{shown.size[1]}, {shown.record['seconds']:.2f} s", *shown.said]
    return '<ul class="said">' + "".join(f"<li>{html.escape(line)}</li>" for line in lines) + "</ul>"


def _error(error: LureError) -> str:
    return f'<pre class="error" role="alert">{html.escape(two_lines(error))}</pre>'
