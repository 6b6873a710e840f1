"""Claims about completions (section 4.4)."""

from vqddm.paper.claims.evidence import Claim, Held, interval, on_every_dataset
from vqddm.paper.metrics import Metrics
from vqddm.paper.names import RULE_MASKS, rule_first
from vqddm.paper.render import with_spread


def _any_side(metrics: Metrics, dataset: str) -> tuple[Held, str] | None:
    """Agreement of the filled region with its own original against other images, for every mask."""
    found = metrics.read("inpainting", dataset, method="prior")
    if not found or not found["masks"]:
        return None
    less = {name: mask["agreement_minus_chance"] for name, mask in rule_first(found["masks"]).items()}
    words = ", ".join(f"{name} {with_spread(one['mean'], one['half_width'], 3)}" for name, one in less.items())
    ends = [interval(one) for one in less.values()]
    return Held.all_of(Held.above_zero(-high, -low) for low, high in ends), (
        f"distance to the own picture less that to another in the filled region (95 %): {words}"
    )


def _transformer(metrics: Metrics, dataset: str) -> tuple[Held, str] | None:
    """Paired differences to the transformer's completions of the same pictures from the same masks."""
    found = metrics.read("inpainting", dataset, method="transformer")
    if not found:
        return None
    minus = {name: interval(mask["minus"]["agreement"]) for name, mask in rule_first(found["masks"]).items()}
    told = [f"{name} {low:+.3f} to {high:+.3f}" for name, (low, high) in minus.items()]
    judged, others = told[: len(RULE_MASKS)], told[len(RULE_MASKS) :]
    beside = f"; beside the rule: {', '.join(others)}" if others else ""
    return Held.all_of(Held.above_zero(*minus[name]) for name in RULE_MASKS), (
        "distance to the own picture in the filled region, transformer less diffusion (95 %): "
        f"{', '.join(judged)}{beside}"
    )


CLAIMS = (
    Claim("inpainting_any_side", "Consistent completions from arbitrary given parts, without further training",
          "section 4.4", "for every mask the filled region agrees with its own original better than with another "
          "image: 95 % interval of the paired difference below 0, on every dataset",
          on_every_dataset(_any_side, "completions")),
    Claim("inpainting_transformer", "Completions much better than an autoregressive transformer's", "section 4.4",
          f"for the masks {', '.join(RULE_MASKS)} the filled region is nearer to its own picture than in the "
          "transformer's completion: 95 % interval of the paired difference above 0, on every dataset",
          on_every_dataset(_transformer, "a transformer on the same codes")),
)  # fmt: skip
