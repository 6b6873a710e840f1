"""Inpainting: the reverse process around given codes, without any further training (section 4.4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from vqddm.artifacts import UserError, replacing
from vqddm.data.arrays import load_split, to_bytes, to_unit
from vqddm.prior.diffusion import strided_timesteps
from vqddm.prior.sample import check_pair, denoise
from vqddm.prior.schedule import NoiseSchedule
from vqddm.prior.train import load_prior
from vqddm.prior.unet import Prior
from vqddm.training import limit_threads
from vqddm.vqgan.model import FirstStage, load_first_stage

Encode = Literal["masked", "full"]
RANDOM_FRACTION = 0.4  # of the codes is given by the random mask


@torch.inference_mode()
def inpaint_codes(
    prior: Prior,
    schedule: NoiseSchedule,
    codes: Tensor,
    given: Tensor,
    steps: int,
    temperature: float,
    generator: torch.Generator,
) -> Tensor:
    """Complete code maps; the given codes come back unchanged.

    At every timestep s the given positions hold a draw of q(z_s | z_0) (m = 1 is known), at s = 0 z_0 itself.

    Args:
        prior: on the device of `codes`.
        codes: z_0, int64 (B, h, w); what it holds where nothing is given does not matter.
        given: bool (h, w) or (B, h, w), True = given.
        steps: network evaluations, 1 to T.
        generator: the only source of randomness, on the device of `codes`.

    Returns:
        int64 (B, h, w).

    Raises:
        UserError: `steps` is not in 1..T.
    """
    timesteps = strided_timesteps(schedule.timesteps, steps)

    def known(s: int) -> Tensor:
        return prior.transition.diffuse(codes, schedule.interval(0, s), prior.codebook_size, generator)

    noise = prior.transition.start(
        tuple(codes.shape), schedule.interval(0, schedule.timesteps), prior.codebook_size, generator
    )
    z = torch.where(given, known(timesteps[0]), noise)
    for t, s in pairwise([*timesteps, 0]):
        z = torch.where(given, known(s), denoise(prior, schedule, z, t, s, temperature, generator))
    return z


def paper_masks(height: int, width: int) -> dict[str, Tensor]:
    """Which part of a code map is given, bool (h, w): the three of Fig. 8, and three halves."""
    row = torch.arange(height)[:, None].expand(height, width)
    column = torch.arange(width).expand(height, width)
    middle_rows = (row >= height // 4) & (row < height // 4 + height // 2)
    middle_columns = (column >= width // 4) & (column < width // 4 + width // 2)
    return {
        "lower": row >= height - round(0.375 * height),
        "corner": (row >= height // 2) & (column >= width // 2),
        "centre": middle_rows & middle_columns,
        "left": column < width // 2,
        "right": column >= width // 2,
        "top": row < height // 2,
    }


def random_mask(height: int, width: int, fraction: float, generator: torch.Generator) -> Tensor:
    """A mask, bool (h, w), whose given positions are a random `fraction` of all, rounded, on the CPU."""
    mask = torch.zeros(height * width, dtype=torch.bool)
    mask[torch.randperm(height * width, generator=generator)[: round(fraction * height * width)]] = True
    return mask.view(height, width)


def mask_pixels(images: Tensor, given: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1] with mid-grey where the code map's mask (h, w) gives nothing."""
    scale = images.shape[-1] // given.shape[-1]
    return images * given.repeat_interleave(scale, 0).repeat_interleave(scale, 1)


def inpaint_images(
    prior: Path,
    first_stage: Path,
    data: Path,
    count: int,
    encode: Encode,
    seed: int,
    temperature: float,
    out: Path,
    threads: int | None = None,
) -> None:
    """Complete the first images of a split from each mask, with all T steps.

    Args:
        prior: the prior's checkpoint.
        first_stage: checkpoint of its first stage.
        data: `test.npy` of the dataset.
        count: images for each mask.
        encode: which image gives the known codes: the `masked` one, as the paper does, or the `full` one.
        seed: seed of the random mask and the sampling.
        temperature: divides the logits of p(z_0 | z_t).
        out: what `complete_images` writes.
        threads: CPU threads.

    Raises:
        UserError: too few images, or prior and first stage do not belong together.
    """
    limit_threads(threads)
    if not 0 < temperature < math.inf:
        raise UserError(f"temperature {temperature}: it must be above 0 and finite")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network, schedule, about_prior = load_prior(prior, device)
    model, about = load_first_stage(first_stage, device)
    check_pair(prior, about_prior, first_stage, about)
    generator = torch.Generator(device).manual_seed(seed)

    def complete(codes: Tensor, given: Tensor) -> Tensor:
        return inpaint_codes(network, schedule, codes, given, schedule.timesteps, temperature, generator)

    complete_images(model, about_prior["latent_size"], data, count, encode, seed, complete, out)


@torch.inference_mode()
def complete_images(
    model: FirstStage,
    latent_size: Sequence[int],
    data: Path,
    count: int,
    encode: Encode,
    seed: int,
    complete: Callable[[Tensor, Tensor], Tensor],
    out: Path,
) -> None:
    """Mask the first images of a split in each way, complete their codes, decode them.

    Args:
        model: the first stage.
        latent_size: height and width of its code maps.
        data: `test.npy` of the dataset.
        count: images for each mask.
        encode: which image gives the known codes: the `masked` one or the `full` one.
        seed: seed of the random mask.
        complete: takes codes (B, h, w) and which are given (h, w); returns completed codes.
        out: `.npz` with names (k,), masks (k, h, w) True = given, originals, masked and completed uint8
            (k, count, H, W, 3).

    Raises:
        UserError: too few images.
    """
    split = load_split(data)
    if len(split) < count:
        raise UserError(f"{data}: {len(split)} images, but {count} are to be completed")
    pixels = np.array(split[:count])
    device = next(model.parameters()).device
    images = to_unit(pixels).to(device)
    height, width = latent_size
    masks = paper_masks(height, width)
    masks["random"] = random_mask(height, width, RANDOM_FRACTION, torch.Generator().manual_seed(seed))
    masked, completed = [], []
    for given in tqdm([m.to(device) for m in masks.values()], desc="inpaint", unit="mask", mininterval=10):
        seen = mask_pixels(images, given)
        known = model.encode(seen if encode == "masked" else images)
        masked.append(to_bytes(seen))
        completed.append(to_bytes(model.decode(complete(known, given))))
    with replacing(out) as aside:
        np.savez(
            aside,
            names=np.array(list(masks)),
            masks=np.stack([m.numpy() for m in masks.values()]),
            originals=np.repeat(pixels[None], len(masks), axis=0),
            masked=np.stack(masked),
            completed=np.stack(completed),
        )
