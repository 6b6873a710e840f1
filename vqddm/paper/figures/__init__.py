"""The paper's figures, each from a module of its own; no network is run and torch is not needed."""

from __future__ import annotations

from pathlib import Path

from vqddm.paper.figures import (  # isort: skip
    figure01, figure02, figure03, figure04, figure05, figure06,
    figure07, figure08, figure09, figure10, figure11, figure12,
)  # fmt: skip
from vqddm.paper.figures.record import PaperFigure
from vqddm.paper.plan import Plan
from vqddm.registry import Registry

FIGURES: Registry[PaperFigure] = Registry(
    "figure",
    [
        module.FIGURE
        for module in (
            figure01, figure02, figure03, figure04, figure05, figure06,
            figure07, figure08, figure09, figure10, figure11, figure12,
        )
    ],
)  # fmt: skip


def inputs(plan: Plan, number: int) -> list[str]:
    """The files that a figure reads, relative to the repository's root: a rule's inputs.

    Raises:
        UserError: there is no such figure.
    """
    return [str(path) for path in FIGURES[number].inputs(plan, Path("results") / plan.suite, Path("evaluation"))]


def draw(number: int, *, plan: Plan, root: Path, out: Path, evaluation: Path = Path("evaluation")) -> None:
    """Draw one figure as PNG and PDF.

    Args:
        number: in the paper, 1 to 12.
        plan: the suite's description.
        root: the suite's results folder.
        out: path without suffix; .png and .pdf are written.
        evaluation: the folder `evaluation`, which holds the suites' arrays.

    Raises:
        UserError: no such figure, or a file that it reads is missing or damaged (the message names it).
    """
    FIGURES[number].draw(plan, root, evaluation, out)
