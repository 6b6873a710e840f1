"""What claims are made of: a record with a rule, verdicts, and distances compared with their spread."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import fmean
from typing import Any

from vqddm.artifacts import UserError
from vqddm.first_stages import codebook_size
from vqddm.paper.metrics import Metrics
from vqddm.paper.plan import Plan, paper_rows
from vqddm.paper.render import size_of_draws, with_spread
from vqddm.repeats import half_interval

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
        return held, words + (floor(metrics, dataset, first["distance"]) if kind == "samples" else "")

    return check


def floor(metrics: Metrics, dataset: str, distance: dict[str, Any]) -> str:
    """The floor's words, empty where it was not measured; its draws' size if that is not the `distance`'s."""
    if not (found := metrics.read("floor", dataset)):
        return ""
    beside = found["distance"]
    return f", floor {beside['frechet']:.2f}" + size_of_draws(beside["images"], distance["images"])


Term = tuple[float, dict[str, Any]]  # a weight, and the measures that hold a number and its spread


def weighed(
    terms: Sequence[Term], number: str, spread: str, digits: int = 2, more: Sequence[float] = ()
) -> tuple[Held, str]:
    """Whether a weighted sum of a number is above 0 beyond its spread, and where it lies.

    Of several trainings the sum is formed in each; the spread is half the 95 % interval of its mean, which is told too.
    Of one it is twice the weighted deviations in quadrature.

    Args:
        number: the measures' key of the number, as `psnr`; where that of each training is kept it is `psnr_each`.
        spread: their key of its standard deviation.
        digits: of what is told.
        more: further deviations of the sum.
    """
    if all(f"{number}_each" in found for _, found in terms):
        each = zip(*([weight * x for x in found[f"{number}_each"]] for weight, found in terms), strict=True)
        sums = [sum(one) for one in each]
        total, half = fmean(sums), half_interval(sums)
        told = f": {total:+.{digits}f} ± {half:.{digits}f}"
    else:
        total = sum(weight * found[number] for weight, found in terms)
        half, told = 2 * math.hypot(*(weight * found[spread] for weight, found in terms), *more), ""
    where = "beyond" if abs(total) > half else "within"
    return Held.above_zero(total - half, total + half), f"{where} the spread{told}"


def above(*terms: Term, one_training: bool = False) -> tuple[Held, str]:
    """Whether a sum of measured distances, each with its weight, is above 0 beyond its spread, and where it lies.

    The spread is the Fréchet distance's own (`weighed`); where there was one draw only, the sum of the KIDs must be on
    the same side of 0 too, beyond theirs over subsets. To those of one training comes what is known of trainings.

    Args:
        one_training: all distances are of the same training, so that another would move them together.

    Raises:
        UserError: they were measured with different feature networks.
    """
    names = sorted({distance["name"] for _, distance in terms})
    if len(names) > 1:
        raise UserError(f"{' cannot be compared with '.join(names)}; measure both again")
    of_draws = all(distance.get("frechet_std") is not None for _, distance in terms)
    measure = "frechet" if of_draws else "kid"
    known = [] if one_training else [w * distance.get("between", 0) * distance[measure] for w, distance in terms]
    held, where = weighed(terms, measure, f"{measure}_std", more=known)
    frechet, total = (sum(weight * distance[key] for weight, distance in terms) for key in ("frechet", measure))
    return held if frechet * total > 0 else Held.WITHIN, where if of_draws else f"{where} of KID"


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
