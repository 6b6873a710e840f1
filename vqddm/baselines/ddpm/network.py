"""Pixel diffusion: DDPM (Ho et al., 2020) with the U-Net of diffusers, sampled by DDIM (Song et al., 2021).

The sampler is written here, because that of diffusers takes uneven strides wrongly and then stops short of t = 0.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqddm.baselines.ddpm.settings import DDPMParams
from vqddm.prior.diffusion import strided_timesteps

DDPM_TIMESTEPS = 1000  # in the paper of DDPM


class DDPM(nn.Module):
    """The network of DDPM: the noise in images (B, 3, H, W), H = W = `resolution`, at timesteps 0..T-1."""

    def __init__(self, resolution: int, params: DDPMParams) -> None:
        from diffusers import UNet2DModel  # takes seconds, which only who builds this network should wait

        super().__init__()
        self.patch = params.patch
        size = resolution // params.patch
        channels = 3 * params.patch**2
        attention = [size // 2**level in params.attention for level in range(len(params.widths))]
        self.unet = UNet2DModel(
            sample_size=size,
            in_channels=channels,
            out_channels=channels,
            block_out_channels=params.widths,
            layers_per_block=params.blocks,
            down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attention),
            up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attention)),
            attention_head_dim=None,
            norm_num_groups=params.groups,
            norm_eps=1e-6,
            downsample_padding=0,
            flip_sin_to_cos=False,
            freq_shift=1,
        )

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Images (B, 3, H, W) and int64 timesteps (B,) to the noise that they hold, of the images' shape."""
        return F.pixel_shuffle(self.unet(F.pixel_unshuffle(x, self.patch), t).sample, self.patch)


def alpha_bars(timesteps: int, device: str | torch.device = "cpu") -> Tensor:
    """The products of 1 - beta up to each timestep 0..T, float64 (T + 1,).

    DDPM's beta rises from 1e-4 to 0.02 with T = 1000. With another T they are as many times larger as it is smaller, so
    that as little of the image is left at its end (Nichol and Dhariwal, 2021).
    """
    scale = DDPM_TIMESTEPS / timesteps
    betas = torch.linspace(1e-4 * scale, 0.02 * scale, timesteps, dtype=torch.float64, device=device).clamp(max=0.999)
    return torch.cat([betas.new_ones(1), (1 - betas).cumprod(0)])


def add_noise(x_0: Tensor, noise: Tensor, bar: Tensor) -> Tensor:
    """DDPM's Eq. 4: a draw of q(x_t | x_0), for `bar` (B,) at each image's timestep."""
    bar = bar.view(-1, 1, 1, 1)
    return (bar.sqrt() * x_0 + (1 - bar).sqrt() * noise).to(x_0.dtype)


def ddim_step(x_t: Tensor, noise: Tensor, bar_t: Tensor, bar_s: Tensor, eta: float, fresh: Tensor) -> Tensor:
    """DDIM's Eq. 12: x_s from x_t and the noise that the network sees in it, s < t.

    Args:
        x_t, noise, fresh: (B, 3, H, W); `fresh` is standard normal.
        bar_t, bar_s: products of 1 - beta up to t and s, scalars.
        eta: 0 adds no fresh noise; 1 adds that of DDPM's posterior between t and s (Eq. 16).
    """
    x_0 = ((x_t - (1 - bar_t).sqrt() * noise) / bar_t.sqrt()).clamp(-1, 1)
    sigma = eta * ((1 - bar_s) / (1 - bar_t) * (1 - bar_t / bar_s)).sqrt()
    noise = (x_t - bar_t.sqrt() * x_0) / (1 - bar_t).sqrt()  # that of the clamped image
    x_s = bar_s.sqrt() * x_0 + (1 - bar_s - sigma**2).clamp(min=0).sqrt() * noise + sigma * fresh
    return x_s.to(x_t.dtype)


@torch.inference_mode()
def sample_pixels(
    network: DDPM,
    timesteps: int,
    shape: tuple[int, int, int, int],
    steps: int,
    eta: float,
    generator: torch.Generator,
    tick: Callable[[], object] = lambda: None,
) -> Tensor:
    """Draw images: float32 of the given shape (B, 3, H, W), in [-1, 1], on the generator's device.

    Args:
        network: on the generator's device.
        timesteps: T of its training.
        steps: network evaluations, 1 to T.
        eta: 0 for DDIM; 1 with all T steps for DDPM's ancestral sampling with the posterior's variance.
        generator: the only source of randomness.
        tick: called after each step.

    Raises:
        UserError: `steps` is not in 1..T.
    """
    bars = alpha_bars(timesteps, generator.device)
    x = torch.randn(shape, generator=generator, device=generator.device)
    for t, s in pairwise([*strided_timesteps(timesteps, steps), 0]):
        noise = network(x, torch.full((len(x),), t - 1, device=x.device))  # DDPM's network counts from 0
        fresh = torch.randn(shape, generator=generator, device=x.device)
        x = ddim_step(x, noise, bars[t], bars[s], eta, fresh)
        tick()
    return x
