"""What a table is: how it is computed from finished metrics, shown and written."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from vqddm.paper.metrics import Metrics
from vqddm.paper.plan import Plan
from vqddm.paper.render import write_table
from vqddm.paper.reported import captions, must_be_shown


@dataclass(frozen=True)
class Table:
    """One table.

    Args:
        name: of its files and caption.
        section: of the paper, where the page shows it.
        gather: gives the table tidy and in full, the paper's numbers in columns `reported_…`. It asks for the same
            metrics whatever was measured: that is how a rule learns which they are.
        display: turns that into text in column groups.
    """

    name: str
    section: str
    gather: Callable[[Metrics], pd.DataFrame]
    display: Callable[[pd.DataFrame], pd.DataFrame]

    def __post_init__(self) -> None:
        must_be_shown(self.name, self.section)

    def rows(self, plan: Plan, root: Path) -> pd.DataFrame:
        """The tidy table of a suite from its results folder.

        Raises:
            UserError: a metric file is damaged.
        """
        return self.gather(Metrics(plan, root))

    def inputs(self, plan: Plan) -> list[str]:
        """The metric files that it reads, relative to the suite's results folder."""
        metrics = Metrics(plan)
        self.gather(metrics)
        return list(metrics.asked)

    def __call__(self, plan: Plan, root: Path, out: Path) -> None:
        """Write the table as `out`.csv, `out`.md and `out`.tex (`vqddm.paper.tables.write`)."""
        tidy = self.rows(plan, root)
        write_table(out, tidy, self.display(tidy), captions()[self.name]["caption"])
