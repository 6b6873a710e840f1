"""Figures 1, 5 and 6 as drawings of given numbers: quality against cost, steps and hours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullLocator

from vqddm.paper.figures.labels import place_labels
from vqddm.paper.figures.style import (
    BLUE,
    GREEN,
    GREY,
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
LARGEST = 700  # square points of a panel's largest blob


@dataclass(frozen=True)
class Blob:
    """One method in Figure 1: what it costs, how good it is, how large it is."""

    label: str
    operations: float
    distance: float
    parameters: float
    colour: str


@dataclass(frozen=True)
class Sweep:
    """One prior in Figure 5: its distance for each number of sampling steps, in rising order of steps."""

    label: str
    steps: tuple[int, ...]
    distances: tuple[float, ...]


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


def _blobs(axes: Axes, blobs: Sequence[Blob]) -> None:
    """One panel of Figure 1."""
    axes.set_xscale("log")
    operations, distances = [b.operations for b in blobs], [b.distance for b in blobs]
    narrow = max(operations) < 10 * min(operations)
    axes.set_xlim(min(operations) / 3, max(operations) * (30 if narrow else 3))  # room for the labels on the right
    room = 0.18 * max(max(distances) - min(distances), 0.1 * max(distances))
    axes.set_ylim(max(0, min(distances) - room), max(distances) + room)
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1.0, 3.0)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    scale = LARGEST / max(b.parameters for b in blobs)
    areas = [scale * b.parameters for b in blobs]
    axes.scatter(
        operations,
        distances,
        s=areas,
        c=[b.colour for b in blobs],
        alpha=0.75,
        edgecolors="white",
        linewidths=1,
    )
    radii = [(area / 3.1416) ** 0.5 for area in areas]
    place_labels(axes, [(b.operations, b.distance, b.label) for b in blobs], radii)


def draw_operations(
    reported: Sequence[Blob], measured: Sequence[Blob], distance_name: str, left_out: Sequence[str]
) -> Figure:
    """Figure 1: distance against operations; the blobs' areas grow with the number of parameters.

    Args:
        reported: the paper's rows, in its own units.
        measured: this suite's rows, numbered and listed below: MACs of a whole image, and a distance that may have
            another name.
        distance_name: name of the measured distance.
        left_out: reported methods without operations or parameters.
    """
    above = wrapped(
        "Operations as printed in Table 2: one network evaluation for diffusion models, a whole code map for the"
        " transformer." + (f" Without printed cost, so not drawn: {', '.join(left_out)}." if left_out else ""),
        WIDTH - 2 * MARGIN,
    )
    key = "\n".join(f"{number}  {blob.label}" for number, blob in enumerate(measured, 1))
    numbered = [replace(blob, label=str(number)) for number, blob in enumerate(measured, 1)]
    below = wrapped(
        "Area of a blob: parameters of the network that generates; each panel has its own scale. "
        + not_comparable(distance_name),
        WIDTH - 2 * MARGIN,
    )
    top = 765 + height_of(above) + 70
    figure = new_figure(WIDTH, top + 675 + height_of(key) + height_of(below))
    upper = pixel_axes(figure, 115, 60, WIDTH - 150, 600)
    upper.set(title="Reported by the paper (CelebA-HQ 256 × 256)", xlabel="operations (log scale)", ylabel="FID")
    _blobs(upper, reported)
    footer(figure, 765, above)
    lower = pixel_axes(figure, 115, top, WIDTH - 150, 550)
    lower.set(
        title="Measured here: a whole picture, all steps and the decoder",
        xlabel="multiply-accumulates per picture (log scale)",
        ylabel=distance_name,
    )
    _blobs(lower, numbered)
    footer(figure, top + 655, key)
    footer(figure, top + 670 + height_of(key), below)
    return figure


def not_comparable(distance_name: str) -> str:
    """The warning that belongs beside a distance that is no FID."""
    return "" if distance_name == "FID" else f"{distance_name} is another number than FID: do not compare the two."


def _steps_axis(axes: Axes, steps: Sequence[int]) -> None:
    axes.set_xscale("log")
    axes.set_xlim(min(steps) / 1.6, max(steps) * 1.9)
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
    words = wrapped(
        f"Written at the points: hours to sample 50 000 code maps on this machine ({speed.machine})."
        " The paper's own values are only in its picture, not in its text, so they are not available in numbers."
        f" {not_comparable(distance_name)}",
        WIDTH - 2 * MARGIN,
    )
    figure = new_figure(WIDTH, 775 + height_of(words))
    axes = pixel_axes(figure, 115, 30, WIDTH - 150, 640)
    axes.set_ylabel(distance_name)
    drawn = [sweep, pixels] if pixels else [sweep]
    _steps_axis(axes, [n for one in drawn for n in one.steps])
    axes.set_ylim(0, max(d for one in drawn for d in one.distances) * 1.2)
    axes.plot(sweep.steps, sweep.distances, "o-", color=BLUE, markersize=4, label=sweep.label)
    if pixels:
        axes.plot(pixels.steps, pixels.distances, "s--", color=ORANGE, markersize=4, label=pixels.label)
    held_out = f"floor: real held-out pictures, {floor:.1f}"
    axes.axhline(floor, color=GREY, linestyle=(0, (5, 3)), linewidth=1, label=held_out)
    axes.legend(loc="upper right")
    marks = zip(sweep.steps, sweep.distances, strict=True)
    points = [(float(s), d, hours(speed.hours_of_maps(s))) for s, d in marks]
    place_labels(axes, points, [2.5] * len(points), joined=True, colour=BLUE)
    footer(figure, 775, words)
    return figure


def draw_hours(
    speed: Speed,
    steps: Sequence[int],
    pixels: Mapping[int, float] | None,
    told: Sequence[tuple[str, int, float]],
) -> Figure:
    """Figure 6: hours for 50,000 code maps and 50,000 images against sampling steps.

    Args:
        speed: measured on this machine.
        steps: numbers of steps drawn.
        pixels: hours of pixel diffusion on the same machine for numbers of steps, where it was trained.
        told: (method, steps, hours) as the paper's text tells them, on its own machine and at 256 x 256.
    """
    words = wrapped(
        f"Here: {speed.machine}. The paper's machine and image size are others, so the hours themselves do not compare."
        + (" Pixel diffusion's last point is DDPM's T, those before it are DDIM." if pixels else ""),
        WIDTH - 2 * MARGIN,
    )
    figure = new_figure(WIDTH, 795 + height_of(words))
    axes = pixel_axes(figure, 150, 30, WIDTH - 185, 660)
    axes.set_yscale("log")
    _steps_axis(axes, [*steps, *(pixels or ()), *(s for _, s, _ in told)])
    axes.set_ylabel("hours (log scale)")
    maps, images = [speed.hours_of_maps(s) for s in steps], [speed.hours_of_images(s) for s in steps]
    values = [*maps, *images, *(pixels or {}).values(), *(h for *_, h in told)]
    axes.set_ylim(min(values) / 4, max(values) * 60)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.plot(steps, images, "s--", color=ORANGE, markersize=4, label="50 000 images by VQ-DDM, here")
    axes.plot(steps, maps, "o-", color=BLUE, markersize=4, label="50 000 code maps by VQ-DDM, here")
    if pixels:
        label = "50 000 images by pixel diffusion, here"
        axes.plot(list(pixels), list(pixels.values()), "^-", color=GREEN, markersize=4, label=label)
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
    last = (float(steps[-1]), maps[-1], hours(maps[-1]))
    points = [*((float(s), h, f"{name}: {hours(h)}") for name, s, h in told), last]
    if pixels:
        points.append((float(max(pixels)), pixels[max(pixels)], hours(pixels[max(pixels)])))
    place_labels(axes, points, [3.0] * len(points))
    footer(figure, 795, words)
    return figure
