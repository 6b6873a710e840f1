"""Discrete diffusion with the uniform transition, in closed form (section 3.1).

Codes are int64 of shape (B, ...), usually (B, h, w). Probabilities and logits have K codes laid out last:
(B, ..., K). `early` is the interval from timestep 0 to s and `late` the one from s to t, for any
0 <= s < t <= T, each as scalars or with one value per image (B,). Nothing here builds a one-hot or a matrix
of K x K.
"""

import torch
from torch import Tensor

from vqddm.artifacts import UserError
from vqddm.prior.schedule import Interval


def strided_timesteps(timesteps: int, steps: int) -> list[int]:
    """`steps` evenly spaced timesteps T = t_n > ... > t_1 > 0, descending.

    Raises:
        UserError: `steps` is not in 1..T.
    """
    if not 1 <= steps <= timesteps:
        raise UserError(f"{steps} sampling steps: choose from 1 to T = {timesteps}, the prior's timesteps")
    return [timesteps * i // steps for i in range(steps, 0, -1)]


def states(codebook_size: int) -> int:
    """Values that z_t can take: the K codes."""
    return codebook_size


def start(shape: tuple[int, ...], last: Interval, codebook_size: int, generator: torch.Generator) -> Tensor:
    """Draw z_T of the given shape: uniform, whatever the schedule's end."""
    return torch.randint(codebook_size, shape, generator=generator, device=generator.device)


def diffuse(z0: Tensor, early: Interval, codebook_size: int, generator: torch.Generator) -> Tensor:
    """Draw z_s given z_0 (Eq. 17), in the shape of `z0`."""
    resampled = torch.randint(codebook_size, z0.shape, generator=generator, device=z0.device)
    chance = torch.rand(z0.shape, generator=generator, device=z0.device)
    return resample(z0, resampled, chance, early)


def resample(z0: Tensor, resampled: Tensor, chance: Tensor, early: Interval) -> Tensor:
    """z_s for given noise: codes drawn anew, and a uniform draw that says which of them come in; all like `z0`."""
    return torch.where(chance < spread(early, z0).noise, resampled, z0)


def marginal(z0: Tensor, early: Interval, codebook_size: int) -> Tensor:
    """q(z_s | z_0) (Eq. 17): probabilities (B, ..., K), in float32 for a `keep` in float32."""
    keep = spread(early, z0).keep.expand(z0.shape).unsqueeze(-1)
    others = ((1 - keep.double()) / codebook_size).to(keep.dtype)  # from `keep` itself, so that they sum to 1 with it
    return others.repeat_interleave(codebook_size, -1).scatter_add(-1, z0.unsqueeze(-1), keep)


def draw(probs: Tensor, generator: torch.Generator) -> Tensor:
    """Draw codes by inverse CDF: int64 in [0, K), in the shape of `probs` without its last dimension.

    Args:
        probs: (..., K), at least 0, in any common scale. A code of probability 0 is never drawn.
        generator: on the device of `probs`.
    """
    # float64: beside a code of probability 1, float32 has no room for the rare jumps of a long chain
    cdf = probs.cumsum(-1, dtype=torch.float64)
    level = torch.rand(cdf.shape[:-1], dtype=torch.float64, generator=generator, device=cdf.device)
    found = torch.searchsorted(cdf, level.unsqueeze(-1) * cdf[..., -1:], right=True)
    return found.squeeze(-1).clamp(max=probs.shape[-1] - 1)


def posterior(z_t: Tensor, p0: Tensor, late: Interval, early: Interval) -> Tensor:
    """p(z_s | z_t) = N[θ(z_t, p0)] for any s < t (Eqs. 20 to 22).

    θ multiplies p0 by the evidence of z_t at the same position, so a network trained with Eq. 24 gives as p0
    what the *other* positions say; this function with s = 0 turns that into the belief about z_0. Only at
    t = 1, where the network is trained with Eq. 22's Cat(p0), p0 is that belief already.

    Args:
        z_t: (B, ...).
        p0: (B, ..., K), each row sums to 1.

    Returns:
        Probabilities (B, ..., K) in the dtype of `p0`.
    """
    (keep, noise), (keep_s, noise_s) = spread(late, p0), spread(early, p0)
    codes, index = p0.shape[-1], z_t.unsqueeze(-1)
    weights = keep_s * p0 + noise_s / codes
    stay = keep * weights.gather(-1, index)
    return (weights * (noise / codes)).scatter_add(-1, index, stay) / (noise / codes + stay)


def last(z_t: Tensor, p0: Tensor, early: Interval) -> Tensor:
    """p(z_0 | z_t) at t = 1, (B, ..., K): Eq. 22's Cat(p0)."""
    return p0


def kl_terms(z0: Tensor, z_t: Tensor, logits: Tensor, late: Interval, early: Interval) -> Tensor:
    """L_t of each image in nats, summed over its positions: Eq. 24, and -log p0(z_0) where s = 0 (t = 1).

    q(z_s | z_t, z_0) takes at most three distinct values, so Eq. 24 needs L = log1p(r p0), the log of the
    second factor of p in units of its smallest value (r = K ᾱ_s / (1 - ᾱ_s)), only summed over the codes, at
    z_0 and at z_t. In these units float32 keeps the tiny terms near T.

    Args:
        z0, z_t: (B, ...).
        logits: of p(z_0 | z_t), (B, ..., K).

    Returns:
        (B,) in the dtype of `logits`.
    """
    codes = logits.shape[-1]
    (keep, noise), (keep_s, noise_s) = spread(late, z0), spread(early, z0)
    first = noise_s == 0
    keep_s, noise_s = torch.where(first, 0.5, keep_s), torch.where(first, 0.5, noise_s)  # unused, but finite
    base, base_s, ratio = noise / codes, noise_s / codes, codes * keep_s / noise_s
    same = (z_t == z0).to(logits.dtype)

    log_p0 = logits.log_softmax(-1)
    p0 = log_p0.exp()
    log_p, log_q = torch.log1p(ratio.unsqueeze(-1) * p0), torch.log1p(ratio)
    at_z0, at_zt = log_q - _at(log_p, z0), log_q * same - _at(log_p, z_t)
    weight_zt = keep * (base_s + keep_s * same)
    weighted = base * (base_s * (log_q - log_p.sum(-1)) + keep_s * at_z0) + weight_zt * at_zt
    total = base + weight_zt  # normaliser of q
    # Log of p's normaliser over q's, as ±log1p(difference / smaller one): p's is the smaller where z_t = z_0.
    p0_zt, sign = _at(p0, z_t), 1 - 2 * same
    smaller = base + keep * (base_s + keep_s * same * p0_zt)
    kl = weighted / total + sign * torch.log1p(keep * keep_s * sign * (p0_zt - same) / smaller)
    return torch.where(first, -_at(log_p0, z0), kl).flatten(1).sum(1)


def prior_kl(last: Interval, codebook_size: int) -> float:
    """KL(q(z_T | z_0) || uniform) in nats per code, for every z_0 (Eq. 7, first term); `last` goes to T, in float64."""
    keep, noise, others = float(last.keep), float(last.noise), codebook_size - 1
    ratio = torch.tensor([keep * others, -keep], dtype=torch.float64)  # K q - 1 at z_0 and at each other code
    at_z0, elsewhere = ratio.log1p().tolist()
    return (keep + noise / codebook_size) * at_z0 + others * noise / codebook_size * elsewhere


def spread(interval: Interval, like: Tensor) -> Interval:
    """One value per image (B,) as (B, 1, ..., 1), to broadcast with `like`; scalars as they are."""
    shape = (-1,) + (1,) * (like.ndim - 1)
    return Interval(*(part if part.ndim == 0 else part.view(shape) for part in interval))


def _at(values: Tensor, codes: Tensor) -> Tensor:
    """values[..., codes]: (B, ..., K) and (B, ...) to (B, ...)."""
    return values.gather(-1, codes.unsqueeze(-1)).squeeze(-1)
