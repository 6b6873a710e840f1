"""Images of the pixel diffusion, with any number of steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vqddm.artifacts import UserError, fingerprint
from vqddm.baselines.ddpm.network import sample_pixels
from vqddm.baselines.ddpm.train import load_ddpm
from vqddm.data.arrays import to_bytes
from vqddm.prior.sample import BATCH, forget_batches, in_batches
from vqddm.state import alone_in
from vqddm.training import limit_threads


def sample_images(
    ddpm: Path,
    count: int,
    steps: int,
    eta: float,
    seed: int,
    state: Path,
    out: Path,
    threads: int | None = None,
) -> None:
    """Draw images by DDIM, or by DDPM with `eta` 1 and all T steps.

    Args:
        ddpm: the pixel diffusion's checkpoint.
        count: number of images.
        steps: sampling steps, 1 to T.
        eta: as `ddpm.sample_pixels`.
        seed: seed of the sampling.
        state: folder of finished batches; they are deleted at the end.
        out: the images to write, uint8 (count, H, W, 3).
        threads: CPU threads.

    Raises:
        UserError: no such checkpoint, or `steps` is not in 1..T.
    """
    if count < 1 or not 0 <= eta <= 1:
        raise UserError(f"{count} images with eta {eta}: ask for one at least, with eta from 0 to 1")
    limit_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network, params, about = load_ddpm(ddpm, device)
    if not 1 <= steps <= params.timesteps:
        raise UserError(f"{steps} sampling steps: {ddpm} was trained with T = {params.timesteps}; choose 1 to T")
    side = about["resolution"]

    def draw_batch(size: int, generator: torch.Generator, tick: Callable[[], object]) -> Tensor:
        made = sample_pixels(network, params.timesteps, (size, 3, side, side), steps, eta, generator, tick)
        return torch.from_numpy(np.asarray(to_bytes(made)))

    with alone_in(state):
        settings = [fingerprint(ddpm), steps, eta, threads]
        in_batches(draw_batch, count, BATCH, steps, seed, settings, state, out, device)
        forget_batches(state)
