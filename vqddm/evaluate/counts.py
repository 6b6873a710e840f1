"""Parameters and multiply-accumulates of a network, counted on the meta device without any arithmetic."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count


def parameters(module: nn.Module) -> int:
    """The number of parameters, each counted once wherever it is shared."""
    return sum(p.numel() for p in module.parameters())


def macs(module: nn.Module, *inputs: Tensor, exclude_transposed: bool = False) -> int:
    """Multiply-accumulates of one evaluation, half of what torch's counter calls FLOPs.

    Convolutions and matrix products count, attention's included; biases, norms and activations do not.

    Args:
        module: on any device; it is counted on a copy without storage, in evaluation mode.
        inputs: of the wanted sizes, the batch included.
        exclude_transposed: leave transposed convolutions out, as the paper's Table 2 does.
    """
    counted = copy.deepcopy(module).to("meta").eval()
    counter = FlopCounterMode(
        display=False,
        custom_mapping={torch.ops.aten.convolution: _forward_only} if exclude_transposed else None,
    )
    with counter, torch.no_grad():
        counted(*(x.to("meta") for x in inputs))
    return counter.get_total_flops() // 2


def _forward_only(
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    _bias: Any,
    _stride: Any,
    _padding: Any,
    _dilation: Any,
    transposed: bool,
    *_: Any,
    out_shape: Sequence[int],
    **__: Any,
) -> int:
    """FLOPs of `aten.convolution`, none for a transposed one."""
    return 0 if transposed else conv_flop_count(list(x_shape), list(w_shape), list(out_shape))
