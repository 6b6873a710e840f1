"""The noise schedule: how much of a code survives from one timestep to another (Eqs. 17 to 19)."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

OFFSET = 0.008  # s of Eq. 19


class Transition(NamedTuple):
    """A part of the chain: a code stays with probability `keep`, else it is drawn anew from all K codes.

    Both probabilities are kept, since 1 - `keep` in float32 would lose the small ones.
    """

    keep: Tensor
    noise: Tensor


class NoiseSchedule:
    """ᾱ_t for t = 0..T in float64; ᾱ_0 is 1 and ᾱ_T about 4e-33.

    Args:
        timesteps: T.
        kind: `cosine` is Eq. 19 as printed, `sqrt_cosine` its square root.
    """

    def __init__(self, timesteps: int, kind: Literal["cosine", "sqrt_cosine"]) -> None:
        self.timesteps = timesteps
        angle = (torch.arange(timesteps + 1, dtype=torch.float64) / timesteps + OFFSET) / (1 + OFFSET)
        log_cosine = torch.log(torch.cos(angle * math.pi / 2))
        power = 2 if kind == "cosine" else 1
        self.log_keep = power * (log_cosine - log_cosine[0])

    def transition(self, s: Tensor | int, t: Tensor | int, dtype: torch.dtype = torch.float32) -> Transition:
        """From timestep `s` to `t`, 0 <= s <= t <= T; from s = 0 it is the marginal of Eq. 17.

        Returns:
            keep = ᾱ_t / ᾱ_s and noise = 1 - keep, in the broadcast shape of `s` and `t`.
        """
        log_keep = self._log_keep_at(t) - self._log_keep_at(s)
        return Transition(log_keep.exp().to(dtype), -log_keep.expm1().to(dtype))

    def _log_keep_at(self, t: Tensor | int) -> Tensor:
        return self.log_keep.to(t.device)[t] if isinstance(t, Tensor) else self.log_keep[t]
