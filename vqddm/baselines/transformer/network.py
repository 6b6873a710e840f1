"""The autoregressive prior of VQ-GAN: a causal transformer over the codes of a map in raster order.

At the sizes of the official release (24 layers, width 1664, 16 x 16 codes, K = 1024) it has 802 M parameters, as the
paper quotes.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqddm.artifacts import UserError
from vqddm.baselines.transformer.settings import TransformerParams


class Cache:
    """Keys and values of the codes that were seen, for each layer: (B, heads, n, d)."""

    def __init__(self) -> None:
        self.kept: dict[int, tuple[Tensor, Tensor]] = {}

    def add(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Put new keys and values behind the kept ones; return all."""
        if layer in self.kept:
            key, value = (torch.cat([old, new], 2) for old, new in zip(self.kept[layer], (key, value), strict=True))
        self.kept[layer] = (key, value)
        return key, value


class Block(nn.Module):
    """Causal self-attention and a perceptron, each behind a LayerNorm and beside a shortcut (GPT-2)."""

    def __init__(self, number: int, width: int, heads: int) -> None:
        super().__init__()
        self.number, self.heads = number, heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        """(B, n, width) to the same; with a cache, n = 1 and x follows what the cache holds."""
        batch, length, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        if cache is not None:
            key, value = cache.add(self.number, key, value)
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=cache is None)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, length, width))
        return x + self.mlp(self.norm2(x))


class CodeTransformer(nn.Module):
    """p(z_i | z_<i) for a window of `params.window` x `params.window` codes, each one of K.

    Raises:
        UserError: the heads do not divide the width.
    """

    def __init__(self, codebook_size: int, params: TransformerParams) -> None:
        super().__init__()
        if params.width % params.heads:
            raise UserError(f"transformer: {params.heads} heads do not divide width {params.width}")
        self.codebook_size, self.window = codebook_size, params.window
        self.codes = nn.Embedding(codebook_size + 1, params.width)  # the last one stands before the first code
        self.positions = nn.Parameter(torch.zeros(params.window**2, params.width))
        self.blocks = nn.ModuleList(Block(i, params.width, params.heads) for i in range(params.layers))
        self.norm = nn.LayerNorm(params.width)
        self.head = nn.Linear(params.width, codebook_size, bias=False)
        self.apply(_initialise)

    def forward(self, codes: Tensor) -> Tensor:
        """Logits (B, n, K) of every code given those before it, for codes (B, n) int64 in raster order, n at most
        window²; the last code is not looked at."""
        x = self.codes(torch.cat([self.begin(codes), codes[:, :-1]], 1)) + self.positions[: codes.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))

    def begin(self, codes: Tensor) -> Tensor:
        """What stands before the first code, int64 (B, 1)."""
        return codes.new_full((len(codes), 1), self.codebook_size)

    def step(self, before: Tensor, position: int, cache: Cache) -> Tensor:
        """Logits (B, K) of the code at `position`, given the one before it (B, 1) and a cache of all earlier ones."""
        x = self.codes(before) + self.positions[position]
        for block in self.blocks:
            x = block(x, cache)
        return self.head(self.norm(x))[:, 0]


def _initialise(module: nn.Module) -> None:
    """GPT-2's: weights from N(0, 0.02²), biases zero."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
