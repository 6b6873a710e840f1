"""Discrete diffusion with the uniform transition, in closed form (section 3.1).

Codes are int64 of shape (B, ...), usually (B, h, w). Probabilities and logits have K codes laid out last:
(B, ..., K). `early` is the interval from timestep 0 to s and `late` the one from s to t, for any
0 <= s < t <= T, each as scalars or with one value per image (B,). Nothing here builds a one-hot or a matrix
of K x K.
"""

import math
from collections.abc import Iterator
from itertools import repeat
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vqddm.artifacts import UserError
from vqddm.prior.schedule import Interval

SHORT = 256  # weights in a row
COLDEST = 1e-30  # below it a temperature vanishes in float32; from here on the likeliest code is drawn anyway
MOST_HALVINGS = 4  # more make `_log1p_sum` slower again, at K = 256, 1024 and 16384 alike
LARGEST_LOG = 85.0  # of a product in float32, a little below its largest number's


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


def tempered(logits: Tensor, temperature: float) -> Tensor:
    """Logits (..., K) over the temperature; unless it is 1, less their highest, so that none grows beyond bounds."""
    if temperature == 1:
        return logits
    return (logits - logits.amax(-1, keepdim=True)) / max(temperature, COLDEST)


def draw(probs: Tensor, generator: torch.Generator) -> Tensor:
    """Draw codes: int64 in [0, K), in the shape of `probs` without its last dimension.

    Two inverse CDFs, of one of about sqrt(K) blocks of codes and of a code within it, so that hardly anything is
    summed up in float64.

    Args:
        probs: (..., K), at least 0, in any common scale. A code of probability 0 is never drawn.
        generator: on the device of `probs`.
    """
    codes = probs.shape[-1]
    parts = next(count for count in range(math.isqrt(codes), 0, -1) if codes % count == 0)
    blocks = probs.unflatten(-1, (parts, codes // parts))
    block = draw_by_cdf(blocks.sum(-1), generator)
    index = block[..., None, None].expand(*block.shape, 1, codes // parts)
    return block * (codes // parts) + draw_by_cdf(blocks.gather(-2, index).squeeze(-2), generator)


def draw_by_cdf(weights: Tensor, generator: torch.Generator) -> Tensor:
    """As `draw`, by one inverse CDF: every number of `weights` (..., K) is summed up in float64."""
    # float64: beside a weight of nearly all, float32 has no room for the rare ones
    cdf = running_sums(weights)
    level = torch.rand(cdf.shape[:-1], dtype=torch.float64, generator=generator, device=cdf.device)
    found = torch.searchsorted(cdf, level.unsqueeze(-1) * cdf[..., -1:], right=True)
    return found.squeeze(-1).clamp(max=weights.shape[-1] - 1)


def running_sums(weights: Tensor) -> Tensor:
    """The sums of `weights` (..., K) up to each of them, in float64.

    On a GPU short rows are multiplied by a triangle of ones: torch's scan gives each of them few threads.
    """
    length = weights.shape[-1]
    if weights.is_cuda and length <= SHORT:
        ones = torch.ones(length, length, dtype=torch.float64, device=weights.device)
        return weights.double() @ ones.triu_()
    return weights.cumsum(-1, dtype=torch.float64)


def draw_where(wanted: Tensor, probs: Tensor, otherwise: Tensor, generator: torch.Generator) -> Tensor:
    """Draws of `probs` (..., K) where `wanted` (...) is true, and `otherwise`, int64 (...), elsewhere."""
    if mostly(wanted):
        return torch.where(wanted, draw(probs, generator), otherwise)
    return otherwise.masked_scatter(wanted, draw(probs[wanted], generator))


def mostly(wanted: Tensor) -> bool:
    """Whether to work on all positions rather than pick those that are wanted: where most are, that saves a copy."""
    return bool(2 * wanted.count_nonzero() > wanted.numel())


def posterior(z_t: Tensor, p0: Tensor, late: Interval, early: Interval) -> Tensor:
    """p(z_s | z_t) = N[θ(z_t, p0)] for any s < t (Eqs. 20 to 22).

    θ multiplies p0 by the evidence of z_t at the same position, so a network trained with Eq. 24 gives as p0
    what the *other* positions say; this function with s = 0 turns that into the belief about z_0. Eq. 22 as printed
    does not at t = 1: there p0 is that belief already (`first_term_as_printed`).

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


def renewal(p0_at_zt: Tensor, codes: int, late: Interval, early: Interval) -> Tensor:
    """The probability with which z_s is drawn anew, from noise_s / K + keep_s p0, and else is z_t.

    That is Eqs. 20 to 22 as a mixture: what `posterior` gives a code is this probability times that, and the rest of
    it comes to z_t. It is formed without 1 - x, since it is tiny in most steps of a long chain.

    Args:
        p0_at_zt: p0 of the code z_t, (B, ...).

    Returns:
        (B, ...), in the dtype of `p0_at_zt`.
    """
    (keep, noise), (keep_s, noise_s) = spread(late, p0_at_zt), spread(early, p0_at_zt)
    stay = keep * (keep_s * p0_at_zt + noise_s / codes)
    return noise / codes / (noise / codes + stay)


def reverse(z_t: Tensor, logits: Tensor, late: Interval, early: Interval, generator: torch.Generator) -> Tensor:
    """Draw z_s from p(z_s | z_t), as `posterior` has it, for any s < t: int64 (B, ...).

    Most positions stay what they are, whatever p0 is, and of these alone that may not p0 is formed.

    Args:
        z_t: (B, ...).
        logits: of p0, (B, ..., K) in float32 or float64.
    """
    codes = logits.shape[-1]
    # float64: float32 draws are multiples of 2^-24, too coarse for the rare jumps of a long chain
    level = torch.rand(z_t.shape, dtype=torch.float64, generator=generator, device=z_t.device)
    noise = torch.randint(codes, z_t.shape, generator=generator, device=z_t.device)
    none = logits.new_zeros((len(z_t),) + (1,) * (z_t.ndim - 1))
    open_ = level < renewal(none, codes, late, early)  # no p0 gives more than none
    if mostly(open_):
        p0 = logits.softmax(-1)
        wanted, uniform = _changes(level, _at(p0, z_t), codes, late, early)
        return draw_where(wanted, p0, torch.where(uniform, noise, z_t), generator)
    rows = open_.flatten().nonzero().squeeze(-1)
    images = rows // z_t[0].numel()
    late, early = (Interval(*(part[images] if part.ndim else part for part in i)) for i in (late, early))
    level, noise, found = (values.flatten()[rows] for values in (level, noise, z_t))
    p0 = logits.flatten(0, -2)[rows].softmax(-1)
    wanted, uniform = _changes(level, _at(p0, found), codes, late, early)
    found = torch.where(uniform, noise, found).masked_scatter_(wanted, draw(p0[wanted], generator))
    return z_t.flatten().index_copy(0, rows, found).view_as(z_t)


def _changes(level: Tensor, p0_at_zt: Tensor, codes: int, late: Interval, early: Interval) -> tuple[Tensor, Tensor]:
    """Where z_s is drawn from p0, and where from the uniform distribution, by a uniform draw `level`; all (B, ...)."""
    anew = renewal(p0_at_zt, codes, late, early)
    uniform = level < anew * spread(early, level).noise
    return (level < anew) & ~uniform, uniform


def kl_terms(z0: Tensor, z_t: Tensor, logits: Tensor, late: Interval, early: Interval) -> Tensor:
    """L_t of each image in nats, summed over its positions: Eq. 24, and -log p(z_0 | z_t) where s = 0 (t = 1).

    q(z_s | z_t, z_0) takes at most three distinct values, so Eq. 24 needs log1p(r p0), the log of the second
    factor of p in units of its smallest value (r = K ᾱ_s / (1 - ᾱ_s)), only summed over the codes, at z_0 and
    at z_t. In these units float32 keeps the tiny terms near T.

    Args:
        z0, z_t: (B, ...).
        logits: of p(z_0 | z_t), (B, ..., K).

    Returns:
        (B,), in float64 for logits in float64 and in float32 for all others.
    """
    dtype = torch.promote_types(logits.dtype, torch.float32)
    late, early = (Interval(*(part.to(dtype) for part in interval)) for interval in (late, early))
    return _Terms.apply(logits, z0, z_t, _weights(z0, z_t, logits.shape[-1], late, early)).flatten(1).sum(1)


def first_term_as_printed(z0: Tensor, logits: Tensor) -> Tensor:
    """L_1 of each image in nats with Eq. 22's Cat(p0), -log p0(z_0) summed over its positions: (B,)."""
    return -_at(logits.log_softmax(-1), z0).flatten(1).sum(1)


class _Weights(NamedTuple):
    """The numbers of Eq. 24 at each position or image, to broadcast with z_0.

    q(z_s | z_t, z_0) is `rest` at every code, `at_z0` more at z_0 and `at_zt` more at z_t. p's second factor is
    1 + `ratio` p0 in units of its smallest value, p's normaliser is `base` + `gain` p0(z_t), and that of q is
    `base` + `gain` `same`. At t = 1, p(z_0 | z_t) has that normaliser too, and `ratio` is 0, so that all of Eq. 24
    but the normalisers vanishes.
    """

    first: Tensor  # t = 1, bool
    same: Tensor  # 1 where z_t = z_0, else 0
    rest: Tensor
    at_z0: Tensor
    at_zt: Tensor
    ratio: Tensor
    base: Tensor
    gain: Tensor


def _weights(z0: Tensor, z_t: Tensor, codes: int, late: Interval, early: Interval) -> _Weights:
    (keep, noise), (keep_s, noise_s) = spread(late, z0), spread(early, z0)
    same, first = (z_t == z0).to(keep.dtype), noise_s == 0
    low, low_s, gain = noise / codes, noise_s / codes, keep * keep_s
    at_any = keep * low_s
    base = low + at_any
    total = torch.addcmul(base, gain, same)
    rest, at_z0, at_zt = low * low_s / total, low * keep_s / total, torch.addcmul(at_any, gain, same) / total
    ratio = torch.where(first, 0, keep_s / low_s)
    return _Weights(first, same, rest, at_z0, at_zt, ratio, base, gain)


class _Terms(torch.autograd.Function):
    """L_t at each position, in the shape of z_0 and z_t, with its gradient in closed form, for `kl_terms`.

    Only `_sums` and `_take_gradient` go over all codes. What the first keeps of the logits becomes their gradient in
    the second, so that no further tensor of their size is written; a kept graph cannot be gone back through again.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, z0: Tensor, z_t: Tensor, of: _Weights) -> Tensor:
        ratio, ends = of.ratio.expand(z0.shape).unsqueeze(-1), torch.stack([z0, z_t], -1)
        powers = torch.empty_like(logits, dtype=of.ratio.dtype).flatten(0, -2) if ctx.needs_input_grad[0] else None
        sums = _sums(logits.flatten(0, -2), ratio.reshape(-1, 1), powers)
        highest, total, log_p_sum = (found.view(ratio.shape) for found in sums)
        log_p0 = logits.gather(-1, ends) - highest - total.log()
        p0 = log_p0.exp()
        in_units = ratio * p0
        ctx.save_for_backward(powers, total, ends, ratio, p0, in_units)
        ctx.of, ctx.dtype = of, logits.dtype
        log_p_z0, log_p_zt = in_units.log1p().unbind(-1)
        log_q, p0_zt = of.ratio.log1p(), p0[..., 1]
        kl = of.rest * (log_q - log_p_sum.squeeze(-1))
        kl += of.at_z0 * (log_q - log_p_z0) + of.at_zt * (log_q * of.same - log_p_zt)
        kl = torch.where(of.first, -log_p0[..., 0], kl)
        # Log of p's normaliser over q's, as ±log1p(difference / smaller one): p's is the smaller where z_t = z_0.
        sign = 1 - 2 * of.same
        return kl + sign * torch.log1p(of.gain * sign * (p0_zt - of.same) / (of.base + of.gain * of.same * p0_zt))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """d/d(log p0) is -rest h with h = ratio p0 / (1 + ratio p0), and more at z_0 and at z_t."""
        powers, total, ends, ratio, p0, in_units = ctx.saved_tensors
        of = ctx.of
        h_z0, h_zt = (in_units / (1 + in_units)).unbind(-1)
        of_normaliser = of.gain * p0[..., 1]
        of_normaliser /= of.base + of_normaliser
        at_z0, at_zt = torch.where(of.first, -1, -of.at_z0 * h_z0), of_normaliser - of.at_zt * h_zt
        at_ends = torch.stack([at_z0, at_zt], -1).mul_(grad.unsqueeze(-1))
        rows = total / ratio, -(of.rest * grad).unsqueeze(-1), at_ends.sum(-1, keepdim=True), total
        _take_gradient(powers, *(values.reshape(-1, 1) for values in rows))
        found = powers.view(*ends.shape[:-1], -1)
        for codes, extra in zip(ends.split(1, -1), at_ends.split(1, -1), strict=True):  # apart: z_t may be z_0
            found.scatter_add_(-1, codes, extra)
        return found.to(ctx.dtype), None, None, None


def _sums(logits: Tensor, ratio: Tensor, powers: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """What L_t needs of logits (R, K) and `ratio` (R, 1); exp(logit - highest) goes into `powers` (R, K), if given.

    Highest and sum are told apart, since their logarithms added would round p0 by what is lost of a large logit.

    Returns:
        The highest logit, and summed over the codes these powers and log1p(ratio p0), (R, 1) each.
    """
    halvings = _halvings(ratio, logits.shape[-1])
    highest, total, log_p_sum = (torch.empty_like(ratio) for _ in range(3))
    parts = _in_parts(logits, ratio, highest, total, log_p_sum)
    kept = repeat((None,)) if powers is None else _in_parts(powers)
    for (part, of_part, high, whole, log_sum), (power,) in zip(parts, kept, strict=False):
        high.copy_(part.amax(-1, keepdim=True))
        power = torch.sub(part, high, out=power).exp_()
        torch.sum(power, -1, keepdim=True, out=whole)
        _log1p_sum(power * (of_part / whole), halvings, out=log_sum)
    return highest, total, log_p_sum


def _log1p_sum(values: Tensor, halvings: int, out: Tensor) -> None:
    """The sum over the last dimension of log1p(values), which it overwrites, into `out` (..., 1).

    log1p(a) + log1p(b) = log1p(a + b + ab), which is cheaper than a logarithm and as exact for tiny a and b.
    """
    for _ in range(halvings):
        values, others = values.chunk(2, -1)
        values.addcmul_(values, others).add_(others)
    torch.sum(values.log1p_(), -1, keepdim=True, out=out)


def _take_gradient(powers: Tensor, unit: Tensor, everywhere: Tensor, at_ends: Tensor, total: Tensor) -> None:
    """Put the gradient of the logits, but for what comes to z_0 and z_t alone, in the place of `powers` (R, K).

    Args:
        powers: p0 in units of `total` and ratio p0 in units of `unit`, like all others (R, 1).
        everywhere: the gradient of log p0 at every code, divided by h.
        at_ends: the gradient of log p0 that comes to z_0 and z_t alone.
    """
    of_h, of_p0 = -everywhere / total, -at_ends / total
    for power, one, weight, from_ends, from_h in _in_parts(powers, unit, everywhere, of_p0, of_h):
        h = power + one
        torch.div(power, h, out=h)
        taken = torch.addcmul(from_ends, from_h, h.sum(-1, keepdim=True))  # p0 times log p0's whole gradient
        power.mul_(taken).addcmul_(h, weight)


def _in_parts(*rows: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Tensors of R rows, the first one (R, K), all cut alike; on a CPU into parts that stay in its caches."""
    cached = 2**17 * torch.get_num_threads()  # numbers: 512 KiB a thread in float32
    size = len(rows[0]) if rows[0].is_cuda else max(1, cached // rows[0].shape[-1])
    return zip(*(values.split(size) for values in rows), strict=True)


def _halvings(ratio: Tensor, codes: int) -> int:
    """How often `_log1p_sum` may halve the codes: 2^n factors 1 + ratio p0 are at most (1 + ratio / 2^n)^(2^n).

    None on a GPU, where all numbers pass through memory each time and reading `ratio` would be waited for.
    """
    if ratio.is_cuda or not ratio.numel():
        return 0
    largest, found = float(ratio.max()), 0
    for halvings in range(1, MOST_HALVINGS + 1):
        factors = 2**halvings
        if codes % factors == 0 and factors * math.log1p(largest / factors) < LARGEST_LOG:
            found = halvings
    return found


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
