"""Rows of pictures under headings, as most figures are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vqddm.paper.figures import style
from vqddm.paper.figures.pictures import Picture, beside, cell_side, draw_sheet, fitted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
    """Rows of pictures, all of one size, from top to bottom; titles above the columns, words below.

    Args:
        side: pixels of a cell; None fills the width.
        absent: a column at the right that holds only words.
    """
    columns = max(len(row.pictures) for row in rows)
    side = side or style.INSIDE
    side = cell_side(rows[0].pictures[0].shape[1], columns, GAP, min(style.INSIDE, columns * (side + GAP) - GAP))
    cell = fitted(rows[0].pictures[0], side).shape[0]
    headings = sum(HEADING for row in rows if row.heading)
    used = 2 * style.MARGIN + columns * (side + GAP) - GAP
    width = style.WIDTH if absent else max(used, NARROWEST)
    lines = style.wrapped(words, width - 2 * style.MARGIN)
    top = style.MARGIN + (style.LINE if titles else -16)
    height = top + headings + len(rows) * (cell + GAP) + 10 + style.height_of(lines)
    figure = style.new_figure(width, height)
    for j, title in enumerate(titles):
        x = style.MARGIN + j * (side + GAP) + side / 2
        style.pixel_text(figure, x, style.MARGIN, title, size=8, ha="center", weight="bold")
    y = top
    for row in rows:
        if row.heading:
            style.pixel_text(figure, style.MARGIN, y + 16, row.heading, size=8)
            y += HEADING
        draw_sheet(figure, beside(row.pictures, side, GAP), style.MARGIN, y)
        y += cell + GAP
    if absent is not None:
        left = style.MARGIN + columns * (side + GAP) + 8
        _absent_box(
            figure, absent, left, top + (HEADING if rows[0].heading else 0), style.WIDTH - style.MARGIN - left, y - GAP
        )
    style.footer(figure, y + 10, lines)
    return figure


def _absent_box(figure: Figure, absent: Absent, left: int, top: int, width: int, bottom: int) -> None:
    style.pixel_text(figure, left + width / 2, style.MARGIN, absent.title, size=8, ha="center", weight="bold")
    axes = style.pixel_axes(figure, left, top, width, bottom - top)
    style.dashed(axes)
    words = style.wrapped(absent.words, width - 40)
    style.pixel_text(
        figure, left + width / 2, (top + bottom) / 2, words, size=8, ha="center", va="center", color=style.GREY
    )
