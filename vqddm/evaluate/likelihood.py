"""The exact NLL of section 4.3, in bits per code, on both splits."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vqddm.artifacts import read_array, write_json
from vqddm.baselines.transformer import raster
from vqddm.baselines.transformer.train import load_transformer
from vqddm.evaluate.measure import enough
from vqddm.prior.likelihood import exact_bits
from vqddm.prior.train import load_prior
from vqddm.training import limit_threads


def measure_likelihood(
    prior: Path,
    codes_train: Path,
    codes_test: Path,
    images: int,
    seed: int,
    out: Path,
    threads: int | None = None,
) -> None:
    """Sum all T terms of the bound of Eq. 7 for the first `images` code maps of each split.

    Args:
        prior: the prior's checkpoint.
        codes_train: code maps of the training images.
        codes_test: code maps of the test images.
        images: number of code maps of each split.
        seed: seed of the z_t.
        out: JSON with mean and standard error in bits per code, the part of L_1, the ceiling log2 K.
        threads: CPU threads.
    """
    limit_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, schedule, about = load_prior(prior, device)
    found: dict[str, Any] = {"ceiling": math.log2(about["codebook_size"]), "timesteps": schedule.timesteps}
    for split, path in (("train", codes_train), ("test", codes_test)):
        generator = torch.Generator(device).manual_seed(seed)
        bits, terms = exact_bits(model, schedule, _first(path, images, device), generator)
        found[split] = _summary(bits) | {"first_term": float(terms[0])}
    write_json(out, found)


def measure_transformer_likelihood(
    transformer: Path, codes_train: Path, codes_test: Path, images: int, out: Path, threads: int | None = None
) -> None:
    """The transformer's exact NLL by the chain rule, for the first `images` code maps of each split.

    Args:
        transformer: the transformer's checkpoint.
        codes_train: code maps of the training images.
        codes_test: code maps of the test images.
        images: number of code maps of each split.
        out: JSON with mean and standard error in bits per code, the ceiling log2 K.
        threads: CPU threads.
    """
    limit_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, about = load_transformer(transformer, device)
    found: dict[str, Any] = {"ceiling": math.log2(about["codebook_size"])}
    for split, path in (("train", codes_train), ("test", codes_test)):
        found[split] = _summary(raster.exact_bits(model, _first(path, images, device)))
    write_json(out, found)


def _first(path: Path, images: int, device: str) -> Tensor:
    """The first code maps of a split, int64 (images, h, w)."""
    return torch.from_numpy(enough(read_array(path), images, path).astype(np.int64)).to(device)


def _summary(bits: Tensor) -> dict[str, Any]:
    return {
        "bits_per_code": float(bits.mean()),
        "standard_error": float(bits.std() / math.sqrt(len(bits))) if len(bits) > 1 else None,
        "images": len(bits),
    }
