"""The picture of a run: ratios with their spread, growth with K, shares of the machine's limits."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vqddm.paper.figures.style import BLUE, DPI, GREEN, INK, ORANGE, RED, STYLE, save

WIDTH, ROW, TOP, BELOW, LOWER = 1900, 40, 80, 150, 700  # pixels
SHOWN = {"reverse_steps": BLUE, "kl_terms_and_gradient": GREEN, "noising": ORANGE}  # whose growth is drawn


def picture(contests: pd.DataFrame, growth: pd.DataFrame, limits: pd.DataFrame, stem: Path) -> None:
    """Write `stem`.png and `stem`.pdf."""
    measured = contests.dropna(subset=["ratio"])
    references = measured["reference"].str.replace(" with Gumbel draws", "")
    names = measured["work"] + " · " + references + " · " + measured["sizes"]
    count = names.nunique()
    height = TOP + count * ROW + BELOW + LOWER
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH / DPI, height / DPI), dpi=DPI, facecolor="white")
        upper = (LOWER + BELOW) / height
        races(figure.add_axes((0.47, upper, 0.5, count * ROW / height)), measured, names)
        if len(over_k := growth[(growth["axis"] == "K") & growth["work"].isin(SHOWN)]):
            growths(figure.add_axes((0.07, 110 / height, 0.4, (LOWER - 230) / height)), over_k)
        shares(figure.add_axes((0.7, 110 / height, 0.27, (LOWER - 230) / height)), limits)
        save(figure, stem)


def races(axes: Axes, measured: pd.DataFrame, names: pd.Series) -> None:
    """A line for each contest and size: median and quartiles of the ratio, by threads."""
    order = {name: row for row, name in enumerate(dict.fromkeys(names))}
    places = list(dict.fromkeys(zip(measured["kind"], measured["threads"], strict=True)))
    for number, ((kind, threads), colour) in enumerate(zip(places, (BLUE, ORANGE, GREEN), strict=False)):
        chosen = measured[(measured["kind"] == kind) & (measured["threads"] == threads)]
        y = names[chosen.index].map(order) + 0.22 * (number - (len(places) - 1) / 2)
        spread = np.abs(chosen[["ratio_q1", "ratio_q3"]].to_numpy().T - chosen["ratio"].to_numpy())
        label = "GPU" if kind == "gpu" else f"{threads} thread{'s' * (threads > 1)}"
        axes.errorbar(chosen["ratio"], y, xerr=spread, fmt="o", markersize=3.5, color=colour, label=label)
    axes.axvline(1, color=RED, linewidth=1)
    axes.set_xscale("log")
    axes.set(ylim=(len(order) - 0.5, -0.5), yticks=range(len(order)), yticklabels=list(order))
    axes.tick_params(axis="y", labelsize=6.5, labelcolor=INK, length=0)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("times as long as ours: left of the line ours is slower")
    axes.set_title("The reference's time over ours, median and quartiles", loc="right")
    axes.legend(loc="lower right")


def growths(axes: Axes, over_k: pd.DataFrame) -> None:
    """Time of some works over K, ours drawn through and the reference dashed."""
    for work, points in over_k.groupby("work", sort=False):
        colour = SHOWN[work]
        axes.plot(points["value"], points["ours_ms"], "o-", markersize=3, color=colour, label=work)
        axes.plot(points["value"], points["reference_ms"], "o--", markersize=3, color=colour, mfc="white")
    axes.set(xscale="log", yscale="log", xlabel="K", ylabel="ms, one thread")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_title("Growth with K (dashed: log-one-hot)")
    axes.legend(loc="upper left")


def shares(axes: Axes, limits: pd.DataFrame) -> None:
    """The largest share of its limit that each work reaches on one thread of the CPU."""
    alone = limits[limits["threads"] == limits["threads"].min()]
    best = alone[alone["work"] != alone["limit"]].groupby(["work", "limit"], sort=False)["share"].max().reset_index()
    colours = [BLUE if limit == "memory copy" else ORANGE for limit in best["limit"]]
    axes.barh(range(len(best)), 100 * best["share"], color=colours, height=0.6)
    axes.set(ylim=(len(best) - 0.5, -0.5), yticks=range(len(best)), yticklabels=best["work"])
    axes.tick_params(axis="y", labelsize=6.5, labelcolor=INK, length=0)
    axes.set_xlabel("% of memory copy (blue), matrix product (orange)")
    axes.xaxis.label.set_horizontalalignment("right")
    axes.xaxis.set_label_coords(1, -0.14)
    axes.set_title("Share of the machine's limit, at best", loc="right")
