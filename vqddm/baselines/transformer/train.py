"""Training of the transformer prior on code maps."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn import functional as F

from vqddm.artifacts import UserError, fingerprint
from vqddm.baselines.transformer.network import CodeTransformer
from vqddm.baselines.transformer.settings import TransformerParams
from vqddm.recipe import NetworkRecipe, warmed_cosine
from vqddm.training import Training, trains
from vqddm.vqgan.codec import read_codes


class TransformerRecipe(NetworkRecipe):
    """One step of the transformer's training: cross-entropy of every code given those before it."""

    def __init__(self, codebook_size: int, params: TransformerParams) -> None:
        transformer = CodeTransformer(codebook_size, params)
        adam = torch.optim.AdamW(
            transformer.parameters(), params.learning_rate, betas=(0.9, 0.95), weight_decay=0.01, fused=True
        )
        super().__init__(transformer, adam, gradient_clip=params.gradient_clip)
        self.params = params

    def learning_rate_factor(self, step: int) -> float:
        """A linear rise, then cosine annealing to 0."""
        return warmed_cosine(step, self.params.warmup_steps, self.params.training.steps)

    def draw(self, batch: Tensor, step: int, generator: torch.Generator, accelerator: Accelerator) -> tuple[Tensor]:
        """Code maps (B, h, w) of any integer type, as sequences.

        Of maps larger than the window it is one part of its size, the same part of all maps of the batch.
        """
        return (self.part(batch, generator),)

    def learn(self, accelerator: Accelerator, *drawn: Any) -> dict[str, Tensor]:
        """One update; return the loss in bits per code."""
        (codes,) = drawn
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.network(codes).flatten(0, 1), codes.flatten())
        accelerator.backward(loss)
        self.update(accelerator)
        return {"bits_per_code": loss.detach() / math.log(2)}

    def validate(self, batch: Tensor, generator: torch.Generator, accelerator: Accelerator) -> Tensor:
        """The cross-entropy in bits per code, of a part as in a step."""
        codes = self.part(batch, generator)
        return F.cross_entropy(self.kept(accelerator)(codes).flatten(0, 1), codes.flatten()) / math.log(2)

    def part(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """The same part of all code maps (B, h, w), as large as the window: (B, window * window) int64."""
        window = self.params.window
        corner = torch.rand(2, generator=generator, device=batch.device).tolist()
        rows, columns = (
            slice(at := int(part * (max(size - window, 0) + 1)), at + window)
            for part, size in zip(corner, batch.shape[1:], strict=True)
        )
        return batch.long()[:, rows, columns].flatten(1)


@trains
def train_transformer(*, codes: Path, params: TransformerParams, codebook_size: int) -> Training:
    """Train the autoregressive transformer prior on the code maps of a first stage, uint16 (N, h, w).

    Raises:
        UserError: codes that are not code maps of this codebook or are smaller than the window.
    """
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
    return Training(
        lambda device: TransformerRecipe(codebook_size, params),
        maps,
        partial(read_codes, codebook_size=codebook_size),
        params.training,
        about,
    )
