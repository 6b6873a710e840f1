"""Models with random weights, written as trainings write them: what can be tried without training anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from helpers.recipes import PRIOR
from torch import nn

from vqddm.artifacts import write_checkpoint
from vqddm.prior.settings import DiffusionParams, UNetParams
from vqddm.prior.unet import Prior
from vqddm.vqgan.model import Discriminator, FirstStage
from vqddm.vqgan.settings import AutoencoderParams

# The sizes that the documentation's examples show: 32 x 32 pixels, maps of 8 x 8 codes, K = 256, T = 100.
AUTOENCODER = AutoencoderParams(
    resolution=32, patch=4, width=32, multipliers=(1,), blocks=1, attention=(), z_channels=16, embed_dim=16
)
UNET = UNetParams(width=16, multipliers=(1, 1), groups=4, heads=2, head_dim=8)
DIFFUSION = DiffusionParams(timesteps=100, schedule="cosine", residual=True)
TRAINING = {"steps": 2600, "batch_size": 32, "precision": "no", "seed": 0}


def random_pair(
    folder: Path,
    autoencoder: AutoencoderParams = AUTOENCODER,
    codebook_size: int = 256,
    diffusion: DiffusionParams = DIFFUSION,
) -> Path:
    """Write `first_stage.safetensors` and `prior.safetensors` into `folder`."""
    torch.manual_seed(0)
    stage = FirstStage(autoencoder, codebook_size)
    prior = Prior(codebook_size, UNET, diffusion)
    for network in (stage, prior):
        _randomise(network)
    discriminator = {f"loss.discriminator.{k}": v for k, v in Discriminator(8, 1).state_dict().items()}
    made_by: dict[str, Any] = {"step": "vqgan", "params": {"training": TRAINING}}
    refit = {"params": {"training": TRAINING | {"steps": 400}}}  # of both halves, though the first trains nothing
    made_by = {"step": "rebuild", "features": 4000, **refit, "source": made_by}
    made_by = {"step": "finetune", **refit, "source": made_by}
    about = {"kind": "first stage", "codebook_size": codebook_size, "autoencoder": autoencoder.model_dump(mode="json")}
    write_checkpoint(
        folder / "first_stage.safetensors", stage.state_dict() | discriminator, about | {"made_by": made_by}
    )
    side = autoencoder.resolution // autoencoder.downsampling
    training = PRIOR.training.model_validate(TRAINING)
    params = PRIOR.model_copy(update={"diffusion": diffusion, "unet": UNET, "training": training})
    about = {
        "kind": "prior",
        "params": params.model_dump(mode="json"),
        "codebook_size": codebook_size,
        "latent_size": [side, side],
    }
    write_checkpoint(folder / "prior.safetensors", prior.state_dict(), about)
    return folder


def _randomise(network: nn.Module) -> None:
    """Weights under which everything matters, the attention that begins as zero too."""
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
