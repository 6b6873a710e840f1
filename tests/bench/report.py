"""The files of a run: CSV tables, the picture, and a page that forges show in place."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import pandas as pd
import torch
from torture.report import revision

from bench import tables
from bench.contests import MEMORY, PRODUCT
from bench.drawing import picture
from bench.run import Row
from vqddm.artifacts import replacing

NAMES = ("contests", "growth", "slopes", "limits", "history")
HEAD = """# Speed

Ours beside what one would otherwise take, as one run of `make bench` measured it: code {commit}, {date}, torch {torch},
on {devices}. Both sides take turns within one process, so that whatever else the machine does meets both. A time is the
median of several rounds. *Times* is the reference's time over ours in each round, the median and in brackets the
quartiles: above 1 ours is the faster one.

![Ratios, growth with K, shares of the machine's limits](bench.png)

To repeat it, on a machine with nothing else to do: `make bench`. A killed run goes on when it is called again.
`make bench BENCH="--only reverse_steps"` measures one work, `make bench BENCH=--quick` each at its smallest; these
write to `bench-scratch/` and leave what is shown here alone. The table of contests is `tests/bench/contests.py`.
*reverse_steps* is nine reverse steps, at timesteps evenly spaced from T to 1.

The references: *log-one-hot* is multinomial diffusion as its equations have it, over log probabilities of all K codes,
with Gumbel draws (`tests/bench/logonehot.py`; torch's own `logaddexp`, not exponentials and logarithms one by one). The
scheduler of diffusers has our schedule and a mask that never comes. *Agree* says what a test of both sides found before
they were timed: the same numbers, codes or mean, draws that a chi-square test cannot tell apart, or clusters alike in
distance. *Not compared*: both serve the same purpose in different ways. Faster seeding is not better seeding: its
distances stand below the table.

What the whole default run costs beside an earlier commit's, job by job: [the pipeline](pipeline.md).
"""


def about(root: Path) -> dict[str, str]:
    """What a run's tables belong to."""
    return {"commit": revision(root, "vqddm", "tests/bench"), "date": str(date.today()), "torch": torch.__version__}


def committed(root: Path) -> pd.DataFrame | None:
    """The contests of the last commit, None where it has none."""
    command = ["git", "-C", str(root), "show", "HEAD:./results/bench/contests.csv"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return tables.read(done.stdout) if done.returncode == 0 else None


def made(rows: list[Row], run: dict[str, str], before: pd.DataFrame | None) -> dict[str, pd.DataFrame]:
    """All tables of a run by their names."""
    contests, growth = tables.contests(rows, run), tables.growth(rows, run)
    return {
        "contests": contests,
        "growth": growth,
        "slopes": tables.slopes(growth),
        "limits": tables.limits(rows, run),
        "history": tables.history(contests, before),
    }


def write(found: dict[str, pd.DataFrame], out: Path) -> None:
    """Write the tables as CSV, the picture, and `README.md`."""
    for name, table in found.items():
        with replacing(out / f"{name}.csv") as aside:
            table.to_csv(aside, index=False)
    picture(found["contests"], found["growth"], found["limits"], out / "bench")
    with replacing(out / "README.md") as aside:
        aside.write_text(page(read(out)))


def read(out: Path) -> dict[str, pd.DataFrame]:
    """The tables that `write` wrote."""
    return {name: tables.read((out / f"{name}.csv").read_text()) for name in NAMES}


def page(found: dict[str, pd.DataFrame]) -> str:
    """The page, from the tables alone."""
    run = found["limits"].iloc[0]
    devices = " and ".join(dict.fromkeys(found["limits"]["device"]))
    text = [HEAD.format(devices=devices, **run[tables.RUN]), "## Contests", "", *contest_lines(found["contests"])]
    slower = found["contests"][found["contests"]["ratio"] < 1]
    text += ["", "## Where ours is slower", "", *slower_lines(slower)]
    text += ["", "## How it grows", "", GROWS, "", *slope_lines(found["slopes"])]
    text += ["", "## How near the machine's limit", "", *limit_lines(found["limits"])]
    return "\n".join([*text, "", "## Since the run committed before", "", *history_lines(found["history"]), ""])


GROWS = """Slopes of log time over log size in the last decade of each range (± their standard error), on one thread: 1
is in proportion, 0 not at all. Below 1 there are fixed costs still; above 1 also where a size leaves a cache.
`growth.csv` has the points."""


def table(head: Iterable[str], lines: Iterable[Iterable[object]], numbers: int) -> list[str]:
    """A table in Markdown; the last columns, so many, are numbers."""
    head = list(head)
    align = [" --- "] * (len(head) - numbers) + [" ---: "] * numbers
    return [f"| {' | '.join(head)} |", f"|{'|'.join(align)}|"] + [f"| {' | '.join(map(str, line))} |" for line in lines]


def contest_lines(contests: pd.DataFrame) -> list[str]:
    """A line for each work, reference and sizes, with columns for each number of threads."""
    places = list(dict.fromkeys(zip(contests["kind"], contests["threads"], strict=True)))
    head = ["work", "sizes", "reference", "agree"]
    for place in places:
        head += [f"ours, {where(*place)}", "reference", "times"]
    lines = []
    for (work, reference, sizes), rows in contests.groupby(["work", "reference", "sizes"], sort=False):
        line = [work, sizes, reference, rows["agree"].iloc[0] or "not compared"]
        for place in places:
            chosen = rows[(rows["kind"] == place[0]) & (rows["threads"] == place[1])]
            line += cells(chosen.iloc[0]) if len(chosen) else ["", "", ""]
        lines.append(line)
    quality = contests.dropna(subset=["ours_quality"])
    told = [
        f"- {row['work']} ({row['sizes']}): {row['quality']} {row['ours_quality']:.4g} ours, "
        f"{row['reference_quality']:.4g} by {row['reference']}."
        for row in quality.drop_duplicates(["work", "reference", "sizes"]).to_dict("records")
    ]
    return [
        *table(head, lines, 3 * len(places)),
        *(["", "What k-means is for, smaller is better:", "", *told] if told else []),
    ]


def where(kind: str, threads: int) -> str:
    """`GPU`, `1 thread` or `2 threads`."""
    return "GPU" if kind == "gpu" else f"{threads} thread{'s' * (threads > 1)}"


def cells(row: pd.Series) -> list[str]:
    """Ours, the reference's and their ratio, or why there is none."""
    if row["note"]:
        return ["", "", row["note"].replace("|", "/")]
    ratio = f"**{short(row['ratio'])}** [{short(row['ratio_q1'])}, {short(row['ratio_q3'])}]"
    return [f"{short(row['ours_ms'])} ms", f"{short(row['reference_ms'])} ms", ratio]


def short(value: float) -> str:
    """Three significant digits, or whole thousands and more."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def slower_lines(slower: pd.DataFrame) -> list[str]:
    """The contests that ours loses."""
    if slower.empty:
        return ["Nowhere in this run."]
    return [
        f"- {row['work']} ({row['sizes']}, {where(row['kind'], row['threads'])}): {1 / row['ratio']:.3g} times as long "
        f"as {row['reference']}."
        for row in slower.to_dict("records")
    ]


def slope_lines(slopes: pd.DataFrame) -> list[str]:
    """A line for each growth."""
    lines = []
    for (work, axis), rows in slopes.groupby(["work", "axis"], sort=False):
        both = [with_error(row["slope"], row["standard_error"]) for row in rows.to_dict("records")]
        first = rows.iloc[0]
        lines.append([work, axis, f"{first['from']} to {first['to']}", first["fixed"], *both])
    return table(["work", "over", "range", "fixed", "ours", "reference"], lines, 2)


def with_error(slope: float, error: float) -> str:
    """A slope, with its standard error where there is one."""
    return f"{slope:.2f}" + (f" ± {error:.2f}" if error == error else "")


def limit_lines(limits: pd.DataFrame) -> list[str]:
    """What the machine reaches, then the share of each work."""
    own = limits[limits["work"].isin([MEMORY, PRODUCT])]
    told = [
        f"- {row['work']} ({row['sizes']}), {row['threads']} thread{'s' * (row['threads'] > 1)} of {row['device']}: "
        f"{row['rate']:.4g} {row['unit']}/s"
        for row in own.to_dict("records")
    ]
    explained = (
        "What multiplies is held against the matrix product (float32, two operations for a multiply-accumulate), all "
        "else against the memory copy, by the bytes that it must touch at least once. A share may pass 100 % where all "
        "stays in the cache."
    )
    head = ["work", "sizes", "device", "threads", "limit", "ours", "share"]
    lines = [
        [row["work"], row["sizes"], row["device"], row["threads"], row["limit"],
         f"{row['rate']:.3g} {row['unit']}/s", f"{100 * row['share']:.3g} %"]
        for row in limits.drop(own.index).to_dict("records")
    ]  # fmt: skip
    return [*told, "", explained, "", *table(head, lines, 2)]


COUNTED = {"another machine": "measured on another machine and not compared"}


def history_lines(history: pd.DataFrame) -> list[str]:
    """How many ratios stayed, and which did not."""
    counts = history["verdict"].value_counts()
    before = [name for name in dict.fromkeys(history["commit_before"].dropna()) if name]
    told = ", ".join(f"{count} {COUNTED.get(name, name)}" for name, count in counts.items())
    past = " and ".join(before) or "nothing committed"
    text = [f"Ratios against {past}: {told}. One counts as changed where the quartiles do not overlap."]
    changed = history[history["verdict"].isin(["slower", "faster"])]
    return (
        text
        + [""] * bool(len(changed))
        + [
            f"- **{row['verdict']}**: {row['work']} against {row['reference']} ({row['sizes']}, "
            f"{where(row['kind'], row['threads'])}): {short(row['before'])} → {short(row['ratio'])} times"
            for row in changed.to_dict("records")
        ]
    )
