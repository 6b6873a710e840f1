"""The prior as a method, with the paper's transition and with the absorbing one."""

from __future__ import annotations

from vqddm.prior.settings import PriorParams
from vqddm.registry import Method

PRIOR = Method(
    name="prior",
    title="VQ-DDM",
    section="prior",
    settings=PriorParams,
    fills="codes",
    train="vqddm.prior.train:train_prior",
    load="vqddm.prior.train:load_prior",
    commands={
        "train": "prior train",
        "sample": "prior sample --prior",
        "inpaint": "prior inpaint --prior",
        "likelihood": "evaluate likelihood --prior",
        "counts": "evaluate counts --prior",
    },
    steps=lambda prior, codes, evaluate: (prior.diffusion.timesteps,),
    colour="blue",
)
ABSORBING = Method(
    name="absorbing",
    title="VQ-DDM, absorbing transition",
    section="baselines.absorbing",
    settings=PriorParams,
    fills="codes",
    train=PRIOR.train,
    load=PRIOR.load,
    commands={name: PRIOR.commands[name] for name in ("train", "sample", "likelihood", "counts")},
    steps=PRIOR.steps,
)
