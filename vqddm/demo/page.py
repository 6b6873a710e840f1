"""The page itself, in Gradio: what is on it, and which function of `views` each button calls."""

from __future__ import annotations

import functools
import html
import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, get_args

import gradio as gr
from PIL import Image

from vqddm.api.model import Model, load
from vqddm.artifacts import UserError, shown
from vqddm.demo import views
from vqddm.samplers import Process

TITLE = "VQ-DDM: global context with discrete diffusion"
ANEW, KEPT = "is drawn anew", "is kept"
PAINT = "#ff2d78"
FONT = ["system-ui", "sans-serif"]  # the browser's own: nothing is fetched


class Common(NamedTuple):
    """What all parts of the page share: the models by their names, and the components that are set for all."""

    opened: Callable[[str], Model]
    model: Any
    temperature: Any
    seed: Any
    sampler: Any


def tell(error: UserError) -> None:
    """Show the sentence; what the page shows besides stays."""
    gr.Warning(html.escape(shown(str(error))))


def telling(function: Callable[..., Any]) -> Callable[..., Any]:
    """What a button calls, with its errors told on the page."""

    @functools.wraps(function)
    def call(*given: Any) -> Any:
        try:
            return function(*given)
        except UserError as error:
            tell(error)
            return gr.skip()

    return call


def page(names: list[str], device: str | None) -> gr.Blocks:
    """The page for these models, of which the first is read at once.

    Raises:
        UserError: there is no such model or device, or the model is damaged.
    """
    opened = functools.cache(lambda name: load(name, device))
    first = opened(names[0])
    with gr.Blocks(title=TITLE, analytics_enabled=False) as blocks:
        gr.Markdown(f"# {TITLE}")
        with gr.Row():
            model = gr.Dropdown(names, value=names[0], label="Model", info="what there is on this machine", scale=2)
            temperature = gr.Slider(0.1, 2, value=1, step=0.05, label="Temperature", info="below 1: more alike")
            seed = gr.Number(0, precision=0, minimum=0, label="Seed", info="the same seed, the same pictures")
            sampler = gr.Radio(
                list(get_args(Process)),
                value="ancestral",
                label="Sampler",
                info="ancestral: the paper's; renoise: draw a whole map, add noise again, and so on",
            )
        about = gr.Markdown(views.facts(first))
        common = Common(opened, model, temperature, seed, sampler)
        with gr.Tab("Sample"):
            steps = _sampling(common, first)
        with gr.Tab("Paint"):
            _painting(common)
        with gr.Tab("Look inside"):
            _looking(common)

        @telling
        def chosen(name: str) -> tuple[str, Any]:
            model = opened(name)
            return views.facts(model), _steps(model)

        model.change(chosen, model, [about, steps], concurrency_id="model", api_visibility="private")
    return blocks


def start(blocks: gr.Blocks, host: str, port: int) -> str:
    """Serve the page, to whom `host` says and to nobody else; gives its address."""
    blocks.queue(default_concurrency_limit=1)
    _, url, _ = blocks.launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=True,
        share=False,
        quiet=True,
        theme=gr.themes.Soft(font=FONT, font_mono=["ui-monospace", "monospace"]),
        footer_links=[],
        max_file_size="50mb",
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
    )
    return url


def _steps(model: Model) -> Any:
    """How many steps a sample takes."""
    some = model.sampler.steps
    return gr.Slider(some[0], some[-1], value=some[-1], precision=0, step=1, label="Steps")


def _picture(caption: str) -> Any:
    """A place for a picture, its caption above, where it hides nothing."""
    with gr.Column():
        gr.Markdown(caption)
        return gr.Image(show_label=False, interactive=False, format="png", buttons=["download", "fullscreen"])


def _sampling(common: Common, first: Model) -> Any:
    """Pictures drawn from nothing, at once or as they come; gives the component that sets the steps."""
    with gr.Row():
        with gr.Column(scale=1, min_width=260):
            count = gr.Slider(1, 64, value=16, precision=0, step=1, label="Pictures")
            steps = _steps(first)
            draw = gr.Button("Draw", variant="primary")
            watch = gr.Button("Watch them come")
            stop = gr.Button("Stop")
            told = gr.Markdown()
        pictures, maps = _picture("Pictures"), _picture("Their codes, a colour for each")

    def watched(
        name: str, count: int, steps: int, temperature: float, seed: int | None, sampler: Process
    ) -> Iterator[tuple[Image.Image, Image.Image, str]]:
        try:
            for frame in views.frames(common.opened(name), count, steps, temperature, seed or 0, sampler):
                yield views.shown(frame.pictures), views.shown(frame.maps), f"step {frame.step} of {steps}"
        except UserError as error:
            tell(error)

    @telling
    def drawn(
        name: str,
        count: int,
        steps: int,
        temperature: float,
        seed: int | None,
        sampler: Process,
        progress: Any = gr.Progress(),  # noqa: B008  Gradio looks for it there
    ) -> tuple[Image.Image, Image.Image, str]:
        model = common.opened(name)
        total, done = steps * len(model.batches(count)), itertools.count(1)

        def tick() -> None:
            progress((next(done), total), unit="steps")

        codes = model.sample_codes(
            count, steps=steps, temperature=temperature, seed=seed or 0, sampler=sampler, tick=tick
        )
        maps = views.code_maps(codes, model.codebook_size, model.resolution)
        return views.shown(model.decode(codes)), views.shown(maps), ""

    given = [common.model, count, steps, common.temperature, common.seed, common.sampler]
    made = [pictures, maps, told]
    draw.click(drawn, given, made, concurrency_id="model", api_visibility="private")
    watching = watch.click(watched, given, made, concurrency_id="model", api_visibility="private")
    stop.click(None, cancels=watching)
    return steps


def _source(common: Common, shows: Callable[[Model, Any], Any], outputs: Any) -> None:
    """Two buttons that give a picture: uploaded, or drawn. `shows` turns it into what the outputs take."""
    with gr.Row():
        upload = gr.UploadButton("Upload a picture", file_types=["image"])
        draw = gr.Button("Draw one")

    @telling
    def uploaded(name: str, path: str) -> Any:
        model = common.opened(name)
        return shows(model, views.opened(path, model))

    @telling
    def drawn(name: str, temperature: float, seed: int | None, sampler: Process) -> Any:
        model = common.opened(name)
        return shows(model, model.sample(temperature=temperature, seed=seed or 0, sampler=sampler))

    how = {"concurrency_id": "model", "api_visibility": "private"}
    upload.upload(uploaded, [common.model, upload], outputs, **how)
    draw.click(drawn, [common.model, common.temperature, common.seed, common.sampler], outputs, **how)


def _painting(common: Common) -> None:
    """Several completions of a picture that one has painted over."""
    seen = gr.State()
    with gr.Row():
        with gr.Column():
            sources = gr.Column()
            gr.Markdown("Paint over the picture")
            editor = gr.ImageEditor(
                show_label=False,
                type="pil",
                format="png",
                height=500,
                sources=(),
                transforms=(),
                layers=False,
                brush=gr.Brush(default_size=60, colors=[PAINT], color_mode="fixed"),
                canvas_size=(views.CANVAS, views.CANVAS),
            )
        with gr.Column():
            with gr.Row():
                role = gr.Radio([ANEW, KEPT], value=ANEW, label="What is painted")
                count = gr.Slider(1, 16, value=5, precision=0, step=1, label="Completions")
            complete = gr.Button("Complete", variant="primary")
            made = _picture("Without what is drawn anew; then completions")
    with sources:
        _source(common, lambda _, picture: (picture, views.canvas(picture)), [seen, editor])

    @telling
    def completed(
        name: str,
        seen: Any,
        editor: Any,
        role: str,
        count: int,
        temperature: float,
        seed: int | None,
        sampler: Process,
    ) -> Image.Image:
        model = common.opened(name)
        made = views.completions(model, seen, editor, role == KEPT, count, temperature, seed or 0, sampler)
        return views.shown(made)

    given = [common.model, seen, editor, role, count, common.temperature, common.seed, common.sampler]
    complete.click(completed, given, made, concurrency_id="model", api_visibility="private")


def _looking(common: Common) -> None:
    """A picture, its code map, its reconstruction and what the map costs."""
    sources = gr.Column()
    with gr.Row():
        pictures = [_picture(label) for label in ("As the model sees it", "Its codes", "Decoded again")]
    told = gr.Markdown()

    def shows(model: Model, picture: Any) -> list[Any]:
        look = views.look(model, picture)
        sheets = [views.shown(each) for each in (look.seen, look.map, look.made)]
        return [*sheets, views.bits_in_words(look.bits, model.codebook_size)]

    with sources:
        _source(common, shows, [*pictures, told])
