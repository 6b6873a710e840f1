"""What a figure is: which files it reads, and how it is drawn from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vqddm.paper.figures.files import Files
from vqddm.paper.figures.style import STYLE, placeholder, save
from vqddm.paper.plan import Plan, Role
from vqddm.paper.reported import captions, must_be_shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class PaperFigure:
    """One figure.

    Args:
        number: in the paper, and of its files and caption.
        section: of the paper, where the page shows it.
        files: those that it reads.
        compose: draws it from them, without writing it.
        role: the dataset that it shows; where none plays it, the figure says so in words and reads nothing.
    """

    number: int
    section: str
    files: Callable[[Files], list[Path]]
    compose: Callable[[Files], Figure]
    role: Role = "celebahq"

    def __post_init__(self) -> None:
        must_be_shown(f"figure{self.number}", self.section)

    @property
    def name(self) -> int:
        """Its number, by which it is found."""
        return self.number

    def inputs(self, plan: Plan, root: Path, evaluation: Path) -> list[Path]:
        """The files that it reads, by the arguments of `draw`."""
        return list(dict.fromkeys(self.files(Files(plan, root, evaluation, self.role)))) if plan.role(self.role) else []

    def draw(self, plan: Plan, root: Path, evaluation: Path, out_stem: Path) -> None:
        """Draw it into `out_stem`.png and `out_stem`.pdf (`vqddm.paper.figures.draw`)."""
        import matplotlib  # here, so that Snakemake reads the records without it

        with matplotlib.rc_context(STYLE):
            if plan.role(self.role):
                drawn = self.compose(Files(plan, root, evaluation, self.role))
            else:
                drawn = placeholder(captions()[f"figure{self.number}"]["title"], no_role(plan, self.role))
            save(drawn, out_stem)


def no_role(plan: Plan, role: Role) -> str:
    """What is said where a suite has no dataset for a role."""
    return (
        f"The suite `{plan.suite}` has no dataset in this place, so nothing was trained for it.\n"
        f"To build it: name a dataset under suites.{plan.suite}.datasets.{role} in params.yaml, "
        "then run `snakemake --cores all`."
    )
