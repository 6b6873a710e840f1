"""What a suite gave on two machines, number by number and claim by claim, into `results/machines.csv`.

    python search/machines.py FOLDER

FOLDER is the `results/mini` of a run on the first machine; `results/mini` here is of the second. Numbers are those of
`tables/trainings.csv`: the distances, and the bits per code of test pictures. Where the two had other settings, the
difference is theirs too.
"""

from __future__ import annotations

import argparse
import sys
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


def side_by_side(first: Path, second: Path) -> pd.DataFrame:
    """Rows that both runs have: `first`, `second`, and for numbers by what share the second is larger."""
    both = numbers(first).merge(numbers(second), on=NAMED, suffixes=("_first", "_second"))
    both["share"] = (both["found_second"].astype(float) / both["found_first"].astype(float) - 1).round(4)
    judged = verdicts(first).merge(verdicts(second), on=NAMED, suffixes=("_first", "_second"))
    return pd.concat([both, judged]).rename(columns={"found_first": "first", "found_second": "second"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a suite's results of the first machine")
    found = side_by_side(parser.parse_args().folder, RESULTS / "mini")
    with replacing(RESULTS / "machines.csv") as aside:
        found.to_csv(aside, index=False)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"machines: {error}")
