"""All tables by name: how each is computed from finished metrics, shown and written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from vqddm.paper.inpainting_table import inpainting_display, inpainting_rows
from vqddm.paper.plan import Plan
from vqddm.paper.render import write_table
from vqddm.paper.reported import captions
from vqddm.paper.table1 import table1_display, table1_rows
from vqddm.paper.table2 import table2_display, table2_rows
from vqddm.paper.table3 import table3_display, table3_rows
from vqddm.paper.text_tables import likelihood_display, likelihood_rows, speed_display, speed_rows


@dataclass(frozen=True)
class Table:
    """One table: `rows(plan, root)` gives it tidy and in full, `display` turns that to text in column groups."""

    name: str
    rows: Callable[[Plan, Path], pd.DataFrame]
    display: Callable[[pd.DataFrame], pd.DataFrame]

    def __call__(self, plan: Plan, root: Path, out: Path) -> None:
        """Write the table as `out`.csv, `out`.md and `out`.tex.

        Args:
            plan: the suite.
            root: the suite's results folder.
            out: path without suffix.

        Raises:
            UserError: a metric file is damaged.
        """
        tidy = self.rows(plan, root)
        write_table(out, tidy, self.display(tidy), captions()[self.name]["caption"])


TABLES = {
    table.name: table
    for table in (
        Table("table1", table1_rows, table1_display),
        Table("table2", table2_rows, table2_display),
        Table("table3", table3_rows, table3_display),
        Table("likelihood", likelihood_rows, likelihood_display),
        Table("speed", speed_rows, speed_display),
        Table("inpainting", inpainting_rows, inpainting_display),
    )
}
