"""The uniform diffusion over codes in the log-one-hot formulation, as a reference.

That of multinomial diffusion (Hoogeboom et al. 2021), written from its equations: a code is a column of log
probabilities, tensors are (B, K, N) for N positions and K codes, sums are made by logaddexp, and codes are drawn by
adding Gumbel noise to all K. Arguments are as in `vqddm/prior/diffusion.py`, whose distributions these are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from vqddm.prior.diffusion import strided_timesteps
from vqddm.prior.schedule import Interval
from vqddm.prior.unet import Prior

TINY = 1e-30  # stands for probability 0, so that its log is finite


def log_onehot(codes: Tensor, codebook_size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Codes int64 (B, N) to log one-hots (B, K, N)."""
    return F.one_hot(codes, codebook_size).permute(0, 2, 1).to(dtype).clamp(min=TINY).log()


def columns(logits: Tensor) -> Tensor:
    """A network's logits (B, h, w, K) as (B, K, N); nothing is copied."""
    return logits.flatten(1, -2).transpose(1, 2)


def noised(log_x: Tensor, interval: Interval) -> Tensor:
    """Log probabilities after the steps of an interval (Hoogeboom's Eqs. 11 and 12), (B, K, N).

    One matrix product with Q serves both directions, since the uniform transition is symmetric.
    """
    keep, noise = (part if part.ndim == 0 else part.view(-1, 1, 1) for part in interval)
    return torch.logaddexp(log_x + keep.clamp(min=TINY).log(), noise.clamp(min=TINY).log() - math.log(log_x.shape[1]))


def posterior(log_x0: Tensor, log_xt: Tensor, late: Interval, early: Interval) -> Tensor:
    """log q(z_s | z_t, z_0), or with the network's log p0 for z_0 log p(z_s | z_t) (Hoogeboom's Eqs. 13, 14)."""
    unnormalised = noised(log_x0, early) + noised(log_xt, late)
    return unnormalised - unnormalised.logsumexp(1, keepdim=True)


def draw(log_p: Tensor, generator: torch.Generator) -> Tensor:
    """Codes int64 (B, N) from log probabilities (B, K, N), in any common scale: the largest after Gumbel noise."""
    uniform = torch.rand(log_p.shape, dtype=log_p.dtype, device=log_p.device, generator=generator)
    return (log_p - (TINY - (uniform + TINY).log()).log()).argmax(1)


def diffuse(z0: Tensor, early: Interval, codebook_size: int, generator: torch.Generator) -> Tensor:
    """Draw z_s given z_0, int64 (B, N)."""
    return draw(noised(log_onehot(z0, codebook_size), early), generator)


def reverse(log_p0: Tensor, z_t: Tensor, late: Interval, early: Interval, generator: torch.Generator) -> Tensor:
    """Draw z_s, int64 (B, N), given z_t (B, N) and log p0 (B, K, N)."""
    return draw(posterior(log_p0, log_onehot(z_t, log_p0.shape[1], log_p0.dtype), late, early), generator)


def kl_terms(z0: Tensor, z_t: Tensor, logits: Tensor, late: Interval, early: Interval) -> Tensor:
    """L_t of each image in nats, (B,), for codes (B, N) and logits (B, K, N): the sum over K of q (log q - log p)."""
    log_x0, log_xt = (log_onehot(codes, logits.shape[1], logits.dtype) for codes in (z0, z_t))
    log_p0 = logits.log_softmax(1)
    log_q, log_p = posterior(log_x0, log_xt, late, early), posterior(log_p0, log_xt, late, early)
    return (log_q.exp() * (log_q - log_p)).sum((1, 2))


def denoise(prior: Prior, z_t: Tensor, t: int, s: int, generator: torch.Generator) -> Tensor:
    """Draw z_s given z_t, int64 (B, h, w): one network evaluation."""
    logits = columns(prior(z_t, torch.full((len(z_t),), t, device=z_t.device)).float())
    late, early = prior.schedule.interval(s, t), prior.schedule.interval(0, s)
    return reverse(logits.log_softmax(1), z_t.flatten(1), late, early, generator).view(z_t.shape)


def steps(prior: Prior, count: int) -> Iterable[tuple[int, int]]:
    """Pairs (t, s) of so many sampling steps."""
    return pairwise([*strided_timesteps(prior.schedule.timesteps, count), 0])


@torch.inference_mode()
def sample_codes(prior: Prior, shape: tuple[int, int, int], count: int, generator: torch.Generator) -> Tensor:
    """Code maps, int64 (B, h, w), in so many steps."""
    z = torch.randint(prior.codebook_size, shape, generator=generator, device=generator.device)
    for t, s in steps(prior, count):
        z = denoise(prior, z, t, s, generator)
    return z


@torch.inference_mode()
def inpaint_codes(prior: Prior, codes: Tensor, given: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Code maps (B, h, w) completed; at every timestep what is given is drawn from q(z_s | z_0)."""

    def known(s: int) -> Tensor:
        if s == 0:
            return codes
        noise = diffuse(codes.flatten(1), prior.schedule.interval(0, s), prior.codebook_size, generator)
        return noise.view(codes.shape)

    z = torch.randint(prior.codebook_size, codes.shape, generator=generator, device=codes.device)
    z = torch.where(given, known(prior.schedule.timesteps), z)
    for t, s in steps(prior, count):
        z = torch.where(given, known(s), denoise(prior, z, t, s, generator))
    return z


@torch.inference_mode()
def bound_bits(prior: Prior, codes: Tensor, generator: torch.Generator, at_once: int) -> Tensor:
    """The bound of given code maps (B, h, w) in bits per code, (B,): all T terms and the prior's KL.

    Args:
        at_once: terms of one network evaluation; B of them are one timestep of all images.
    """
    schedule, images, size = prior.schedule, len(codes), prior.codebook_size
    nats = torch.zeros(images, dtype=torch.float64, device=codes.device)
    for times in torch.arange(schedule.timesteps, 0, -1, device=codes.device).split(max(1, at_once // images)):
        t, z0 = times.repeat_interleave(images), codes.repeat(len(times), 1, 1)
        z_t = diffuse(z0.flatten(1), schedule.interval(0, t), size, generator)
        logits = columns(prior(z_t.view(z0.shape), t).float())
        terms = kl_terms(z0.flatten(1), z_t, logits, schedule.interval(t - 1, t), schedule.interval(0, t - 1))
        nats += terms.double().view(len(times), images).sum(0)
    log_q = noised(log_onehot(codes.flatten(1), size), schedule.interval(0, schedule.timesteps)).double()
    nats += (log_q.exp() * (log_q + math.log(size))).sum((1, 2))
    return nats / (codes[0].numel() * math.log(2))
