"""What claims are judged by: metrics that remember which files were read, and distances with their spread."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vqddm.artifacts import UserError
from vqddm.paper.plan import PaperRow, Plan, paper_rows
from vqddm.paper.render import with_spread

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

    def shown_prior(self, dataset: str) -> tuple[str, str]:
        """The first stage and the name of the samples with all T steps of the prior that figures show."""
        about = self.plan.datasets[dataset]
        return about.main_prior, f"samples_{about.timesteps}"

    def transformer_samples(self, dataset: str) -> dict[str, Any] | None:
        """The metrics of the transformer's samples, where it is trained."""
        stage = self.plan.datasets[dataset].baseline("transformer")
        return self.read(dataset, stage, "transformer_samples") if stage else None

    def ddim_samples(self, dataset: str) -> dict[str, Any] | None:
        """The metrics of pixel diffusion's samples with the most steps measured, where it is trained."""
        steps = self.plan.datasets[dataset].ddim_steps
        return self.read(dataset, None, f"ddim_samples_{max(steps)}") if steps else None

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
    """Whether one distance is below another beyond its spread, and the numbers in words.

    Beyond means by more than twice both deviations in quadrature. They are the Fréchet distance's own over
    independent draws; where there was one draw only, KID must be lower too, by more than its deviation over subsets.

    Raises:
        UserError: the two were measured with different feature networks.
    """
    if first["name"] != second["name"]:
        raise UserError(f"{first['name']} cannot be compared with {second['name']}; measure both again")
    measure = "kid" if first.get("frechet_std") is None or second.get("frechet_std") is None else "frechet"
    drop = second[measure] - first[measure]
    spread = 2 * math.hypot(first[f"{measure}_std"], second[f"{measure}_std"])
    shown = [with_spread(one["frechet"], one.get("frechet_std")) for one in (first, second)]
    beyond = "beyond" if abs(drop) > spread else "within"
    words = f"{first['name']} {shown[0]} against {shown[1]}, {beyond} the spread{' of KID' * (measure == 'kid')}"
    return first["frechet"] < second["frechet"] and drop > spread, words
