"""Figure 5: distance against sampling steps, with the hours that sampling takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vqddm.paper.figures import style
from vqddm.paper.figures.files import Files, measured_distance
from vqddm.paper.figures.hours import hours, hours_of, machine_of, steps_axis
from vqddm.paper.figures.labels import place_labels
from vqddm.paper.figures.record import PaperFigure
from vqddm.paper.metrics import read_metric
from vqddm.paper.names import first_stage_label, sampler, short_title
from vqddm.paper.render import size_of_draws

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOOKS = (("o-", style.BLUE), ("s--", style.ORANGE), ("^:", style.GREEN), ("v-.", style.PURPLE))


@dataclass(frozen=True)
class Sweep:
    """One method's distance for each number of sampling steps, in rising order of steps.

    `bars` are one deviation, over draws or between trainings, to each side; where there was one draw there is none.
    """

    label: str
    points: list[tuple[int, float]]
    bars: list[list[tuple[int, float]]]
    images: int  # of a draw


def _paths(files: Files) -> dict[str, dict[int, Path]]:
    """Files of the distances of the main prior, and of what else is sampled with several numbers of steps, by label."""
    about, found = files.about, {}
    for method in files.plan.measured("samples", files.dataset):
        steps = about.methods[method.name]
        label = f"pixels by {sampler(method)}" if method.fills == "pixels" else short_title(method)
        if method.name == "prior" or len(steps) > 1:
            paths = {n: files.metric("samples", files.dataset, method=method.name, steps=n) for n in steps}
            found[f"{about.title}, {label}"] = paths
    return found


def _sweep(label: str, paths: dict[int, Path]) -> Sweep:
    found = {steps: measured_distance(path) for steps, path in paths.items()}
    points = [(steps, one["frechet"]) for steps, one in found.items()]
    spreads = [(steps, one["frechet"], one.get("frechet_std")) for steps, one in found.items()]
    bars = [[(steps, mean - spread), (steps, mean + spread)] for steps, mean, spread in spreads if spread is not None]
    return Sweep(label, points, bars, next(iter(found.values()))["images"])


def _files(files: Files) -> list[Path]:
    sweeps = [path for paths in _paths(files).values() for path in paths.values()]
    return [*sweeps, *(files.metric(kind, files.dataset) for kind in ("floor", "speed"))]


def _compose(files: Files) -> Figure:
    from matplotlib.collections import LineCollection

    *_, floor_path, speed_path = _files(files)
    floor, timed = measured_distance(floor_path), read_metric(speed_path)
    drawn = [_sweep(*one) for one in _paths(files).items()]
    bars = [bar for one in drawn for bar in one.bars]
    words = style.wrapped(
        f"Codes of {first_stage_label(files.about.main_prior)}. Written at the points: hours to sample 50 000 code maps"
        f" on this machine ({machine_of(timed)})."
        + (f" {files.bars}" if bars else "")
        + " The paper's own values are only in its picture, not in its text, so they are not available in numbers."
        f" {style.not_comparable(floor['name'])}",
        style.INSIDE,
    )
    figure = style.new_figure(style.WIDTH, 775 + style.height_of(words))
    axes = style.pixel_axes(figure, 115, 30, style.WIDTH - 150, 640)
    axes.set_ylabel(floor["name"])
    steps_axis(axes, [n for one in drawn for n, _ in one.points])
    axes.set_ylim(0, max(distance for one in drawn for _, distance in one.points) * 1.35)  # room for the legend
    for one, (line, colour) in zip(drawn, LOOKS, strict=False):
        axes.plot(*zip(*one.points, strict=True), line, color=colour, markersize=4, label=one.label)
        axes.add_collection(LineCollection(one.bars, colors=colour, linewidths=1.1))
    held_out = f"floor: real held-out pictures, {floor['frechet']:.1f}"
    held_out += max(size_of_draws(floor["images"], one.images) for one in drawn)
    axes.axhline(floor["frechet"], color=style.GREY, linestyle=(0, (5, 3)), linewidth=1, label=held_out)
    axes.legend(loc="upper right")
    points = [(float(steps), distance, hours(hours_of(timed, steps))) for steps, distance in drawn[0].points]
    place_labels(axes, points, [2.5] * len(points), [*(one.points for one in drawn), *bars], style.BLUE)
    style.footer(figure, 775, words)
    return figure


FIGURE = PaperFigure(5, "4.3", _files, _compose)
