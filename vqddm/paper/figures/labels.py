"""Labels beside points, placed so that they cover nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from vqddm.paper.figures.style import DPI, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import RendererAgg
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

    figure = axes.figure
    assert isinstance(figure, Figure)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    centres = axes.transData.transform([(x, y) for x, y, _ in points])
    taken = [_square(centre, 0.8 * r * DPI / 72) for centre, r in zip(centres, reach, strict=True)]
    for line in lines:
        taken += _along(axes.transData.transform(line))
    if legend := axes.get_legend():
        taken.append(legend.get_window_extent(renderer))
    scene = _Scene(axes.get_window_extent(renderer), centres, taken)
    for (x, y, label), radius, centre in zip(points, reach, centres, strict=True):
        note = axes.annotate(
            label, (x, y), (0, 0), textcoords="offset points", fontsize=8, color=colour, linespacing=1.1
        )
        places: list[tuple[Place, np.ndarray | None]] = [(place, None) for place in _beside(radius + 3)]
        places += [(place, _leader(centre, radius, place)) for place in _farther(radius + 15)]
        costs = [scene.cost(_put(note, place, renderer), centre, leader) for place, leader in places]
        place, leader = places[int(np.argmin(costs))]
        scene.add(_put(note, place, renderer), leader)
        if leader is not None:
            ends = axes.transData.inverted().transform(leader)
            axes.add_artist(PathPatch(MplPath(ends), transform=axes.transData, edgecolor=colour, linewidth=0.5))


def _put(note: Annotation, place: Place, renderer: RendererAgg) -> Bbox:
    """Move a label to a place; return its box in pixels."""
    note.set(position=place[:2], ha=place[2], va=place[3])
    return note.get_window_extent(renderer)


@dataclass
class _Scene:
    """What is drawn so far, in pixels: the frame, all points (n, 2), everything that covers ground, and the labels."""

    frame: Bbox
    centres: np.ndarray
    taken: list[Bbox]
    labels: list[Bbox] = field(default_factory=list)

    def cost(self, box: Bbox, own: np.ndarray, leader: np.ndarray | None) -> float:
        """How badly a label would stand in a box: what of it is outside or covered, and whether its point is clear."""
        from matplotlib.transforms import Bbox

        shared = Bbox.intersection(box, self.frame)
        outside = 1 - (shared.width * shared.height / (box.width * box.height) if shared else 0)
        cost = 10 * outside + box.count_overlaps(self.taken)
        if leader is None:
            middle = np.array([box.x0 + box.x1, box.y0 + box.y1]) / 2
            nearest = self.centres[np.hypot(*(self.centres - middle).T).argmin()]
            return float(cost + (not np.array_equal(nearest, own)))
        squares = _along(leader)
        cost += any(square.count_overlaps(self.labels) for square in squares)
        return float(cost + np.mean([square.count_overlaps(self.taken) > 0 for square in squares]))

    def add(self, box: Bbox, leader: np.ndarray | None) -> None:
        """Take a label's box and its leader into account."""
        self.labels.append(box)
        self.taken += [box, *([] if leader is None else _along(leader))]


def _leader(centre: np.ndarray, radius: float, place: Place) -> np.ndarray:
    """Corners (2, 2) of the line from a point's edge towards its label, in pixels."""
    offset = np.array(place[:2])
    return centre + np.outer([radius / np.hypot(*offset), 0.85], offset * DPI / 72)


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
