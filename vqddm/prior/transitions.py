"""The transitions of the diffusion that `params.yaml` can name: modules whose functions training, sampling and the NLL
call. Adding one: such a module, and its record here.

They are records (`vqddm/registry.py`): nothing here imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from vqddm.registry import Registry

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from vqddm.prior.schedule import Interval


class Transition(Protocol):
    """What a module must hold to be a diffusion over codes; `vqddm/prior/diffusion.py` explains the arguments."""

    def states(self, codebook_size: int) -> int:
        """Values that z_t can take."""

    def start(self, shape: tuple[int, ...], last: Interval, codebook_size: int, generator: torch.Generator) -> Tensor:
        """Draw z_T; `last` is the interval from 0 to T."""

    def diffuse(self, z0: Tensor, early: Interval, codebook_size: int, generator: torch.Generator) -> Tensor:
        """Draw z_s given z_0."""

    def reverse(
        self, z_t: Tensor, logits: Tensor, late: Interval, early: Interval, generator: torch.Generator
    ) -> Tensor:
        """Draw z_s from p(z_s | z_t), given the logits of p(z_0 | z_t)."""

    def kl_terms(self, z0: Tensor, z_t: Tensor, logits: Tensor, late: Interval, early: Interval) -> Tensor:
        """L_t of each image in nats."""

    def prior_kl(self, last: Interval, codebook_size: int) -> float:
        """KL(q(z_T | z_0) || p(z_T)) in nats per code."""


@dataclass(frozen=True)
class TransitionKind:
    """A transition.

    Args:
        name: in `params.yaml`.
        module: holds the functions of `Transition`; it is imported when they are needed.
        on_codes: z_t is one of the K codes, so that its one-hot can be added to the logits (Eq. 23), and the last step
            can be Eq. 22's as printed.
    """

    name: str
    module: str
    on_codes: bool

    @property
    def functions(self) -> Transition:
        """Its module."""
        return cast(Transition, import_module(self.module))


TRANSITIONS = Registry(
    "transition",
    [
        TransitionKind("uniform", "vqddm.prior.diffusion", on_codes=True),
        TransitionKind("absorbing", "vqddm.prior.absorbing", on_codes=False),
    ],
)
