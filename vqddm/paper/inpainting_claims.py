"""Claims about completions (section 4.4)."""

from __future__ import annotations

from vqddm.paper.evidence import RULE_MASKS, Evidence, Judgement, interval, on_every_dataset, rule_first
from vqddm.paper.render import with_spread


def inpainting_any_side(evidence: Evidence) -> Judgement:
    """Agreement of the filled region with its own original against other images, for every mask."""

    def check(evidence: Evidence, dataset: str) -> tuple[bool, str] | None:
        found = evidence.read(dataset, evidence.plan.datasets[dataset].main_prior, "inpainting")
        if not found or not found["masks"]:
            return None
        less = {name: mask["agreement_minus_chance"] for name, mask in rule_first(found["masks"]).items()}
        words = ", ".join(f"{name} {with_spread(one['mean'], one['half_width'], 3)}" for name, one in less.items())
        return all(interval(one)[1] < 0 for one in less.values()), (
            f"distance to the own picture less that to another in the filled region (95 %): {words}"
        )

    return on_every_dataset(evidence, check, "completions")


def inpainting_transformer(evidence: Evidence) -> Judgement:
    """Paired differences to the transformer's completions of the same pictures from the same masks."""

    def check(evidence: Evidence, dataset: str) -> tuple[bool, str] | None:
        stage = evidence.plan.datasets[dataset].baseline("transformer")
        found = evidence.read(dataset, stage, "transformer_inpainting") if stage else None
        if not found:
            return None
        minus = {name: interval(mask["minus"]["agreement"]) for name, mask in rule_first(found["masks"]).items()}
        told = [f"{name} {low:+.3f} to {high:+.3f}" for name, (low, high) in minus.items()]
        judged, others = told[: len(RULE_MASKS)], told[len(RULE_MASKS) :]
        beside = f"; beside the rule: {', '.join(others)}" if others else ""
        return all(minus[name][0] > 0 for name in RULE_MASKS), (
            "distance to the own picture in the filled region, transformer less diffusion (95 %): "
            f"{', '.join(judged)}{beside}"
        )

    return on_every_dataset(evidence, check, "a transformer on the same codes")
