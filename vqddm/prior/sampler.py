"""A trained prior, for sampling, inpainting and likelihoods."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqddm.artifacts import UserError
from vqddm.compute import at_once, bf16_units, load_network
from vqddm.prior.likelihood import bound_bits
from vqddm.prior.reverse import inpaint_codes, sample_codes
from vqddm.prior.settings import PriorParams
from vqddm.prior.transitions import TRANSITIONS
from vqddm.prior.unet import Prior
from vqddm.samplers import Bits, Sampling, load_pair
from vqddm.settings import parse
from vqddm.vqgan.codec import Codec


class PriorSampler:
    """A `samplers.CodeSampler`; of its likelihood it tells the bound of Eq. 7."""

    def __init__(self, network: Prior, about: dict[str, Any]) -> None:
        self.network, self.about = network, about
        self.codebook_size: int = network.codebook_size
        self.shape: tuple[int, ...] = tuple(about["latent_size"])
        self.steps = range(1, network.diffusion.timesteps + 1)

    def draw(self, count: int, how: Sampling, generator: torch.Generator, tick: Callable[[], object]) -> Tensor:
        """Code maps, uint16 (count, h, w)."""
        height, width = self.shape
        shape = (count, height, width)
        codes = sample_codes(self.network, shape, how.steps, how.temperature, generator, tick, how.sampler)
        return codes.to(torch.uint16)

    def complete(
        self, codes: Tensor, given: Tensor, how: Sampling, generator: torch.Generator, tick: Callable[[], object]
    ) -> Tensor:
        """In every step, what is given holds codes that are as noisy as the others."""
        return inpaint_codes(self.network, codes, given, how.steps, how.temperature, generator, tick, how.sampler)

    def bits_per_code(self, codes: Tensor, generator: torch.Generator) -> Bits:
        """The bound and its T terms."""
        return Bits(*bound_bits(self.network, codes, generator, at_once(codes.device, 256, 1024)))


def load_uniform(prior: Path, first_stage: Path, device: str = "cpu") -> tuple[PriorSampler, Codec]:
    """Read a prior with the uniform transition, whose z_t are codes at every t, and the first stage that decodes them.

    Raises:
        UserError: missing, damaged, of another kind or transition, or the two do not fit.
    """
    sampler, codec = load_pair(prior, first_stage, device)
    if not isinstance(sampler, PriorSampler) or not TRANSITIONS[sampler.network.diffusion.transition].on_codes:
        raise UserError(f"{prior}: give a prior with the uniform transition, whose noise consists of codes")
    return sampler, codec


def load_prior(path: Path, device: str = "cpu") -> PriorSampler:
    """Read `prior.safetensors`.

    What was trained in bf16 keeps its weights in bf16, on a GPU and on a CPU that has units for it; anything else is
    evaluated in float32.

    Raises:
        UserError: missing, damaged, or no prior.
    """

    def make(about: dict[str, Any]) -> Prior:
        params = parse(PriorParams, about["params"], where=str(path))
        return Prior(about["codebook_size"], params.unet, params.diffusion)

    network, about = load_network(path, "prior", make, device)
    if network.precision == "bf16" and (device != "cpu" or bf16_units()):
        network.unet.keep_in_bf16()
    return PriorSampler(network, about)
