"""Figures 1, 5 and 6 as drawings of given numbers: quality against cost, steps and hours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullLocator

from vqddm.paper.figures.labels import place_labels
from vqddm.paper.figures.style import (
    BLUE,
    GREY,
    INK,
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

MAPS = 50_000  # code maps and images whose hours Figures 5 and 6 tell
SECONDS_PER_HOUR = 3600
LARGEST = 700, 260  # square points of the largest blob: of the paper's panel, and of ours, where many come close
COLOURS = {BLUE: "VQ-DDM, the paper's method", ORANGE: "what it is compared with"}  # of Figure 1


@dataclass(frozen=True)
class Blob:
    """One method in Figure 1: what it costs, how good it is, how large it is.

    `recounted` are the operations of the same, counted here in full; None where they are not known.
    """

    label: str
    operations: float
    distance: float
    parameters: float
    colour: str
    recounted: float | None = None


@dataclass(frozen=True)
class Sweep:
    """One prior in Figure 5: its distance for each number of sampling steps, in rising order of steps.

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


@dataclass(frozen=True)
class Speed:
    """How fast one machine samples and decodes, in seconds per image."""

    machine: str
    per_step: float
    decode: float

    def hours_of_maps(self, steps: int) -> float:
        """Hours to sample 50,000 code maps."""
        return MAPS * steps * self.per_step / SECONDS_PER_HOUR

    def hours_of_images(self, steps: int) -> float:
        """Hours to sample 50,000 code maps and decode them."""
        return self.hours_of_maps(steps) + MAPS * self.decode / SECONDS_PER_HOUR


def hours(value: float) -> str:
    """Two significant digits with the unit, such as `0.023 h` or `10 h`."""
    return f"{value:.2g} h" if value < 100 else f"{value:.0f} h"


def _blobs(axes: Axes, blobs: Sequence[Blob], largest: float) -> None:
    """One panel of Figure 1; small blobs lie on large ones, and outlines on all of them, so that none is hidden."""
    blobs = sorted(blobs, key=lambda blob: -blob.parameters)
    axes.set_xscale("log")
    operations, distances = [b.operations for b in blobs], [b.distance for b in blobs]
    most = max(b.recounted or b.operations for b in blobs)
    narrow = most < 10 * min(operations)
    axes.set_xlim(min(operations) / 5, most * (30 if narrow else 3))  # room for the labels
    recounts = [[(b.operations, b.distance), (b.recounted, b.distance)] for b in blobs if b.recounted is not None]
    room = 0.18 * max(max(distances) - min(distances), 0.1 * max(distances))
    axes.set_ylim(max(0, min(distances) - room), max(distances) + room)
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1.0, 3.0)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    areas = [largest * b.parameters / blobs[0].parameters for b in blobs]
    axes.scatter(operations, distances, s=areas, c=[b.colour for b in blobs], alpha=0.6, linewidths=0)
    axes.scatter(operations, distances, s=areas, facecolors="none", edgecolors=INK, linewidths=0.7)
    for line in recounts:
        axes.plot(*zip(*line, strict=True), color=INK, linewidth=0.8)
        axes.plot(*line[-1], marker="D", markersize=4, markerfacecolor="white", markeredgecolor=INK)
    radii = [(area / 3.1416) ** 0.5 for area in areas]
    points = [(b.operations, b.distance, b.label) for b in blobs]
    place_labels(axes, points[::-1], radii[::-1], recounts)  # a large blob's label has more places to go to


def draw_operations(
    reported: Sequence[Blob],
    measured: Mapping[str, Sequence[Blob]],
    distance_name: str,
    left_out: Sequence[str],
) -> Figure:
    """Figure 1: distance against operations; the blobs' areas grow with the number of parameters.

    Args:
        reported: the paper's rows, in its own units.
        measured: this suite's rows for the title of each dataset, numbered and listed below: MACs of a whole image,
            and a distance that may have another name.
        distance_name: name of the measured distance.
        left_out: reported methods without operations or parameters.
    """
    above, below = _words_of_operations(distance_name, left_out)
    keys = {title: _key(blobs) for title, blobs in measured.items()}
    tops = [765 + height_of(above) + 70]  # of the dataset's panels, and of what stands below them
    for key in keys.values():
        tops.append(tops[-1] + 570 + height_of(key))
    figure = new_figure(WIDTH, tops[-1] - 30 + height_of(below))
    upper = pixel_axes(figure, 115, 60, WIDTH - 150, 600)
    upper.set(title="Reported by the paper (CelebA-HQ 256 × 256)", xlabel="operations (log scale)", ylabel="FID")
    handles: list[Artist] = [Patch(color=c, alpha=0.6, label=words) for c, words in COLOURS.items()]
    if any(blob.recounted is not None for blob in reported):
        handles.append(
            Line2D([], [], color=INK, marker="D", markersize=4, markerfacecolor="white", label="counted here")
        )
    upper.legend(handles=handles, loc="upper left")
    _blobs(upper, reported, LARGEST[0])
    footer(figure, 765, above)
    for top, (title, blobs) in zip(tops, measured.items(), strict=False):
        panel = pixel_axes(figure, 115, top, WIDTH - 150, 400)
        panel.set(
            title=f"Measured here on {title}: a whole picture",
            xlabel="multiply-accumulates per picture (log scale)",
            ylabel=distance_name,
        )
        _blobs(panel, [replace(blob, label=str(n)) for n, blob in enumerate(blobs, 1)], LARGEST[1])
        footer(figure, top + 505, keys[title])
    footer(figure, tops[-1] - 40, below)
    return figure


def _words_of_operations(distance_name: str, left_out: Sequence[str]) -> tuple[str, str]:
    """What stands below the paper's panel of Figure 1, and below all."""
    above = (
        "Operations as printed in Table 2: one network evaluation for diffusion models, a whole code map for the"
        " transformer. Diamonds: the same networks built and counted here, transposed convolutions too, where their"
        " architecture is known." + (f" Without printed cost, so not drawn: {', '.join(left_out)}." if left_out else "")
    )
    below = (
        "Colours are the same in all panels. Area of a blob: parameters of the network that generates; each panel has"
        " its own scale. Measured here are all steps and the decoder."
        " Distances on one dataset do not compare with those on another."
        f" {not_comparable(distance_name)}"
    )
    return wrapped(above, WIDTH - 2 * MARGIN), wrapped(below, WIDTH - 2 * MARGIN)


def _key(blobs: Sequence[Blob]) -> str:
    """The numbered list below a panel."""
    return "\n".join(f"{number}  {blob.label}" for number, blob in enumerate(blobs, 1))


def not_comparable(distance_name: str) -> str:
    """The warning that belongs beside a distance that is no FID."""
    return "" if distance_name == "FID" else f"{distance_name} is another number than FID: do not compare the two."


def _steps_axis(axes: Axes, steps: Sequence[int], room: float = 1.9) -> None:
    """Sampling steps on a logarithmic axis, with so many times the most steps as room for labels on the right."""
    axes.set_xscale("log")
    axes.set_xlim(min(steps) / 1.6, max(steps) * room)
    shown: list[int] = []
    for step in sorted(set(steps)):  # leave out ticks that would touch their left neighbour
        if not shown or step / shown[-1] > 1.45:
            shown.append(step)
    axes.set_xticks(shown, [f"{s:,}".replace(",", " ") for s in shown])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("sampling steps (log scale)")


def draw_steps(sweep: Sweep, pixels: Sweep | None, speed: Speed, floor: float, distance_name: str) -> Figure:
    """Figure 5: distance against sampling steps, with the hours that 50,000 code maps take on this machine.

    Args:
        sweep: the distances of the prior whose speed was measured.
        pixels: those of pixel diffusion on the same data, where it was trained.
        speed: that speed.
        floor: distance of real held-out images to the training images.
        distance_name: the distance's name.
    """
    drawn = [sweep, pixels] if pixels else [sweep]
    bars = [bar for one in drawn for bar in one.bars]
    words = wrapped(
        f"Written at the points: hours to sample 50 000 code maps on this machine ({speed.machine})."
        + (" Bars: standard deviation over draws." if bars else "")
        + " The paper's own values are only in its picture, not in its text, so they are not available in numbers."
        f" {not_comparable(distance_name)}",
        WIDTH - 2 * MARGIN,
    )
    figure = new_figure(WIDTH, 775 + height_of(words))
    axes = pixel_axes(figure, 115, 30, WIDTH - 150, 640)
    axes.set_ylabel(distance_name)
    _steps_axis(axes, [n for one in drawn for n in one.steps])
    axes.set_ylim(0, max(d for one in drawn for d in one.distances) * 1.35)  # room for the legend
    for one, style, colour in zip(drawn, ("o-", "s--"), (BLUE, ORANGE), strict=False):
        axes.plot(one.steps, one.distances, style, color=colour, markersize=4, label=one.label)
        axes.add_collection(LineCollection(one.bars, colors=colour, linewidths=1.1))
    held_out = f"floor: real held-out pictures, {floor:.1f}"
    axes.axhline(floor, color=GREY, linestyle=(0, (5, 3)), linewidth=1, label=held_out)
    axes.legend(loc="upper right")
    points = [(float(s), d, hours(speed.hours_of_maps(s))) for s, d in zip(sweep.steps, sweep.distances, strict=True)]
    curves = [list(zip(one.steps, one.distances, strict=True)) for one in drawn]
    place_labels(axes, points, [2.5] * len(points), [*curves, *bars], BLUE)
    footer(figure, 775, words)
    return figure


@dataclass(frozen=True)
class Timed:
    """One method's hours for 50,000 images in Figure 6, for numbers of steps; `told` names its last, if anything."""

    label: str
    hours: Mapping[int, float]
    marker: str
    colour: str
    told: str = ""


def draw_hours(
    machine: str, measured: Sequence[Timed], told: Sequence[tuple[str, int, float]], notes: str = ""
) -> Figure:
    """Figure 6: hours for 50,000 code maps and 50,000 images against sampling steps.

    Args:
        machine: where the hours were measured.
        measured: the methods that were timed there.
        told: (method, steps, hours) as the paper's text tells them, on its own machine and at 256 x 256.
        notes: what else must be said.
    """
    words = wrapped(
        f"Here: {machine}. The paper's machine and image size are others, so the hours themselves do not compare."
        f" {notes}",
        WIDTH - 2 * MARGIN,
    )
    figure = new_figure(WIDTH, 795 + height_of(words))
    axes = pixel_axes(figure, 150, 30, WIDTH - 185, 660)
    axes.set_yscale("log")
    _steps_axis(axes, [*(n for one in measured for n in one.hours), *(s for _, s, _ in told)], room=9)
    axes.set_ylabel("hours (log scale)")
    values = [*(h for one in measured for h in one.hours.values()), *(h for *_, h in told)]
    axes.set_ylim(min(values) / 4, max(values) * 10 ** (0.6 + 0.45 * len(measured)))  # room for the legend
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    for one in measured:
        axes.plot(
            list(one.hours), list(one.hours.values()), one.marker, color=one.colour, markersize=4, label=one.label
        )
    axes.plot(
        [s for _, s, _ in told],
        [h for *_, h in told],
        "D",
        color=RED,
        markerfacecolor="white",
        markersize=5,
        label="50 000 images of 256 × 256, told by the paper (2080 Ti)",
    )
    axes.legend(loc="upper left")
    named = [*told, *((one.told, *max(one.hours.items())) for one in measured if one.told)]
    points = [(float(s), h, f"{name}: {hours(h)}") for name, s, h in named]
    place_labels(axes, points, [3.0] * len(points), [list(one.hours.items()) for one in measured])
    footer(figure, 795, words)
    return figure
