"""A trained transformer, for sampling, inpainting and likelihoods."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqddm.baselines.transformer.network import CodeTransformer
from vqddm.baselines.transformer.raster import complete_codes, exact_bits
from vqddm.baselines.transformer.settings import TransformerParams
from vqddm.compute import load_network
from vqddm.samplers import Bits, Sampling
from vqddm.settings import parse


class TransformerSampler:
    """A `samplers.CodeSampler`; a step is a code, in raster order, and its likelihood is exact."""

    def __init__(self, network: CodeTransformer, about: dict[str, Any]) -> None:
        self.network, self.about = network, about
        self.top_k: int | None = about["params"]["top_k"]
        self.codebook_size: int = network.codebook_size
        self.shape: tuple[int, ...] = tuple(about["latent_size"])
        positions = self.shape[0] * self.shape[1]
        self.steps = range(positions, positions + 1)

    def draw(self, count: int, how: Sampling, generator: torch.Generator, tick: Callable[[], object]) -> Tensor:
        """Code maps, uint16 (count, h, w)."""
        nothing = torch.zeros(count, *self.shape, dtype=torch.int64, device=generator.device)
        temperature = how.temperature
        found = complete_codes(self.network, nothing, nothing.bool(), self.top_k, temperature, generator, tick)
        return found.to(torch.uint16)

    def complete(
        self, codes: Tensor, given: Tensor, how: Sampling, generator: torch.Generator, tick: Callable[[], object]
    ) -> Tensor:
        """A code sees only what stands before it."""
        return complete_codes(self.network, codes, given, self.top_k, how.temperature, generator, tick)

    def bits_per_code(self, codes: Tensor, generator: torch.Generator) -> Bits:
        """By the chain rule; nothing is drawn."""
        return Bits(exact_bits(self.network, codes))


def load_transformer(path: Path, device: str = "cpu") -> TransformerSampler:
    """Read `transformer.safetensors`.

    Raises:
        UserError: missing, damaged, or no transformer.
    """

    def make(about: dict[str, Any]) -> CodeTransformer:
        return CodeTransformer(about["codebook_size"], parse(TransformerParams, about["params"], where=str(path)))

    return TransformerSampler(*load_network(path, "transformer", make, device))
