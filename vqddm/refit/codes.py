"""Code maps of a dataset: what the prior is trained on."""

from __future__ import annotations

from pathlib import Path

import torch

from vqddm.artifacts import UserError, write_array
from vqddm.baselines.codebooks import load_codec
from vqddm.data.arrays import load_split
from vqddm.training import limit_threads
from vqddm.vqgan.codec import encode_images


def encode_splits(first_stage: Path, data: list[Path], out: list[Path], threads: int | None = None) -> None:
    """Write the code maps of prepared splits.

    Args:
        first_stage: checkpoint of a first stage.
        data: the splits, such as `train.npy` and `test.npy` of a dataset.
        out: for each split the code maps to write, uint16 (N, h, w) `.npy`.
        threads: CPU threads.

    Raises:
        UserError: the images do not have the size that the first stage was made for.
    """
    limit_threads(threads)
    model, _ = load_codec(first_stage, "cuda" if torch.cuda.is_available() else "cpu")
    for source, target in zip(data, out, strict=True):
        images = load_split(source)
        if images.shape[1] != model.params.resolution:
            raise UserError(
                f"{source}: images of {images.shape[1]} pixels, but {first_stage} takes {model.params.resolution}"
            )
        write_array(target, encode_images(model, images))
