"""The files that figures read, and how they are read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqddm.artifacts import UserError
from vqddm.paper.metrics import read_metric
from vqddm.paper.plan import Name, Plan, PlannedDataset, Role


def measured_distance(path: Path) -> dict[str, Any]:
    """The distance in one metric file: `name`, `frechet`, ….

    Raises:
        UserError: the file is missing or holds no distance.
    """
    value = read_metric(path)
    if "distance" not in value:
        raise UserError(f"{path}: holds no distance; delete it and build it again")
    return value["distance"]


@dataclass(frozen=True)
class Files:
    """A suite's finished files, by the arguments of `Plan.metric` and `Plan.array`, and the dataset that is shown.

    Args:
        plan: the suite.
        results: its folder of results, `results/{suite}`.
        evaluation: the folder `evaluation`.
        role: which dataset a figure shows; one must play it.
    """

    plan: Plan
    results: Path
    evaluation: Path
    role: Role = "celebahq"

    @property
    def dataset(self) -> str:
        """The name of the dataset that is shown."""
        name = self.plan.role(self.role)
        assert name is not None
        return name

    @property
    def models(self) -> Path:
        """The folder `models`, beside `evaluation`."""
        return self.evaluation.parent / "models"

    @property
    def about(self) -> PlannedDataset:
        """What is planned for it."""
        return self.plan.datasets[self.dataset]

    @property
    def bars(self) -> str:
        """What the bars at distances are."""
        return f"Bars: standard deviation {'between trainings' if self.plan.trainings > 1 else 'over draws'}."

    def metric(
        self, kind: str, dataset: Name = None, stage: Name = None, method: Name = None, steps: int | None = None
    ) -> Path:
        """A measured metric."""
        return self.results / self.plan.metric(kind, dataset, stage, method, steps)

    def array(self, kind: str, stage: Name = None, method: Name = None) -> Path:
        """Pictures of the dataset that is shown, of its main prior unless another stage or method is meant."""
        stage = stage if stage or method else self.about.main_prior
        return self.evaluation / self.plan.array(kind, self.dataset, stage, method)
