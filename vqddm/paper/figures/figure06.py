"""Figure 6: hours for 50,000 code maps and pictures against sampling steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vqddm.methods import BASELINES
from vqddm.paper.figures import style
from vqddm.paper.figures.files import Files
from vqddm.paper.figures.hours import hours, hours_of, machine_of, steps_axis
from vqddm.paper.figures.labels import place_labels
from vqddm.paper.figures.record import PaperFigure
from vqddm.paper.metrics import read_metric
from vqddm.paper.names import sampler, short_title, timed_runs
from vqddm.paper.reported import reported

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Timed:
    """One method's hours for 50,000 images, for numbers of steps; `told` names its last, if anything, `note` more."""

    label: str
    hours: Mapping[int, float]
    marker: str
    colour: str
    told: str = ""
    note: str = ""


def _measured(files: Files, timed: dict[str, Any]) -> list[Timed]:
    """What was timed on this machine: the prior, then baselines, the longest line first."""
    methods, decode = files.about.methods, timed["seconds_decode"]
    images, maps = ({n: hours_of(timed, n, seconds) for n in methods["prior"]} for seconds in (decode, 0.0))
    found = [
        Timed("50 000 images by VQ-DDM, here", images, "s--", style.SKY),
        Timed("50 000 code maps by VQ-DDM, here", maps, "o-", style.BLUE, "code maps here"),
    ]
    for method in sorted(BASELINES.values(), key=lambda method: method.fills == "codes"):
        if method.name in timed:
            one, title, pixels = timed[method.name], short_title(method), method.fills == "pixels"
            steps = sorted({n for _, n in timed_runs(method, one, methods.get(method.name, ()))})
            by_steps = {n: hours_of(one, n, 0.0 if pixels else decode) for n in steps}  # pixels are not decoded
            label = f"50 000 images by {title if pixels else f'the {title}'}, here"
            marker, told, note = ("^-", "pixels here", "") if pixels else ("v", f"{title} here", "")
            if (whole := sampler(method, fewer=False)) != sampler(method):
                note = f"{title.capitalize()}'s last point is {whole}'s T, those before it are {sampler(method)}."
            elif not method.strided:
                note = f"The {title} takes a step for each code."
            found.append(Timed(label, by_steps, marker, style.COLOURS.get(method.colour, method.colour), told, note))
    return found


def _compose(files: Files) -> Figure:
    from matplotlib.ticker import FuncFormatter, NullLocator

    timed = read_metric(files.metric("speed", files.dataset))
    measured = _measured(files, timed)
    told = [(row["method"], row["steps"], float(row["hours"]["value"])) for row in reported()["speed"]["rows"]]
    words = style.wrapped(
        f"Here: {machine_of(timed)}. The paper's machine and image size are others, so the hours themselves do not"
        f" compare. {' '.join(one.note for one in measured if one.note)}",
        style.INSIDE,
    )
    figure = style.new_figure(style.WIDTH, 795 + style.height_of(words))
    axes = style.pixel_axes(figure, 150, 30, style.WIDTH - 185, 660)
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
    axes.plot(steps, values, "D", color=style.RED, markerfacecolor="white", markersize=5, label=label)
    axes.legend(loc="upper left")
    named = [*told, *((one.told, *max(one.hours.items())) for one in measured if one.told)]
    points = [(float(s), h, f"{name}: {hours(h)}") for name, s, h in named]
    place_labels(axes, points, [3.0] * len(points), [list(one.hours.items()) for one in measured])
    style.footer(figure, 795, words)
    return figure


FIGURE = PaperFigure(6, "4.3", lambda files: [files.metric("speed", files.dataset)], _compose)
