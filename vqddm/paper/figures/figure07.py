"""Figure 7: samples on the datasets in the places of CelebA-HQ (a) and LSUN-Church (b)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vqddm.paper.figures.files import Files
from vqddm.paper.figures.record import PaperFigure, no_role
from vqddm.paper.figures.samples import made_by, sample_files, sample_rows
from vqddm.paper.figures.sheets import draw_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _files(files: Files) -> list[Path]:
    churches = sample_files(replace(files, role="lsun_church")) if files.plan.role("lsun_church") else []
    return sample_files(files) + churches


def _compose(files: Files) -> Figure:
    rows, _, _ = sample_rows(files, 4, letter="(a)  ")
    words = f"The first samples, not chosen. {made_by(files)}"
    if files.plan.role("lsun_church"):
        rows += sample_rows(replace(files, role="lsun_church"), 4, letter="(b)  ")[0]
    else:
        words = f"{words}\n(b)  LSUN-Church: {no_role(files.plan, 'lsun_church')}"
    return draw_rows(rows, words)


FIGURE = PaperFigure(7, "4.3", _files, _compose)
