"""Importance sampling of the timestep, q(t) proportional to sqrt(E[L_t^2]) (the paper's appendix)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from vqddm.prior.diffusion import draw_by_cdf

SIZE = 10  # losses remembered for each t, and how often each t must be seen before the history counts
UNIFORM = 0.001  # share of uniform t, so that none is given up for ever and no weight exceeds 1000


class LossHistory:
    """The 10 most recent L_t of every timestep t = 1..T.

    Until each t has been seen 10 times, t is drawn uniformly.

    Args:
        stratified: the timesteps of a batch are drawn one from each of as many equal parts of q(t), in a random order.
            Each alone has the distribution q(t), and together they are spread as evenly as can be.
    """

    def __init__(self, timesteps: int, device: torch.device | str = "cpu", stratified: bool = False) -> None:
        self.stratified = stratified
        self.losses = torch.zeros(timesteps, SIZE, device=device)
        self.seen = torch.zeros(timesteps, dtype=torch.int64, device=device)

    def distribution(self) -> Tensor:
        """q(t) for t = 1..T, shape (T,)."""
        timesteps = len(self.seen)
        uniform = torch.full_like(self.losses[:, 0], 1 / timesteps)
        scale = self.losses.square().mean(1).sqrt()
        q = (1 - UNIFORM) * scale / scale.sum() + UNIFORM * uniform
        return torch.where((self.seen >= SIZE).all() & (scale.sum() > 0), q, uniform)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw `count` timesteps.

        Returns:
            t, int64 (count,) in 1..T, and the weight 1 / (T q(t)), (count,), with which the mean of
            weight * L_t has the expectation that it has for uniform t.
        """
        q = self.distribution()
        if self.stratified:
            levels = torch.rand(count, dtype=torch.float64, generator=generator, device=q.device)
            levels = (torch.arange(count, device=q.device) + levels) / count
            cdf = q.cumsum(0, dtype=torch.float64)
            index = torch.searchsorted(cdf, levels * cdf[-1], right=True).clamp(max=len(q) - 1)
            index = index[torch.randperm(count, generator=generator, device=q.device)]
        else:
            index = draw_by_cdf(q.expand(count, -1), generator)
        return index + 1, 1 / (len(q) * q[index])

    def update(self, t: Tensor, losses: Tensor) -> None:
        """Take in L_t (n,) at `t` (n,) in 1..T, in this order; a t may come more than once.

        Every process must pass the same values: gather them first.
        """
        index, order = (t - 1).sort(stable=True)
        start = torch.searchsorted(index, index)
        seen_now = torch.zeros_like(self.seen).scatter_add_(0, index, torch.ones_like(index))
        rank = torch.arange(len(index), device=index.device) - start  # how many of the same t came before
        kept = rank >= seen_now[index] - SIZE  # of more than 10, the last 10: no slot is written twice
        slot = SIZE * index + (self.seen[index] + rank) % SIZE
        nowhere = self.losses.numel()  # where the others go: picking the kept ones would make a host wait for its GPU
        slots = F.pad(self.losses.flatten(), (0, 1))
        slots[torch.where(kept, slot, nowhere)] = losses[order].to(slots)
        self.losses = slots[:nowhere].view_as(self.losses)
        self.seen += seen_now

    def state_dict(self) -> dict[str, Tensor]:
        return {"losses": self.losses, "seen": self.seen}

    def load_state_dict(self, state_dict: dict[str, Tensor]) -> None:
        self.losses = state_dict["losses"].to(self.losses, copy=True)
        self.seen = state_dict["seen"].to(self.seen, copy=True)
