"""What a run did when, from the benchmark files that Snakemake wrote: each job on a time axis, and all in one table."""

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vqddm.artifacts import UserError, reading
from vqddm.paper.figures import style
from vqddm.paper.figures.style import STYLE, save
from vqddm.paper.render import full, write_texts

STEPS = {  # the project's steps, by the folder of their benchmarks
    "data": style.GREY,
    "vqgan": style.BLUE,
    "refit": style.SKY,
    "prior": style.GREEN,
    "evaluate": style.ORANGE,
    "paper": style.PURPLE,
}
COLUMNS = {"seconds": "s", "cpu_seconds": "cpu_time", "max_rss": "max_rss"}  # of a benchmark file
LANE, TOP = 46, 70  # pixels of a lane, and above the first one
# Snakemake reads a job's CPU seconds every half second at first and rarely after that, never at its end. Reading itself
# takes the half second by which the first is more than 15.
OFTEN, RARELY = 15.5, 30
PAUSE = 60  # seconds: where no job ran for longer than that, the run had been stopped


def timeline(*, benchmarks: Path = Path("benchmarks"), suite: str, out: Path) -> None:
    """Write all jobs of a run as `out`.csv, and draw them as `out`.png and `out`.pdf.

    A job's end is when its benchmark file was written. The time for which a run had been stopped is left out.

    Args:
        benchmarks: Snakemake's benchmark files; those of other suites are left out.
        suite: whose jobs are shown beside those that all suites share.
        out: path without suffix.

    Raises:
        UserError: there is no benchmark file, or one is damaged.
    """
    jobs = read_jobs(benchmarks, suite)
    write_texts(out, csv=full(jobs.round(2)))
    with matplotlib.rc_context(STYLE):
        save(draw(jobs), out)


def read_jobs(benchmarks: Path, suite: str) -> pd.DataFrame:
    """One row a job, by its start: `job`, `step`, `start`, `seconds` by the clock, `cpu_seconds`, `max_rss` in MiB.

    CPU seconds are those of the whole job, as if it had ended as busy as it was when Snakemake last read them.
    """
    rows = []
    for path in sorted(benchmarks.rglob("*.tsv")):
        parts = path.relative_to(benchmarks).parts
        of_suite = len(parts) > 2 and parts[0] == suite
        if not (of_suite or (len(parts) == 2 and parts[0] in STEPS)):
            continue
        with reading(path, "not a benchmark of Snakemake's"):
            measured = pd.read_csv(path, sep="\t", na_values=["-", "NA"]).iloc[-1]
            told = {name: float(measured[column]) for name, column in COLUMNS.items()}
        if told["seconds"] > OFTEN:
            told["cpu_seconds"] *= told["seconds"] / last_read(told["seconds"])
        step = parts[1] if of_suite else parts[0]
        job = "/".join(parts).removesuffix(".tsv")
        rows.append({"job": job, "step": step, "start": path.stat().st_mtime - told["seconds"], **told})
    if not rows:
        raise UserError(f"{benchmarks}: holds no benchmark of the suite {suite}; run `snakemake --cores all` first")
    jobs = pd.DataFrame(rows).sort_values("start", ignore_index=True)
    return jobs.assign(start=jobs["start"] - stopped(jobs).cumsum())


def last_read(seconds: float) -> float:
    """After how many of a job's seconds, more than `OFTEN`, Snakemake read its CPU seconds for the last time."""
    return seconds - (seconds - OFTEN) % RARELY


def stopped(jobs: pd.DataFrame) -> pd.Series:
    """Before each job, by their starts: the seconds of a stop, in which none ran; before the first, all until then."""
    idle = (jobs["start"] - (jobs["start"] + jobs["seconds"]).cummax().shift()).fillna(jobs["start"])
    return idle.where((idle > PAUSE) | (jobs.index == 0), 0.0)


def lanes(jobs: pd.DataFrame) -> list[int]:
    """For each job, in the order of their starts, the first lane that is free by then; a second of overlap is none."""
    free: list[float] = []
    found = []
    for start, seconds in zip(jobs["start"], jobs["seconds"], strict=True):
        lane = next((i for i, end in enumerate(free) if end <= start + 1), len(free))
        free[lane : lane + 1] = [start + seconds]
        found.append(lane)
    return found


def draw(jobs: pd.DataFrame) -> Figure:
    """Jobs as bars in lanes, coloured by step, and how many run at a time below."""
    lane = np.array(lanes(jobs))
    height = LANE * (lane.max() + 1)
    whole, cpu = (jobs["start"] + jobs["seconds"]).max(), jobs["cpu_seconds"].sum()
    words = style.wrapped(
        f"{len(jobs)} jobs in {whole / 60:.1f} minutes, about {cpu / 60:.0f} CPU minutes. "
        "A lane is a place where a job ran; white is waiting.",
        style.INSIDE,
    )
    figure = style.new_figure(style.WIDTH, TOP + height + 110 + style.height_of(words))
    axes = style.pixel_axes(figure, style.MARGIN, TOP, style.INSIDE, height)
    for step, colour in STEPS.items():
        of_step = jobs["step"] == step
        bars = jobs[of_step]
        axes.barh(lane[of_step], bars["seconds"] / 60, 0.8, bars["start"] / 60, color=colour, edgecolor="white",
                  linewidth=0.3, label=step)  # fmt: skip
    axes.set(xlim=(0, whole / 60), xlabel="minutes", yticks=[])
    axes.invert_yaxis()
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=len(STEPS), borderaxespad=0.3, fontsize=8, columnspacing=1.2
    )
    style.footer(figure, TOP + height + 100, words)
    return figure
