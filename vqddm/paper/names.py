"""How first stages, methods and masks are called and ordered in tables, figures and sentences."""

from collections.abc import Sequence
from typing import Any

from vqddm.first_stages import codebook_size, kind_of, sampled_features
from vqddm.paper.reported import reported
from vqddm.registry import Method

RULE_MASKS = ("lower", "corner", "centre", "random")  # section 4.4's three, and one scattered at random
VARIANTS = {  # where VQ-DDM itself stands beside them
    "absorbing": "absorbing transition",
    "as_printed": "last step as printed",
    "no_residual": "without Eq. 23",
    "renoise": "renoised",
}


def first_stage_label(name: str) -> str:
    """`VQ-GAN, K = 1024` or `ReFiT, K = 512, P = 20 000`."""
    kind = kind_of(name)
    label = f"{kind.title}, K = {codebook_size(name)}"
    if "p" in kind.numbers:
        label += ", P = " + f"{sampled_features(name):,}".replace(",", " ")
    return label


def short_title(method: Method) -> str:
    """A method without the first stage before it: `transformer`."""
    return method.title.split(" + ")[-1]


def variant_title(method: Method) -> str:
    """A variant of VQ-DDM beside VQ-DDM itself: `absorbing transition`; any other method by its short title."""
    return VARIANTS.get(method.name, short_title(method))


def sampler(method: Method, fewer: bool = True) -> str:
    """What samples with all of a method's steps, or with fewer: the paper calls a pixel diffusion's DDPM and DDIM."""
    told = {row["id"]: row["method"] for row in reported()["speed"]["rows"]}
    return told.get(method.row if fewer else method.name, short_title(method))


def timed_runs(method: Method, timed: dict[str, Any], fewer: Sequence[int]) -> list[tuple[str, int]]:
    """What was timed of a baseline, by name and steps: all of its steps, and of pixel diffusion `fewer` ones too."""
    if method.fills == "codes":
        return [(method.title, timed["steps"])]
    return [(sampler(method, fewer=False), timed["timesteps"]), *((sampler(method), steps) for steps in fewer)]


def rule_first(masks: dict[str, Any]) -> dict[str, Any]:
    """The same masks, those of the claim's rule first."""
    return {name: masks[name] for name in [*RULE_MASKS, *sorted(masks.keys() - set(RULE_MASKS))] if name in masks}
