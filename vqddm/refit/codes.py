"""Code maps of a dataset: what the prior is trained on."""

from __future__ import annotations

from pathlib import Path

from vqddm.artifacts import UserError, write_array
from vqddm.data.arrays import load_split
from vqddm.vqgan.codec import Codec, encode_images


def encode_splits(model: Codec, data: list[Path], out: list[Path]) -> None:
    """Write the codes of prepared splits.

    Args:
        model: a first stage of any kind.
        data: the splits, such as `train.npy` and `test.npy` of a dataset.
        out: for each split the codes to write, uint16 `.npy`; code maps are (N, h, w).

    Raises:
        UserError: the images do not have the size that the first stage was made for.
    """
    for source, target in zip(data, out, strict=True):
        images = load_split(source)
        if images.shape[1] != model.params.resolution:
            raise UserError(
                f"{source}: images of {images.shape[1]} pixels, but the first stage takes {model.params.resolution}; "
                "give the checkpoint and the data of the same dataset"
            )
        write_array(target, encode_images(model, images))
