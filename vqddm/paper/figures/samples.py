"""What Figures 7, 9 and 10 share: samples of the main prior with all T steps, under their distance, and real ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vqddm.artifacts import read_array, read_arrays
from vqddm.paper.figures.files import Files
from vqddm.paper.figures.sheets import Row, draw_rows
from vqddm.paper.metrics import read_metric
from vqddm.paper.names import first_stage_label

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def sample_files(files: Files) -> list[Path]:
    """The samples, their measured distance, and real pictures (beside reconstructions); all of the first training."""
    return [
        files.array("samples", method="prior"),
        files.results / files.plan.metric("samples", files.dataset, method="prior", training=1),
        files.array("reconstructions", files.about.main_prior),
    ]


def sample_rows(
    files: Files, lines: int, wanted: int = 0, letter: str = "", real: int = 1
) -> tuple[list[Row], int, int]:
    """Rows of samples under one heading, from sample number `wanted` on, or earlier if too few would remain.

    With the number of the first sample that is shown, and how many are.

    Args:
        real: rows of real test pictures below them.
    """
    path, metric, reconstructed = sample_files(files)
    samples, measured = read_array(path, "uint8", 4), read_metric(metric)
    columns = 8 if samples.shape[2] < 128 else 4
    lines = lines if columns == 8 else max(1, lines * 3 // 4)
    first = max(0, min(wanted, len(samples) - columns * lines))
    chosen = samples[first : first + columns * lines]
    distance = measured["distance"]
    heading = f"{letter}{files.about.title}, T = {measured['steps']}:  {distance['name']} = {distance['frechet']:.1f}"
    originals = read_arrays(reconstructed, "originals")["originals"][: columns * real]
    headings = ((heading, chosen), ("Real test pictures", originals))
    rows = [
        Row("" if start else words, list(pictures[start : start + columns]))
        for words, pictures in headings
        for start in range(0, len(pictures), columns)
    ]
    return rows, first, len(chosen)


def draw_more_samples(files: Files) -> Figure:
    """The samples behind those of Figure 7."""
    _, _, in_figure7 = sample_rows(files, 4)
    rows, first, count = sample_rows(files, 8, in_figure7, real=2)
    which = f"Samples {first + 1} to {first + count}, not chosen; Figure 7 shows 1 to {in_figure7}. {made_by(files)}"
    return draw_rows(rows, which)


def made_by(files: Files) -> str:
    """A sentence on what drew the samples."""
    return f"The prior is VQ-DDM on the codes of {first_stage_label(files.about.main_prior)}."
