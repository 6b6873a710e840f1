"""A suite's tables, claims and page made anew from its metrics: nothing is trained, measured or drawn."""

from collections.abc import Callable
from pathlib import Path

from vqddm.artifacts import UserError
from vqddm.paper.claims import claims, claims_inputs
from vqddm.paper.page import page
from vqddm.paper.plan import Plan
from vqddm.paper.tables import TABLES

TOLD = 3  # missing metrics that are told by name


def remake(*, plan: Plan, root: Path, say: Callable[[str], object] = print) -> None:
    """Make tables, claims and page of a suite anew from the metrics in its folder of results.

    Args:
        root: that folder; its figures are shown as they are.
        say: is told what is not there, and what was made.

    Raises:
        UserError: there is nothing to make them from, or a metric is damaged.
    """
    wanted = sorted({path for table in TABLES.values() for path in table.inputs(plan)} | set(claims_inputs(plan)))
    missing = [path for path in wanted if not (root / path).exists()]
    if len(missing) == len(wanted):
        raise UserError(f"{root}: holds no metrics of this suite; build it, or bring its committed results back")
    tables(plan, root)
    claims(plan, root, root / "claims")
    page(plan, root, root / "index.html")
    if missing:
        more = f" and {len(missing) - TOLD} more" if len(missing) > TOLD else ""
        say(f"{root}: shown as not measured, because not there: {', '.join(map(str, missing[:TOLD]))}{more}")
    say(f"{root / 'index.html'}: made anew, with README.md, claims and tables")


def tables(plan: Plan, root: Path) -> None:
    """Write all tables from the metrics in a suite's folder; what was not measured is blank.

    Raises:
        UserError: a metric is damaged.
    """
    for name, table in TABLES.items():
        table(plan, root, root / "tables" / name)
