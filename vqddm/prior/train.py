"""Training of the prior on code maps.

The loss is the variational bound of Eq. 7 in bits per code: the mean over the batch of
weight * T * L_t / (N ln 2), plus the (constant) prior KL, for code maps of N codes.
"""

import contextlib
import math
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from vqddm.artifacts import fingerprint
from vqddm.prior.settings import PriorParams
from vqddm.prior.timesteps import LossHistory
from vqddm.prior.unet import Prior
from vqddm.recipe import NetworkRecipe, spread_evenly, warmed_cosine, whole_batch
from vqddm.training import Training, trains
from vqddm.vqgan.codec import read_codes


class PriorRecipe(NetworkRecipe):
    """One step of the prior's training.

    Args:
        device: where the losses' history and the averaged weights live.
        micro_batch: code maps that go through the network at once, where memory is short; None for all. The
            gradients of a batch are added up, so that it changes only rounding.
    """

    def __init__(
        self, codebook_size: int, params: PriorParams, device: torch.device, micro_batch: int | None = None
    ) -> None:
        prior = Prior(codebook_size, params.unet, params.diffusion)
        adam = torch.optim.Adam(prior.parameters(), params.learning_rate, fused=True)
        super().__init__(prior, adam, gradient_clip=params.gradient_clip, ema_decay=params.ema_decay, device=device)
        self.params, self.codebook_size, self.micro_batch = params, codebook_size, micro_batch
        self.transition, self.schedule, self.bound_terms = prior.transition, prior.schedule, prior.bound_terms
        last = self.schedule.interval(0, params.diffusion.timesteps, torch.float64)
        self.prior_bits = self.transition.prior_kl(last, codebook_size) / math.log(2)
        self.history = LossHistory(params.diffusion.timesteps, device, params.stratified_timesteps)
        self.stateful = {"history": self.history, **self.stateful}

    def learning_rate_factor(self, step: int) -> float:
        """Cosine annealing from 1 to 0 over the training, after a linear rise over the warm-up."""
        return warmed_cosine(step, self.params.warmup_steps, self.params.training.steps)

    def step(self, batch: Tensor, step: int, generator: torch.Generator, accelerator: Accelerator) -> dict[str, Tensor]:
        """Update the weights once on code maps (B, h, w) of any integer type; return the loss in bits per code."""
        found = super().step(batch, step, generator, accelerator)
        t, nats = found.pop("t"), found.pop("nats")
        if self.params.importance_sampling:
            gathered = accelerator.gather((t, nats))
            processes = accelerator.num_processes
            self.history.update(*(values.view(processes, -1).T.flatten() for values in gathered))  # the batch's order
        return found

    def draw(
        self, batch: Tensor, step: int, generator: torch.Generator, accelerator: Accelerator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """z_0, z_t, and of each map t and its weight."""
        whole, share = whole_batch(batch, accelerator)
        z_0 = batch.new_zeros(whole, *batch.shape[1:], dtype=torch.int64)
        z_0[share] = batch.long()
        t, weight = self.history.draw(whole, generator)  # uniform while the history is not filled
        z_t = self.transition.diffuse(z_0, self.schedule.interval(0, t), self.codebook_size, generator)
        return z_0[share], z_t[share], t[share], weight[share]

    def learn(self, accelerator: Accelerator, *drawn: Any) -> dict[str, Tensor]:
        """The loss, and beside it each map's t and L_t in nats."""
        z_0, z_t, t, weight = drawn
        self.optimizer.zero_grad()
        parts = self.parts(z_0)
        nats = []
        for part in parts:
            with contextlib.nullcontext() if part is parts[-1] else accelerator.no_sync(self.network):
                logits = self.network(z_t[part], t[part])
                terms = self.bound_terms(z_0[part], z_t[part], t[part], logits)
                accelerator.backward(self.bits(terms, weight[part], z_0).mean() * (len(part) / len(z_0)))
            nats.append(terms.detach())
        self.update(accelerator)
        bits = self.bits(torch.cat(nats), weight, z_0).mean() + self.prior_bits
        return {"bits_per_code": bits, "t": t, "nats": torch.cat(nats)}

    def bits(self, nats: Tensor, weight: Tensor | float, z_0: Tensor) -> Tensor:
        """What L_t in nats, weighted, makes the bound in bits per code of each map; all (B,)."""
        return self.schedule.timesteps * weight * nats / (z_0[0].numel() * math.log(2))

    def parts(self, z_0: Tensor) -> tuple[Tensor, ...]:
        """The indices of the code maps that go through the network together."""
        return torch.arange(len(z_0), device=z_0.device).split(self.micro_batch or len(z_0))

    def validate(self, batch: Tensor, generator: torch.Generator, accelerator: Accelerator) -> Tensor:
        """The bound in bits per code, at timesteps that are spread evenly."""
        z_0, network = batch.long(), self.kept(accelerator)
        t = 1 + spread_evenly(len(z_0), self.schedule.timesteps, generator)
        z_t = self.transition.diffuse(z_0, self.schedule.interval(0, t), self.codebook_size, generator)
        nats = [self.bound_terms(z_0[i], z_t[i], t[i], network(z_t[i], t[i])) for i in self.parts(z_0)]
        return self.bits(torch.cat(nats), 1.0, z_0).mean() + self.prior_bits


@trains
def train_prior(*, codes: Path, params: PriorParams, codebook_size: int, micro_batch: int | None = None) -> Training:
    """Train the discrete diffusion prior on the code maps of a first stage, uint16 (N, h, w).

    Raises:
        UserError: codes that are not code maps of this codebook or do not fit the network.
    """
    maps = read_codes(codes, codebook_size)
    about = {
        "kind": "prior",
        "params": params.model_dump(mode="json"),
        "codebook_size": codebook_size,
        "latent_size": list(maps.shape[1:]),
        "inputs": {"codes": fingerprint(codes)},
    }

    def make(device: torch.device) -> PriorRecipe:
        recipe = PriorRecipe(codebook_size, params, device, micro_batch)
        recipe.network.unet.check_size(*maps.shape[1:])  # type: ignore[union-attr, operator]
        return recipe

    return Training(make, maps, partial(read_codes, codebook_size=codebook_size), params.training, about)
