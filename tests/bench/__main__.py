"""`make bench`: ours against what one would otherwise take, into results/bench/. A killed run goes on."""

from __future__ import annotations

import argparse
import shutil
from functools import partial
from pathlib import Path

import torch

from bench import report
from bench.contests import plan, works
from bench.run import code_of, cores, measured
from vqddm.memory import keep_freed

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=works(), default=[], metavar="WORK", help=", ".join(works()))
    parser.add_argument("--quick", action="store_true", help="the smallest sizes and few rounds")
    parser.add_argument("--out", type=Path, help="folder of tables; results/bench for a whole run, else in the scratch")
    parser.add_argument(
        "--scratch", type=Path, default=ROOT / "bench-scratch", help="folder of what is measured so far"
    )
    given = parser.parse_args()
    keep_freed()
    part = bool(given.only or given.quick)
    out = given.out or (given.scratch / "results" if part else ROOT / "results/bench")
    folder = given.scratch / "-".join([code_of(ROOT), "quick" if given.quick else "whole", *given.only])
    items = plan(cores(), torch.cuda.is_available(), given.only, given.quick)
    rows = measured(items, folder, partial(print, flush=True))
    found = report.made(rows, report.about(ROOT), report.committed(ROOT))
    report.write(found, out)
    shutil.rmtree(folder)  # the next run measures anew
    print(f"{out / 'README.md'}", *report.history_lines(found["history"]), sep="\n")


if __name__ == "__main__":
    main()
