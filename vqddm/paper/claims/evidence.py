"""What claims are made of: a record with a rule, verdicts, and distances compared with their spread."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import fmean, stdev
from typing import Any

from vqddm.artifacts import UserError
from vqddm.first_stages import codebook_size
from vqddm.paper.metrics import Metrics
from vqddm.paper.plan import Plan, paper_rows
from vqddm.paper.render import with_spread

REPRODUCED = "reproduced"
NOT_REPRODUCED = "not reproduced"
UNDECIDED = "undecided"
NOT_TESTABLE = "not measured in this suite"
ONE_TRAINING = (
    "One training stands behind each number: spreads are over draws, pictures or code maps of the evaluation, so "
    "“beyond the spread” speaks of these checkpoints, not of the methods trained again."
)
KNOWN_OF_TRAININGS = (
    "One training stands behind each number: ± is over draws, pictures or code maps of the evaluation. Fréchet "
    "distances of two trainings count as different only beyond this and what is known of trainings together: trained "
    "again, such a distance moves by {:.1%} of itself (standard deviation, measured by training with several seeds)."
)
SEVERAL_TRAININGS = (
    "{} trainings with different seeds stand behind each number: ± is the standard deviation between them, for "
    "completions half the 95 % interval of their mean. Floors and times alone have the spread of their own "
    "measurement. What is compared was trained side by side in each training, so differences are taken there: after "
    "“the spread” stands their mean, ± half its 95 % interval by Student's t. It is above 0 where it speaks for the "
    "claim; where a rule has a limit, it is the distance from that. The verdict goes by this ±."
)
BEYOND = "the Fréchet distance is lower beyond the spread, on every dataset"


def spreads_are_of(plan: Plan) -> str:
    """What ± means in a suite, and what differences are compared with."""
    if plan.trainings > 1:
        return SEVERAL_TRAININGS.format(plan.trainings)
    return KNOWN_OF_TRAININGS.format(plan.training_spread) if plan.training_spread else ONE_TRAINING


class Held(Enum):
    """Whether a claim's rule is met: beyond the spread, beyond it the other way, or within it; or it does not count."""

    YES = REPRODUCED
    NO = NOT_REPRODUCED
    WITHIN = UNDECIDED
    UNCOUNTED = NOT_TESTABLE

    @classmethod
    def known(cls, holds: bool) -> Held:
        """That of a rule without a spread."""
        return cls.YES if holds else cls.NO

    @classmethod
    def above_zero(cls, low: float, high: float) -> Held:
        """Whether what lies between two ends is above 0."""
        return cls.YES if low > 0 else cls.NO if high < 0 else cls.WITHIN

    @classmethod
    def all_of(cls, parts: Iterable[Held]) -> Held:
        """That of a rule with several parts, of which those that do not count are left out."""
        counted = [part for part in parts if part is not cls.UNCOUNTED]
        if not counted:
            return cls.UNCOUNTED
        order = (cls.NO, cls.WITHIN, cls.YES)
        return next(held for held in order if held in counted)


@dataclass(frozen=True)
class Judgement:
    """A verdict with its numbers in words."""

    verdict: str
    measured: str


@dataclass(frozen=True)
class Claim:
    """One claim: what the paper says and where, the rule of its verdict, and the function that applies it."""

    name: str
    says: str
    place: str
    rule: str
    judge: Callable[[Metrics], Judgement]


Check = Callable[[Metrics, str], tuple[Held, str] | None]


def on_every_dataset(check: Check, missing: str, note: str = "") -> Callable[[Metrics], Judgement]:
    """Reproduced iff the check holds on every dataset on which it could be made, not if it fails on one.

    Args:
        check: whether the claim holds on a dataset, and the numbers in words; None where nothing was measured.
        missing: what the suite lacks where no dataset could be checked.
        note: said behind what was measured.
    """

    def judge(metrics: Metrics) -> Judgement:
        checked = {
            dataset.title: found
            for name, dataset in metrics.plan.datasets.items()
            if (found := check(metrics, name)) is not None
        }
        if not checked:
            return Judgement(NOT_TESTABLE, f"Not measured in this suite: {missing}")
        words = ". ".join(f"{title}: {text}" for title, (_, text) in checked.items()) + f".{note}"
        return Judgement(Held.all_of(held for held, _ in checked.values()).value, words)

    return judge


def of_row(metrics: Metrics, kind: str, dataset: str, row: str) -> dict[str, Any] | None:
    """`reconstruction` of a first stage, or `samples` with all T steps of its prior, that stands in a paper's row."""
    stage = rows_of(metrics, kind, dataset).get(row)
    return metrics.read(kind, dataset, stage, "prior" if kind == "samples" else None) if stage else None


def rows_of(metrics: Metrics, kind: str, dataset: str) -> dict[str, str]:
    """First stages by row of Table 1, or for `samples` of Table 2, which has those with a prior."""
    about = metrics.plan.datasets[dataset]
    return paper_rows(about.priors if kind == "samples" else about.first_stages)


def lower_row(kind: str, better: str, worse: str, same_k: bool = True) -> Check:
    """Whether the distance of a row is below another's, at the same K unless the claim is about that."""

    def check(metrics: Metrics, dataset: str) -> tuple[Held, str] | None:
        rows = rows_of(metrics, kind, dataset)
        if same_k and len({codebook_size(rows[row]) for row in (better, worse) if row in rows}) > 1:
            return None
        first, second = (of_row(metrics, kind, dataset, row) for row in (better, worse))
        if not first or not second:
            return None
        held, words = lower(first["distance"], second["distance"])
        return held, words + (floor(metrics, dataset) if kind == "samples" else "")

    return check


def floor(metrics: Metrics, dataset: str) -> str:
    """The floor's words, empty where it was not measured."""
    found = metrics.read("floor", dataset)
    return f", floor {found['distance']['frechet']:.2f}" if found else ""


def over_trainings(each: Sequence[float]) -> tuple[float, float]:
    """The mean of a number that each training has, and half its 95 % interval by Student's t."""
    from scipy.special import stdtrit  # here, since Snakemake plans the claims without it

    quantile = float(stdtrit(len(each) - 1, 0.975))
    return fmean(each), quantile * stdev(each) / math.sqrt(len(each))


def above(*terms: tuple[float, dict[str, Any]], one_training: bool = False) -> tuple[Held, str]:
    """Whether a sum of measured distances, each with its weight, is above 0 beyond its spread, and where it lies.

    Beyond means by more than twice the weighted deviations in quadrature. They are the Fréchet distance's own over
    independent draws; where there was one draw only, the sum of the KIDs must be on the same side of
    0 too, by more than twice their deviations over subsets. To those of one training comes what is known of trainings.
    Of several trainings the sum is formed in each, and is above 0 with the whole 95 % interval of its mean.

    Args:
        one_training: all distances are of the same training, so that another would move them together.

    Raises:
        UserError: they were measured with different feature networks.
    """
    names = sorted({distance["name"] for _, distance in terms})
    if len(names) > 1:
        raise UserError(f"{' cannot be compared with '.join(names)}; measure both again")
    if all("frechet_each" in distance for _, distance in terms):
        weights = [weight for weight, _ in terms]
        each = zip(*(distance["frechet_each"] for _, distance in terms), strict=True)
        return above_zero([sum(w * x for w, x in zip(weights, one, strict=True)) for one in each], 2)
    of_draws = all(distance.get("frechet_std") is not None for _, distance in terms)
    measure = "frechet" if of_draws else "kid"
    total = sum(weight * distance[measure] for weight, distance in terms)
    deviations = [weight * distance[f"{measure}_std"] for weight, distance in terms]
    if not one_training:
        deviations += [weight * distance.get("between", 0) * distance[measure] for weight, distance in terms]
    spread = 2 * math.hypot(*deviations)
    where = f"{'beyond' if abs(total) > spread else 'within'} the spread{'' if of_draws else ' of KID'}"
    held = Held.above_zero(total - spread, total + spread)
    agreed = sum(weight * distance["frechet"] for weight, distance in terms) * total > 0
    return held if agreed else Held.WITHIN, where


def above_zero(each: Sequence[float], digits: int) -> tuple[Held, str]:
    """Whether a number that each training has is above 0 with its whole 95 % interval, and the numbers in words."""
    mean, half = over_trainings(each)
    where = "beyond" if abs(mean) > half else "within"
    return Held.above_zero(mean - half, mean + half), f"{where} the spread: {mean:+.{digits}f} ± {half:.{digits}f}"


def lower(first: dict[str, Any], second: dict[str, Any], one_training: bool = False) -> tuple[Held, str]:
    """Whether one distance is below another beyond the spread, and the numbers in words."""
    held, where = above((1, second), (-1, first), one_training=one_training)
    return held, f"{against(first, second)}, {where}"


def at_most(first: dict[str, Any], second: dict[str, Any], factor: float) -> tuple[Held, str]:
    """Whether one distance is at most `factor` times another beyond the spread, and the numbers in words."""
    held, where = above((factor, second), (-1, first))
    ratio = first["frechet"] / second["frechet"]
    return held, f"{against(first, second)}, {ratio:.2f} times where {factor:.2f} is the limit, {where}"


def against(first: dict[str, Any], second: dict[str, Any]) -> str:
    """Two distances in words, each with its spread."""
    shown = [with_spread(one["frechet"], one.get("frechet_std")) for one in (first, second)]
    return f"{first['name']} {shown[0]} against {shown[1]}"


def interval(mean: dict[str, float]) -> tuple[float, float]:
    """The ends of the 95 % interval of a mean."""
    return mean["mean"] - mean["half_width"], mean["mean"] + mean["half_width"]
