"""Figure 12: samples with their nearest training pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vqddm.artifacts import read_arrays
from vqddm.paper.figures import style
from vqddm.paper.figures.files import Files
from vqddm.paper.figures.pictures import beside, cell_side, draw_sheet, fitted
from vqddm.paper.figures.record import PaperFigure
from vqddm.paper.figures.sheets import GAP

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _compose(files: Files) -> Figure:
    """Each sample, large, with its nearest training pictures in two lines and their distances."""
    arrays = read_arrays(files.array("neighbours"), "samples", "neighbours", "distances")
    resolution = arrays["samples"].shape[2]
    shown = 8 if resolution < 128 else 4
    samples, neighbours, distances = (array[:shown] for array in arrays.values())
    words = "The first samples, not chosen; the nearest by perceptual distance among all training pictures."
    per_line = -(-neighbours.shape[1] // 2)
    side = cell_side(resolution, per_line + 2, GAP, style.INSIDE - 20)
    block = 2 * (side + style.LINE + 4) + 16
    start = style.MARGIN + 2 * side + GAP + 20
    width = start + per_line * (side + GAP) - GAP + style.MARGIN
    lines = style.wrapped(words, width - 2 * style.MARGIN)
    figure = style.new_figure(width, style.MARGIN + 36 + len(samples) * block + style.height_of(lines))
    style.pixel_text(figure, style.MARGIN, style.MARGIN - 4, "sample", size=8, weight="bold")
    style.pixel_text(figure, start, style.MARGIN - 4, "nearest training pictures, with distance", size=8, weight="bold")
    for i, sample in enumerate(samples):
        top = style.MARGIN + 36 + i * block
        draw_sheet(figure, fitted(sample, 2 * side), style.MARGIN, top)
        for first in range(0, len(distances[i]), per_line):
            line = slice(first, first + per_line)
            y = top + first // per_line * (side + style.LINE + 4)
            draw_sheet(figure, beside(neighbours[i][line], side, GAP), start, y)
            for j, distance in enumerate(distances[i][line]):
                x = start + j * (side + GAP) + side / 2
                style.pixel_text(figure, x, y + side + 4, f"{distance:#.3g}", size=7.5, ha="center", color=style.GREY)
    style.footer(figure, style.MARGIN + 36 + len(samples) * block, lines)
    return figure


FIGURE = PaperFigure(12, "A", lambda files: [files.array("neighbours")], _compose)
