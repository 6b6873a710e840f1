"""Discrete diffusion with the absorbing transition: codes turn into a mask and stay one (D3PM, appendix A.2.2).

The same few functions as `vqddm/prior/diffusion.py`, with the same arguments (`vqddm/prior/transitions.py`). The
mask is one state more, number K. The network gives probabilities of the K codes alone.
"""

import math

import torch
from torch import Tensor

from vqddm.prior.diffusion import draw, mostly, spread
from vqddm.prior.schedule import Interval


def states(codebook_size: int) -> int:
    """Values that z_t can take: the K codes and the mask."""
    return codebook_size + 1


def start(shape: tuple[int, ...], last: Interval, codebook_size: int, generator: torch.Generator) -> Tensor:
    """Draw z_T of the given shape: masks, and with the chance ᾱ_T that the schedule leaves, any code."""
    codes = torch.randint(codebook_size, shape, generator=generator, device=generator.device)
    return diffuse(codes, last, codebook_size, generator)


def diffuse(z0: Tensor, early: Interval, codebook_size: int, generator: torch.Generator) -> Tensor:
    """Draw z_s given z_0, in the shape of `z0`."""
    chance = torch.rand(z0.shape, generator=generator, device=z0.device)
    return torch.where(chance < spread(early, z0).noise, codebook_size, z0)


def reverse(z_t: Tensor, logits: Tensor, late: Interval, early: Interval, generator: torch.Generator) -> Tensor:
    """Draw z_s from p(z_s | z_t) for any s < t: a code stays; a mask becomes a draw of p0 with the chance `unmasks`.

    int64 (B, ...), for the logits of p0, (B, ..., K) in float32 or float64.
    """
    level = torch.rand(z_t.shape, dtype=torch.float64, generator=generator, device=z_t.device)
    wanted = (z_t == logits.shape[-1]) & (level < unmasks(late, early, z_t))
    if mostly(wanted):
        return torch.where(wanted, draw(logits.softmax(-1), generator), z_t)
    return z_t.masked_scatter(wanted, draw(logits[wanted].softmax(-1), generator))


def kl_terms(z0: Tensor, z_t: Tensor, logits: Tensor, late: Interval, early: Interval) -> Tensor:
    """L_t of each image in nats, summed over its positions: a masked one costs `unmasks` times -log p0(z_0).

    (B,) in the dtype of the logits (B, ..., K) of p(z_0 | z_t).
    """
    missing = -logits.log_softmax(-1).gather(-1, z0.unsqueeze(-1)).squeeze(-1)
    masked = (z_t == logits.shape[-1]).to(logits.dtype)
    return (masked * unmasks(late, early, z0).to(logits.dtype) * missing).flatten(1).sum(1)


def prior_kl(last: Interval, codebook_size: int) -> float:
    """KL(q(z_T | z_0) || p(z_T)) in nats per code, p as `start` draws it: ᾱ_T log K; `last` goes to T, in float64."""
    return float(last.keep) * math.log(codebook_size)


def unmasks(late: Interval, early: Interval, like: Tensor) -> Tensor:
    """q(z_s is a code | z_t is the mask) = ᾱ_s (1 - ᾱ_t / ᾱ_s) / (1 - ᾱ_t), to broadcast with `like`."""
    late, early = spread(late, like), spread(early, like)
    uncovered = early.keep * late.noise
    return uncovered / (early.noise + uncovered)
