"""Inpainting: the reverse process around given codes, without any further training (section 4.4)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from vqddm.prior.diffusion import diffuse, strided_timesteps
from vqddm.prior.sample import denoise
from vqddm.prior.schedule import NoiseSchedule
from vqddm.prior.unet import Prior


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
        return diffuse(codes, schedule.transition(0, s), prior.codebook_size, generator)

    noise = torch.randint(prior.codebook_size, codes.shape, generator=generator, device=codes.device)
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
