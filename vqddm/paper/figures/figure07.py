"""Figure 7: samples on the datasets in the places of CelebA-HQ (a) and LSUN-Church (b)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure

from vqddm.paper.figures.files import Files
from vqddm.paper.figures.record import PaperFigure, no_role
from vqddm.paper.figures.samples import sample_files, sample_rows
from vqddm.paper.figures.sheets import draw_rows


def _churches(files: Files) -> Files | None:
    return replace(files, role="lsun_church") if files.plan.role("lsun_church") else None


def _files(files: Files) -> list[Path]:
    churches = _churches(files)
    return sample_files(files) + (sample_files(churches) if churches else [])


def _compose(files: Files) -> Figure:
    rows, _, _ = sample_rows(files, 4, letter="(a)  ")
    words = "The first samples, not chosen."
    if churches := _churches(files):
        rows += sample_rows(churches, 4, letter="(b)  ")[0]
    else:
        words = f"{words}\n(b)  LSUN-Church: {no_role(files.plan, 'lsun_church')}"
    return draw_rows(rows, words)


FIGURE = PaperFigure(7, "4.3", _files, _compose)
