"""Figure 2: both stages of VQ-DDM, drawn from one real image's codes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from vqddm.artifacts import read_arrays
from vqddm.paper.figures import style
from vqddm.paper.figures.files import Files
from vqddm.paper.figures.pictures import cell_side, draw_sheet, fitted
from vqddm.paper.figures.record import PaperFigure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INDENT, GAP = 32, 14  # pixels: room for the bars' ticks, and between columns
HEIGHT = 1400


@dataclass(frozen=True)
class Diffused:
    """One image's codes at rising timesteps: k timesteps, j codes in the bar charts.

    image, reconstruction: uint8 (H, W, 3); timesteps (k,); codes (k, h, w); decoded uint8 (k, H, W, 3);
    position (2,); bar_codes (j,); forward, predicted (k, j), probabilities; codebook_size: K.
    """

    image: np.ndarray
    reconstruction: np.ndarray
    timesteps: np.ndarray
    codes: np.ndarray
    decoded: np.ndarray
    position: np.ndarray
    bar_codes: np.ndarray
    forward: np.ndarray
    predicted: np.ndarray
    codebook_size: int


def code_colours(codes: np.ndarray) -> np.ndarray:
    """A colour for every code, the same wherever it appears: float (..., 3) in 0..1."""
    from matplotlib.colors import hsv_to_rgb

    codes = np.asarray(codes, dtype=np.float64)
    hue = codes * 0.61803398875 % 1
    saturation, value = 0.30 + 0.35 * (codes * 0.324717957 % 1), 0.80 + 0.18 * (codes * 0.569840291 % 1)
    return hsv_to_rgb(np.stack([hue, saturation, value], axis=-1))


def code_map_picture(codes: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """A code map as coloured cells, uint8 (h, w, 3); cells unlike `clean` are nearly black."""
    colours = code_colours(codes)
    colours[codes != clean] *= 0.22
    return np.round(colours * 255).astype(np.uint8)


def _box(figure: Figure, left: float, top: float, width: float, height: float, words: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    axes = style.pixel_axes(figure, left, top, width, height)
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    corners = "round,pad=0,rounding_size=14"
    axes.add_patch(
        FancyBboxPatch(
            (2, 2), width - 4, height - 4, corners, facecolor=style.PALE, edgecolor=style.GREY, linewidth=0.8
        )
    )
    axes.text(width / 2, height / 2, words, ha="center", va="center", size=8, linespacing=1.2)


def _arrow(figure: Figure, start: tuple[float, float], end: tuple[float, float], colour: str = style.INK) -> None:
    """An arrow between two places in pixels from the upper left corner."""
    height = figure.get_size_inches()[1] * style.DPI
    axes = style.pixel_axes(figure, 0, 0, style.WIDTH, height)
    axes.set(xlim=(0, style.WIDTH), ylim=(height, 0))
    axes.set_axis_off()
    axes.annotate(
        "", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 1.1, "shrinkA": 0, "shrinkB": 0}
    )


def _picture(figure: Figure, picture: np.ndarray, centre: float, top: int, side: int) -> None:
    """A picture in the middle of a square of `side` pixels, framed by nothing."""
    shown = fitted(picture, side)
    left = round(centre - shown.shape[1] / 2)
    draw_sheet(figure, shown, left, top + (side - shown.shape[0]) // 2)


def _first_stage(figure: Figure, diffused: Diffused, top: int) -> None:
    """image -> E -> code map -> D -> reconstruction."""
    side, box, gap = 160, 110, 45
    x = float(style.MARGIN)
    codes = code_map_picture(diffused.codes[0], diffused.codes[0])
    pictures = (("image x", diffused.image), ("codes z₀", codes), ("reconstruction", diffused.reconstruction))
    middle = top + side / 2
    for (label, picture), network in zip(pictures, ("encoder\nE", "decoder\nD", ""), strict=True):
        _picture(figure, picture, x + side / 2, top, side)
        style.pixel_text(figure, x + side / 2, top + side + 10, label, ha="center", size=8)
        x += side + gap
        if network:
            _arrow(figure, (x - gap + 3, middle), (x - 3, middle))
            _box(figure, x, middle - 44, box, 88, network)
            _arrow(figure, (x + box + 3, middle), (x + box + gap - 3, middle))
            x += box + gap


def _bars(
    figure: Figure, diffused: Diffused, values: np.ndarray, left: float, top: int, side: int, first: bool
) -> None:
    axes = style.pixel_axes(figure, left, top, side, 110)
    axes.bar(
        range(len(values)),
        values,
        color=code_colours(diffused.bar_codes),
        edgecolor=style.GREY,
        linewidth=0.4,
        width=0.85,
    )
    axes.set(ylim=(0, 1.02), xticks=[], yticks=[0, 1] if first else [], xlim=(-0.7, len(values) - 0.3))
    axes.tick_params(labelsize=7, length=2, pad=1)
    axes.grid(False)


def _compose(files: Files) -> Figure:
    """The first stage above, the diffusion below, with the probabilities of one position."""
    arrays = read_arrays(files.array("diffused"), *(field.name for field in fields(Diffused)))
    diffused = Diffused(**arrays)  # type: ignore[arg-type]
    k = len(diffused.timesteps)
    width = max(diffused.image.shape[1] if diffused.image.shape[1] < 128 else 0, diffused.codes.shape[2])
    side = cell_side(width, k, GAP, style.INSIDE - INDENT)
    lefts = [style.MARGIN + INDENT + i * (side + GAP) for i in range(k)]
    figure = style.new_figure(style.WIDTH, HEIGHT - 2 * (160 - side))
    style.pixel_text(figure, style.MARGIN, 20, "1  Compress: picture to discrete codes and back", weight="bold")
    _first_stage(figure, diffused, 76)
    style.pixel_text(figure, style.MARGIN, 320, "2  Fit the distribution of codes by discrete diffusion", weight="bold")
    top = _diffusion(figure, diffused, lefts, side, 372)
    _probabilities(figure, diffused, lefts, side, top)
    return figure


def _diffusion(figure: Figure, diffused: Diffused, lefts: list[int], side: int, top: int) -> int:
    """Code maps at every t with their decoded pictures, between the arrows; returns where the drawing ends."""
    start, end = lefts[0], lefts[-1] + side
    middle = (start + end) / 2
    words = r"diffusion $q(z_t\,|\,z_0)$: codes are resampled uniformly"
    style.pixel_text(figure, middle, top, words, ha="center", size=8, color=style.BLUE)
    _arrow(figure, (start, top + 48), (end, top + 48), style.BLUE)
    maps, pictures = top + 104, top + 104 + side + GAP
    for left, t, codes, picture in zip(lefts, diffused.timesteps, diffused.codes, diffused.decoded, strict=True):
        centre = left + side / 2
        style.pixel_text(figure, centre, top + 64, f"$t = {t}$", ha="center", size=8)
        _picture(figure, code_map_picture(codes, diffused.codes[0]), centre, maps, side)
        _mark(figure, diffused, centre, maps, side)
        _picture(figure, picture, centre, pictures, side)
    bottom = pictures + side
    _arrow(figure, (end, bottom + 26), (start, bottom + 26), style.RED)
    words = r"reverse $p_\theta(z_{t-1}\,|\,z_t)$: the network sees all codes at once and predicts $z_0$"
    style.pixel_text(figure, middle, bottom + 40, words, ha="center", size=8, color=style.RED)
    return bottom + 100


def _probabilities(figure: Figure, diffused: Diffused, lefts: list[int], side: int, top: int) -> None:
    """Bar charts of the shown codes' probabilities at every t, forward and predicted."""
    row, column = (int(v) + 1 for v in diffused.position)
    shown = f"{len(diffused.bar_codes)} of the {diffused.codebook_size} codes"
    words = f"Probability of {shown} at the marked place (row {row}, column {column})"
    style.pixel_text(figure, style.MARGIN, top, words, size=8)
    rows = (
        (r"forward $q(z_t\,|\,z_0)$", diffused.forward, style.BLUE),
        (r"predicted $p_\theta(z_0\,|\,z_t)$", diffused.predicted, style.RED),
    )
    for i, (label, values, colour) in enumerate(rows):
        y = top + 44 + i * 170
        style.pixel_text(figure, lefts[0], y, label, size=8, color=colour)
        for j, left in enumerate(lefts):
            _bars(figure, diffused, values[j], left, y + 42, side, first=j == 0)
    words = "Nearly black cells: codes that noise has replaced. One colour is one code everywhere, in the bars too."
    style.footer(figure, top + 400, style.wrapped(words, style.INSIDE))


def _mark(figure: Figure, diffused: Diffused, centre: float, top: int, side: int) -> None:
    """Frame the position whose probabilities are shown."""
    from matplotlib.patches import Rectangle

    rows, columns = diffused.codes.shape[1:]
    cell = fitted(np.zeros((rows, columns, 3), np.uint8), side).shape[1] // columns
    left, upper = round(centre - cell * columns / 2), top + (side - cell * rows) // 2
    axes = style.pixel_axes(figure, left, upper, cell * columns, cell * rows)
    axes.set(xlim=(0, columns), ylim=(rows, 0))
    axes.set_axis_off()
    row, column = (int(v) for v in diffused.position)
    for colour, width in (("white", 2.4), ("black", 0.9)):
        axes.add_patch(Rectangle((column, row), 1, 1, fill=False, edgecolor=colour, linewidth=width, clip_on=False))


FIGURE = PaperFigure(2, "3", lambda files: [files.array("diffused")], _compose)
