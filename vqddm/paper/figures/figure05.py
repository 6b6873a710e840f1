"""Figure 5: distance against sampling steps, with the hours that sampling takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from vqddm.artifacts import read_json
from vqddm.methods import METHODS
from vqddm.paper.figures.files import Files, measured_distance
from vqddm.paper.figures.hours import Speed, hours, machine_of, steps_axis
from vqddm.paper.figures.labels import place_labels
from vqddm.paper.figures.record import PaperFigure
from vqddm.paper.figures.style import (
    BLUE,
    GREEN,
    GREY,
    MARGIN,
    ORANGE,
    PURPLE,
    WIDTH,
    footer,
    height_of,
    new_figure,
    not_comparable,
    pixel_axes,
    wrapped,
)
from vqddm.paper.names import first_stage_label, sampler

LOOKS = (("o-", BLUE), ("s--", ORANGE), ("^:", GREEN), ("v-.", PURPLE))


@dataclass(frozen=True)
class Sweep:
    """One method's distance for each number of sampling steps, in rising order of steps.

    `deviations` are over draws, None where there was one draw.
    """

    label: str
    steps: tuple[int, ...]
    distances: tuple[float, ...]
    deviations: tuple[float | None, ...]

    @property
    def bars(self) -> list[list[tuple[float, float]]]:
        """The lower and upper end of each bar of one deviation."""
        drawn = zip(self.steps, self.distances, self.deviations, strict=True)
        return [[(s, d - spread), (s, d + spread)] for s, d, spread in drawn if spread is not None]


def _measured(files: Files) -> dict[str, dict[int, Path]]:
    """Files of the distances of the main prior, and of what else is sampled with several numbers of steps, by label."""
    about, found = files.about, {}
    for name, method in METHODS.items():
        steps = about.methods.get(name, ())
        if name == "prior" or len(steps) > 1:
            pixels = method.fills == "pixels"
            label = (
                f"{about.title}, {f'pixels by {sampler(method)}' if pixels else first_stage_label(about.main_prior)}"
            )
            found[label] = {n: files.metric("samples", files.dataset, method=name, steps=n) for n in steps}
    return found


def _files(files: Files) -> list[Path]:
    sweeps = [path for paths in _measured(files).values() for path in paths.values()]
    return [*sweeps, *(files.metric(kind, files.dataset) for kind in ("floor", "speed"))]


def _compose(files: Files) -> Figure:
    *_, floor_path, speed_path = _files(files)
    sweeps = []
    for label, paths in _measured(files).items():
        found = [measured_distance(path) for path in paths.values()]
        deviations = tuple(one.get("frechet_std") for one in found)
        sweeps.append(Sweep(label, tuple(paths), tuple(one["frechet"] for one in found), deviations))
    floor, timed = measured_distance(floor_path), read_json(speed_path)
    speed = Speed(timed["seconds_per_step"], timed["seconds_decode"])
    return draw_steps(sweeps, speed, machine_of(timed), floor["frechet"], floor["name"])


def draw_steps(drawn: Sequence[Sweep], speed: Speed, machine: str, floor: float, distance_name: str) -> Figure:
    """Distance against sampling steps, with the hours that 50,000 code maps take on this machine.

    Args:
        drawn: the distances of the prior whose speed was measured, then those of others on the same data.
        speed: that speed.
        machine: where it was measured.
        floor: distance of real held-out images to the training images.
        distance_name: the distance's name.
    """
    bars = [bar for one in drawn for bar in one.bars]
    words = wrapped(
        f"Written at the points: hours to sample 50 000 code maps on this machine ({machine})."
        + (" Bars: standard deviation over draws." if bars else "")
        + " The paper's own values are only in its picture, not in its text, so they are not available in numbers."
        f" {not_comparable(distance_name)}",
        WIDTH - 2 * MARGIN,
    )
    figure = new_figure(WIDTH, 775 + height_of(words))
    axes = pixel_axes(figure, 115, 30, WIDTH - 150, 640)
    axes.set_ylabel(distance_name)
    steps_axis(axes, [n for one in drawn for n in one.steps])
    axes.set_ylim(0, max(d for one in drawn for d in one.distances) * 1.35)  # room for the legend
    for one, (style, colour) in zip(drawn, LOOKS, strict=False):
        axes.plot(one.steps, one.distances, style, color=colour, markersize=4, label=one.label)
        axes.add_collection(LineCollection(one.bars, colors=colour, linewidths=1.1))
    held_out = f"floor: real held-out pictures, {floor:.1f}"
    axes.axhline(floor, color=GREY, linestyle=(0, (5, 3)), linewidth=1, label=held_out)
    axes.legend(loc="upper right")
    ours = drawn[0]
    points = [(float(s), d, hours(speed.hours_of_maps(s))) for s, d in zip(ours.steps, ours.distances, strict=True)]
    curves = [list(zip(one.steps, one.distances, strict=True)) for one in drawn]
    place_labels(axes, points, [2.5] * len(points), [*curves, *bars], BLUE)
    footer(figure, 775, words)
    return figure


FIGURE = PaperFigure(5, "4.3", _files, _compose)
