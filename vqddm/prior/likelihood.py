"""The exact variational bound of given code maps: every one of the T terms, nothing subsampled."""

import math

import torch
from torch import Tensor

from vqddm.prior.unet import Prior


@torch.inference_mode()
def bound_bits(prior: Prior, codes: Tensor, generator: torch.Generator, batch_size: int = 256) -> tuple[Tensor, Tensor]:
    """The bound of Eq. 7 in bits per code: an upper bound on -log2 p(z_0) / N.

    All T terms with a fresh z_t each, plus the prior KL, over N ln 2; N codes an image. Terms of different
    images and timesteps share a batch.

    Args:
        prior: on the device of `codes`.
        codes: int64 (B, h, w).
        generator: on the device of `codes`.
        batch_size: terms per network evaluation; it changes the noise, not the expectation.

    Returns:
        the bound of each image, float64 (B,), and the mean over the images of each L_t, float64 (T,), t = 1 first.
    """
    schedule, timesteps = prior.schedule, prior.schedule.timesteps
    nats = torch.zeros(len(codes), dtype=torch.float64, device=codes.device)
    of_term = torch.zeros(timesteps, dtype=torch.float64, device=codes.device)
    for terms in torch.arange(len(codes) * timesteps, device=codes.device).split(batch_size):
        image, t = terms // timesteps, terms % timesteps + 1
        z_t = prior.transition.diffuse(codes[image], schedule.interval(0, t), prior.codebook_size, generator)
        found = prior.bound_terms(codes[image], z_t, t, prior(z_t, t).float()).double()
        nats.index_add_(0, image, found)
        of_term.index_add_(0, t - 1, found)
    last = schedule.interval(0, timesteps, torch.float64)
    bits = (nats / codes[0].numel() + prior.transition.prior_kl(last, prior.codebook_size)) / math.log(2)
    return bits, of_term / codes.numel() / math.log(2)
