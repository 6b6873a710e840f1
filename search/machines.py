"""What the suite `mini` gave on several machines, number by number and claim by claim, into `results/machines.csv`.

    python search/machines.py FOLDER ...

Each FOLDER is the `results/mini` of a run on another machine; `results/mini` here is the committed one, beside which
each of them is put. Numbers are those of `tables/trainings.csv`: the distances, and the bits per code of test pictures.
Where two runs had other settings, the difference is theirs too. Verdicts are taken as they stand there: judge an older
run's claims anew first (`make tables` with its metrics), so that all are judged by one set of rules.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from vqddm.artifacts import UserError, replacing
from vqddm.paper.render import read_table

RESULTS = Path(__file__).parents[1] / "results"
NAMED = ["dataset", "what", "measure"]


def numbers(folder: Path) -> pd.DataFrame:
    """What a run measured, by dataset, what and measure."""
    return read_table(folder / "tables/trainings.csv").rename(columns={"mean": "found"})[[*NAMED, "found"]]


def verdicts(folder: Path) -> pd.DataFrame:
    """What it says of each claim, under the same columns."""
    claims = read_table(folder / "claims.csv").rename(columns={"id": "what", "verdict": "found"})
    return claims.assign(dataset="", measure="verdict")[[*NAMED, "found"]]


def side_by_side(committed: Path, others: Sequence[Path]) -> pd.DataFrame:
    """Rows of the committed run, and of each other one `other_1`, `other_2`, ... what it has of them.

    `share_1`, ... say of a number by what share the committed one is larger.
    """
    counted, judged = numbers(committed), verdicts(committed)
    for run, other in enumerate(others, start=1):
        counted = counted.merge(numbers(other), how="left", on=NAMED, suffixes=("", f"_{run}"))
        counted[f"share_{run}"] = (counted["found"].astype(float) / counted[f"found_{run}"].astype(float) - 1).round(4)
        judged = judged.merge(verdicts(other), how="left", on=NAMED, suffixes=("", f"_{run}"))
    both = pd.concat([counted, judged])
    return both.rename(columns=lambda name: name.replace("found_", "other_").replace("found", "committed"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="folder", help="results of the suite on another machine"
    )
    found = side_by_side(RESULTS / "mini", parser.parse_args().folders)
    with replacing(RESULTS / "machines.csv") as aside:
        found.to_csv(aside, index=False)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"machines: {error}")
