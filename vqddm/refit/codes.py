"""Code maps of a dataset: what the prior is trained on."""

from pathlib import Path

from vqddm.artifacts import UserError, write_array
from vqddm.compute import device, limit_threads
from vqddm.data.arrays import load_split
from vqddm.vqgan.codec import encode_images, load_codec


def encode_splits(*, first_stage: Path, data: list[Path], out: list[Path], threads: int | None = None) -> None:
    """Write the code maps of prepared splits.

    Args:
        data: a prepared split, such as `train.npy`; may be given several times.
        out: the codes to write, one for each split, uint16 `.npy`; code maps are (N, h, w).

    Raises:
        UserError: the images do not have the size that the first stage was made for.
    """
    limit_threads(threads)
    model, _ = load_codec(first_stage, device())
    for source, target in zip(data, out, strict=True):
        images = load_split(source)
        if images.shape[1] != model.params.resolution:
            raise UserError(
                f"{source}: images of {images.shape[1]} pixels, but the first stage takes {model.params.resolution}; "
                "give the checkpoint and the data of the same dataset"
            )
        write_array(target, encode_images(model, images))
