"""Inpainting as numbers (section 4.4): what was given is kept, what was filled in agrees with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from vqddm.artifacts import UserError, write_json
from vqddm.evaluate.agreement import agreement
from vqddm.training import limit_threads
from vqddm.vqgan.perceptual import perceptual_distance


def measure_inpainting(pictures: Path, out: Path, threads: int | None = None) -> None:
    """Agreement of completions with their originals inside the filled region, beside chance.

    Args:
        pictures: the `.npz` of completions: names, masks, originals, completed.
        out: JSON with a block for each mask.
        threads: CPU threads.
    """
    limit_threads(threads)
    metric = perceptual_distance("efficientnet_lite0")
    found = {}
    if not pictures.exists():
        raise UserError(f"{pictures}: no such file; build it with `snakemake --cores all {pictures}`")
    with np.load(pictures) as arrays:
        for index, name in enumerate(arrays["names"]):
            given = torch.from_numpy(arrays["masks"][index])
            own, chance = agreement(arrays["completed"][index], arrays["originals"][index], ~given, metric)
            found[str(name)] = {
                "given_fraction": float(given.double().mean()),
                "agreement": float(np.mean(own)),
                "chance": float(np.mean(chance)),
                "images": len(own),
            }
    write_json(out, {"metric": metric.label, "masks": found})
