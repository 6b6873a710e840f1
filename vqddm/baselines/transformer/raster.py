"""Sampling, completion and likelihood of code maps in raster order, one code after the other.

Where a map is larger than the transformer's window, the window slides: each code is seen with as much around it as the
window holds, as in VQ-GAN's sliding attention.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from vqddm.baselines.transformer.network import Cache, CodeTransformer
from vqddm.prior.diffusion import draw, tempered


def next_probs(logits: Tensor, top_k: int | None, temperature: float) -> Tensor:
    """Probabilities (B, K) of the next code: the logits over the temperature, all but the `top_k` largest left out."""
    logits = tempered(logits.float(), temperature)
    if top_k is not None and top_k < logits.shape[-1]:
        logits = logits.masked_fill(logits < logits.topk(top_k).values[:, -1:], -torch.inf)
    return logits.softmax(-1)


def window_start(position: int, size: int, window: int) -> int:
    """First row (or column) of the window that has `position` in its middle, as far as the map of `size` allows."""
    return max(0, min(position - window // 2, size - window))


def seen(codes: Tensor, row: int, column: int, window: int) -> tuple[Tensor, int]:
    """The codes of the window around (row, column) in raster order, (B, window²), and where that code is in it."""
    top, left = (window_start(at, size, window) for at, size in zip((row, column), codes.shape[1:], strict=True))
    part = codes[:, top : top + window, left : left + window]
    return part.flatten(1), (row - top) * part.shape[2] + column - left


@torch.inference_mode()
def complete_codes(
    transformer: CodeTransformer,
    codes: Tensor,
    given: Tensor,
    top_k: int | None,
    temperature: float,
    generator: torch.Generator,
    tick: Callable[[], object] = lambda: None,
) -> Tensor:
    """Draw what is not given, code by code: int64 (B, h, w); the given codes come back unchanged.

    A code sees what stands before it in raster order, given or drawn, and nothing after it. With nothing given this is
    sampling.

    Args:
        transformer: on the device of `codes`.
        codes: int64 (B, h, w); what it holds where nothing is given does not matter.
        given: bool (h, w) or (B, h, w), True = given.
        top_k: how many of the likeliest codes may be drawn; None for all.
        temperature: divides the logits.
        generator: the only source of randomness, on the device of `codes`.
        tick: called after each code.
    """
    found, given = codes.clone(), given.expand(codes.shape)
    height, width = codes.shape[1:]
    cached = max(height, width) <= transformer.window
    cache, before = Cache(), transformer.begin(codes)
    for position in range(height * width):
        row, column = divmod(position, width)
        known = given[:, row, column]
        if cached:
            logits = transformer.step(before, position, cache)
        elif not known.all():
            around, index = seen(found, row, column, transformer.window)
            logits = transformer(around[:, : index + 1])[:, index]
        if not known.all():
            drawn = draw(next_probs(logits, top_k, temperature), generator)
            found[:, row, column] = torch.where(known, found[:, row, column], drawn)
        before = found[:, row, column : column + 1]
        tick()
    return found


@torch.inference_mode()
def exact_bits(transformer: CodeTransformer, codes: Tensor, batch_size: int = 64) -> Tensor:
    """-log2 p(z) / N of each code map of N codes, float64 (B,), for codes int64 (B, h, w): exact by the chain rule."""
    return torch.cat([_bits(transformer, part) for part in codes.split(batch_size)])


def _bits(transformer: CodeTransformer, codes: Tensor) -> Tensor:
    height, width = codes.shape[1:]
    if max(height, width) <= transformer.window:
        logits = transformer(codes.flatten(1))
    else:
        places = [seen(codes, *divmod(i, width), transformer.window) for i in range(height * width)]
        logits = torch.stack([transformer(around[:, : index + 1])[:, index] for around, index in places], 1)
    log_p = logits.double().log_softmax(-1).gather(-1, codes.flatten(1).unsqueeze(-1)).squeeze(-1)
    return -log_p.mean(1) / torch.log(log_p.new_tensor(2.0))
