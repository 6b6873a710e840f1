"""All tables by name, each from a module of its own."""

from pathlib import Path

from vqddm.paper.plan import Plan
from vqddm.paper.tables import inpainting, likelihood, speed, table1, table2, table3
from vqddm.paper.tables.record import Table
from vqddm.registry import Registry

TABLES: Registry[Table] = Registry(
    "table", [module.TABLE for module in (table1, table2, table3, likelihood, speed, inpainting)]
)


def write(name: str, *, plan: Plan, root: Path, out: Path) -> None:
    """Write one table as CSV, Markdown and LaTeX.

    Args:
        name: table1, table2, table3, likelihood, speed or inpainting.
        out: path without suffix; .csv, .md and .tex are written.

    Raises:
        UserError: no such table, or a metric file is damaged.
    """
    TABLES[name](plan, root, out)
