"""Training of VQ-VAE-2 (Table 1)."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor

from vqddm.artifacts import fingerprint
from vqddm.baselines.vqvae2.model import VQVAE2
from vqddm.baselines.vqvae2.settings import VQVAE2Params
from vqddm.data.arrays import load_split, to_unit
from vqddm.recipe import NetworkRecipe, scheduled
from vqddm.training import Training, trains
from vqddm.vqgan.settings import AutoencoderParams


class VQVAE2Recipe(NetworkRecipe):
    """One step of VQ-VAE-2's training: squared error, codebook and commitment loss (Eq. 14)."""

    def __init__(self, model: VQVAE2, params: VQVAE2Params, device: torch.device) -> None:
        given = params.optimizer
        model = model.to(memory_format=torch.channels_last)
        adam = torch.optim.Adam(model.parameters(), params.learning_rate, given.betas, fused=True)
        super().__init__(model, adam, ema_decay=given.ema_decay, device=device)
        self.params = params

    def learning_rate_factor(self, step: int) -> float:
        """As its settings say."""
        return scheduled(self.params.optimizer, step, self.params.training.steps)

    def draw(self, batch: Tensor, step: int, generator: torch.Generator, accelerator: Accelerator) -> tuple[Tensor]:
        """Images in [-1, 1] from uint8 (B, H, W, 3)."""
        return (to_unit(batch).to(memory_format=torch.channels_last),)

    def learn(self, accelerator: Accelerator, *drawn: Any) -> dict[str, Tensor]:
        """One update."""
        (images,) = drawn
        made, codebook, commitment = self.network(images)
        error = F.mse_loss(made.float(), images)
        self.optimizer.zero_grad()
        accelerator.backward(error + codebook + self.params.commitment * commitment)
        self.update(accelerator)
        losses = {"reconstruction": error, "codebook": codebook, "commitment": commitment}
        return {name: value.detach() for name, value in losses.items()}

    def validate(self, batch: Tensor, generator: torch.Generator, accelerator: Accelerator) -> Tensor:
        """The squared error of reconstructions."""
        images = to_unit(batch).to(memory_format=torch.channels_last)
        return F.mse_loss(self.kept(accelerator)(images)[0].float(), images)


@trains
def train_vqvae2(*, data: Path, autoencoder: AutoencoderParams, params: VQVAE2Params, codebook_size: int) -> Training:
    """Train a VQ-VAE-2, each of whose two codebooks has the capacity K."""
    about = {
        "kind": "vqvae2",
        "codebook_size": codebook_size,
        "autoencoder": autoencoder.model_dump(mode="json"),
        "made_by": {"step": "vqvae2", "params": params.model_dump(mode="json")},
        "inputs": {data.name: fingerprint(data)},
    }
    return Training(
        lambda device: VQVAE2Recipe(VQVAE2(autoencoder, codebook_size), params, device),
        load_split(data, autoencoder.resolution),
        load_split,
        params.training,
        about,
    )
