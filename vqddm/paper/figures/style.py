"""One quiet look for all figures, and how they are written: PNG for the page and PDF, both deterministic."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from vqddm.artifacts import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 200
WIDTH = 960  # pixels: 4.8 inches, so that 9 point text is still read at phone width
MARGIN, LINE = 24, 31  # pixels at the sides, and of a line of small text
INSIDE = WIDTH - 2 * MARGIN
LIMIT = 400_000  # bytes of a PNG on the page
DRAWN = 2000  # colours; a figure with fewer has no photograph in it

# Okabe and Ito's colours, told apart with every common kind of colour blindness.
BLUE, ORANGE, GREEN, PURPLE, SKY, RED = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"
COLOURS = {"blue": BLUE, "orange": ORANGE, "green": GREEN, "purple": PURPLE, "sky": SKY, "red": RED}
INK, GREY, PALE = "#222222", "#6b6b6b", "#f2f2f2"

STYLE: Any = {  # matplotlib's type of its settings lists every name
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "image.interpolation": "none",
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
    "text.hinting": "none",
}


def new_figure(width: int, height: int) -> Figure:
    """An empty white figure of `width` x `height` pixels at 200 dots per inch."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")


def pixel_axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place given in pixels from the figure's upper left corner."""
    w, h = figure.get_size_inches() * DPI
    return figure.add_axes((left / w, 1 - (top + height) / h, width / w, height / h))


def pixel_text(figure: Figure, x: float, y: float, words: str, **keywords: Any) -> None:
    """Write `words` at a place given in pixels from the figure's upper left corner: the top of the text."""
    w, h = figure.get_size_inches() * DPI
    figure.text(x / w, 1 - y / h, words, **{"va": "top", **keywords})


def wrapped(words: str, width: float) -> str:
    """`words` of small text broken into lines of at most `width` pixels, as wide as they are on average."""
    characters = int(width / 12)
    return "\n".join(textwrap.fill(line, characters, break_on_hyphens=False) for line in words.splitlines())


def height_of(lines: str) -> int:
    """Pixels that lines of small text take, with some room below."""
    return LINE * (lines.count("\n") + 1) + 24


def footer(figure: Figure, top: float, lines: str) -> None:
    """Small grey lines at the left below a figure's drawing."""
    pixel_text(figure, MARGIN, top, lines, size=8, color=GREY, linespacing=1.25)


def not_comparable(distance_name: str) -> str:
    """The warning that belongs beside a distance that is no FID."""
    return "" if distance_name == "FID" else f"{distance_name} is another number than FID: do not compare the two."


def save(figure: Figure, stem: Path) -> None:
    """Write `stem`.png (at most 400 KB) and `stem`.pdf; the same figure gives the same bytes.

    A PNG that would be too large, as grids of photographs are, is shrunk to 150 dots per inch (at worst 100) and to
    as many colours as fit.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure).draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]  # type: ignore[attr-defined]
    with replacing(Path(f"{stem}.png")) as aside:
        _write_png(Image.fromarray(pixels), aside)
    fixed = {"Creator": "vqddm", "Producer": f"matplotlib {matplotlib.__version__}", "CreationDate": None}
    with replacing(Path(f"{stem}.pdf")) as aside:
        figure.savefig(aside, format="pdf", dpi=DPI, metadata=fixed)


def _write_png(image: Image.Image, path: Path) -> None:
    if image.getcolors(DRAWN):  # nothing but lines and letters, whose smoothed edges need no more than 256 colours
        image = image.quantize(256, dither=Image.Dither.NONE)
    image.save(path, optimize=True, dpi=(DPI, DPI))
    if path.stat().st_size <= LIMIT:
        return
    for dpi, colours in ((150, 256), (150, 128), (150, 64), (100, 64), (100, 16)):
        size = (image.width * dpi // DPI, image.height * dpi // DPI)
        small = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
        small = small.quantize(colours, method=Image.Quantize.MEDIANCUT)
        small.save(path, optimize=True, dpi=(dpi, dpi))
        if path.stat().st_size <= LIMIT:
            return


def placeholder(title: str, words: str) -> Figure:
    """A tidy picture that says what would stand here and how to build it."""
    lines = wrapped(words, WIDTH - 220)
    figure = new_figure(WIDTH, 190 + 34 * (lines.count("\n") + 1))
    axes = figure.add_axes((0.02, 0.04, 0.96, 0.92))
    dashed(axes)
    pixel_text(figure, 55, 45, title, weight="bold", size=10)
    pixel_text(figure, 55, 100, lines, color=GREY, linespacing=1.4)
    return figure


def dashed(axes: Axes) -> None:
    """Make axes the box of something that is not there."""
    axes.set(xticks=[], yticks=[], facecolor=PALE)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set(visible=True, linestyle=(0, (4, 3)), color=GREY)
