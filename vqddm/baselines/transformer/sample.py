"""Images of the transformer prior: samples, and completions in raster order."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from vqddm.artifacts import UserError, fingerprint, read_array, write_batches
from vqddm.baselines.transformer.raster import complete_codes
from vqddm.baselines.transformer.settings import TransformerParams
from vqddm.baselines.transformer.train import load_transformer
from vqddm.prior.inpaint import Encode, complete_images
from vqddm.prior.sample import BATCH, check_pair, forget_batches, in_batches
from vqddm.settings import parse
from vqddm.state import alone_in
from vqddm.training import limit_threads
from vqddm.vqgan.codec import decoded
from vqddm.vqgan.model import load_first_stage


def sample_images(
    transformer: Path,
    first_stage: Path,
    count: int,
    seed: int,
    temperature: float,
    state: Path,
    codes: Path,
    out: Path,
    threads: int | None = None,
) -> None:
    """Draw code maps code by code and push them into the decoder.

    Args:
        transformer: the transformer's checkpoint; its parameters say from how many codes to draw.
        first_stage: checkpoint of the first stage that it was trained on.
        count: number of images.
        seed: seed of the sampling.
        temperature: divides the logits.
        state: folder of finished batches; they are deleted at the end.
        codes: the code maps to write, uint16 (count, h, w).
        out: the images to write, uint8 (count, H, W, 3).
        threads: CPU threads.

    Raises:
        UserError: transformer and first stage do not belong together.
    """
    if count < 1 or not 0 < temperature < math.inf:
        raise UserError(f"{count} images at temperature {temperature}: both must be above 0 and finite")
    limit_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network, about = load_transformer(transformer, device)
    decoder, about_stage = load_first_stage(first_stage, device)
    check_pair(transformer, about, first_stage, about_stage)
    top_k, (height, width) = parse(TransformerParams, about["params"]).top_k, about["latent_size"]

    def draw_batch(size: int, generator: torch.Generator, tick: Callable[[], object]) -> Tensor:
        nothing = torch.zeros(size, height, width, dtype=torch.int64, device=device)
        found = complete_codes(network, nothing, nothing.bool(), top_k, temperature, generator, tick)
        return found.to(torch.uint16)

    with alone_in(state):
        settings = [fingerprint(transformer), temperature, threads]
        in_batches(draw_batch, count, BATCH, height * width, seed, settings, state, codes, device)
        write_batches(out, decoded(decoder, read_array(codes)), count)
        forget_batches(state)


def inpaint_images(
    transformer: Path,
    first_stage: Path,
    data: Path,
    count: int,
    encode: Encode,
    seed: int,
    temperature: float,
    out: Path,
    threads: int | None = None,
) -> None:
    """Complete the first images of a split from each mask in raster order, as `prior.inpaint.inpaint_images` does.

    Args:
        transformer: the transformer's checkpoint.
        first_stage: checkpoint of its first stage.
        data: `test.npy` of the dataset.
        count: images for each mask.
        encode: which image gives the known codes.
        seed: seed of the random mask and the sampling.
        temperature: divides the logits.
        out: `.npz` as the prior's.
        threads: CPU threads.

    Raises:
        UserError: too few images, or transformer and first stage do not belong together.
    """
    limit_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network, about = load_transformer(transformer, device)
    decoder, about_stage = load_first_stage(first_stage, device)
    check_pair(transformer, about, first_stage, about_stage)
    top_k = parse(TransformerParams, about["params"]).top_k
    generator = torch.Generator(device).manual_seed(seed)

    def complete(codes: Tensor, given: Tensor) -> Tensor:
        return complete_codes(network, codes, given, top_k, temperature, generator)

    complete_images(decoder, about["latent_size"], data, count, encode, seed, complete, out)
