"""The paper's figures, each from a module of its own; no network is run and torch is not needed."""

from pathlib import Path

from vqddm.paper.figures.record import PaperFigure
from vqddm.paper.plan import Plan
from vqddm.registry import Registry, record_in

MODULES = (
    "vqddm.paper.figures.figure00",
    "vqddm.paper.figures.figure01",
    "vqddm.paper.figures.figure02",
    "vqddm.paper.figures.figure03",
    "vqddm.paper.figures.figure04",
    "vqddm.paper.figures.figure05",
    "vqddm.paper.figures.figure06",
    "vqddm.paper.figures.figure07",
    "vqddm.paper.figures.figure08",
    "vqddm.paper.figures.figure09",
    "vqddm.paper.figures.figure10",
    "vqddm.paper.figures.figure11",
    "vqddm.paper.figures.figure12",
    "vqddm.paper.figures.figure13",
)
FIGURES: Registry[PaperFigure] = Registry("figure", [record_in(module, "FIGURE") for module in MODULES])


def inputs(plan: Plan, number: int) -> list[str]:
    """The files that a figure reads, relative to the repository's root: a rule's inputs.

    Raises:
        UserError: there is no such figure.
    """
    return [str(path) for path in FIGURES[number].inputs(plan, Path("results") / plan.suite, Path("evaluation"))]


def draw(number: int, *, plan: Plan, root: Path, out: Path, evaluation: Path = Path("evaluation")) -> None:
    """Draw one figure as PNG and PDF.

    Args:
        number: in the paper.
        out: path without suffix; .png and .pdf are written.

    Raises:
        UserError: no such figure, or a file that it reads is missing or damaged (the message names it).
    """
    FIGURES[number].draw(plan, root, evaluation, out)
