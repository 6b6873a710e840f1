"""How much completions of one picture vary, by each method that completes, into `results/variety.csv`.

    python search/variety.py

It takes the models and validation pictures of the default run from the working folder, as `make reproduce` leaves them
there, and completes each picture twice. `own` is the mean distance in the filled region between the first completion
and the picture, `between` that between both completions. Were completions drawn as the pictures themselves are
distributed, given what is known, the two would be equal. What varies less has the smaller `between`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from vqddm.artifacts import UserError, replacing
from vqddm.compute import device, mixed
from vqddm.data.arrays import load_split, to_bytes, to_unit
from vqddm.evaluate.agreement import agreement
from vqddm.prior.masks import all_masks
from vqddm.samplers import CodeSampler, Process, Sampling, load_pair
from vqddm.vqgan.codec import Codec
from vqddm.vqgan.perceptual import perceptual_distance

OUT = Path(__file__).parents[1] / "results/variety.csv"
DATASETS, FIRST_STAGE, PICTURES = ("faces", "fashion"), "refit_k256_p4000", 64
METHODS: dict[str, tuple[str, Process]] = {  # the checkpoint of each, and the sampler
    "prior": ("prior", "ancestral"),
    "renoise": ("prior", "renoise"),
    "transformer": ("transformer", "ancestral"),
}


@torch.inference_mode()
def completed(method: CodeSampler, codec: Codec, known: Tensor, given: Tensor, sampler: Process, seed: int) -> Any:
    """Completions of code maps (n, h, w), uint8 (n, H, W, 3)."""
    generator, how = torch.Generator(device()).manual_seed(seed), Sampling(method.steps[-1], sampler=sampler)
    with mixed(method.network):
        codes = method.complete(known, given, how, generator, lambda: None)
    with mixed(codec):
        return to_bytes(codec.decode(codes))


def measured(dataset: str) -> Iterator[dict[str, Any]]:
    """A row for each method and mask. The known codes come from the full pictures, as in the default run."""
    models, metric = Path("models") / dataset / FIRST_STAGE, perceptual_distance("efficientnet_lite0")
    pictures = np.array(load_split(Path("data") / dataset / "validation.npy")[:PICTURES])
    for name, (checkpoint, sampler) in METHODS.items():
        first_stage = models / "first_stage.safetensors"
        method, codec = load_pair(models / f"{checkpoint}.safetensors", first_stage, device())
        with torch.inference_mode(), mixed(codec):
            known = codec.encode(to_unit(pictures).to(device()))
        height, width = method.shape
        for mask, given in tqdm(all_masks(height, width, 0).items(), desc=f"{dataset}, {name}"):
            made = [completed(method, codec, known, given.to(device()), sampler, seed) for seed in (0, 1)]
            own, between = (agreement(made[0], other, ~given, metric)[0].mean() for other in (pictures, made[1]))
            yield {"dataset": dataset, "method": name, "mask": mask, "own": own, "between": between}


def main() -> None:
    found = pd.DataFrame([row for dataset in DATASETS for row in measured(dataset)])
    with replacing(OUT) as aside:
        found.round(4).to_csv(aside, index=False)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"variety: {error}")
