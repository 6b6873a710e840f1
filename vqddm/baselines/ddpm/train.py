"""Training of the pixel diffusion, and its checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, PartialState
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vqddm.artifacts import fingerprint, read_checkpoint, write_checkpoint
from vqddm.baselines.ddpm.network import DDPM, add_noise, alpha_bars
from vqddm.baselines.ddpm.settings import DDPMParams
from vqddm.data.arrays import load_split, to_unit
from vqddm.settings import parse
from vqddm.state import StateFolder
from vqddm.training import Stateful, join_processes, limit_threads, train
from vqddm.vqgan.model import load_state


class DDPMRecipe:
    """One step of DDPM's training (a `training.Recipe`): the squared error of the predicted noise (its Eq. 14).

    Args:
        resolution: height and width of the images.
        params: network, noise, Adam's learning rate, EMA and what else the result depends on.
        device: where the averaged weights live.
    """

    def __init__(self, resolution: int, params: DDPMParams, device: torch.device) -> None:
        self.params = params
        self.bars = alpha_bars(params.timesteps, device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(params.training.seed)
            network = DDPM(resolution, params).to(memory_format=torch.channels_last)
        self.modules: dict[str, nn.Module] = {"ddpm": network}
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "ddpm": torch.optim.Adam(network.parameters(), params.learning_rate, fused=True)
        }
        self.average = AveragedModel(network, device=device, multi_avg_fn=get_ema_multi_avg_fn(params.ema_decay))
        self.stateful: dict[str, Stateful] = {"average": self.average}

    def learning_rate_factor(self, step: int) -> float:
        """A linear rise over the warm-up, then 1, as DDPM has it."""
        return min(1.0, (step + 1) / (self.params.warmup_steps + 1))

    def step(self, batch: Tensor, step: int, generator: torch.Generator, accelerator: Accelerator) -> dict[str, Tensor]:
        """Update the weights once on images uint8 (B, H, W, 3); return the squared error of the noise."""
        images = to_unit(batch)
        # Noise for the whole batch, of which this process takes its share: their number changes no draw.
        processes = accelerator.num_processes
        share = slice(accelerator.process_index, None, processes)
        device, whole = images.device, processes * len(images)
        t = torch.randint(self.params.timesteps, (whole,), generator=generator, device=device)[share]
        noise = torch.randn(whole, *images.shape[1:], generator=generator, device=device)[share]
        noisy = add_noise(images, noise, self.bars[t + 1]).contiguous(memory_format=torch.channels_last)
        network, optimizer = self.modules["ddpm"], self.optimizers["ddpm"]
        optimizer.zero_grad()
        loss = F.mse_loss(network(noisy, t).float(), noise)
        accelerator.backward(loss)
        if self.params.gradient_clip is not None:
            accelerator.clip_grad_norm_(network.parameters(), self.params.gradient_clip)
        optimizer.step()
        self.average.update_parameters(network)
        return {"noise_error": loss.detach()}


def train_ddpm(
    data: Path,
    params: DDPMParams,
    state: Path,
    out: Path,
    curve: Path,
    save_seconds: float,
    threads: int | None = None,
) -> None:
    """Train the pixel diffusion on the images of a split; resume an unfinished training.

    Args:
        data: `train.npy` of a prepared dataset.
        params: all that the result depends on.
        state: folder of the resumable state.
        out: `ddpm.safetensors`, the averaged weights; about holds params, resolution, inputs (the data's SHA-256).
        curve: CSV of the loss.
        save_seconds: how often the state is saved.
        threads: CPU threads, None for torch's choice.

    Raises:
        UserError: no split, and what `training.train` and `state.StateFolder` raise.
    """
    limit_threads(threads)
    join_processes()
    images = load_split(data)
    about = {
        "kind": "ddpm",
        "params": params.model_dump(mode="json"),
        "resolution": images.shape[1],
        "inputs": {data.name: fingerprint(data)},
    }
    recipe = DDPMRecipe(images.shape[1], params, PartialState().device)

    def fetch(indices: np.ndarray) -> Tensor:
        return torch.from_numpy(images[indices])

    with StateFolder(state, about, save_seconds) as folder:
        if folder.take_finished([out, curve]):
            return
        train(recipe, fetch, len(images), params.training, folder, curve)
        if PartialState().is_main_process:
            write_checkpoint(out, recipe.average.module.state_dict(), about)
            folder.finish([out, curve])


def load_ddpm(path: Path, device: str | torch.device = "cpu") -> tuple[DDPM, DDPMParams, dict[str, Any]]:
    """Read `ddpm.safetensors`: the network in evaluation mode on `device`, its parameters, and what made it.

    Raises:
        UserError: missing, damaged, or no pixel diffusion.
    """
    tensors, about = read_checkpoint(path, "ddpm")
    params = parse(DDPMParams, about["params"], where=str(path))
    network = DDPM(about["resolution"], params)
    load_state(network, tensors, path)
    return network.to(device).to(memory_format=torch.channels_last).eval(), params, about
