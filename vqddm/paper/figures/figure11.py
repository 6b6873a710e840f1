"""Figure 11: more completions, all masks, two further pictures each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vqddm.paper.figures.completions import IN_FIGURE8, read_completions
from vqddm.paper.figures.files import Files
from vqddm.paper.figures.record import PaperFigure
from vqddm.paper.figures.sheets import Row, draw_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _compose(files: Files) -> Figure:
    rows = []
    for mask in read_completions(files.array("inpainting", method="prior"), 145).values():
        start = max(0, min(IN_FIGURE8, len(mask.rows) - 2))
        rows.append(Row(mask.words, [picture for row in mask.rows[start : start + 2] for picture in row]))
    titles = ("raw image", "masked", "VQ-DDM") * (len(rows[0].pictures) // 3)
    return draw_rows(rows, "Test pictures after those of Figure 8, not chosen. Hatched: not given.", titles)


FIGURE = PaperFigure(11, "A", lambda files: [files.array("inpainting", method="prior")], _compose)
