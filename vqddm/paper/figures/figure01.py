"""Figure 1: quality against cost and size, the paper's rows and each dataset's in their own units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vqddm.artifacts import UserError
from vqddm.first_stages import kind_of
from vqddm.paper.counts import macs_per_image, network_of, recounted
from vqddm.paper.figures import style
from vqddm.paper.figures.files import Files, measured_distance
from vqddm.paper.figures.labels import place_labels
from vqddm.paper.figures.record import PaperFigure
from vqddm.paper.metrics import read_metric
from vqddm.paper.names import first_stage_label, sampler, variant_title
from vqddm.paper.plan import Plan
from vqddm.paper.render import with_spread
from vqddm.paper.reported import reported

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LARGEST = 700, 260  # square points of the largest blob: of the paper's panel, and of ours, where many come close
KEY = "number  method: distance, parameters"
ALIKE = 1.1  # times as dear: up to that, methods share a label
OURS, VARIANT, OTHER = style.BLUE, style.GREEN, style.ORANGE
COLOURS = {OURS: "VQ-DDM, the paper's method", VARIANT: "a variant of it", OTHER: "what it is compared with"}


@dataclass(frozen=True)
class Blob:
    """One method in Figure 1: what it costs, how good it is, how large it is.

    `recounted` are the operations of the same, counted here in full, and `spread` is that of the distance; None where
    they are not known.
    """

    label: str
    operations: float
    distance: float
    parameters: float
    colour: str
    recounted: float | None = None
    spread: float | None = None


class Shown(NamedTuple):
    """What is drawn of a dataset that the paper generates; `stage` is the first stage of a prior."""

    dataset: str
    label: str
    colour: str
    method: str
    stage: str | None = None


def _shown(plan: Plan) -> list[Shown]:
    found: list[Shown] = []
    for dataset in dict.fromkeys(d for d in (plan.role("celebahq"), plan.role("lsun_church")) if d):
        about = plan.datasets[dataset]
        for stage in about.priors:
            colour = VARIANT if kind_of(stage).control else OURS
            found.append(Shown(dataset, first_stage_label(stage), colour, "prior", stage))
        others = [method for method in plan.measured("counts", dataset) if method.name != "prior"]
        for method in sorted(others, key=lambda method: method.row is not None):  # variants of ours first
            label, colour = variant_title(method), OTHER
            if method.fills == "pixels":
                label = f"{sampler(method)}, {about.methods[method.name][-1]} steps"
            elif method.row is None:
                label, colour = f"{label}, {first_stage_label(about.main_prior)}", VARIANT
            found.append(Shown(dataset, label, colour, method.name))
    return found


def _files(files: Files) -> list[Path]:
    measured = [
        files.metric(kind, shown.dataset, shown.stage, shown.method)
        for shown in _shown(files.plan)
        for kind in ("counts", "samples")
    ]
    return [files.metric("paper_counts"), *measured]


def _compose(files: Files) -> Figure:
    rows = reported()["table2"]["rows"]
    networks = read_metric(files.metric("paper_counts"))
    drawn = [row for row in rows if row["flops"] and row["parameters"]]
    of_paper = [
        Blob(
            _short(row["method"]),
            row["flops"]["value"],
            row["fid"]["value"],
            row["parameters"]["value"],
            OURS if row["source"] == "ours" else OTHER,
            recounted(networks, row)["counted_macs_as_printed"],
        )
        for row in drawn
    ]
    names: set[str] = set()
    measured: dict[str, list[Blob]] = {}
    for dataset, label, colour, method, stage in _shown(files.plan):
        about = files.plan.datasets[dataset]
        counts = read_metric(files.metric("counts", dataset, stage, method))
        distance = measured_distance(files.metric("samples", dataset, stage, method))
        names.add(distance["name"])
        parameters, operations = network_of(counts)["parameters"], macs_per_image(counts, about.methods[method][-1])
        found, spread = distance["frechet"], distance.get("frechet_std")
        label = f"{label}: {with_spread(found, spread, 1)}, {parameters / 1e6:.3g} M"
        blob = Blob(label, operations, found, parameters, colour, spread=spread)
        measured.setdefault(about.title, []).append(blob)
    if len(names) > 1:
        kinds = ", ".join(sorted(names))
        raise UserError(f"{files.results / 'metrics'}: distances of several kinds ({kinds}); measure again")
    left_out = [row["method"] for row in rows if row not in drawn]
    return draw_operations(of_paper, measured, names.pop(), files.bars, left_out)


def _short(method: str) -> str:
    """A method of Table 2 as short as a label must be."""
    ours = method.replace("ours (", "").replace(" w/o ReFiT)", "\nwithout ReFiT").replace(" w/ ReFiT)", "")
    return ours.replace(" + ", " +\n")


def _blobs(axes: Axes, blobs: Sequence[Blob], largest: float) -> None:
    """One panel of Figure 1; small blobs lie on large ones, and outlines on all of them, so that none is hidden."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

    blobs = sorted(blobs, key=lambda blob: (-blob.parameters, blob.colour == OURS))  # ours over as large ones
    axes.set_xscale("log")
    operations, distances = [b.operations for b in blobs], [b.distance for b in blobs]
    ends = [b.distance + sign * (b.spread or 0) for b in blobs for sign in (-1, 1)]
    most = max(b.recounted or b.operations for b in blobs)
    narrow = most < 10 * min(operations)
    axes.set_xlim(min(operations) / 5, most * (30 if narrow else 3))  # room for the labels
    recounts = [[(b.operations, b.distance), (b.recounted, b.distance)] for b in blobs if b.recounted is not None]
    room = 0.18 * max(max(ends) - min(ends), 0.1 * max(ends))
    axes.set_ylim(max(0, min(ends) - room), max(ends) + room)
    decades = np.log10(axes.get_xlim()[1] / axes.get_xlim()[0])
    crowded = axes.get_window_extent().width / decades < 180  # pixels a decade, of which two labels need as many
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1.0,) if crowded else (1.0, 3.0)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    areas = [largest * b.parameters / blobs[0].parameters for b in blobs]
    axes.scatter(operations, distances, s=areas, c=[b.colour for b in blobs], alpha=0.6, linewidths=0)
    axes.scatter(operations, distances, s=areas, facecolors="none", edgecolors=style.INK, linewidths=0.7)
    for line in recounts:
        axes.plot(*zip(*line, strict=True), color=style.INK, linewidth=0.8)
        axes.plot(*line[-1], marker="D", markersize=4, markerfacecolor="white", markeredgecolor=style.INK)
    radii = [(area / 3.1416) ** 0.5 for area in areas]
    # Backwards: a large blob's label has more places to go to.
    points = [(b.operations, b.distance, b.label) for b in blobs if b.label][::-1]
    reach = [radius for b, radius in zip(blobs, radii, strict=True) if b.label][::-1]
    covered = recounts + [[(b.operations, b.distance)] * 2 for b in blobs if not b.label]
    place_labels(axes, points, reach, covered)


def _numbered(blobs: Sequence[Blob]) -> list[Blob]:
    """The blobs with their numbers as labels; of three or more of about one cost the highest has the numbers of all."""
    order = sorted(range(len(blobs)), key=lambda at: blobs[at].operations)
    steps = [at for at in range(1, len(order)) if blobs[order[at]].operations > ALIKE * blobs[order[at - 1]].operations]
    found = [replace(blob, label=str(number)) for number, blob in enumerate(blobs, 1)]
    for first, last in pairwise([0, *steps, len(order)]):
        group = sorted(order[first:last])
        if len(group) > 2:
            numbers = [str(at + 1) for at in group]
            in_a_row = group[-1] - group[0] == len(group) - 1
            for at in group:
                found[at] = replace(blobs[at], label="")
            highest = max(group, key=lambda at: blobs[at].distance)
            label = f"{numbers[0]} to {numbers[-1]}" if in_a_row else ", ".join(numbers)
            found[highest] = replace(blobs[highest], label=label)
    return found


def _one_by_one(axes: Axes, blobs: Sequence[Blob]) -> None:
    """The distances once more, each in a column of its own with its spread: blobs of one cost lie on each other."""
    for number, blob in enumerate(blobs, 1):
        axes.errorbar(number, blob.distance, blob.spread, fmt="o", color=blob.colour, ecolor=style.INK, capsize=2)
    axes.set(xlim=(0.4, len(blobs) + 0.6), xticks=range(1, len(blobs) + 1), xlabel="number in the list")
    axes.tick_params(labelleft=False)
    axes.grid(axis="x", visible=False)


def draw_operations(
    reported: Sequence[Blob],
    measured: Mapping[str, Sequence[Blob]],
    distance_name: str,
    bars: str,
    left_out: Sequence[str],
) -> Figure:
    """Figure 1: distance against operations; the blobs' areas grow with the number of parameters.

    Args:
        reported: the paper's rows, in its own units.
        measured: this suite's rows for the title of each dataset, numbered and listed below: MACs of a whole image,
            and a distance that may have another name.
        bars: what the spreads of its distances are.
        left_out: reported methods without operations or parameters.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    spread = any(blob.spread for blobs in measured.values() for blob in blobs)
    above, below = _words_of_operations(distance_name, bars if spread else "", left_out)
    keys = {
        title: "\n".join([KEY, *(f"{number}  {blob.label}" for number, blob in enumerate(blobs, 1))])
        for title, blobs in measured.items()
    }
    tops = [765 + style.height_of(above) + 70]  # of the dataset's panels, and of what stands below them
    for key in keys.values():
        tops.append(tops[-1] + 570 + style.height_of(key))
    figure = style.new_figure(style.WIDTH, tops[-1] - 30 + style.height_of(below))
    upper = style.pixel_axes(figure, 115, 60, style.WIDTH - 150, 600)
    upper.set(title="Reported by the paper (CelebA-HQ 256 × 256)", xlabel="operations (log scale)", ylabel="FID")
    used = {blob.colour for blobs in (reported, *measured.values()) for blob in blobs}
    handles: list[Artist] = [Patch(color=c, alpha=0.6, label=words) for c, words in COLOURS.items() if c in used]
    if any(blob.recounted is not None for blob in reported):
        handles.append(
            Line2D([], [], color=style.INK, marker="D", markersize=4, markerfacecolor="white", label="counted here")
        )
    upper.legend(handles=handles, loc="upper left")
    _blobs(upper, reported, LARGEST[0])
    style.footer(figure, 765, above)
    for top, (title, blobs) in zip(tops, measured.items(), strict=False):
        panel = style.pixel_axes(figure, 115, top, 520, 400)
        panel.set(
            title=f"Measured here on {title}: a whole picture",
            xlabel="multiply-accumulates (log scale)",
            ylabel=distance_name,
        )
        _blobs(panel, _numbered(blobs), LARGEST[1])
        columns = style.pixel_axes(figure, 660, top, 265, 400)
        columns.set_ylim(panel.get_ylim())
        _one_by_one(columns, blobs)
        style.footer(figure, top + 505, keys[title])
    style.footer(figure, tops[-1] - 40, below)
    return figure


def _words_of_operations(distance_name: str, bars: str, left_out: Sequence[str]) -> tuple[str, str]:
    """What stands below the paper's panel of Figure 1, and below all."""
    above = (
        "Operations as printed in Table 2: one network evaluation for diffusion models, a whole code map for the"
        " transformer. Diamonds: the same networks built and counted here, transposed convolutions too, where their"
        " architecture is known." + (f" Without printed cost, so not drawn: {', '.join(left_out)}." if left_out else "")
    )
    below = (
        "Colours are the same in all panels. Area of a blob: parameters of the network that generates; each panel has"
        " its own scale. Measured here are all steps and the decoder. At the right are the same distances, one by one."
        + (f" {bars}" if bars else "")
        + " Distances on one dataset do not compare with those on another."
        f" {style.not_comparable(distance_name)}"
    )
    return style.wrapped(above, style.INSIDE), style.wrapped(below, style.INSIDE)


FIGURE = PaperFigure(1, "1", _files, _compose)
