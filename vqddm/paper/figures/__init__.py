"""The paper's twelve figures, drawn from finished files: no network is run and torch is not needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vqddm.artifacts import UserError
from vqddm.paper.figures.diagrams import figure1, figure2, figure5, figure6
from vqddm.paper.figures.files import Files
from vqddm.paper.figures.galleries import (
    FIGURE3,
    FIGURE4,
    figure3,
    figure4,
    figure7,
    figure8,
    figure9,
    figure10,
    figure11,
    figure12,
)
from vqddm.paper.plan import Plan, Role

__all__ = [
    "FIGURES",
    "FigureSpec",
    "draw",
    "figure1",
    "figure2",
    "figure3",
    "figure4",
    "figure5",
    "figure6",
    "figure7",
    "figure8",
    "figure9",
    "figure10",
    "figure11",
    "figure12",
    "inputs",
]


@dataclass(frozen=True)
class FigureSpec:
    """One figure: how it is drawn, and which files it reads."""

    draw: Callable[[Plan, Path, Path, Path], None]
    files: Callable[[Files], list[Path]]


def _if_played(role: Role, files: Callable[[Files], list[Path]]) -> Callable[[Files], list[Path]]:
    return lambda f: files(f) if f.plan.role(role) else []


def _speed_file(files: Files) -> Path:
    return files.metric(files.dataset("celebahq"), None, "speed")


def _floor_file(files: Files) -> Path:
    return files.metric(files.dataset("celebahq"), None, "floor")


_CHURCHES = _if_played("lsun_church", lambda f: list(f.samples("lsun_church")))

FIGURES: dict[int, FigureSpec] = {
    1: FigureSpec(figure1, lambda f: f.operations()),
    2: FigureSpec(figure2, lambda f: [f.of_prior("celebahq", "chain.npz")]),
    3: FigureSpec(figure3, _if_played("imagenet", lambda f: list(f.reconstructions("imagenet", FIGURE3).values()))),
    4: FigureSpec(figure4, lambda f: list(f.reconstructions("celebahq", FIGURE4).values())),
    5: FigureSpec(
        figure5, lambda f: [*f.sweep("celebahq").values(), *f.ddim("celebahq").values(), _floor_file(f), _speed_file(f)]
    ),
    6: FigureSpec(figure6, lambda f: [_speed_file(f)]),
    7: FigureSpec(figure7, lambda f: [*f.samples("celebahq"), *_CHURCHES(f)]),
    8: FigureSpec(figure8, lambda f: f.inpaintings("celebahq")),
    9: FigureSpec(figure9, _CHURCHES),
    10: FigureSpec(figure10, lambda f: list(f.samples("celebahq"))),
    11: FigureSpec(figure11, lambda f: [f.of_prior("celebahq", "inpainting.npz")]),
    12: FigureSpec(figure12, lambda f: [f.of_prior("celebahq", "neighbours.npz")]),
}


def _spec(number: int) -> FigureSpec:
    if number not in FIGURES:
        raise UserError(f"figure {number}: the paper has figures 1 to {max(FIGURES)}")
    return FIGURES[number]


def inputs(plan: Plan, number: int) -> list[str]:
    """The files that a figure reads, relative to the repository's root: a rule's inputs.

    Raises:
        UserError: there is no such figure.
    """
    files = Files(plan, Path("results") / plan.suite, Path("models"))
    return [str(path) for path in dict.fromkeys(_spec(number).files(files))]


def draw(number: int, plan: Plan, root: Path, models: Path, out_stem: Path) -> None:
    """Draw one figure into `out_stem`.png and `out_stem`.pdf.

    Args:
        number: 1 to 12.
        plan: the suite.
        root: the suite's folder of results, `results/{suite}`.
        models: the folder `models`.
        out_stem: the output without its suffix.

    Raises:
        UserError: no such figure, or a file that it reads is missing or damaged (the message names it).
    """
    _spec(number).draw(plan, root, models, out_stem)
