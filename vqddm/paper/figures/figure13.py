"""Figure 13, which the paper has not: losses and learning rate of every training of a suite."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from vqddm.artifacts import UserError, reading
from vqddm.first_stages import kind_of
from vqddm.methods import METHODS
from vqddm.paper.figures import style
from vqddm.paper.figures.files import Files
from vqddm.paper.figures.record import PaperFigure
from vqddm.paper.names import first_stage_label, short_title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEIGHT, ROOM, STRIP = 620, 330, 80  # pixels of a panel's row, of its losses' axes, and of those of the rates below
LEGEND = 420  # pixels beside them
POINTS = 60  # means that a curve is drawn with
WRAP = 31  # characters of a line of the legend
COLOURS = [*style.COLOURS.values(), style.INK, style.GREY]


class Curve(NamedTuple):
    """A training: its CSV, its name in the legend, and the panel that it belongs to."""

    path: Path
    label: str
    panel: str


LOSSES = ("reconstruction", "bits_per_code", "noise_error")  # those drawn, the first that a CSV has


def _curves(files: Files) -> Iterator[Curve]:
    """All trainings of all datasets; what is rebuilt or imported was not trained and has no curve."""
    for dataset, about in files.plan.datasets.items():
        for stage in about.first_stages:
            kind = kind_of(stage)
            if (kind.train or kind.fine_tunes) and stage not in about.imported:
                path = files.models / dataset / stage / "first_stage.csv"
                panel = f"{about.title}: first stages, {kind.error} error of pixels"
                yield Curve(path, first_stage_label(stage), panel)
        for name in about.methods:
            method = METHODS[name]
            if method.of:
                continue  # it trains nothing
            for stage in about.stages(name):
                on = f" on {first_stage_label(stage)}" if name == "prior" else ""
                codes = method.fills == "codes"
                panel = "methods on codes, bits per code" if codes else "pixel diffusion, squared error of the noise"
                path = files.models / dataset / stage / f"{name}.csv"
                yield Curve(path, f"{short_title(method)}{on}", f"{about.title}: {panel}")


def _compose(files: Files) -> Figure:
    panels: dict[str, list[tuple[Curve, Shown]]] = {}
    for curve in _curves(files):
        panels.setdefault(curve.panel, []).append((curve, read_curve(curve.path)))
    validated = any(len(shown.validation) for curves in panels.values() for _, shown in curves)
    dots = " Dots: the same loss of 128 validation pictures, by the weights that are kept." if validated else ""
    words = style.wrapped(
        f"Lines: losses of training batches, means of a sixtieth of the steps each.{dots} Below each panel: the "
        "learning rate.",
        style.INSIDE,
    )
    figure = style.new_figure(style.WIDTH, len(panels) * HEIGHT + style.height_of(words))
    for number, (title, curves) in enumerate(panels.items()):
        place, width = number * HEIGHT + 60, style.WIDTH - 150 - LEGEND
        axes = style.pixel_axes(figure, 115, place, width, ROOM)
        below = style.pixel_axes(figure, 115, place + ROOM + 25, width, STRIP)
        for (curve, shown), colour in zip(curves, cycle(COLOURS), strict=False):
            label = re.sub(
                r"(?<=[\d=]) (?=\d)|(?<= P) (?==)", "\u00a0", curve.label
            )  # a number stays whole, and beside its "="
            axes.plot(shown.loss.index, shown.loss, color=colour, label=textwrap.fill(label, WRAP))
            axes.plot(shown.validation.index, shown.validation, ".", color=colour, markersize=4)
            below.plot(shown.learning_rate.index, shown.learning_rate, color=colour)
        axes.set(title=title, yscale="log")
        axes.tick_params(labelbottom=False)
        below.set(xlabel="step", xlim=axes.get_xlim(), ylim=(0, None))
        below.text(1.02, 0.5, "learning rate", transform=below.transAxes, va="center", fontsize=7)
        axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.05), fontsize=7)
    style.footer(figure, len(panels) * HEIGHT, words)
    return figure


class Shown(NamedTuple):
    """What is drawn of a training, by its steps; where it was not written, validation or learning rate are empty."""

    loss: pd.Series  # that of `LOSSES` which the file has, in means of parts of the training
    validation: pd.Series
    learning_rate: pd.Series


def read_curve(path: Path) -> Shown:
    """The curve of a training.

    Raises:
        UserError: the file is missing or holds no loss that is drawn.
    """
    with reading(path, "not a curve of losses"):
        table = pd.read_csv(path)
    column = next((name for name in LOSSES if name in table), None)
    if column is None or "step" not in table:
        raise UserError(f"{path}: holds no loss that is drawn; delete it and train again")
    part = (table.index * POINTS // max(len(table), 1)).to_numpy()
    loss = table.groupby(part).agg({"step": "max", column: "mean"}).set_index("step")[column]
    by_step = table.set_index("step").reindex(columns=["validation", "learning_rate"])
    return Shown(loss, by_step["validation"].dropna(), by_step["learning_rate"].dropna())


FIGURE = PaperFigure(13, "A", lambda files: [curve.path for curve in _curves(files)], _compose)
