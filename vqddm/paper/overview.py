"""The first page of `results/`: every suite that has results, with its verdicts in numbers."""

from pathlib import Path
from typing import NamedTuple

from vqddm.artifacts import reading, replacing
from vqddm.paper.claims.controls import PLACE
from vqddm.paper.page import GLANCE, SIGNS, environment
from vqddm.paper.render import read_table
from vqddm.paper.reported import captions


class SuiteResults(NamedTuple):
    """A suite in the table: its verdicts on the paper's claims, counted, in the order of `SIGNS`."""

    name: str
    title: str
    counts: list[tuple[str, str, int]]  # sign, verdict, number
    picture: bool


def overview(*, root: Path, out: Path) -> None:
    """Write the first page of all results as Markdown, from what lies there.

    Args:
        root: the folder `results`; a folder of it with claims and a page is a suite.

    Raises:
        UserError: a suite's page or table of claims is damaged.
    """
    folders = [path.parent for path in sorted(root.glob("*/claims.csv")) if path.with_name("README.md").exists()]
    suites = [results(folder) for folder in folders]
    shown = {
        "suites": suites,
        "glance": next((suite.name for suite in suites if suite.picture), None),
        "alt": captions()[GLANCE]["alt"],
        "beside": {name for name in ("bench", "reliability", "machines.csv", "variety.csv") if (root / name).exists()},
    }
    with replacing(out) as aside:
        aside.write_text(environment().get_template("overview.md.j2").render(shown), encoding="utf-8")


def results(folder: Path) -> SuiteResults:
    """A suite's title, and its claims counted; those of our own controls are not among them."""
    with reading(folder / "README.md", "not the page of a suite") as handle:
        title = handle.readline().decode("utf-8").split(": ", 1)[1].strip()
    with reading(folder / "claims.csv", "not the table of claims"):
        claims = read_table(folder / "claims.csv")
        verdicts = claims["verdict"][claims["place"] != PLACE].value_counts()
    counts = [(sign, verdict, int(verdicts.get(verdict, 0))) for verdict, (_, sign) in SIGNS.items()]
    return SuiteResults(folder.name, title, counts, (folder / f"figures/{GLANCE}.png").exists())
