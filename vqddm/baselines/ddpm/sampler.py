"""A trained pixel diffusion, for sampling."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqddm.baselines.ddpm.network import DDPM, sample_pixels
from vqddm.baselines.ddpm.settings import DDPMParams
from vqddm.compute import load_network
from vqddm.data.arrays import to_bytes
from vqddm.samplers import Sampling
from vqddm.settings import parse


class DDPMSampler:
    """A `samplers.Sampler`."""

    def __init__(self, network: DDPM, about: dict[str, Any]) -> None:
        self.network, self.about = network, about
        self.shape: tuple[int, ...] = (about["resolution"], about["resolution"], 3)
        self.steps = range(1, about["params"]["timesteps"] + 1)

    def draw(self, count: int, how: Sampling, generator: torch.Generator, tick: Callable[[], object]) -> Tensor:
        """Images, uint8 (count, H, W, 3)."""
        height, width, _ = self.shape
        shape = (count, 3, height, width)
        made = sample_pixels(self.network, self.steps[-1], shape, how.steps, how.eta, generator, tick)
        return torch.from_numpy(to_bytes(made))


def load_ddpm(path: Path, device: str = "cpu") -> DDPMSampler:
    """Read `ddpm.safetensors`.

    Raises:
        UserError: missing, damaged, or no pixel diffusion.
    """

    def make(about: dict[str, Any]) -> DDPM:
        return DDPM(about["resolution"], parse(DDPMParams, about["params"], where=str(path)))

    network, about = load_network(path, "ddpm", make, device)
    return DDPMSampler(network.to(memory_format=torch.channels_last), about)
