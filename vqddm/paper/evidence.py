"""What claims are judged by: metrics that remember which files were read, and distances with their noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vqddm.artifacts import UserError
from vqddm.paper.plan import PaperRow, Plan, paper_rows

REPRODUCED = "reproduced"
NOT_REPRODUCED = "not reproduced"
NOT_TESTABLE = "not testable at this scale"
VERDICTS = (REPRODUCED, NOT_REPRODUCED, NOT_TESTABLE)


@dataclass
class Evidence:
    """A suite's metrics; `files` are those that were read and found, relative to the results folder."""

    plan: Plan
    root: Path
    files: list[str] = field(default_factory=list)

    def read(self, dataset: str | None, first_stage: str | None, name: str) -> dict[str, Any] | None:
        """One metric file, None where it was not measured."""
        found = self.plan.metrics(self.root, dataset, first_stage, name)
        if found is not None:
            path = self.plan.metrics_path(self.root, dataset, first_stage, name)
            self.files.append(path.relative_to(self.root).as_posix())
        return found

    def reconstruction(self, dataset: str, row: PaperRow) -> dict[str, Any] | None:
        """The reconstruction metrics of the first stage that stands in a row of Table 1."""
        stage = paper_rows(self.plan.datasets[dataset].first_stages).get(row)
        return self.read(dataset, stage, "reconstruction") if stage else None

    def samples(self, dataset: str, row: PaperRow) -> dict[str, Any] | None:
        """The metrics of samples with all T steps of the prior that stands in a row of Table 2."""
        stage = paper_rows(self.plan.datasets[dataset].priors).get(row)
        steps = self.plan.datasets[dataset].timesteps
        return self.read(dataset, stage, f"samples_{steps}") if stage else None

    def floor(self, dataset: str) -> str:
        """The floor's words, empty where it was not measured."""
        found = self.read(dataset, None, "floor")
        return f", floor {found['distance']['frechet']:.2f}" if found else ""


@dataclass(frozen=True)
class Judgement:
    """A verdict with its numbers in words."""

    verdict: str
    measured: str


Check = Callable[[Evidence, str], tuple[bool, str] | None]


def on_every_dataset(evidence: Evidence, check: Check, missing: str) -> Judgement:
    """Reproduced iff the check holds on every dataset on which it could be made.

    Args:
        evidence: where the check reads.
        check: whether the claim holds on a dataset, and the numbers in words; None where nothing was measured.
        missing: what the suite lacks where no dataset could be checked.
    """
    checked = {
        dataset.title: found
        for name, dataset in evidence.plan.datasets.items()
        if (found := check(evidence, name)) is not None
    }
    if not checked:
        return Judgement(NOT_TESTABLE, f"Not measured in this suite: {missing}")
    holds = all(held for held, _ in checked.values())
    words = ". ".join(f"{title}: {text}" for title, (_, text) in checked.items())
    return Judgement(REPRODUCED if holds else NOT_REPRODUCED, f"{words}.")


def lower(first: dict[str, Any], second: dict[str, Any]) -> tuple[bool, str]:
    """Whether one distance is below another beyond the noise, and the numbers in words.

    The Fréchet distance has no error of its own, so KID must move the same way, by more than both its deviations
    over subsets in quadrature.

    Raises:
        UserError: the two were measured with different feature networks.
    """
    if first["name"] != second["name"]:
        raise UserError(f"{first['name']} cannot be compared with {second['name']}; measure both again")
    drop, noise = second["kid"] - first["kid"], math.hypot(first["kid_std"], second["kid_std"])
    times = abs(drop) / noise if noise else math.inf
    words = (
        f"{first['name']} {first['frechet']:.2f} against {second['frechet']:.2f}, "
        f"KID {'lower' if drop > 0 else 'higher'} by {times:.1f} times its noise"
    )
    return first["frechet"] < second["frechet"] and drop > noise, words
