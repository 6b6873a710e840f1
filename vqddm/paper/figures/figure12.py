"""Figure 12: samples with their nearest training pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from vqddm.paper.figures.files import Files, read_arrays
from vqddm.paper.figures.pictures import beside, cell_side, draw_sheet, fitted
from vqddm.paper.figures.record import PaperFigure
from vqddm.paper.figures.sheets import GAP
from vqddm.paper.figures.style import (
    GREY,
    LINE,
    MARGIN,
    WIDTH,
    footer,
    height_of,
    new_figure,
    pixel_text,
    wrapped,
)


def _files(files: Files) -> list[Path]:
    return [files.array("neighbours")]


def _compose(files: Files) -> Figure:
    arrays = read_arrays(_files(files)[0], "samples", "neighbours", "distances")
    shown = 8 if arrays["samples"].shape[2] < 128 else 4
    words = "The first samples, not chosen; the nearest by perceptual distance among all training pictures."
    return draw_neighbours(arrays["samples"][:shown], arrays["neighbours"][:shown], arrays["distances"][:shown], words)


def draw_neighbours(samples: np.ndarray, neighbours: np.ndarray, distances: np.ndarray, words: str) -> Figure:
    """Each sample, large, with its nearest training pictures in two lines and their distances.

    Args:
        samples: uint8 (s, H, W, 3).
        neighbours: uint8 (s, n, H, W, 3), nearest first.
        distances: (s, n).
        words: below the pictures.
    """
    per_line = -(-neighbours.shape[1] // 2)
    resolution = samples.shape[2]
    side = cell_side(resolution, per_line + 2, GAP, WIDTH - 2 * MARGIN - 20)
    block = 2 * (side + LINE + 4) + 16
    start = MARGIN + 2 * side + GAP + 20
    width = start + per_line * (side + GAP) - GAP + MARGIN
    lines = wrapped(words, width - 2 * MARGIN)
    figure = new_figure(width, MARGIN + 36 + len(samples) * block + height_of(lines))
    pixel_text(figure, MARGIN, MARGIN - 4, "sample", size=8, weight="bold")
    pixel_text(figure, start, MARGIN - 4, "nearest training pictures, with distance", size=8, weight="bold")
    for i, sample in enumerate(samples):
        top = MARGIN + 36 + i * block
        draw_sheet(figure, fitted(sample, 2 * side), MARGIN, top)
        for first in range(0, len(distances[i]), per_line):
            line = slice(first, first + per_line)
            y = top + first // per_line * (side + LINE + 4)
            draw_sheet(figure, beside(neighbours[i][line], side, GAP), start, y)
            for j, distance in enumerate(distances[i][line]):
                x = start + j * (side + GAP) + side / 2
                pixel_text(figure, x, y + side + 4, f"{distance:#.3g}", size=7.5, ha="center", color=GREY)
    footer(figure, MARGIN + 36 + len(samples) * block, lines)
    return figure


FIGURE = PaperFigure(12, "A", _files, _compose)
