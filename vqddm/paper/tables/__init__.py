"""All tables by name, each from a module of its own."""

from pathlib import Path

from vqddm.paper.plan import Plan
from vqddm.paper.tables.record import Table
from vqddm.registry import Registry, record_in

MODULES = (
    "vqddm.paper.tables.table1",
    "vqddm.paper.tables.table2",
    "vqddm.paper.tables.table3",
    "vqddm.paper.tables.likelihood",
    "vqddm.paper.tables.speed",
    "vqddm.paper.tables.inpainting",
    "vqddm.paper.tables.trainings",
)
TABLES: Registry[Table] = Registry("table", [record_in(module, "TABLE") for module in MODULES])


def write(name: str, *, plan: Plan, root: Path, out: Path) -> None:
    """Write one table as CSV, Markdown and LaTeX.

    Args:
        name: of one of `TABLES`.
        out: path without suffix; .csv, .md and .tex are written.

    Raises:
        UserError: no such table, or a metric file is damaged.
    """
    TABLES[name](plan, root, out)
