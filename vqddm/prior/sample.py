"""Sampling code maps by the reverse process, with any number of steps up to T (section 4.3, Fig. 5)."""

from __future__ import annotations

import hashlib
import math
import shutil
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from vqddm.artifacts import UserError, fingerprint, read_array, write_array, write_batches
from vqddm.prior.diffusion import draw, strided_timesteps
from vqddm.prior.schedule import NoiseSchedule
from vqddm.prior.train import load_prior
from vqddm.prior.unet import Prior
from vqddm.settings import to_json
from vqddm.state import alone_in
from vqddm.training import limit_threads, step_generator
from vqddm.vqgan.codec import decoded
from vqddm.vqgan.model import load_first_stage

BATCH = 250
BATCHES = "batches-"


def denoise(
    prior: Prior,
    schedule: NoiseSchedule,
    z_t: Tensor,
    t: int,
    s: int,
    temperature: float,
    generator: torch.Generator,
) -> Tensor:
    """Draw z_s from p(z_s | z_t), s < t: one network evaluation (Eqs. 20 to 23, at t = 1 Cat(p0)).

    The temperature divides the logits of p(z_0 | z_t), before the posterior is formed.
    """
    logits = prior(z_t, torch.full((len(z_t),), t, device=z_t.device))
    p0 = torch.softmax(logits.float() / temperature, dim=-1)
    if t == 1:
        return draw(prior.transition.last(z_t, p0, schedule.interval(0, 1)), generator)
    return draw(prior.transition.posterior(z_t, p0, schedule.interval(s, t), schedule.interval(0, s)), generator)


@torch.inference_mode()
def sample_codes(
    prior: Prior,
    schedule: NoiseSchedule,
    shape: tuple[int, int, int],
    steps: int,
    temperature: float,
    generator: torch.Generator,
    tick: Callable[[], object] = lambda: None,
) -> Tensor:
    """Draw code maps: int64 of the given shape (B, h, w), on the generator's device.

    Args:
        prior: on the generator's device.
        steps: network evaluations, 1 to T.
        generator: the only source of randomness.
        tick: called after each step.

    Raises:
        UserError: `steps` is not in 1..T.
    """
    timesteps = strided_timesteps(schedule.timesteps, steps)
    z = prior.transition.start(shape, schedule.interval(0, schedule.timesteps), prior.codebook_size, generator)
    for t, s in pairwise([*timesteps, 0]):
        z = denoise(prior, schedule, z, t, s, temperature, generator)
        tick()
    return z


def in_batches(
    draw_batch: Callable[[int, torch.Generator, Callable[[], object]], Tensor],
    count: int,
    batch_size: int,
    ticks: int,
    seed: int,
    settings: list[Any],
    partial: Path,
    out: Path,
    device: str | torch.device,
) -> None:
    """Draw `count` examples in batches and write them as one array, in the batches' dtype.

    Each batch's generator is a function of (seed, number of the batch), and finished batches are kept in the
    folder `partial`, so a run that was killed goes on and writes the same bytes. The caller deletes the folder.

    Args:
        draw_batch: takes a size, a generator on `device` and a function to call `ticks` times; returns (size, ...).
        count, batch_size: at most so many in all, and at a time.
        ticks: of each batch, for the progress.
        seed: seed of all batches.
        settings: what else the examples depend on; batches of other settings are not taken.
        partial: folder of finished batches.
        out: the array to write.
        device: where the generators live.
    """
    key = hashlib.sha256(to_json([*settings, count, batch_size, seed, str(device)]).encode()).hexdigest()[:16]
    kept = partial / f"{BATCHES}{key}"
    sizes = [min(batch_size, count - start) for start in range(0, count, batch_size)]
    files = [kept / f"{number:05d}.npy" for number in range(len(sizes))]
    done = [file.exists() for file in files]
    with tqdm(
        total=len(files) * ticks,
        initial=sum(done) * ticks,
        unit="step",
        mininterval=0.5 if sys.stderr.isatty() else 20,
        maxinterval=30,
    ) as progress:
        for number, size in enumerate(sizes):
            if not done[number]:
                generator = step_generator(seed, number, torch.device(device))
                write_array(files[number], draw_batch(size, generator, progress.update).cpu().numpy())
    write_array(out, np.concatenate([read_array(file) for file in files]))


def sample(
    prior: Path,
    count: int,
    steps: int,
    batch_size: int,
    seed: int,
    temperature: float,
    partial: Path,
    out: Path,
    threads: int | None = None,
    device: str | torch.device = "cpu",
) -> None:
    """Draw `count` code maps and write them as uint16 (count, h, w), as `in_batches` does.

    Raises:
        UserError: no such prior, or `steps` is not in 1..T.
    """
    limit_threads(threads)
    network, schedule, about = load_prior(prior, device)
    strided_timesteps(schedule.timesteps, steps)

    def draw_batch(size: int, generator: torch.Generator, tick: Callable[[], object]) -> Tensor:
        shape = (size, *about["latent_size"])
        return sample_codes(network, schedule, shape, steps, temperature, generator, tick).to(torch.uint16)

    settings = [fingerprint(prior), steps, temperature, threads]
    in_batches(draw_batch, count, batch_size, steps, seed, settings, partial, out, device)


def sample_images(
    prior: Path,
    first_stage: Path,
    count: int,
    steps: int,
    seed: int,
    temperature: float,
    state: Path,
    codes: Path,
    out: Path,
    threads: int | None = None,
) -> None:
    """Sample code maps and push them into the decoder.

    Args:
        prior: the prior's checkpoint.
        first_stage: checkpoint of the first stage that it was trained on.
        count: number of images.
        steps: sampling steps, 1 to T.
        seed: seed of the sampling.
        temperature: divides the logits of p(z_0 | z_t).
        state: folder of finished batches; they are deleted at the end.
        codes: the code maps to write, uint16 (count, h, w).
        out: the images to write, uint8 (count, H, W, 3).
        threads: CPU threads.

    Raises:
        UserError: prior and first stage do not belong together, or `steps` is not in 1..T.
    """
    if count < 1 or not 0 < temperature < math.inf:
        raise UserError(f"{count} images at temperature {temperature}: both must be above 0 and finite")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, about = load_first_stage(first_stage, device)
    check_pair(prior, load_prior(prior)[2], first_stage, about)
    with alone_in(state):
        sample(prior, count, steps, BATCH, seed, temperature, state, codes, threads, device)
        write_batches(out, decoded(model, read_array(codes)), count)
        forget_batches(state)


def forget_batches(folder: Path) -> None:
    """Delete the finished batches that `in_batches` kept."""
    for batches in folder.glob(f"{BATCHES}*"):
        shutil.rmtree(batches)


def check_pair(prior: Path, about_prior: dict[str, Any], first_stage: Path, about: dict[str, Any]) -> None:
    """Refuse a prior (of any kind) and a first stage whose codebooks have different sizes.

    Raises:
        UserError: names both files.
    """
    if about["codebook_size"] != about_prior["codebook_size"]:
        raise UserError(
            f"{prior} was trained on {about_prior['codebook_size']} codes, {first_stage} has "
            f"{about['codebook_size']}; give the checkpoints of the same first stage"
        )
