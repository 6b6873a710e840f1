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

    `reach` is each point's radius in typographic points; `lines` are the corners of what else is drawn. The axes'
    limits and legend must be final.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

    figure = axes.figure
    assert isinstance(figure, Figure)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    inside = axes.get_window_extent(renderer)
    centres = axes.transData.transform([(x, y) for x, y, _ in points])
    taken = [_square(centre, 0.8 * r * DPI / 72) for centre, r in zip(centres, reach, strict=True)]
    for line in lines:
        corners = axes.transData.transform(line)
        taken += [_square(a + (b - a) * f, 4) for a, b in pairwise(corners) for f in np.linspace(0, 1, 40)]
    if legend := axes.get_legend():
        taken.append(legend.get_window_extent(renderer))
    for (x, y, label), radius in zip(points, reach, strict=True):
        note = axes.annotate(
            label, (x, y), (0, 0), textcoords="offset points", fontsize=8, color=colour, linespacing=1.1
        )

        def boxed(place: Place, note: Annotation = note) -> Bbox:
            note.set(position=place[:2], ha=place[2], va=place[3])
            return note.get_window_extent(renderer)

        def cost(place: Place, boxed: Callable[[Place], Bbox] = boxed) -> float:
            box = boxed(place)
            shared = Bbox.intersection(box, inside)
            outside = 1 - (shared.width * shared.height / (box.width * box.height) if shared else 0)
            return float(10 * outside + box.count_overlaps(taken))

        taken.append(boxed(min(_around(radius + 3), key=cost)))


def _square(centre: np.ndarray, radius: float) -> Bbox:
    from matplotlib.transforms import Bbox

    return Bbox([centre - radius, centre + radius])


def _around(gap: float) -> list[Place]:
    """Offsets in points with alignments: right, above, below, left, then the corners and farther out."""
    near = gap * 0.75
    places: list[Place] = [(gap, 0.0, "left", "center"), (0.0, gap, "center", "bottom"), (0.0, -gap, "center", "top")]
    places += [(-gap, 0.0, "right", "center"), (near, near, "left", "bottom"), (near, -near, "left", "top")]
    places += [(-near, near, "right", "bottom"), (-near, -near, "right", "top")]
    far = gap + 10
    places += [(0.0, far, "center", "bottom"), (0.0, -far, "center", "top")]
    return [*places, (far, -far, "right", "top"), (-far, far, "right", "bottom")]
