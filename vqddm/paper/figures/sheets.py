"""Figures 3, 4 and 7 to 12 as drawings of given pictures: rows of pictures under headings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from vqddm.paper.figures.pictures import Picture, beside, cell_side, draw_sheet, fitted
from vqddm.paper.figures.style import (
    GREY,
    LINE,
    MARGIN,
    PALE,
    WIDTH,
    footer,
    height_of,
    new_figure,
    pixel_axes,
    pixel_text,
    wrapped,
)

GAP, HEADING = 8, 54  # pixels between pictures, and of a row's heading
NARROWEST = 700  # pixels, so that words keep room


@dataclass(frozen=True)
class Row:
    """Pictures of one size beside each other, under a heading (none: an empty text)."""

    heading: str
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Absent:
    """A last column that is not there, and why, in words."""

    title: str
    words: str


def draw_rows(
    rows: Sequence[Row], words: str, titles: Sequence[str] = (), side: int | None = None, absent: Absent | None = None
) -> Figure:
    """Rows of pictures, all of one size.

    Args:
        rows: from top to bottom.
        words: below the pictures.
        titles: above the columns.
        side: pixels of a cell; None fills the width.
        absent: a column at the right that holds only words.
    """
    columns = max(len(row.pictures) for row in rows)
    side = side or WIDTH - 2 * MARGIN
    side = cell_side(rows[0].pictures[0].shape[1], columns, GAP, min(WIDTH - 2 * MARGIN, columns * (side + GAP) - GAP))
    cell = fitted(rows[0].pictures[0], side).shape[0]
    headings = sum(HEADING for row in rows if row.heading)
    used = 2 * MARGIN + columns * (side + GAP) - GAP
    width = WIDTH if absent else max(used, NARROWEST)
    lines = wrapped(words, width - 2 * MARGIN)
    top = MARGIN + (LINE if titles else -16)
    height = top + headings + len(rows) * (cell + GAP) + 10 + height_of(lines)
    figure = new_figure(width, height)
    for j, title in enumerate(titles):
        x = MARGIN + j * (side + GAP) + side / 2
        pixel_text(figure, x, MARGIN, title, size=8, ha="center", weight="bold")
    y = top
    for row in rows:
        if row.heading:
            pixel_text(figure, MARGIN, y + 16, row.heading, size=8)
            y += HEADING
        draw_sheet(figure, beside(row.pictures, side, GAP), MARGIN, y)
        y += cell + GAP
    if absent is not None:
        left = MARGIN + columns * (side + GAP) + 8
        _absent_box(figure, absent, left, top + (HEADING if rows[0].heading else 0), WIDTH - MARGIN - left, y - GAP)
    footer(figure, y + 10, lines)
    return figure


def _absent_box(figure: Figure, absent: Absent, left: int, top: int, width: int, bottom: int) -> None:
    pixel_text(figure, left + width / 2, MARGIN, absent.title, size=8, ha="center", weight="bold")
    axes = pixel_axes(figure, left, top, width, bottom - top)
    axes.set(xticks=[], yticks=[], facecolor=PALE)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set(visible=True, linestyle=(0, (4, 3)), color=GREY)
    words = wrapped(absent.words, width - 40)
    pixel_text(figure, left + width / 2, (top + bottom) / 2, words, size=8, ha="center", va="center", color=GREY)


def draw_neighbours(samples: np.ndarray, neighbours: np.ndarray, distances: np.ndarray, words: str) -> Figure:
    """Figure 12: each sample, large, with its nearest training pictures in two lines and their distances.

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
