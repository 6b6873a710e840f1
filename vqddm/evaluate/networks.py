"""Parameters and multiply-accumulates of a suite's networks and of the paper's (Tables 2 and 3)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vqddm.artifacts import write_json
from vqddm.baselines.ddpm.network import DDPM
from vqddm.baselines.ddpm.settings import DDPMParams
from vqddm.baselines.transformer.network import Block, Cache, CodeTransformer
from vqddm.baselines.transformer.raster import window_start
from vqddm.baselines.transformer.settings import TransformerParams
from vqddm.evaluate.counts import macs, parameters
from vqddm.prior.settings import DiffusionParams, UNetParams
from vqddm.prior.unet import Prior
from vqddm.settings import TrainingParams
from vqddm.vqgan.model import FirstStage
from vqddm.vqgan.settings import AutoencoderParams

# Section 4.1 and the appendix; what the text leaves open is as in the official first stage.
PAPER_AUTOENCODER = AutoencoderParams(
    resolution=256,
    patch=1,
    width=128,
    multipliers=(1, 1, 2, 2, 4),
    blocks=2,
    attention=(16,),
    z_channels=256,
    embed_dim=256,
)
PAPER_UNET = UNetParams(width=128, multipliers=(1, 2, 4, 8), groups=8, heads=4, head_dim=32)
PAPER_DIFFUSION = DiffusionParams(timesteps=4000, schedule="cosine", residual=True)
PAPER_CODEBOOKS = (512, 1024, 16384)
PAPER_DDPM = DDPMParams(  # the official DDPM's for CelebA-HQ 256: the paper's 114 M
    timesteps=1000,
    patch=1,
    widths=(128, 128, 256, 256, 512, 512),
    blocks=2,
    attention=(16,),
    groups=32,
    learning_rate=2e-5,
    warmup_steps=5000,
    gradient_clip=1.0,
    ema_decay=0.9999,
    training=TrainingParams(steps=500_000, batch_size=64, precision="no", seed=0),
)
PAPER_TRANSFORMER = TransformerParams(  # the official release's for CelebA-HQ: the paper's 802 M
    layers=24,
    width=1664,
    heads=16,
    window=16,
    top_k=100,
    learning_rate=4.5e-6,
    warmup_steps=0,
    gradient_clip=None,
    training=TrainingParams(steps=1, batch_size=1, precision="no", seed=0),
)


def layers(module: nn.Module, part: str) -> list[list[Any]]:
    """The convolutions of a network in order: [part, name, output channels, input channels, kernel]."""
    return [
        [part, name, layer.out_channels, layer.in_channels, layer.kernel_size[0]]
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Conv2d)
    ]


def count_networks(
    autoencoder: AutoencoderParams, codebook_size: int, unet: UNetParams, diffusion: DiffusionParams
) -> dict[str, Any]:
    """Count first stage and prior on the meta device, where no weight is ever allocated.

    The paper's "FLOPs" are multiply-accumulates of one evaluation of the prior, its transposed convolutions
    missed, the decoder left out; both that count and the full one are given.
    """
    side = autoencoder.resolution // autoencoder.downsampling
    with torch.device("meta"):
        first_stage = FirstStage(autoencoder, codebook_size)
        prior = Prior(codebook_size, unet, diffusion)
        image = torch.empty(1, 3, autoencoder.resolution, autoencoder.resolution)
        latent = torch.empty(1, autoencoder.z_channels, side, side)
        codes = torch.zeros(1, side, side, dtype=torch.int64)
        timestep = torch.zeros(1, dtype=torch.int64)
    per_step = macs(prior, codes, timestep)
    decoder = macs(first_stage.decoder, latent)
    return {
        "codebook_size": codebook_size,
        "resolution": autoencoder.resolution,
        "autoencoder": {
            "parameters": parameters(first_stage),
            "encoder_parameters": parameters(first_stage.encoder),
            "decoder_parameters": parameters(first_stage.decoder),
            "encoder_macs": macs(first_stage.encoder, image),
            "decoder_macs": decoder,
            "layers": layers(first_stage.encoder, "encoder") + layers(first_stage.decoder, "decoder"),
        },
        "prior": {
            "parameters": parameters(prior),
            "macs_per_step": per_step,
            "macs_per_step_as_paper": macs(prior, codes, timestep, exclude_transposed=True),
        },
        "timesteps": diffusion.timesteps,
        "macs_per_image": diffusion.timesteps * per_step + decoder,
    }


def count_transformer(
    autoencoder: AutoencoderParams, codebook_size: int, transformer: TransformerParams
) -> dict[str, Any]:
    """Count first stage and transformer as `count_networks` does; a step is one code, the mean over a map."""
    side = autoencoder.resolution // autoencoder.downsampling
    with torch.device("meta"):
        first_stage = FirstStage(autoencoder, codebook_size)
        network = CodeTransformer(codebook_size, transformer)
        latent = torch.empty(1, autoencoder.z_channels, side, side)
    decoder = macs(first_stage.decoder, latent)
    per_code = _cached_step(network, side) if side <= transformer.window else _sliding_step(network, side)
    return {
        "codebook_size": codebook_size,
        "autoencoder": {"parameters": parameters(first_stage), "decoder_macs": decoder},
        "prior": {"parameters": parameters(network), "macs_per_step": per_code, "macs_per_step_as_paper": None},
        "timesteps": side**2,
        "macs_per_image": side**2 * per_code + decoder,
    }


def _cached_step(network: CodeTransformer, side: int) -> int:
    """A step costs more the more codes are cached, each of them equally: the mean is that of the first and last."""
    return (macs(_Step(network, 0)) + macs(_Step(network, side**2 - 1))) // 2


def _sliding_step(network: CodeTransformer, side: int) -> int:
    """Where the window slides nothing can be cached: each code takes all codes before it in its window anew."""
    rows = [row - window_start(row, side, network.window) for row in range(side)]
    lengths = Counter(row * network.window + column + 1 for row in rows for column in rows)
    with torch.device("meta"):
        whole = sum(
            count * macs(network, torch.zeros(1, length, dtype=torch.int64)) for length, count in lengths.items()
        )
    return whole // side**2


class _Step(nn.Module):
    """One code of a transformer whose cache holds the `position` codes before it."""

    def __init__(self, network: CodeTransformer, position: int) -> None:
        super().__init__()
        self.network, self.position = network, position

    def forward(self) -> Tensor:
        cache = Cache()
        with torch.device("meta"):
            block: Block
            for number, block in enumerate(self.network.blocks):  # type: ignore[assignment]
                kept = torch.empty(1, block.heads, self.position, block.out.in_features // block.heads)
                cache.add(number, kept, kept)
            return self.network.step(torch.zeros(1, 1, dtype=torch.int64), self.position, cache)


def count_ddpm(resolution: int, ddpm: DDPMParams) -> dict[str, Any]:
    """Count the U-Net of a pixel diffusion as `count_networks` does; an image takes as many steps as one likes."""
    with torch.device("meta"):
        network = DDPM(resolution, ddpm)
        image = torch.empty(1, 3, resolution, resolution)
        timestep = torch.zeros(1, dtype=torch.int64)
    return {
        "resolution": resolution,
        "parameters": parameters(network),
        "macs_per_step": macs(network, image, timestep),
        "timesteps": ddpm.timesteps,
    }


def write_transformer_counts(
    autoencoder: AutoencoderParams, codebook_size: int, transformer: TransformerParams, out: Path
) -> None:
    """Write the counts of one dataset's transformer."""
    write_json(out, count_transformer(autoencoder, codebook_size, transformer))


def write_counts(
    autoencoder: AutoencoderParams,
    codebook_size: int,
    unet: UNetParams,
    diffusion: DiffusionParams,
    out: Path,
) -> None:
    """Write the counts of one dataset's networks."""
    write_json(out, count_networks(autoencoder, codebook_size, unet, diffusion))


def write_paper_counts(out: Path) -> None:
    """Write the counts of the paper's networks for each of its codebook sizes."""
    write_json(
        out,
        {
            **{str(k): count_networks(PAPER_AUTOENCODER, k, PAPER_UNET, PAPER_DIFFUSION) for k in PAPER_CODEBOOKS},
            "vqgan_transformer": count_transformer(PAPER_AUTOENCODER, 1024, PAPER_TRANSFORMER),
            "ddim": count_ddpm(PAPER_AUTOENCODER.resolution, PAPER_DDPM),
        },
    )


def describe() -> str:
    """The paper's networks as a Markdown table: what is counted here beside what is published.

    "Published" are the paper's numbers (Table 2 and the appendix).
    """
    counted = {k: count_networks(PAPER_AUTOENCODER, k, PAPER_UNET, PAPER_DIFFUSION) for k in PAPER_CODEBOOKS}
    lines = ["| network | parameters | multiply-accumulates | published |", "| --- | --- | --- | --- |"]
    published = {512: "117 M, 1.04 G", 1024: "117 M, 1.06 G"}
    for k, counts in counted.items():
        prior = counts["prior"]
        lines.append(
            f"| prior, K = {k} | {prior['parameters'] / 1e6:.2f} M | {prior['macs_per_step'] / 1e9:.4f} G per step, "
            f"{prior['macs_per_step_as_paper'] / 1e9:.4f} G without transposed convolutions | {published.get(k, '')} |"
        )
    for k, counts in counted.items():
        stage = counts["autoencoder"]
        lines.append(
            f"| first stage f = 16, K = {k} | {stage['parameters'] / 1e6:.2f} M | encoder "
            f"{stage['encoder_macs'] / 1e9:.1f} G, decoder {stage['decoder_macs'] / 1e9:.1f} G | |"
        )
    quoted = count_transformer(PAPER_AUTOENCODER, 1024, PAPER_TRANSFORMER)
    lines.append(
        f"| transformer, K = 1024 | {quoted['prior']['parameters'] / 1e6:.2f} M | "
        f"{quoted['prior']['macs_per_step'] / 1e9:.4f} G per code, cached, "
        f"{quoted['macs_per_image'] / 1e9:.0f} G per image with the decoder | 802 M, 102 G per image |"
    )
    pixels = count_ddpm(PAPER_AUTOENCODER.resolution, PAPER_DDPM)
    lines.append(
        f"| DDPM / DDIM, 256 px | {pixels['parameters'] / 1e6:.2f} M | {pixels['macs_per_step'] / 1e9:.1f} G per step "
        "| 114 M, 124 G per step |"
    )
    return "\n".join(lines)
