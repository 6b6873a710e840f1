"""The prior as a method, its other sampler, and its variants: another last step, without Eq. 23, another transition."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from vqddm.prior.settings import PriorParams
from vqddm.registry import Method


def _has(**wanted: object) -> Callable[[PriorParams], None]:
    """A check that settings of the diffusion have these values."""

    def check(prior: PriorParams) -> None:
        for name, value in wanted.items():
            if (found := getattr(prior.diffusion, name)) != value:
                raise ValueError(f"diffusion.{name} must be {str(value).lower()}, not {str(found).lower()}")

    return check


PRIOR = Method(
    name="prior",
    title="VQ-DDM",
    settings=PriorParams,
    fills="codes",
    train="vqddm.prior.train:train_prior",
    load="vqddm.prior.sampler:load_prior",
    commands={
        "train": "prior train",
        "sample": "prior sample --prior",
        "inpaint": "prior inpaint --prior",
        "likelihood": "evaluate likelihood --prior",
        "counts": "evaluate counts --prior",
    },
    steps=lambda prior, codes, evaluate: (prior.diffusion.timesteps,),
    check=_has(transition="uniform"),
    place=0,
    colour="blue",
)
RENOISE = replace(
    PRIOR,
    name="renoise",
    title="VQ-DDM, renoised",
    commands={name: PRIOR.commands[name] for name in ("sample", "inpaint")},
    of="prior",
    sampler="renoise",
    place=1,
    colour="green",
)
_variant = partial(
    replace,
    PRIOR,
    commands={name: PRIOR.commands[name] for name in ("train", "sample", "likelihood")},
    inherits="prior",
    place=2,
    colour="orange",
)
ABSORBING = _variant(name="absorbing", title="VQ-DDM, absorbing transition", check=_has(transition="absorbing"))
AS_PRINTED = _variant(
    name="as_printed", title="VQ-DDM, last step as printed", check=_has(transition="uniform", last_step="as_printed")
)
NO_RESIDUAL = _variant(
    name="no_residual", title="VQ-DDM without Eq. 23", check=_has(transition="uniform", residual=False)
)
