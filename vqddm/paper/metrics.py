"""A suite's measured numbers, read by name; who reads them is asked which they were."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vqddm.artifacts import UserError, read_json
from vqddm.methods import METHODS
from vqddm.paper.plan import Name, Plan


@dataclass
class Metrics:
    """The metrics below a results folder; None: nothing is measured. `asked` is each path, and whether it was there."""

    plan: Plan
    root: Path | None = None
    asked: dict[str, bool] = field(default_factory=dict)

    def read(
        self, kind: str, dataset: Name = None, stage: Name = None, method: Name = None, steps: int | None = None
    ) -> dict[str, Any] | None:
        """One metric, by the arguments of `Plan.metric`; None where it was not measured.

        Raises:
            UserError: the file is there but damaged.
        """
        if dataset and method and METHODS[method] not in self.plan.measured(kind, dataset):
            return None
        name = self.plan.metric(kind, dataset, stage, method, steps)
        self.asked[name] = self.root is not None and (self.root / name).exists()
        if self.root is None or not self.asked[name]:
            return None
        value = read_json(self.root / name)
        if not isinstance(value, dict):
            raise UserError(f"{self.root / name}: expected a JSON object; delete it and build it again")
        return value

    @property
    def found(self) -> list[str]:
        """The files that were read, in the order of the first asking."""
        return [name for name, there in self.asked.items() if there]
