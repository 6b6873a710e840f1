"""Rows to tables: contests, growths and their slopes, shares of the machine's limits, and what changed since."""

from __future__ import annotations

import math
from collections.abc import Iterable
from io import StringIO
from typing import Any

import numpy as np
import pandas as pd

from bench.contests import MEMORY, PRODUCT
from bench.run import Row

SIDES = ("ours", "reference")
RUN = ["commit", "date", "torch"]  # what every table says of the run that it is of
ROW = ["work", "reference", "sizes", "threads", "kind"]  # what names a contest
TIMES = ["ours_ms", "ours_q1", "ours_q3", "reference_ms", "reference_q1", "reference_q3"]
RATIO = ["ratio", "ratio_q1", "ratio_q3"]  # the reference's time over ours, of each round
QUALITY = ["quality", "ours_quality", "reference_quality"]
CONTESTS = [*ROW, "device", "agree", *TIMES, *RATIO, "rounds", *QUALITY, "note", *RUN]
GROWTH = ["work", "reference", "axis", "value", "sizes", "threads", "device", *TIMES, "note", *RUN]
SLOPES = ["work", "axis", "side", "slope", "standard_error", "from", "to", "points", "fixed", *RUN]
LIMITS = [
    "work",
    "sizes",
    "threads",
    "device",
    "limit",
    "amount",
    "unit",
    "ours_ms",
    "rate",
    "limit_rate",
    "share",
    *RUN,
]
HISTORY = [*ROW, *RATIO, "before", "before_q1", "before_q3", "change", "verdict", "commit", "commit_before"]
DIGITS = 4  # significant ones of what is measured


def frame(rows: Iterable[dict[str, Any]], columns: list[str]) -> pd.DataFrame:
    """A table of these columns, measured numbers cut to their significant digits."""
    found = pd.DataFrame(list(rows)).reindex(columns=columns)
    return found.map(lambda value: float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value)


def contests(rows: list[Row], run: dict[str, str]) -> pd.DataFrame:
    """All contests."""
    return frame((row | run for row in rows if row["part"] == "contests"), CONTESTS)


def growth(rows: list[Row], run: dict[str, str]) -> pd.DataFrame:
    """The points of all growths."""
    return frame((row | run for row in rows if row["part"] == "growth"), GROWTH)


def slopes(points: pd.DataFrame) -> pd.DataFrame:
    """How steep each growth is over its last decade, for ours and the reference: 1 is in proportion, 0 not at all.

    Args:
        points: what `growth` gives.
    """
    found = []
    for (work, axis), group in points.groupby(["work", "axis"], sort=False):
        last = group[group["value"] >= group["value"].max() / 10]
        for side in SIDES:
            there = last.dropna(subset=[f"{side}_ms"])
            slope, error = fitted(there["value"].to_numpy(float), there[f"{side}_ms"].to_numpy(float))
            row = {"work": work, "axis": axis, "side": side, "slope": slope, "standard_error": error}
            row |= {"from": there["value"].min(), "to": there["value"].max(), "points": len(there)}
            found.append(row | {"fixed": group["sizes"].iloc[0]} | group[RUN].iloc[0].to_dict())
    return frame(found, SLOPES)


def fitted(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope of log y over log x by least squares, and its standard error (NaN without a point to spare)."""
    if len(x) < 2:
        return math.nan, math.nan
    log_x = np.log(x) - np.log(x).mean()
    log_y = np.log(y) - np.log(y).mean()
    slope = float(log_x @ log_y / (log_x @ log_x))
    rest = log_y - slope * log_x
    error = math.sqrt(rest @ rest / (len(x) - 2) / (log_x @ log_x)) if len(x) > 2 else math.nan
    return slope, error


def limits(rows: list[Row], run: dict[str, str]) -> pd.DataFrame:
    """What the machine can do, and how much of it each work of ours reaches."""
    found, best = [], {}
    for row in rows:
        if row["note"] or row["part"] == "growth" or not (row["flops"] or row["bytes"]):
            continue
        limit, amount, unit = (PRODUCT, row["flops"], "GFLOP") if row["flops"] else (MEMORY, row["bytes"], "GB")
        rate = amount / 1e9 / (row["ours_ms"] / 1e3)
        place = (limit, row["threads"], row["device"])
        if row["part"] == "limits":
            best[place] = rate
        row = row | {"limit": limit, "amount": amount / 1e9, "unit": unit, "rate": rate}
        found.append(row | {"limit_rate": best[place], "share": rate / best[place]} | run)
    return frame(found, LIMITS).drop_duplicates(["work", "sizes", "threads", "device"])


def history(now: pd.DataFrame, before: pd.DataFrame | None) -> pd.DataFrame:
    """Each ratio beside the one committed before.

    `verdict` is slower or faster where the quartiles of both do not overlap, the same where they do; another machine
    where the processors differ, since ratios of two processors do; new where there is none before.

    Args:
        now, before: what `contests` gives; None where none is committed.
    """
    found, earlier = [], {}
    for row in [] if before is None else before.to_dict("records"):
        earlier[tuple(row[name] for name in ROW)] = row
    for row in now.dropna(subset=["ratio"]).to_dict("records"):
        past = earlier.get(tuple(row[name] for name in ROW))
        if past is None or pd.isna(past["ratio"]):
            found.append(row | {"verdict": "new"})
            continue
        old = {"before": past["ratio"], "before_q1": past["ratio_q1"], "before_q3": past["ratio_q3"]}
        old |= {"change": row["ratio"] / past["ratio"], "commit_before": past["commit"]}
        found.append(row | old | {"verdict": verdict(row, past)})
    return frame(found, HISTORY)


def verdict(row: dict[str, Any], past: dict[str, Any]) -> str:
    """What `history` says of a row."""
    if row["device"] != past["device"]:
        return "another machine"
    if row["ratio_q3"] < past["ratio_q1"]:
        return "slower"
    return "faster" if row["ratio_q1"] > past["ratio_q3"] else "the same"


def read(text: str) -> pd.DataFrame:
    """A table of ours from the text of its CSV."""
    return pd.read_csv(StringIO(text), keep_default_na=False, na_values={name: [""] for name in NUMBERS})


NUMBERS = [*TIMES, *RATIO, "rounds", *QUALITY[1:], "slope", "standard_error", "amount", "rate", "limit_rate", "share"]
NUMBERS += ["before", "before_q1", "before_q3", "change"]
