"""What Figures 3 and 4 share: test pictures above their reconstructions by several first stages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vqddm.artifacts import UserError, read_arrays
from vqddm.paper.figures.files import Files
from vqddm.paper.figures.sheets import Row, draw_rows
from vqddm.paper.names import first_stage_label
from vqddm.paper.plan import paper_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _first_stages(files: Files, rows: Sequence[str]) -> dict[str, Path]:
    """The first stages in these rows of the paper, with their pictures."""
    found = paper_rows(files.about.first_stages)
    return {found[row]: files.array("reconstructions", found[row]) for row in rows if row in found}


def reconstruction_files(files: Files, rows: Sequence[str]) -> list[Path]:
    """Reconstructed test pictures of the dataset's first stages in these rows of the paper."""
    return list(_first_stages(files, rows).values())


def draw_reconstructions(files: Files, rows: Sequence[str]) -> Figure:
    """The originals, then a row for each first stage in these rows of the paper."""
    originals: np.ndarray | None = None
    drawn = []
    for name, path in _first_stages(files, rows).items():
        arrays = read_arrays(path, "originals", "reconstructions")
        shown = 6 if arrays["originals"].shape[2] < 128 else 4
        if originals is None:
            originals = arrays["originals"][:shown]
            drawn.append(Row("(a)  original test pictures", list(originals)))
        elif not np.array_equal(originals, arrays["originals"][:shown]):
            raise UserError(f"{path}: shows other pictures than the other first stages; build all of them again")
        letter = "abcdefgh"[len(drawn)]
        drawn.append(Row(f"({letter})  {first_stage_label(name)}", list(arrays["reconstructions"][:shown])))
    about = files.about
    words = f"{about.title}, {about.resolution} × {about.resolution}: the first test pictures, not chosen."
    return draw_rows(drawn, words)
