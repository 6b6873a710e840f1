"""Group normalisation and the activation after it, as one operation on a GPU, in Triton (it comes with torch for CUDA).

torch turns a channels-last map to channels-first to normalise it, in float32 under autocast, and the convolution after
it turns it back. Here a map stays as it is: it is read twice and written once, and again for the gradient. Sums are
taken in float32, in an order that depends on the map's size alone, so that a picture's result is that of any batch.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

TILE = 4096  # elements that a program holds at a time
SUMMED = 32768  # elements that a program sums up, at least
APPLIED = 65536  # elements that a program writes
MOST_SUMS = 8192  # partial sums of an image, over all channels: a program reads them at once
WARPS = 8


@triton.jit
def _activated(z, ACTIVATION: tl.constexpr):  # type: ignore[no-untyped-def]
    """The activation at z."""
    if ACTIVATION == "silu":
        return z / (1 + tl.exp(-z))
    if ACTIVATION == "mish":
        power = tl.exp(tl.minimum(z, 20.0))
        n = power * (power + 2)
        return z * (n / (n + 2))
    return z


@triton.jit
def _slope(z, ACTIVATION: tl.constexpr):  # type: ignore[no-untyped-def]
    """The activation's derivative at z."""
    if ACTIVATION == "silu":
        sigmoid = 1 / (1 + tl.exp(-z))
        return sigmoid * (1 + z * (1 - sigmoid))
    if ACTIVATION == "mish":
        power = tl.exp(tl.minimum(z, 20.0))
        n = power * (power + 2)
        tanh = n / (n + 2)
        return tanh + z * (1 - tanh * tanh) * (power / (1 + power))
    return z * 0 + 1


@triton.jit
def _over_group(values, CHANNELS: tl.constexpr, GROUPS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Each channel's value becomes the sum over its group."""
    width: tl.constexpr = CHANNELS // GROUPS
    total = tl.sum(tl.reshape(values, (GROUPS, width)), 1)
    return tl.reshape(tl.broadcast_to(total[:, None], (GROUPS, width)), (CHANNELS,))


@triton.jit
def _both(sums, image, PARTS: tl.constexpr, CHANNELS: tl.constexpr):  # type: ignore[no-untyped-def]
    """The two sums of each channel of an image, from those of its parts."""
    part, channel = tl.arange(0, PARTS), tl.arange(0, CHANNELS)
    at = sums + (image * PARTS + part)[:, None] * (2 * CHANNELS) + channel[None, :]
    return tl.sum(tl.load(at), 0), tl.sum(tl.load(at + CHANNELS), 0)


@triton.jit
def _moments(  # type: ignore[no-untyped-def]
    sums, shift, image, count, eps,
    PARTS: tl.constexpr, CHANNELS: tl.constexpr, GROUPS: tl.constexpr, SHIFTED: tl.constexpr,
):  # fmt: skip
    """What is taken from each channel, its group's mean less its shift, and its reciprocal standard deviation."""
    total, squares = _both(sums, image, PARTS, CHANNELS)
    if SHIFTED:
        s = tl.load(shift + tl.arange(0, CHANNELS)).to(tl.float32)
        positions = count / (CHANNELS // GROUPS)
        squares += s * (2 * total + positions * s)
        total += positions * s
    mean = _over_group(total, CHANNELS, GROUPS) / count
    variance = _over_group(squares, CHANNELS, GROUPS) / count - mean * mean
    if SHIFTED:
        mean -= s
    return mean, 1 / tl.sqrt(tl.maximum(variance, 0.0) + eps)


@triton.jit
def _channels(  # type: ignore[no-untyped-def]
    sums, weight, bias, shift, image, count, eps,
    PARTS: tl.constexpr, CHANNELS: tl.constexpr, GROUPS: tl.constexpr, SHIFTED: tl.constexpr,
):  # fmt: skip
    """Of each channel: what is taken from it, reciprocal standard deviation, weight, bias."""
    mean, inverse = _moments(sums, shift, image, count, eps, PARTS, CHANNELS, GROUPS, SHIFTED)
    channel = tl.arange(0, CHANNELS)
    return mean, inverse, tl.load(weight + channel).to(tl.float32), tl.load(bias + channel).to(tl.float32)


@triton.jit
def _before_activation(x, grad, at, inside, mean, inverse, w, b, ACTIVATION: tl.constexpr):  # type: ignore[no-untyped-def]
    """A tile normalised, and the gradient of what the activation took."""
    value = tl.load(x + at, mask=inside, other=0).to(tl.float32)
    normal = (value - mean[None, :]) * inverse[None, :]
    slope = _slope(normal * w[None, :] + b[None, :], ACTIVATION)
    return normal, tl.load(grad + at, mask=inside, other=0).to(tl.float32) * slope


@triton.jit
def _sum_up(x, sums, positions, PARTS: tl.constexpr, CHANNELS: tl.constexpr, ROWS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Sum and sum of squares of each channel over one part of an image's positions."""
    image, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
    channel = tl.arange(0, CHANNELS)[None, :]
    total = tl.zeros((ROWS, CHANNELS), tl.float32)
    squares = tl.zeros((ROWS, CHANNELS), tl.float32)
    share = tl.cdiv(positions, PARTS)
    last = tl.minimum((part + 1) * share, positions)
    for start in range(part * share, last, ROWS):
        row = (start + tl.arange(0, ROWS))[:, None]
        value = tl.load(x + (image * positions + row) * CHANNELS + channel, mask=row < last, other=0).to(tl.float32)
        total += value
        squares += value * value
    at = sums + (image * PARTS + part) * (2 * CHANNELS) + tl.arange(0, CHANNELS)
    tl.store(at, tl.sum(total, 0))
    tl.store(at + CHANNELS, tl.sum(squares, 0))


@triton.jit
def _apply(  # type: ignore[no-untyped-def]
    x, sums, weight, bias, shift, out, positions, share, count, eps,
    PARTS: tl.constexpr, CHANNELS: tl.constexpr, GROUPS: tl.constexpr, ROWS: tl.constexpr, ACTIVATION: tl.constexpr,
    SHIFTED: tl.constexpr,
):  # fmt: skip
    """Normalise and activate `share` positions of an image."""
    image, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
    mean, inverse, w, b = _channels(sums, weight, bias, shift, image, count, eps, PARTS, CHANNELS, GROUPS, SHIFTED)
    channel = tl.arange(0, CHANNELS)
    scale = inverse * w
    offset = b - mean * scale
    last = tl.minimum((part + 1) * share, positions)
    for start in range(part * share, last, ROWS):
        row = (start + tl.arange(0, ROWS))[:, None]
        at = (image * positions + row) * CHANNELS + channel[None, :]
        value = tl.load(x + at, mask=row < last, other=0).to(tl.float32)
        made = _activated(value * scale[None, :] + offset[None, :], ACTIVATION)
        tl.store(out + at, made.to(out.dtype.element_ty), mask=row < last)


@triton.jit
def _sum_up_gradients(  # type: ignore[no-untyped-def]
    x, grad, sums, weight, bias, shift, back, positions, count, eps,
    PARTS: tl.constexpr, CHANNELS: tl.constexpr, GROUPS: tl.constexpr, ROWS: tl.constexpr, ACTIVATION: tl.constexpr,
    SHIFTED: tl.constexpr,
):  # fmt: skip
    """Of one part of an image: the sums for each channel's bias and weight."""
    image, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
    mean, inverse, w, b = _channels(sums, weight, bias, shift, image, count, eps, PARTS, CHANNELS, GROUPS, SHIFTED)
    channel = tl.arange(0, CHANNELS)
    total = tl.zeros((ROWS, CHANNELS), tl.float32)
    weighted = tl.zeros((ROWS, CHANNELS), tl.float32)
    share = tl.cdiv(positions, PARTS)
    last = tl.minimum((part + 1) * share, positions)
    for start in range(part * share, last, ROWS):
        row = (start + tl.arange(0, ROWS))[:, None]
        at = (image * positions + row) * CHANNELS + channel[None, :]
        normal, given = _before_activation(x, grad, at, row < last, mean, inverse, w, b, ACTIVATION)
        total += given
        weighted += given * normal
    at_sums = back + (image * PARTS + part) * (2 * CHANNELS) + channel
    tl.store(at_sums, tl.sum(total, 0))
    tl.store(at_sums + CHANNELS, tl.sum(weighted, 0))


@triton.jit
def _apply_gradients(  # type: ignore[no-untyped-def]
    x, grad, sums, weight, bias, shift, back, out, positions, share, count, eps,
    PARTS: tl.constexpr, CHANNELS: tl.constexpr, GROUPS: tl.constexpr, ROWS: tl.constexpr, ACTIVATION: tl.constexpr,
    SHIFTED: tl.constexpr,
):  # fmt: skip
    """The gradient of `share` positions of an image."""
    image, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
    mean, inverse, w, b = _channels(sums, weight, bias, shift, image, count, eps, PARTS, CHANNELS, GROUPS, SHIFTED)
    channel = tl.arange(0, CHANNELS)
    total, weighted = _both(back, image, PARTS, CHANNELS)
    level = _over_group(total * w, CHANNELS, GROUPS) / count
    tilt = _over_group(weighted * w, CHANNELS, GROUPS) / count
    last = tl.minimum((part + 1) * share, positions)
    for start in range(part * share, last, ROWS):
        row = (start + tl.arange(0, ROWS))[:, None]
        at = (image * positions + row) * CHANNELS + channel[None, :]
        normal, given = _before_activation(x, grad, at, row < last, mean, inverse, w, b, ACTIVATION)
        made = inverse[None, :] * (given * w[None, :] - level[None, :] - normal * tilt[None, :])
        tl.store(out + at, made.to(out.dtype.element_ty), mask=row < last)


class _FusedNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        shift: Tensor | None,
        groups: int,
        eps: float,
        activation: str,
    ) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        images, channels, height, width = x.shape
        positions = height * width
        parts = min(triton.next_power_of_2(max(1, positions * channels // SUMMED)), MOST_SUMS // channels)
        rows = max(1, TILE // channels)
        share = max(rows, APPLIED // channels)
        ctx.grids = (images, parts), (images, triton.cdiv(positions, share))
        ctx.sizes = {"PARTS": parts, "CHANNELS": channels, "ROWS": rows, "num_warps": WARPS}
        ctx.kind = {"GROUPS": groups, "ACTIVATION": activation, "SHIFTED": shift is not None}
        shift = bias if shift is None else shift  # where there is none it is not read
        ctx.numbers = positions, share, float(positions * (channels // groups)), eps
        sums = x.new_empty((images, parts, 2, channels), dtype=torch.float32)
        out = torch.empty_like(x, memory_format=torch.channels_last)
        with torch.cuda.device_of(x):
            _sum_up[ctx.grids[0]](x, sums, positions, **ctx.sizes)
            _apply[ctx.grids[1]](x, sums, weight, bias, shift, out, *ctx.numbers, **ctx.sizes, **ctx.kind)
        ctx.save_for_backward(x, sums, weight, bias, shift)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, sums, weight, bias, shift = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        positions, share, count, eps = ctx.numbers
        back = torch.empty_like(sums)
        out = torch.empty_like(x, memory_format=torch.channels_last)
        given, how = (x, grad, sums, weight, bias, shift, back), ctx.sizes | ctx.kind
        with torch.cuda.device_of(x):
            _sum_up_gradients[ctx.grids[0]](*given, positions, count, eps, **how)
            _apply_gradients[ctx.grids[1]](*given, out, positions, share, count, eps, **how)
        total, weighted = back.sum((0, 1))
        shifted = out.sum((0, 2, 3)).to(shift.dtype) if ctx.kind["SHIFTED"] else None
        return out, weighted.to(weight.dtype), total.to(bias.dtype), shifted, None, None, None


def fused_norm(
    x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float, activation: str, shift: Tensor | None = None
) -> Tensor:
    """activation(GroupNorm(x + shift)) of a map (B, C, H, W) on a GPU, with gradients; in x's dtype and channels-last.

    Args:
        shift: (C,), of each channel; no shift where it is None.
        x: of at most 32 bits, C a power of two, at most `MOST_SUMS` (`layers.can_fuse`).
        activation: `none`, `silu` or `mish`.
    """
    return _FusedNorm.apply(x, weight, bias, shift, groups, eps, activation)
