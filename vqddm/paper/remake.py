"""A suite's tables, claims and page made anew from its metrics: nothing is trained, measured or drawn."""

from pathlib import Path

from vqddm.artifacts import UserError
from vqddm.paper.claims import claims
from vqddm.paper.page import page
from vqddm.paper.plan import Plan
from vqddm.paper.tables import TABLES


def remake(*, plan: Plan, root: Path) -> list[str]:
    """Make tables, claims and page of a suite anew from the metrics in its folder of results.

    Args:
        root: that folder; its figures are shown as they are.

    Returns:
        The names of tables that could not be made, because metrics are missing.
    """
    lacking = []
    for name, table in TABLES.items():
        try:
            table(plan, root, root / "tables" / name)
        except UserError:
            lacking.append(name)
    claims(plan, root, root / "claims")
    page(plan, root, root / "index.html")
    return lacking
