"""Layers that first stage and prior have in common: Mish, and group normalisation with an activation after it."""

import sys
from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class _Mish(torch.autograd.Function):
    """As `mish` without gradients, and its derivative from the same exponential."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        low = x.float().clamp(max=20)
        power = low.exp()
        n = power.addcmul(power, power).add_(power)
        over = n + 2
        found = n.div_(over)
        slope = power.addcmul_(power, power).div_(over).div_(over).mul_(low).mul_(4).add_(found)
        ctx.save_for_backward(slope.to(x.dtype))
        return found.to(x.dtype).mul_(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * ctx.saved_tensors[0]


def mish(x: Tensor) -> Tensor:
    """x tanh(softplus(x)).

    On a CPU it is formed from one exponential, as x n / (n + 2) with n = e^x (e^x + 2). On one thread that is 1.5 to
    1.8 times as fast as torch's with gradients, and up to 3 times without, the more so the smaller x is.
    """
    if x.is_cuda:
        return F.mish(x)
    if x.requires_grad:
        return _Mish.apply(x)
    power = x.float().clamp(max=20).exp_()  # beyond 20 quotient and derivative are 1 in float32
    n = power.addcmul(power, power).add_(power)
    return n.div_(torch.add(n, 2, out=power)).to(x.dtype).mul_(x)


class Mish(nn.Module):
    """`mish` as a module."""

    def forward(self, x: Tensor) -> Tensor:
        return mish(x)


MOST_CHANNELS = 8192  # of a map that is normalised and activated in one operation
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"none": lambda x: x, "silu": F.silu, "mish": mish}


class GroupNorm(nn.GroupNorm):
    """torch's, and an activation after it. On a GPU both are one operation (`vqddm/fused_norm.py`)."""

    def __init__(
        self, groups: int, channels: int, eps: float = 1e-5, activation: Literal["none", "silu", "mish"] = "none"
    ) -> None:
        super().__init__(groups, channels, eps)
        self.activation = activation

    def forward(self, x: Tensor, shift: Tensor | None = None) -> Tensor:
        """Of x (B, C, H, W), or of x + shift, (C,), on a GPU that fuses that too."""
        if x.is_cuda and can_fuse(x):
            from vqddm.fused_norm import fused_norm

            return fused_norm(x, self.weight, self.bias, self.num_groups, self.eps, self.activation, shift)
        if shift is not None:
            x = x + shift.to(x.dtype)[:, None, None]
        return ACTIVATIONS[self.activation](super().forward(x))


def can_fuse(x: Tensor) -> bool:
    """Whether its GPU can normalise and activate this map in one operation, which computes in float32."""
    channels = x.shape[1]
    fits = channels & (channels - 1) == 0 and channels <= MOST_CHANNELS and x.dtype != torch.float64
    return fits and not torch.compiler.is_compiling() and _triton_works(x.device)


@cache
def _triton_works(device: torch.device) -> bool:
    """Whether the fused operation runs here and gives what torch gives; where it does not, that is told once."""
    try:
        from vqddm.fused_norm import fused_norm

        with torch.random.fork_rng(devices=[]):
            x = torch.randn(2, 32, 8, 8).to(device, memory_format=torch.channels_last)
        weight, bias = torch.full((32,), 2.0, device=device), torch.full((32,), 0.5, device=device)
        torch.testing.assert_close(
            fused_norm(x, weight, bias, 8, 1e-5, "silu"), F.silu(F.group_norm(x, 8, weight, bias))
        )
    except Exception as error:  # no Triton, no C compiler for it, another kind of GPU
        words = f"{type(error).__name__}: {error}".split("\n")[0][:200]
        print(
            f"group normalisation is torch's own, which is slower: Triton does not work here ({words})", file=sys.stderr
        )
        return False
    return True
