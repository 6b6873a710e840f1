"""Labels beside points, placed so that they cover nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from vqddm.paper.figures.style import DPI, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

Place = tuple[float, float, Literal["left", "center", "right"], Literal["top", "center", "bottom"]]


def place_labels(
    axes: Axes,
    points: Sequence[tuple[float, float, str]],
    reach: Sequence[float],
    lines: Sequence[Sequence[tuple[float, float]]] = (),
    colour: str = INK,
) -> None:
    """Write a label beside each (x, y, label), where it covers no label, blob, line, legend or edge if possible.

    A label that would stand nearer to another point than to its own goes farther out, at the end of a thin line.

    `reach` is each point's radius in typographic points; `lines` are the corners of what else is drawn. The axes'
    limits and legend must be final.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as MplPath
    from matplotlib.transforms import Bbox

    figure = axes.figure
    assert isinstance(figure, Figure)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    inside = axes.get_window_extent(renderer)
    centres = axes.transData.transform([(x, y) for x, y, _ in points])
    taken = [_square(centre, 0.8 * r * DPI / 72) for centre, r in zip(centres, reach, strict=True)]
    for line in lines:
        taken += _along(axes.transData.transform(line))
    labels: list[Bbox] = []
    if legend := axes.get_legend():
        taken.append(legend.get_window_extent(renderer))
    for (x, y, label), radius, centre in zip(points, reach, centres, strict=True):
        note = axes.annotate(
            label, (x, y), (0, 0), textcoords="offset points", fontsize=8, color=colour, linespacing=1.1
        )
        near, far = _beside(radius + 3), _farther(radius + 15)

        def boxed(place: Place, note: Annotation = note) -> Bbox:
            note.set(position=place[:2], ha=place[2], va=place[3])
            return note.get_window_extent(renderer)

        def leader(place: Place, own: np.ndarray = centre, begin: float = radius) -> np.ndarray:
            """Corners of the line from a point's edge towards its label."""
            offset = DPI / 72 * np.array(place[:2])
            return own + np.outer([begin / np.hypot(*place[:2]), 0.85], offset)

        def cost(
            place: Place,
            boxed: Callable[[Place], Bbox] = boxed,
            leader: Callable[[Place], np.ndarray] = leader,
            own: np.ndarray = centre,
            near: Sequence[Place] = near,
        ) -> float:
            box = boxed(place)
            shared = Bbox.intersection(box, inside)
            outside = 1 - (shared.width * shared.height / (box.width * box.height) if shared else 0)
            if place in near:
                middle = np.array([box.x0 + box.x1, box.y0 + box.y1]) / 2
                wrong = float(not np.array_equal(centres[np.hypot(*(centres - middle).T).argmin()], own))
            else:
                squares = _along(leader(place))
                crossed = sum(bool(square.count_overlaps(taken)) for square in squares) / len(squares)
                wrong = any(square.count_overlaps(labels) for square in squares) + crossed
            return float(10 * outside + box.count_overlaps(taken) + wrong)

        place = min([*near, *far], key=cost)
        labels.append(boxed(place))
        taken.append(labels[-1])
        if place in far:
            corners = leader(place)
            taken.extend(_along(corners))
            ends = axes.transData.inverted().transform(corners)
            axes.add_artist(PathPatch(MplPath(ends), transform=axes.transData, edgecolor=colour, linewidth=0.5))


def _square(centre: np.ndarray, radius: float) -> Bbox:
    from matplotlib.transforms import Bbox

    return Bbox([centre - radius, centre + radius])


def _along(corners: np.ndarray) -> list[Bbox]:
    """Small squares on the lines between corners (n, 2), in pixels."""
    return [_square(a + (b - a) * f, 4) for a, b in pairwise(corners) for f in np.linspace(0, 1, 40)]


def _beside(gap: float) -> list[Place]:
    """Offsets in points with alignments: right, above, below, left, then the corners."""
    near = gap * 0.75
    places: list[Place] = [(gap, 0.0, "left", "center"), (0.0, gap, "center", "bottom"), (0.0, -gap, "center", "top")]
    places += [(-gap, 0.0, "right", "center"), (near, near, "left", "bottom"), (near, -near, "left", "top")]
    return [*places, (-near, near, "right", "bottom"), (-near, -near, "right", "top")]


def _farther(gap: float) -> list[Place]:
    """Columns at the right and at the left, from the point's own height outwards, then above and below."""
    heights = [0.0, *(sign * step for step in (9, 18, 27, 36) for sign in (1, -1))]
    places: list[Place] = [(gap, height, "left", "center") for height in heights]
    places += [(-gap, height, "right", "center") for height in heights]
    return [*places, (0.0, gap, "center", "bottom"), (0.0, -gap, "center", "top")]
