"""What one commit's default run costs beside another's, job by job, in CPU seconds, into `results/bench/pipeline.*`.

    PYTHONPATH=tests python -m bench.pipeline BEFORE AFTER

BEFORE and AFTER are two clones, each at its commit, with one params.yaml that both know. In both at once the suite was
built by `snakemake --cores 1`, so that what else the machine does weighs on both.
"""

from __future__ import annotations

import argparse
import re
from datetime import date
from pathlib import Path

import pandas as pd
from torture.report import revision

from bench.report import table
from vqddm.artifacts import replacing
from vqddm.paper.timeline import STEPS, read_jobs

OUT = Path(__file__).parents[2] / "results/bench"
SUITE = "mini"
TOLD = 12  # jobs that the page names
RUN = ["commit_before", "commit_after", "date"]
HEAD = """# The default run, before and after

CPU seconds of the jobs of the suite `{suite}` at two commits, {commit_before} and {commit_after}, with the
params.yaml of the first. Both built it at the same time on one machine ({date}), one core each. What else the
machine did weighs on both, at the end on the longer one alone; each ran once and jobs of a kind scatter, so compare
sums. What Snakemake itself takes is not counted. `pipeline.csv` has every job.
"""


def side_by_side(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Jobs by name, as `read_jobs` gives them of both: `job`, `step`, `before` and `after` in CPU seconds, `times`.

    A job that one of them has not is empty there.
    """
    renamed = before.assign(job=before["job"].map(todays_name))
    both = renamed.merge(after, on=["job", "step"], how="outer", suffixes=("_before", "_after"))
    both = both.rename(columns={"cpu_seconds_before": "before", "cpu_seconds_after": "after"})
    both["order"] = both["step"].map(list(STEPS).index)
    both = both.sort_values(["order", "job"])[["job", "step", "before", "after"]].reset_index(drop=True)
    return both.assign(times=(both["before"] / both["after"]).round(3))


def todays_name(job: str) -> str:
    """A rebuilt codebook was one of its ReFiT's jobs once; now it is a first stage itself."""
    return re.sub(r"refit_(k\d+_p\d+)_rebuild$", r"rebuilt_\1", job)


def page(found: pd.DataFrame) -> str:
    """The page, from the table that `main` wrote."""
    both, alone = found.dropna(), found[found["times"].isna()]
    sums = both.groupby("step", sort=False).agg(jobs=("job", "size"), before=("before", "sum"), after=("after", "sum"))
    sums.loc["all"] = sums.sum()
    sums["jobs"] = sums["jobs"].astype(int)
    lines = [
        [step, row["jobs"], *cells(row["before"] / 60, row["after"] / 60)]
        for step, row in sums.to_dict("index").items()
    ]
    longest = both.sort_values("before", ascending=False).head(TOLD).to_dict("records")
    told = [[row["job"], *cells(row["before"], row["after"])] for row in longest]
    text = [HEAD.format(suite=SUITE, **found.iloc[0][RUN])]
    text += table(["step", "jobs", "before, min", "after, min", "times"], lines, 4)
    text += ["", "The longest jobs, in seconds:", "", *table(["job", "before", "after", "times"], told, 3), ""]
    if len(alone):
        text += [
            f"{len(alone)} more jobs are not counted: only one of the two has them, or had done them when it ended.",
            "",
        ]
    return "\n".join(text)


def cells(before: float, after: float) -> list[str]:
    """Both, and how many times the second the first is."""
    return [f"{before:.2f}", f"{after:.2f}", f"{before / after:.2f}"]


def main() -> None:
    """Read the command line and write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="a clone in which the suite was built")
    parser.add_argument("after", type=Path, help="another one, at another commit")
    given = parser.parse_args()
    clones = {"commit_before": given.before, "commit_after": given.after}
    found = side_by_side(*(read_jobs(clone / "benchmarks", SUITE) for clone in clones.values()))
    run = {name: revision(clone, "vqddm") for name, clone in clones.items()} | {"date": str(date.today())}
    found = found.assign(**run)
    with replacing(OUT / "pipeline.csv") as aside:
        found.to_csv(aside, index=False)
    with replacing(OUT / "pipeline.md") as aside:
        aside.write_text(page(found))


if __name__ == "__main__":
    main()
