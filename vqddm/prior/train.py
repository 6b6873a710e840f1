"""Training of the prior on code maps, and its checkpoint.

The loss is the variational bound of Eq. 7 in bits per code: the mean over the batch of
weight * T * L_t / (N ln 2), plus the (constant) prior KL, for code maps of N codes.
"""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, PartialState
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vqddm.artifacts import UserError, fingerprint, read_array, read_checkpoint, write_checkpoint
from vqddm.prior.schedule import NoiseSchedule
from vqddm.prior.settings import PriorParams
from vqddm.prior.timesteps import LossHistory
from vqddm.prior.transitions import TRANSITIONS
from vqddm.prior.unet import Prior
from vqddm.settings import parse
from vqddm.state import StateFolder
from vqddm.training import Stateful, join_processes, limit_threads, train, warmed_cosine
from vqddm.vqgan.model import load_state


class PriorRecipe:
    """One step of the prior's training (a `training.Recipe`).

    Args:
        codebook_size: K.
        params: network, diffusion, Adam's learning rate, EMA and what else the result depends on.
        device: where the losses' history and the averaged weights live.
        micro_batch: code maps that go through the network at once, where memory is short; None for all. The
            gradients of a batch are added up, so that it changes only rounding.
    """

    def __init__(
        self, codebook_size: int, params: PriorParams, device: torch.device, micro_batch: int | None = None
    ) -> None:
        diffusion = params.diffusion
        self.params = params
        self.micro_batch = micro_batch
        self.codebook_size = codebook_size
        self.schedule = NoiseSchedule(diffusion.timesteps, diffusion.schedule)
        self.transition = TRANSITIONS[diffusion.transition].functions
        last = self.schedule.interval(0, diffusion.timesteps, torch.float64)
        self.prior_bits = self.transition.prior_kl(last, codebook_size) / math.log(2)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(params.training.seed)
            prior = Prior(codebook_size, params.unet, diffusion)
        self.history = LossHistory(diffusion.timesteps, device)
        self.modules: dict[str, nn.Module] = {"prior": prior}
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "prior": torch.optim.Adam(prior.parameters(), params.learning_rate, fused=True)
        }
        self.stateful: dict[str, Stateful] = {"history": self.history}
        self.average: AveragedModel | None = None
        if params.ema_decay > 0:
            self.average = AveragedModel(prior, device=device, multi_avg_fn=get_ema_multi_avg_fn(params.ema_decay))
            self.stateful["average"] = self.average

    def learning_rate_factor(self, step: int) -> float:
        """Cosine annealing from 1 to 0 over the training, after a linear rise over the warm-up."""
        return warmed_cosine(step, self.params.warmup_steps, self.params.training.steps)

    def step(self, batch: Tensor, step: int, generator: torch.Generator, accelerator: Accelerator) -> dict[str, Tensor]:
        """Update the weights once on code maps (B, h, w) int64; return the loss in bits per code."""
        # Noise for the whole batch, of which this process takes its share: their number changes no draw.
        processes = accelerator.num_processes
        share = slice(accelerator.process_index, None, processes)
        z_0 = batch.new_zeros(processes * len(batch), *batch.shape[1:])
        z_0[share] = batch
        t, weight = self.history.draw(len(z_0), generator)  # uniform while the history is not filled
        z_t = self.transition.diffuse(z_0, self.schedule.interval(0, t), self.codebook_size, generator)[share]
        t, weight = t[share], weight[share]
        optimizer, network = self.optimizers["prior"], self.modules["prior"]
        optimizer.zero_grad()

        def bits(nats: Tensor, weight: Tensor) -> Tensor:
            return self.schedule.timesteps * weight * nats / (batch[0].numel() * math.log(2))

        parts = torch.arange(len(batch), device=batch.device).split(self.micro_batch or len(batch))
        nats = []
        for part in parts:
            early, late = self.schedule.interval(0, t[part] - 1), self.schedule.interval(t[part] - 1, t[part])
            with contextlib.nullcontext() if part is parts[-1] else accelerator.no_sync(network):
                terms = self.transition.kl_terms(batch[part], z_t[part], network(z_t[part], t[part]), late, early)
                accelerator.backward(bits(terms, weight[part]).mean() * (len(part) / len(batch)))
            nats.append(terms.detach())
        loss = bits(torch.cat(nats), weight).mean() + self.prior_bits
        if self.params.gradient_clip is not None:
            accelerator.clip_grad_norm_(self.modules["prior"].parameters(), self.params.gradient_clip)
        optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.modules["prior"])
        if self.params.importance_sampling:
            gathered = accelerator.gather((t, torch.cat(nats)))
            self.history.update(*(values.view(processes, -1).T.flatten() for values in gathered))  # the batch's order
        return {"bits_per_code": loss}

    def trained(self) -> nn.Module:
        """The network to keep: the averaged one where there is one."""
        return self.modules["prior"] if self.average is None else self.average.module


def train_prior(
    codes: Path,
    codebook_size: int,
    params: PriorParams,
    state: Path,
    out: Path,
    curve: Path,
    save_seconds: float,
    micro_batch: int | None = None,
    threads: int | None = None,
) -> None:
    """Train the prior on the code maps of a first stage; resume an unfinished training.

    Args:
        codes: `codes_train.npy`, uint16 (N, h, w), values in [0, K).
        codebook_size: K of the first stage.
        params: all that the result depends on.
        state: folder of the resumable state.
        out: `prior.safetensors`; about holds params, codebook_size, latent_size, inputs (the codes' SHA-256).
        curve: CSV of the loss.
        save_seconds: how often the state is saved.
        micro_batch: code maps that go through the network at once; None for the whole share of a process.
        threads: CPU threads, None for torch's choice.

    Raises:
        UserError: codes that are not code maps of this codebook or do not fit the network, and what
            `training.train` and `state.StateFolder` raise.
    """
    limit_threads(threads)
    join_processes()
    maps = read_codes(codes, codebook_size)
    recipe = PriorRecipe(codebook_size, params, PartialState().device, micro_batch)
    recipe.modules["prior"].unet.check_size(*maps.shape[1:])  # type: ignore[union-attr, operator]
    about = {
        "kind": "prior",
        "params": params.model_dump(mode="json"),
        "codebook_size": codebook_size,
        "latent_size": list(maps.shape[1:]),
        "inputs": {"codes": fingerprint(codes)},
    }

    def fetch(indices: np.ndarray) -> Tensor:
        return torch.from_numpy(maps[indices].astype(np.int64))

    with StateFolder(state, about, save_seconds) as folder:
        if folder.take_finished([out, curve]):
            return
        train(recipe, fetch, len(maps), params.training, folder, curve)
        if PartialState().is_main_process:
            write_checkpoint(out, recipe.trained().state_dict(), about)
            folder.finish([out, curve])


def read_codes(path: Path, codebook_size: int) -> np.ndarray:
    """Memory-map code maps, uint16 (N, h, w).

    Raises:
        UserError: no code maps, or a code that is not in [0, `codebook_size`).
    """
    codes = read_array(path)
    if codes.ndim != 3 or codes.dtype != np.uint16 or not codes.size:
        raise UserError(f"{path}: {codes.dtype} {codes.shape} are no code maps; expected uint16 (N, h, w)")
    if codes.max() >= codebook_size:
        raise UserError(
            f"{path}: holds code {codes.max()}, but the codebook has {codebook_size}; "
            "give the codes and the codebook size of the same first stage"
        )
    return codes


def load_prior(path: Path, device: str | torch.device = "cpu") -> tuple[Prior, NoiseSchedule, dict[str, Any]]:
    """Read `prior.safetensors`: the network in evaluation mode on `device`, its noise schedule, what made it.

    Raises:
        UserError: missing, damaged, or no prior.
    """
    tensors, about = read_checkpoint(path, "prior")
    params = parse(PriorParams, about["params"], where=str(path))
    prior = Prior(about["codebook_size"], params.unet, params.diffusion)
    load_state(prior, tensors, path)
    schedule = NoiseSchedule(params.diffusion.timesteps, params.diffusion.schedule)
    return prior.to(device).eval(), schedule, about
