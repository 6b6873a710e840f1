"""Figure 0, which the paper has not: real, reconstructed, sampled and completed pictures at a glance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vqddm.artifacts import read_array, read_arrays
from vqddm.paper.figures.completions import read_completions
from vqddm.paper.figures.files import Files
from vqddm.paper.figures.record import PaperFigure
from vqddm.paper.figures.sheets import Row, draw_rows
from vqddm.paper.names import first_stage_label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS, SIDE = 8, 106  # pictures of a row, and pixels of one


def _files(files: Files) -> list[Path]:
    return [
        files.array("reconstructions", files.about.main_prior),
        files.array("samples", method="prior"),
        files.array("inpainting", method="prior"),
    ]


def _compose(files: Files) -> Figure:
    reconstructed, sampled, completed = _files(files)
    pictures = read_arrays(reconstructed, "originals", "reconstructions")
    samples = read_array(sampled, "uint8", 4)
    masks = [m.rows[i % len(m.rows)] for i, m in enumerate(read_completions(completed, SIDE).values())][:COLUMNS]
    stage = first_stage_label(files.about.main_prior)
    rows = [
        Row("Real: test pictures", list(pictures["originals"][:COLUMNS])),
        Row(f"Reconstructed from their codes ({stage})", list(pictures["reconstructions"][:COLUMNS])),
        Row("Sampled by the discrete diffusion prior", list(samples[:COLUMNS])),
        Row("Given: parts of test pictures, hatched where they are not", [row[1] for row in masks]),
        Row("Completed by the same prior", [row[2] for row in masks]),
    ]
    words = f"{files.about.title}, {files.about.resolution} × {files.about.resolution}. The first of each, not chosen."
    return draw_rows(rows, words, side=SIDE)


FIGURE = PaperFigure(0, "1", _files, _compose)
