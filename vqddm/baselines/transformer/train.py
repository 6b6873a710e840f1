"""Training of the transformer prior on code maps, and its checkpoint."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, PartialState
from torch import Tensor, nn
from torch.nn import functional as F

from vqddm.artifacts import UserError, fingerprint, read_checkpoint, write_checkpoint
from vqddm.baselines.transformer.network import CodeTransformer
from vqddm.baselines.transformer.settings import TransformerParams
from vqddm.prior.train import read_codes
from vqddm.settings import parse
from vqddm.state import StateFolder
from vqddm.training import Stateful, join_processes, limit_threads, train, warmed_cosine
from vqddm.vqgan.model import load_state


class TransformerRecipe:
    """One step of the transformer's training (a `training.Recipe`): cross-entropy of every code given those before it.

    Args:
        codebook_size: K.
        params: network, AdamW's learning rate and what else the result depends on.
    """

    def __init__(self, codebook_size: int, params: TransformerParams) -> None:
        self.params = params
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(params.training.seed)
            transformer = CodeTransformer(codebook_size, params)
        self.modules: dict[str, nn.Module] = {"transformer": transformer}
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "transformer": torch.optim.AdamW(
                transformer.parameters(), params.learning_rate, betas=(0.9, 0.95), weight_decay=0.01, fused=True
            )
        }
        self.stateful: dict[str, Stateful] = {}

    def learning_rate_factor(self, step: int) -> float:
        """A linear rise, then cosine annealing to 0."""
        return warmed_cosine(step, self.params.warmup_steps, self.params.training.steps)

    def step(self, batch: Tensor, step: int, generator: torch.Generator, accelerator: Accelerator) -> dict[str, Tensor]:
        """Update the weights once on code maps (B, h, w) int64; return the loss in bits per code.

        Of maps larger than the window, one part of its size is learned, the same part of all maps of the batch.
        """
        window = self.params.window
        corner = torch.rand(2, generator=generator, device=batch.device).tolist()
        rows, columns = (
            slice(at := int(part * (max(size - window, 0) + 1)), at + window)
            for part, size in zip(corner, batch.shape[1:], strict=True)
        )
        codes = batch[:, rows, columns].flatten(1)
        optimizer, network = self.optimizers["transformer"], self.modules["transformer"]
        optimizer.zero_grad()
        loss = F.cross_entropy(network(codes).flatten(0, 1), codes.flatten())
        accelerator.backward(loss)
        if self.params.gradient_clip is not None:
            accelerator.clip_grad_norm_(network.parameters(), self.params.gradient_clip)
        optimizer.step()
        return {"bits_per_code": loss.detach() / math.log(2)}


def train_transformer(
    codes: Path,
    codebook_size: int,
    params: TransformerParams,
    state: Path,
    out: Path,
    curve: Path,
    save_seconds: float,
    threads: int | None = None,
) -> None:
    """Train the transformer on the code maps of a first stage; resume an unfinished training.

    Args:
        codes: `codes_train.npy`, uint16 (N, h, w), values in [0, K).
        codebook_size: K of the first stage.
        params: all that the result depends on.
        state: folder of the resumable state.
        out: `transformer.safetensors`; about holds params, codebook_size, latent_size, inputs (the codes' SHA-256).
        curve: CSV of the loss.
        save_seconds: how often the state is saved.
        threads: CPU threads, None for torch's choice.

    Raises:
        UserError: codes that are not code maps of this codebook or are smaller than the window, and what
            `training.train` and `state.StateFolder` raise.
    """
    limit_threads(threads)
    join_processes()
    maps = read_codes(codes, codebook_size)
    if min(maps.shape[1:]) < params.window:
        raise UserError(f"{codes}: maps of {maps.shape[1:]} codes; transformer.window is {params.window}, set it lower")
    about = {
        "kind": "transformer",
        "params": params.model_dump(mode="json"),
        "codebook_size": codebook_size,
        "latent_size": list(maps.shape[1:]),
        "inputs": {"codes": fingerprint(codes)},
    }
    recipe = TransformerRecipe(codebook_size, params)

    def fetch(indices: np.ndarray) -> Tensor:
        return torch.from_numpy(maps[indices].astype(np.int64))

    with StateFolder(state, about, save_seconds) as folder:
        if folder.take_finished([out, curve]):
            return
        train(recipe, fetch, len(maps), params.training, folder, curve)
        if PartialState().is_main_process:
            write_checkpoint(out, recipe.modules["transformer"].state_dict(), about)
            folder.finish([out, curve])


def load_transformer(path: Path, device: str | torch.device = "cpu") -> tuple[CodeTransformer, dict[str, Any]]:
    """Read `transformer.safetensors`: the network in evaluation mode on `device`, and what made it.

    Raises:
        UserError: missing, damaged, or no transformer.
    """
    tensors, about = read_checkpoint(path, "transformer")
    params = parse(TransformerParams, about["params"], where=str(path))
    transformer = CodeTransformer(about["codebook_size"], params)
    load_state(transformer, tensors, path)
    return transformer.to(device).eval(), about
