"""Training of the other codebooks of Table 1, and their checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator, PartialState
from torch import Tensor, nn

from vqddm.artifacts import describe_checkpoint, fingerprint, read_checkpoint, write_checkpoint
from vqddm.baselines.dvae.model import DVAE
from vqddm.baselines.dvae.settings import DVAEParams
from vqddm.baselines.vqvae2.model import VQVAE2
from vqddm.baselines.vqvae2.settings import VQVAE2Params
from vqddm.data.arrays import load_split, to_unit
from vqddm.state import StateFolder
from vqddm.training import Stateful, join_processes, limit_threads, train
from vqddm.vqgan.codec import Codec
from vqddm.vqgan.model import load_first_stage, load_state
from vqddm.vqgan.settings import AutoencoderParams

COLDEST = 1 / 16  # DALL-E's last temperature


class VQVAE2Recipe:
    """One step of VQ-VAE-2's training (a `training.Recipe`): squared error, codebook and commitment loss (Eq. 14)."""

    def __init__(self, model: VQVAE2, params: VQVAE2Params) -> None:
        self.params = params
        self.modules: dict[str, nn.Module] = {"model": model.to(memory_format=torch.channels_last)}
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "model": torch.optim.Adam(model.parameters(), params.learning_rate, fused=True)
        }
        self.stateful: dict[str, Stateful] = {}

    def learning_rate_factor(self, step: int) -> float:
        """The learning rate is fixed."""
        return 1.0

    def step(self, batch: Tensor, step: int, generator: torch.Generator, accelerator: Accelerator) -> dict[str, Tensor]:
        """One update on images uint8 (B, H, W, 3)."""
        images = to_unit(batch).to(memory_format=torch.channels_last)
        made, codebook, commitment = self.modules["model"](images)
        error = F.mse_loss(made.float(), images)
        self.optimizers["model"].zero_grad()
        accelerator.backward(error + codebook + self.params.commitment * commitment)
        self.optimizers["model"].step()
        losses = {"reconstruction": error, "codebook": codebook, "commitment": commitment}
        return {name: value.detach() for name, value in losses.items()}


class DVAERecipe:
    """One step of the discrete VAE's training (a `training.Recipe`): absolute error and KL to the uniform codes."""

    def __init__(self, model: DVAE, params: DVAEParams) -> None:
        self.params = params
        self.modules: dict[str, nn.Module] = {"model": model.to(memory_format=torch.channels_last)}
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "model": torch.optim.Adam(model.parameters(), params.learning_rate, fused=True)
        }
        self.stateful: dict[str, Stateful] = {}
        autoencoder = model.params
        side = autoencoder.resolution // autoencoder.downsampling
        self.noise_shape = (model.codebook_size, side, side)

    def learning_rate_factor(self, step: int) -> float:
        """The learning rate is fixed."""
        return 1.0

    def temperature(self, step: int) -> float:
        """From 1 down to 1/16, geometrically, over the first three quarters of the training."""
        return float(COLDEST ** min(1.0, step / (0.75 * self.params.training.steps)))

    def step(self, batch: Tensor, step: int, generator: torch.Generator, accelerator: Accelerator) -> dict[str, Tensor]:
        """One update on images uint8 (B, H, W, 3)."""
        images = to_unit(batch).to(memory_format=torch.channels_last)
        # Noise for the whole batch, of which this process takes its share: their number changes no draw.
        processes = accelerator.num_processes
        shape = (processes * len(images), *self.noise_shape)
        tiny = torch.finfo(torch.float32).tiny
        noise = torch.rand(shape, generator=generator, device=images.device).clamp(tiny, 1 - 2**-24)
        made, kl = self.modules["model"](images, self.temperature(step), noise[accelerator.process_index :: processes])
        error = (made.float() - images).abs().mean()
        self.optimizers["model"].zero_grad()
        accelerator.backward(error + self.params.kl_weight * kl)
        self.optimizers["model"].step()
        return {"reconstruction": error.detach(), "kl": kl.detach()}


def train_codebook(
    data: Path,
    autoencoder: AutoencoderParams,
    params: VQVAE2Params | DVAEParams,
    codebook_size: int,
    state: Path,
    out: Path,
    curve: Path,
    save_seconds: float,
    threads: int | None = None,
) -> None:
    """Train a VQ-VAE-2 or a discrete VAE, by the class of `params`; resume an unfinished training.

    Args:
        data: `train.npy` of a prepared dataset.
        autoencoder: encoder and decoder, those of the dataset's VQ-GAN.
        params: the rest that the result depends on.
        codebook_size: K.
        state: folder of the resumable state.
        out: `first_stage.safetensors`; about holds params, autoencoder, codebook_size, inputs (the data's SHA-256).
        curve: CSV of the losses.
        save_seconds: how often the state is saved.
        threads: CPU threads, None for torch's choice.

    Raises:
        UserError: no split, and what `training.train` and `state.StateFolder` raise.
    """
    limit_threads(threads)
    join_processes()
    images = load_split(data)
    torch.manual_seed(params.training.seed)
    recipe: VQVAE2Recipe | DVAERecipe
    if isinstance(params, VQVAE2Params):
        kind, recipe = "vqvae2", VQVAE2Recipe(VQVAE2(autoencoder, codebook_size), params)
    else:
        kind, recipe = "dvae", DVAERecipe(DVAE(autoencoder, codebook_size), params)
    about = {
        "kind": kind,
        "codebook_size": codebook_size,
        "autoencoder": autoencoder.model_dump(mode="json"),
        "made_by": {"step": kind, "params": params.model_dump(mode="json")},
        "inputs": {data.name: fingerprint(data)},
    }

    def fetch(indices: np.ndarray) -> Tensor:
        return torch.from_numpy(images[indices])

    with StateFolder(state, about, save_seconds) as folder:
        if folder.take_finished([out, curve]):
            return
        train(recipe, fetch, len(images), params.training, folder, curve)
        if PartialState().is_main_process:
            write_checkpoint(out, recipe.modules["model"].state_dict(), about)
            folder.finish([out, curve])


def load_codec(path: Path, device: str | torch.device = "cpu") -> tuple[Codec, dict[str, Any]]:
    """Read a first stage of any kind for inference, and what made it.

    Raises:
        UserError: missing, damaged, or no first stage.
    """
    kinds: dict[str, type[VQVAE2 | DVAE]] = {"vqvae2": VQVAE2, "dvae": DVAE}
    kind = describe_checkpoint(path)["kind"]
    if kind not in kinds:
        return load_first_stage(path, device)
    tensors, about = read_checkpoint(path, kind)
    model = kinds[kind](AutoencoderParams.model_validate(about["autoencoder"]), about["codebook_size"])
    load_state(model, tensors, path)
    return model.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last), about


def codes_in_all(model: Codec) -> int:
    """How many codes there are to use: K, and 2 K in VQ-VAE-2's two codebooks."""
    return model.codebook_size * (2 if isinstance(model, VQVAE2) else 1)
