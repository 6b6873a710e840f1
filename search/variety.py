"""How much completions of one picture vary, by each method that completes, into `results/variety.csv`.

    python search/variety.py

It takes the models and validation pictures of the default run from the working folder, as `make reproduce` leaves them
there, and completes each picture twice. `own` is the mean distance in the filled region between the first completion
and the picture as the first stage reconstructs it, `between` that between both completions. Were completions drawn as
the pictures themselves are distributed, given what is known, the two would be equal. What varies less has the smaller
`between`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from vqddm.artifacts import UserError, replacing
from vqddm.compute import device, mixed
from vqddm.data.arrays import load_split
from vqddm.evaluate.agreement import agreement
from vqddm.methods import METHODS
from vqddm.prior.masks import all_masks
from vqddm.samplers import CodeSampler, Process, Sampling, load_pair
from vqddm.vqgan.codec import decode_codes, encode_images
from vqddm.vqgan.perceptual import perceptual_distance

OUT = Path(__file__).parents[1] / "results/variety.csv"
DATASETS, FIRST_STAGE, PICTURES = ("faces", "fashion"), "refit_k256_p4000", 64
NAMES = ("prior", "renoise", "transformer")


def completed(sampler: CodeSampler, known: Tensor, given: Tensor, how: Sampling, seed: int) -> Tensor:
    """Completions of code maps, int64 (n, h, w) both."""
    generator = torch.Generator(device()).manual_seed(seed)
    with mixed(sampler.network):
        return sampler.complete(known, given, how, generator, lambda: None)


def measured(dataset: str) -> Iterator[dict[str, Any]]:
    """A row for each method and mask. The known codes come from the full pictures, as in the default run."""
    models, metric = Path("models") / dataset / FIRST_STAGE, perceptual_distance("efficientnet_lite0")
    pictures = np.array(load_split(Path("data") / dataset / "validation.npy")[:PICTURES])
    for method in map(METHODS.__getitem__, NAMES):
        first_stage = models / "first_stage.safetensors"
        sampler, codec = load_pair(models / f"{method.trained}.safetensors", first_stage, device())
        how = Sampling(sampler.steps[-1], sampler=cast(Process, method.sampler or "ancestral"))
        known = torch.from_numpy(encode_images(codec, pictures)).long().to(device())
        height, width = sampler.shape
        for mask, given in tqdm(all_masks(height, width, 0).items(), desc=f"{dataset}, {method.name}"):
            twice = [completed(sampler, known, given.to(device()), how, seed) for seed in (0, 1)]
            one, other, original = (decode_codes(codec, codes.cpu().numpy()) for codes in (*twice, known))
            own, between = (agreement(one, beside, ~given, metric)[0].mean() for beside in (original, other))
            yield {"dataset": dataset, "method": method.name, "mask": mask, "own": own, "between": between}


def main() -> None:
    found = pd.DataFrame([row for dataset in DATASETS for row in measured(dataset)])
    with replacing(OUT) as aside:
        found.round(4).to_csv(aside, index=False)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"variety: {error}")
