"""Parameters and multiply-accumulates of a suite's networks and of the paper's (Tables 2 and 3).

They are counted on the meta device, without any arithmetic.
"""

import copy
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from vqddm.artifacts import write_json
from vqddm.baselines.ddpm.network import DDPM
from vqddm.baselines.ddpm.settings import DDPMParams
from vqddm.baselines.transformer.network import Block, Cache, CodeTransformer
from vqddm.baselines.transformer.raster import window_start
from vqddm.baselines.transformer.settings import TransformerParams
from vqddm.evaluate.settings import PaperNetworks
from vqddm.params import paper_networks, read
from vqddm.prior.settings import DiffusionParams, PriorParams, UNetParams
from vqddm.prior.unet import Prior
from vqddm.settings import parse
from vqddm.vqgan.model import FirstStage
from vqddm.vqgan.settings import AutoencoderParams, VQGANParams


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
        display=False, custom_mapping={torch.ops.aten.convolution: _forward_only} if exclude_transposed else None
    )
    with counter, torch.no_grad():
        counted(*(x.to("meta") for x in inputs))
    return counter.get_total_flops() // 2


def _forward_only(x_shape: Any, w_shape: Any, *more: Any, out_shape: Any, **_: Any) -> int:
    """FLOPs of `aten.convolution`, none for a transposed one."""
    _bias, _stride, _padding, _dilation, transposed, *_rest = more
    return 0 if transposed else conv_flop_count(list(x_shape), list(w_shape), list(out_shape))


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


def write_counts(*, vqgan: VQGANParams, prior: PriorParams, codebook_size: int, out: Path) -> None:
    """Count parameters and multiply-accumulates of a dataset's networks."""
    write_json(out, count_networks(vqgan.autoencoder, codebook_size, prior.unet, prior.diffusion))


def write_transformer_counts(
    *, vqgan: VQGANParams, transformer: TransformerParams, codebook_size: int, out: Path
) -> None:
    """Count parameters and multiply-accumulates of a dataset's transformer."""
    write_json(out, count_transformer(vqgan.autoencoder, codebook_size, transformer))


def write_ddpm_counts(*, ddpm: DDPMParams, resolution: int, out: Path) -> None:
    """Count parameters and multiply-accumulates of a dataset's pixel diffusion."""
    write_json(out, count_ddpm(resolution, ddpm))


def count_paper(paper: PaperNetworks) -> dict[str, Any]:
    """Count the paper's networks: first stage and prior for each of its codebooks, and what it compares with."""
    priors = {str(k): count_networks(paper.autoencoder, k, paper.unet, paper.diffusion) for k in paper.codebooks}
    return {
        **priors,
        "vqgan_transformer": count_transformer(paper.autoencoder, paper.transformer_codebook, paper.transformer),
        "ddim": count_ddpm(paper.autoencoder.resolution, paper.ddpm),
    }


def write_paper_counts(*, paper: PaperNetworks, out: Path) -> None:
    """Count parameters and multiply-accumulates of the paper's networks."""
    write_json(out, count_paper(paper))


PUBLISHED = {  # Table 2 and section 4.3
    "prior, K = 512": "117 M, 1.04 G",
    "prior, K = 1024": "117 M, 1.06 G",
    "transformer, K = 1024": "802 M, 102 G per image",
    "DDPM / DDIM, 256 px": "114 M, 124 G per step",
}


def describe(path: Path = Path("params.yaml")) -> str:
    """Print parameters and multiply-accumulates of the paper's networks, beside what is published, in Markdown.

    Args:
        path: the params.yaml whose preset has their sizes.
    """
    paper = parse(PaperNetworks, paper_networks(read([path]).values), where=str(path))
    counted = count_paper(paper)
    rows = []
    for k in paper.codebooks:
        prior = counted[str(k)]["prior"]
        step, as_paper = prior["macs_per_step"] / 1e9, prior["macs_per_step_as_paper"] / 1e9
        without = f"{as_paper:.4f} G without transposed convolutions"
        rows.append((f"prior, K = {k}", prior["parameters"], f"{step:.4f} G per step, {without}"))
    for k in paper.codebooks:
        stage = counted[str(k)]["autoencoder"]
        operations = f"encoder {stage['encoder_macs'] / 1e9:.1f} G, decoder {stage['decoder_macs'] / 1e9:.1f} G"
        rows.append((f"first stage f = {paper.autoencoder.downsampling}, K = {k}", stage["parameters"], operations))
    quoted, pixels = counted["vqgan_transformer"], counted["ddim"]
    code, image = quoted["prior"]["macs_per_step"] / 1e9, quoted["macs_per_image"] / 1e9
    operations = f"{code:.4f} G per code, cached, {image:.0f} G per image with the decoder"
    rows.append((f"transformer, K = {paper.transformer_codebook}", quoted["prior"]["parameters"], operations))
    operations = f"{pixels['macs_per_step'] / 1e9:.1f} G per step"
    rows.append((f"DDPM / DDIM, {pixels['resolution']} px", pixels["parameters"], operations))
    lines = ["| network | parameters | multiply-accumulates | published |", "| --- | --- | --- | --- |"]
    lines += [f"| {name} | {count / 1e6:.2f} M | {done} | {PUBLISHED.get(name, '')} |" for name, count, done in rows]
    return "\n".join(lines)
