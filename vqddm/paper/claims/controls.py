"""What each half of ReFiT does alone, which the paper does not ask: judged only where a suite trains the controls.

The paper compares a VQ-GAN with the same one after both halves. The controls stand between: the rebuilt codebook before
any fine-tuning (`rebuilt`), and the same fine-tuning with the old codebook (`finetuned`).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from vqddm.first_stages import begins_with, codebook_size, kind_of
from vqddm.paper.claims.evidence import (
    BEYOND,
    NOT_REPRODUCED,
    REPRODUCED,
    Claim,
    Held,
    Judgement,
    floor,
    lower,
    on_every_dataset,
    rows_of,
    weighed,
)
from vqddm.paper.metrics import Metrics
from vqddm.paper.plan import Plan
from vqddm.paper.render import with_spread

HOLDS, HOLDS_NOT = "holds", "does not hold"
VERDICTS = {REPRODUCED: HOLDS, NOT_REPRODUCED: HOLDS_NOT}
PLACE = "of ours: a control"
Found = dict[str, Any]


def has_controls(plan: Plan) -> bool:
    """Whether the suite trains a control."""
    return any(kind_of(name).control for about in plan.datasets.values() for name in about.first_stages)


def _control(first_stage: str, kind: str) -> str:
    """The control of a kind that belongs to a ReFiT."""
    return begins_with(first_stage) if kind == "rebuilt" else f"{kind}_k{codebook_size(first_stage)}"


def _beside(metrics: Metrics, dataset: str, kind: str, what: str = "reconstruction") -> tuple[Found, Found] | None:
    """What was measured of the paper's ReFiT, and of its control; None where one of them was not.

    Args:
        what: `reconstruction`, or `samples` of their priors.
    """
    refit, about = rows_of(metrics, what, dataset).get("refit"), metrics.plan.datasets[dataset]
    control = _control(refit, kind) if refit else None
    if not refit or control not in (about.priors if what == "samples" else about.first_stages):
        return None
    method = "prior" if what == "samples" else None
    found, other = (metrics.read(what, dataset, stage, method) for stage in (refit, control))
    return (found, other) if found and other else None


def _lower(kind: str, what: str) -> Callable[[Metrics, str], tuple[Held, str] | None]:
    """Whether ReFiT's distance is below that of its control."""

    def check(metrics: Metrics, dataset: str) -> tuple[Held, str] | None:
        if not (pair := _beside(metrics, dataset, kind, what)):
            return None
        held, words = lower(pair[0]["distance"], pair[1]["distance"])
        return held, words + (floor(metrics, dataset, pair[0]["distance"]) if what == "samples" else "")

    return check


def _rebuilt(metrics: Metrics, dataset: str) -> tuple[Held, str] | None:
    """The rebuilt codebook alone against the VQ-GAN's own: the paper's row at the ReFiT's K."""
    pair, vqgan = _beside(metrics, dataset, "rebuilt"), rows_of(metrics, "reconstruction", dataset).get("vqgan")
    before = metrics.read("reconstruction", dataset, vqgan) if vqgan else None
    if not pair or not before or before["codebook_size"] != pair[1]["codebook_size"]:
        return None
    held, words = lower(pair[1]["distance"], before["distance"], one_training=True)
    used = [found["usage"]["train"]["seen"] for found in (before, pair[1])]
    psnrs = [found["psnr"] for found in (before, pair[1])]
    return held, f"{words}; usage {used[0]:.2%} to {used[1]:.2%}, {psnrs[0]:.2f} to {psnrs[1]:.2f} dB"


def _usage(metrics: Metrics, dataset: str) -> tuple[Held, str] | None:
    """Usage of ReFiT over that of the same fine-tuning with the old codebook."""
    if not (pair := _beside(metrics, dataset, "finetuned")):
        return None
    refit, control = (found["usage"]["train"]["seen"] for found in pair)
    return Held.known(refit >= 2 * control), f"{refit:.2%} against {control:.2%}, {refit / control:.2f} times"


def _psnr(metrics: Metrics, dataset: str) -> tuple[Held, str] | None:
    """PSNR of ReFiT's reconstructions of test pictures less the control's, beside the spread of the draws."""
    if not (pair := _beside(metrics, dataset, "finetuned")):
        return None
    refit, control = (with_spread(found["psnr"], found.get("psnr_std")) for found in pair)
    words = f"{refit} against {control} dB"
    if any(found.get("psnr_std") is None for found in pair):
        return Held.UNCOUNTED, f"{words}, of one draw: no spread, not counted"
    held, where = weighed([(1, pair[0]), (-1, pair[1])], "psnr", "psnr_std")
    return held, f"{words}, {where}"


def _judged(check: Callable[[Metrics, str], Any], missing: str) -> Callable[[Metrics], Judgement]:
    """As a claim of the paper is judged, in words that do not say that the paper claims it."""

    def judge(metrics: Metrics) -> Judgement:
        found = on_every_dataset(check, missing)(metrics)
        return replace(found, verdict=VERDICTS.get(found.verdict, found.verdict))

    return judge


ALONE = "a ReFiT and the same fine-tuning with the old codebook"
CLAIMS = (
    Claim("control_rebuilt", "The rebuilt codebook alone, before any fine-tuning, lowers the distance of "
          "reconstructions", PLACE, f"the VQ-GAN with the rebuilt codebook against the VQ-GAN: {BEYOND}",
          _judged(_rebuilt, "a rebuilt codebook before fine-tuning")),
    Claim("control_distance", "ReFiT lowers the distance of reconstructions more than the same fine-tuning with the "
          "old codebook does", PLACE, f"ReFiT against the fine-tuned VQ-GAN of the same K: {BEYOND}",
          _judged(_lower("finetuned", "reconstruction"), ALONE)),
    Claim("control_psnr", "ReFiT reconstructs pixels better than the same fine-tuning with the old codebook does",
          PLACE, "the PSNR of test pictures is higher beyond the spread, on every dataset", _judged(_psnr, ALONE)),
    Claim("control_usage", "ReFiT uses at least twice as many codes as the same fine-tuning with the old codebook",
          PLACE, "usage by the training images is at least twice as high, on every dataset", _judged(_usage, ALONE)),
    Claim("control_samples", "Samples with ReFiT are better than with the same fine-tuning and the old codebook", PLACE,
          f"samples of the priors on both: {BEYOND}", _judged(_lower("finetuned", "samples"), f"priors on {ALONE}")),
)  # fmt: skip
