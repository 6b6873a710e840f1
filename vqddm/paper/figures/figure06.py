"""Figure 6: hours for 50,000 code maps and pictures against sampling steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from vqddm.artifacts import read_json
from vqddm.methods import BASELINES
from vqddm.paper.figures.files import Files
from vqddm.paper.figures.hours import Speed, hours, machine_of, steps_axis
from vqddm.paper.figures.labels import place_labels
from vqddm.paper.figures.record import PaperFigure
from vqddm.paper.figures.style import (
    BLUE,
    COLOURS,
    MARGIN,
    ORANGE,
    RED,
    WIDTH,
    footer,
    height_of,
    new_figure,
    pixel_axes,
    wrapped,
)
from vqddm.paper.names import sampler, short_title, timed_runs
from vqddm.paper.reported import reported
from vqddm.registry import Method


@dataclass(frozen=True)
class Timed:
    """One method's hours for 50,000 images, for numbers of steps; `told` names its last, if anything, `note` more."""

    label: str
    hours: Mapping[int, float]
    marker: str
    colour: str
    told: str = ""
    note: str = ""


def _files(files: Files) -> list[Path]:
    return [files.metric("speed", files.dataset)]


def _compose(files: Files) -> Figure:
    about, timed = files.about, read_json(_files(files)[0])
    decode = timed["seconds_decode"]
    speed, steps = Speed(timed["seconds_per_step"], decode), about.methods["prior"]
    images, maps = ({n: hours(n) for n in steps} for hours in (speed.hours_of_images, speed.hours_of_maps))
    measured = [
        Timed("50 000 images by VQ-DDM, here", images, "s--", ORANGE),
        Timed("50 000 code maps by VQ-DDM, here", maps, "o-", BLUE, "code maps here"),
    ]
    measured += [
        _baseline(method, timed[method.name], about.methods.get(method.name, ()), decode)
        for method in sorted(BASELINES.values(), key=lambda method: method.fills == "codes")  # the longest line first
        if method.name in timed
    ]
    told = [(row["method"], row["steps"], float(row["hours"]["value"])) for row in reported()["speed"]["rows"]]
    return draw_hours(machine_of(timed), measured, told)


def _baseline(method: Method, timed: dict[str, Any], fewer: Sequence[int], decode: float) -> Timed:
    """A baseline's hours: of pixels at all numbers of steps, of code maps, which are decoded, at all of its steps."""
    pixels = method.fills == "pixels"
    speed = Speed(timed["seconds_per_step"], 0.0 if pixels else decode)
    by_steps = {n: speed.hours_of_images(n) for n in sorted({n for _, n in timed_runs(method, timed, fewer)})}
    title, colour = short_title(method), COLOURS[method.colour]
    if pixels:
        note = (
            f"{title.capitalize()}'s last point is {sampler(method, fewer=False)}'s T, "
            f"those before it are {sampler(method)}."
        )
        return Timed(f"50 000 images by {title}, here", by_steps, "^-", colour, "pixels here", note)
    note = f"The {title} takes a step for each code." if not method.strided else ""
    return Timed(f"50 000 images by the {title}, here", by_steps, "v", colour, f"{title} here", note)


def draw_hours(machine: str, measured: Sequence[Timed], told: Sequence[tuple[str, int, float]]) -> Figure:
    """Hours for 50,000 code maps and 50,000 images against sampling steps.

    Args:
        machine: where the hours were measured.
        measured: the methods that were timed there.
        told: (method, steps, hours) as the paper's text tells them, on its own machine and at 256 x 256.
    """
    words = wrapped(
        f"Here: {machine}. The paper's machine and image size are others, so the hours themselves do not compare."
        f" {' '.join(one.note for one in measured if one.note)}",
        WIDTH - 2 * MARGIN,
    )
    figure = new_figure(WIDTH, 795 + height_of(words))
    axes = pixel_axes(figure, 150, 30, WIDTH - 185, 660)
    axes.set_yscale("log")
    steps_axis(axes, [*(n for one in measured for n in one.hours), *(s for _, s, _ in told)], room=9)
    axes.set_ylabel("hours (log scale)")
    values = [*(h for one in measured for h in one.hours.values()), *(h for *_, h in told)]
    axes.set_ylim(min(values) / 4, max(values) * 10 ** (0.6 + 0.45 * len(measured)))  # room for the legend
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    for one in measured:
        axes.plot([*one.hours], [*one.hours.values()], one.marker, color=one.colour, markersize=4, label=one.label)
    label = "50 000 images of 256 × 256, told by the paper (2080 Ti)"
    steps, values = [s for _, s, _ in told], [h for *_, h in told]
    axes.plot(steps, values, "D", color=RED, markerfacecolor="white", markersize=5, label=label)
    axes.legend(loc="upper left")
    named = [*told, *((one.told, *max(one.hours.items())) for one in measured if one.told)]
    points = [(float(s), h, f"{name}: {hours(h)}") for name, s, h in named]
    place_labels(axes, points, [3.0] * len(points), [list(one.hours.items()) for one in measured])
    footer(figure, 795, words)
    return figure


FIGURE = PaperFigure(6, "4.3", _files, _compose)
