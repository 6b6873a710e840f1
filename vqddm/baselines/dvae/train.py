"""Training of the discrete VAE (Table 1)."""

from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from vqddm.artifacts import fingerprint
from vqddm.baselines.dvae.model import DVAE
from vqddm.baselines.dvae.settings import DVAEParams
from vqddm.data.arrays import load_split, to_unit
from vqddm.recipe import NetworkRecipe, scheduled, whole_batch
from vqddm.training import Training, trains
from vqddm.vqgan.settings import AutoencoderParams

COLDEST = 1 / 16  # DALL-E's last temperature


class DVAERecipe(NetworkRecipe):
    """One step of the discrete VAE's training: absolute error and KL to the uniform codes."""

    def __init__(self, model: DVAE, params: DVAEParams, device: torch.device) -> None:
        given = params.optimizer
        model = model.to(memory_format=torch.channels_last)
        adam = torch.optim.Adam(model.parameters(), params.learning_rate, given.betas, fused=True)
        super().__init__(model, adam, ema_decay=given.ema_decay, device=device)
        self.params = params
        side = model.params.resolution // model.params.downsampling
        self.noise_shape = (model.codebook_size, side, side)

    def temperature(self, step: int) -> float:
        """From 1 down to 1/16, geometrically, over the first three quarters of the training."""
        return float(COLDEST ** min(1.0, step / (0.75 * self.params.training.steps)))

    def noise(self, count: int, generator: torch.Generator) -> Tensor:
        """Uniform noise for `count` images, in (0, 1)."""
        noise = torch.rand(count, *self.noise_shape, generator=generator, device=generator.device)
        return noise.clamp(torch.finfo(torch.float32).tiny, 1 - 2**-24)

    def learning_rate_factor(self, step: int) -> float:
        """As its settings say."""
        return scheduled(self.params.optimizer, step, self.params.training.steps)

    def draw(
        self, batch: Tensor, step: int, generator: torch.Generator, accelerator: Accelerator
    ) -> tuple[Tensor, float, Tensor]:
        """Images in [-1, 1] from uint8 (B, H, W, 3), the temperature and the noise."""
        images = to_unit(batch).to(memory_format=torch.channels_last)
        whole, share = whole_batch(images, accelerator)
        return images, self.temperature(step), self.noise(whole, generator)[share]

    def learn(self, accelerator: Accelerator, *drawn: Any) -> dict[str, Tensor]:
        """One update."""
        images, temperature, noise = drawn
        made, kl = self.network(images, temperature, noise)
        error = (made.float() - images).abs().mean()
        self.optimizer.zero_grad()
        accelerator.backward(error + self.params.kl_weight * kl)
        self.update(accelerator)
        return {"reconstruction": error.detach(), "kl": kl.detach()}

    def validate(self, batch: Tensor, generator: torch.Generator, accelerator: Accelerator) -> Tensor:
        """The absolute error of reconstructions at the last temperature."""
        images = to_unit(batch).to(memory_format=torch.channels_last)
        made, _ = self.kept(accelerator)(images, COLDEST, self.noise(len(images), generator))
        return (made.float() - images).abs().mean()


@trains
def train_dvae(*, data: Path, autoencoder: AutoencoderParams, params: DVAEParams, codebook_size: int) -> Training:
    """Train a discrete VAE with Gumbel-softmax."""
    about = {
        "kind": "dvae",
        "codebook_size": codebook_size,
        "autoencoder": autoencoder.model_dump(mode="json"),
        "made_by": {"step": "dvae", "params": params.model_dump(mode="json")},
        "inputs": {data.name: fingerprint(data)},
    }
    return Training(
        lambda device: DVAERecipe(DVAE(autoencoder, codebook_size), params, device),
        load_split(data, autoencoder.resolution),
        load_split,
        params.training,
        about,
    )
