"""The transition of the diffusion: which module's functions training, sampling and the NLL call."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from vqddm.prior import absorbing, diffusion
from vqddm.prior.schedule import Transition
from vqddm.prior.settings import DiffusionParams


class Chain(Protocol):
    """What a module must hold to be a diffusion over codes; `vqddm/prior/diffusion.py` explains the arguments."""

    def states(self, codebook_size: int) -> int:
        """Values that z_t can take."""
        ...

    def start(self, shape: tuple[int, ...], last: Transition, codebook_size: int, generator: torch.Generator) -> Tensor:
        """Draw z_T; `last` is the transition from 0 to T."""
        ...

    def diffuse(self, z0: Tensor, early: Transition, codebook_size: int, generator: torch.Generator) -> Tensor:
        """Draw z_s given z_0."""
        ...

    def posterior(self, z_t: Tensor, p0: Tensor, late: Transition, early: Transition) -> Tensor:
        """p(z_s | z_t)."""
        ...

    def last(self, z_t: Tensor, p0: Tensor, early: Transition) -> Tensor:
        """p(z_0 | z_t) at t = 1; `early` is the transition from 0 to 1."""
        ...

    def kl_terms(self, z0: Tensor, z_t: Tensor, logits: Tensor, late: Transition, early: Transition) -> Tensor:
        """L_t of each image in nats."""
        ...

    def prior_kl(self, last: Transition, codebook_size: int) -> float:
        """KL(q(z_T | z_0) || p(z_T)) in nats per code."""
        ...


CHAINS: dict[str, Chain] = {"uniform": diffusion, "absorbing": absorbing}


def chain_of(params: DiffusionParams) -> Chain:
    """The functions of the transition that the parameters name."""
    return CHAINS[params.transition]
