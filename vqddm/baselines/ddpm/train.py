"""Training of the pixel diffusion."""

from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F

from vqddm.artifacts import fingerprint
from vqddm.baselines.ddpm.network import DDPM, add_noise, alpha_bars
from vqddm.baselines.ddpm.settings import DDPMParams
from vqddm.data.arrays import load_split, to_unit
from vqddm.recipe import NetworkRecipe, spread_evenly, warmed, whole_batch
from vqddm.training import Training, trains


class DDPMRecipe(NetworkRecipe):
    """One step of DDPM's training: the squared error of the predicted noise (its Eq. 14).

    The averaged weights live on `device`.
    """

    def __init__(self, resolution: int, params: DDPMParams, device: torch.device) -> None:
        network = DDPM(resolution, params).to(memory_format=torch.channels_last)
        adam = torch.optim.Adam(network.parameters(), params.learning_rate, fused=True)
        super().__init__(network, adam, gradient_clip=params.gradient_clip, ema_decay=params.ema_decay, device=device)
        self.params, self.bars = params, alpha_bars(params.timesteps, device)

    def learning_rate_factor(self, step: int) -> float:
        """A linear rise over the warm-up, then 1, as DDPM has it."""
        return warmed(step, self.params.warmup_steps)

    def draw(
        self, batch: Tensor, step: int, generator: torch.Generator, accelerator: Accelerator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Images in [-1, 1] from uint8 (B, H, W, 3), their timesteps and noise."""
        images = to_unit(batch)
        whole, share = whole_batch(images, accelerator)
        t = torch.randint(self.params.timesteps, (whole,), generator=generator, device=images.device)[share]
        return images, t, torch.randn(whole, *images.shape[1:], generator=generator, device=images.device)[share]

    def learn(self, accelerator: Accelerator, *drawn: Any) -> dict[str, Tensor]:
        """One update; return the squared error of the noise."""
        images, t, noise = drawn
        self.optimizer.zero_grad()
        loss = self.noise_error(self.network, images, t, noise)
        accelerator.backward(loss)
        self.update(accelerator)
        return {"noise_error": loss.detach()}

    def noise_error(self, network: nn.Module, images: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """The squared error of the noise that the network finds in images (B, 3, H, W) at t (B,), from 0."""
        noisy = add_noise(images, noise, self.bars[t + 1]).contiguous(memory_format=torch.channels_last)
        return F.mse_loss(network(noisy, t).float(), noise)

    def validate(self, batch: Tensor, generator: torch.Generator, accelerator: Accelerator) -> Tensor:
        """The squared error of the noise, at timesteps that are spread evenly."""
        images = to_unit(batch)
        t = spread_evenly(len(images), self.params.timesteps, generator)
        noise = torch.randn(images.shape, generator=generator, device=images.device)
        return self.noise_error(self.kept(accelerator), images, t, noise)


@trains
def train_ddpm(*, data: Path, params: DDPMParams) -> Training:
    """Train the pixel diffusion on the images of a split."""
    images = load_split(data)
    about = {
        "kind": "ddpm",
        "params": params.model_dump(mode="json"),
        "resolution": images.shape[1],
        "inputs": {data.name: fingerprint(data)},
    }
    return Training(
        lambda device: DDPMRecipe(images.shape[1], params, device), images, load_split, params.training, about
    )
