"""`make torture`: build the tiny suite, try all faults on it, write the table. Killed, it goes on when called again."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from torture import report, scratch
from torture.scratch import ROOT


def main() -> None:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(prog="torture", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn at random")
    parser.add_argument("--minutes", type=float, default=0, help="go on with further trials for so long")
    parser.add_argument("--cores", type=int, default=2, help="trials side by side")
    parser.add_argument("--plan", choices=["whole", "small"], default="whole")
    parser.add_argument("--out", type=Path, default=ROOT / "results/reliability", help="folder of the table")
    parser.add_argument("--scratch", type=Path, default=ROOT / "torture-scratch", help="folder to work in")
    given = parser.parse_args()
    place = given.scratch.resolve()
    scratch.build(place, given.cores)
    arguments = [str(place), *map(str, (given.seed, given.minutes, given.plan, given.cores))]
    scratch.called("torture.trials", place, *arguments)
    log = place / f"trials-{given.seed}-{given.plan}.jsonl"
    sys.exit(1 if report.write(log, given.out.resolve(), given.seed, ROOT) else 0)


if __name__ == "__main__":
    main()
