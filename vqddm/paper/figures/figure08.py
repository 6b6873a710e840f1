"""Figure 8: completions with the three masks of section 4.4, by every method that completes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vqddm.artifacts import UserError
from vqddm.methods import METHODS
from vqddm.paper.figures.completions import IN_FIGURE8, read_completions
from vqddm.paper.figures.files import Files
from vqddm.paper.figures.record import PaperFigure
from vqddm.paper.figures.sheets import Absent, Row, draw_rows
from vqddm.paper.names import variant_title
from vqddm.paper.reported import reported

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MASKS = ("lower", "corner", "centre")
SIDE = 192


def _files(files: Files) -> list[Path]:
    methods = files.plan.measured("inpainting", files.dataset)
    return [files.array("inpainting", method=method.name) for method in methods]


def _compose(files: Files) -> Figure:
    path, *others = _files(files)
    found = read_completions(path, SIDE)
    for other in others:
        for name, mask in read_completions(other, SIDE).items():
            if not np.array_equal([row[:2] for row in mask.rows], [row[:2] for row in found[name].rows]):
                raise UserError(f"{other}: completes other pictures than {path}; build both again")
            for row, theirs in zip(found[name].rows, mask.rows, strict=True):
                row.append(theirs[2])
    lacking = [name for name in MASKS if name not in found]
    if lacking:
        raise UserError(f"{path}: lacks the masks {', '.join(lacking)}; delete it and build it again")
    rows = [
        Row("" if i else found[name].words, pictures)
        for name in MASKS
        for i, pictures in enumerate(found[name].rows[:IN_FIGURE8])
    ]
    methods = files.plan.measured("inpainting", files.dataset)
    shown = [variant_title(method) for method in methods]
    titles = ["raw image", "masked input", *(title[0].upper() + title[1:] for title in shown)]
    words = "The first test pictures, not chosen. Hatched: not given. No training for this task."
    transformer = next(row for row in reported()["table2"]["rows"] if row["id"] == METHODS["transformer"].row)
    absent = Absent(transformer["method"], "It is not trained in this suite.")  # the paper's last column
    return draw_rows(rows, words, titles, SIDE, None if METHODS["transformer"] in methods else absent)


FIGURE = PaperFigure(8, "4.4", _files, _compose)
