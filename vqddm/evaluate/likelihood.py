"""The NLL of section 4.3, in bits per code, on both splits: a method's exact one, or all terms of its bound."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vqddm.artifacts import UserError, write_json
from vqddm.compute import device, limit_threads, mixed
from vqddm.evaluate.draws import enough
from vqddm.samplers import Bits, fills_codes, load_sampler
from vqddm.vqgan.codec import read_codes


def measure_likelihood(
    *,
    checkpoint: Path,
    codes_train: Path,
    codes_test: Path,
    images: int,
    seed: int = 0,
    out: Path,
    threads: int | None = None,
) -> None:
    """Measure the NLL of the first code maps of each split in bits per code.

    Args:
        images: number of code maps of each split.
        out: JSON to write, with mean and standard error in bits per code, the ceiling log2 K, and of a bound the part
            of L_1.
    """
    limit_threads(threads)
    sampler = load_sampler(checkpoint, device())
    if not fills_codes(sampler):
        raise UserError(f"{checkpoint}: a {sampler.about['kind']} fills pixels; give a method that fills code maps")
    found: dict[str, Any] = {"ceiling": math.log2(sampler.codebook_size)}
    for split, path in (("train", codes_train), ("test", codes_test)):
        maps = enough(read_codes(path, sampler.codebook_size), images, path)
        codes = torch.from_numpy(maps.astype(np.int64)).to(device())
        with mixed(sampler.network):
            bits = sampler.bits_per_code(codes, torch.Generator(device()).manual_seed(seed))
        found[split] = _summary(bits)
        if bits.terms is not None:
            found["timesteps"] = len(bits.terms)
    write_json(out, found)


def _summary(bits: Bits) -> dict[str, Any]:
    several = len(bits.each) > 1
    summary = {
        "bits_per_code": float(bits.each.mean()),
        "standard_error": float(bits.each.std() / math.sqrt(len(bits.each))) if several else None,
        "images": len(bits.each),
    }
    return summary if bits.terms is None else summary | {"first_term": float(bits.terms[0])}
