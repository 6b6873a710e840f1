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
NOT_TESTABLE = "not measured in this suite"
VERDICTS = (REPRODUCED, NOT_REPRODUCED, NOT_TESTABLE)
ONE_TRAINING = (
    "One training stands behind each number: spreads are over draws, pictures or code maps of the evaluation, so "
    "“beyond the spread” speaks of these checkpoints, not of the methods trained again."
)
RULE_MASKS = ("lower", "corner", "centre", "random")  # section 4.4's three, and one scattered at random


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


Check = Callable[[Evidence, str], tuple[bool | None, str] | None]


def on_every_dataset(evidence: Evidence, check: Check, missing: str) -> Judgement:
    """Reproduced iff the check holds on every dataset on which it could be made.

    Args:
        evidence: where the check reads.
        check: whether the claim holds on a dataset (None: it does not count there), and the numbers in words; None
            where nothing was measured.
        missing: what the suite lacks where no dataset could be checked.
    """
    checked = {
        dataset.title: found
        for name, dataset in evidence.plan.datasets.items()
        if (found := check(evidence, name)) is not None
    }
    if not checked:
        return Judgement(NOT_TESTABLE, f"Not measured in this suite: {missing}")
    counted = [held for held, _ in checked.values() if held is not None]
    words = ". ".join(f"{title}: {text}" for title, (_, text) in checked.items())
    verdict = NOT_TESTABLE if not counted else REPRODUCED if all(counted) else NOT_REPRODUCED
    return Judgement(verdict, f"{words}.")


def above(*terms: tuple[float, dict[str, Any]]) -> tuple[bool, str]:
    """Whether a weighted sum of distances is above 0 beyond its spread, and where it lies in words.

    Beyond means by more than twice the weighted deviations in quadrature. They are the Fréchet distance's own over
    independent draws; where there was one draw only, the sum of the KIDs must be above 0 too, by more than twice
    their deviations over subsets.

    Args:
        terms: each a weight and a distance as it was measured.

    Raises:
        UserError: they were measured with different feature networks.
    """
    names = sorted({distance["name"] for _, distance in terms})
    if len(names) > 1:
        raise UserError(f"{' cannot be compared with '.join(names)}; measure both again")
    of_draws = all(distance.get("frechet_std") is not None for _, distance in terms)
    measure = "frechet" if of_draws else "kid"
    total = sum(weight * distance[measure] for weight, distance in terms)
    spread = 2 * math.hypot(*(weight * distance[f"{measure}_std"] for weight, distance in terms))
    where = f"{'beyond' if abs(total) > spread else 'within'} the spread{'' if of_draws else ' of KID'}"
    return sum(weight * distance["frechet"] for weight, distance in terms) > 0 and total > spread, where


def lower(first: dict[str, Any], second: dict[str, Any]) -> tuple[bool, str]:
    """Whether one distance is below another beyond the spread, and the numbers in words.

    Raises:
        UserError: the two were measured with different feature networks.
    """
    holds, where = above((1, second), (-1, first))
    return holds, f"{_against(first, second)}, {where}"


def at_most(first: dict[str, Any], second: dict[str, Any], factor: float) -> tuple[bool, str]:
    """Whether one distance is at most `factor` times another beyond the spread, and the numbers in words.

    Raises:
        UserError: the two were measured with different feature networks.
    """
    holds, where = above((factor, second), (-1, first))
    ratio = first["frechet"] / second["frechet"]
    return holds, f"{_against(first, second)}, {ratio:.2f} times where {factor:.2f} is the limit, {where}"


def _against(first: dict[str, Any], second: dict[str, Any]) -> str:
    shown = [with_spread(one["frechet"], one.get("frechet_std")) for one in (first, second)]
    return f"{first['name']} {shown[0]} against {shown[1]}"


def rule_first(masks: dict[str, Any]) -> dict[str, Any]:
    """The same masks, those of the rule first."""
    return {name: masks[name] for name in [*RULE_MASKS, *sorted(masks.keys() - set(RULE_MASKS))] if name in masks}


def interval(mean: dict[str, float]) -> tuple[float, float]:
    """The ends of the 95 % interval of a mean over pictures."""
    return mean["mean"] - mean["half_width"], mean["mean"] + mean["half_width"]
