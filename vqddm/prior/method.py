"""The prior as a method, with the paper's transition and with the absorbing one."""

from collections.abc import Callable

from vqddm.prior.settings import PriorParams
from vqddm.registry import Method


def _has(transition: str) -> Callable[[PriorParams], None]:
    def check(prior: PriorParams) -> None:
        if prior.diffusion.transition != transition:
            raise ValueError(f"diffusion.transition must be {transition}, not {prior.diffusion.transition}")

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
    check=_has("uniform"),
    place=0,
    colour="blue",
)
ABSORBING = Method(
    name="absorbing",
    title="VQ-DDM, absorbing transition",
    settings=PriorParams,
    fills="codes",
    train=PRIOR.train,
    load=PRIOR.load,
    commands={name: PRIOR.commands[name] for name in ("train", "sample", "likelihood")},
    steps=PRIOR.steps,
    check=_has("absorbing"),
    place=2,
)
