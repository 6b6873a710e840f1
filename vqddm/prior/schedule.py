"""How much of a code survives from one timestep to another (Eqs. 17 to 19)."""

from typing import NamedTuple

import torch
from torch import Tensor

from vqddm.prior.schedules import SCHEDULES


class Interval(NamedTuple):
    """The steps from one timestep to a later one: a code stays with probability `keep`; with probability `noise` it
    is drawn anew from all K codes (uniform transition) or turns into the mask (absorbing transition).

    Both probabilities are kept, since 1 - `keep` in float32 would lose the small ones.
    """

    keep: Tensor
    noise: Tensor


class NoiseSchedule:
    """ᾱ_t for t = 0..T in float64, by the name of one of `SCHEDULES`; ᾱ_0 is 1.

    Raises:
        UserError: there is no such schedule.
    """

    def __init__(self, timesteps: int, name: str) -> None:
        self.timesteps = timesteps
        log_keep = SCHEDULES[name].log_keep(torch.arange(timesteps + 1, dtype=torch.float64) / timesteps)
        self.log_keep = log_keep - log_keep[0]
        self._tables = {self.log_keep.device: self.log_keep}

    def interval(self, s: Tensor | int, t: Tensor | int, dtype: torch.dtype = torch.float32) -> Interval:
        """From timestep `s` to `t`, 0 <= s <= t <= T; from s = 0 it is the marginal of Eq. 17.

        keep = ᾱ_t / ᾱ_s and noise = 1 - keep have the broadcast shape of `s` and `t`.
        """
        log_keep = self._log_keep_at(t) - self._log_keep_at(s)
        return Interval(log_keep.exp().to(dtype), -log_keep.expm1().to(dtype))

    def _log_keep_at(self, t: Tensor | int) -> Tensor:
        if not isinstance(t, Tensor):
            return self.log_keep[t]
        if t.device not in self._tables:
            self._tables[t.device] = self.log_keep.to(t.device)
        return self._tables[t.device][t]
