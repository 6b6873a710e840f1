"""What Figures 7, 9 and 10 share: samples of the main prior with all T steps, under their distance."""

from pathlib import Path

from matplotlib.figure import Figure

from vqddm.artifacts import read_array
from vqddm.paper.figures.files import Files
from vqddm.paper.figures.sheets import Row, draw_rows
from vqddm.paper.metrics import read_metric


def sample_files(files: Files) -> list[Path]:
    """The samples, and their measured distance."""
    return [files.array("samples", method="prior"), files.metric("samples", files.dataset, method="prior")]


def sample_rows(files: Files, lines: int, wanted: int = 0, letter: str = "") -> tuple[list[Row], int, int]:
    """Rows of samples under one heading, from sample number `wanted` on, or earlier if too few would remain.

    With the number of the first sample that is shown, and how many are.
    """
    path, metric = sample_files(files)
    samples, measured = read_array(path, "uint8", 4), read_metric(metric)
    columns = 8 if samples.shape[2] < 128 else 4
    lines = lines if columns == 8 else max(1, lines * 3 // 4)
    first = max(0, min(wanted, len(samples) - columns * lines))
    chosen = samples[first : first + columns * lines]
    distance = measured["distance"]
    heading = f"{letter}{files.about.title}, T = {measured['steps']}:  {distance['name']} = {distance['frechet']:.1f}"
    rows = [
        Row("" if start else heading, list(chosen[start : start + columns])) for start in range(0, len(chosen), columns)
    ]
    return rows, first, len(chosen)


def draw_more_samples(files: Files) -> Figure:
    """The samples behind those of Figure 7."""
    _, _, in_figure7 = sample_rows(files, 4)
    rows, first, count = sample_rows(files, 8, in_figure7)
    return draw_rows(rows, f"Samples {first + 1} to {first + count}, not chosen; Figure 7 shows 1 to {in_figure7}.")
