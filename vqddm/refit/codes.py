"""Code maps of a dataset: what the prior is trained on."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vqddm.artifacts import UserError, fingerprint
from vqddm.batches import Plan, forget_batches, join_batches, keep_parts, numbers_of, plan_batches
from vqddm.compute import device, limit_threads
from vqddm.data.arrays import load_split
from vqddm.state import alone_in
from vqddm.vqgan.codec import Codec, encode_images, images_at_once, load_codec

KEPT = 16  # batches of the first stage are kept together, in one file


def encode_splits(
    *, first_stage: Path, data: list[Path], state: Path, out: list[Path], threads: int | None = None
) -> None:
    """Write the code maps of prepared splits.

    Args:
        data: a prepared split, such as `train.npy`; may be given several times.
        state: folder of finished batches, those of `encode_shard` too; they are deleted at the end.
        out: the codes to write, one for each split, uint16 `.npy`; code maps are (N, h, w).

    Raises:
        UserError: the images do not have the size that the first stage was made for, or not as many splits as files.
    """
    if len(data) != len(out):
        raise UserError(f"{len(data)} splits are to be encoded into {len(out)} files; give an --out for each --data")
    limit_threads(threads)
    model, _ = load_codec(first_stage, device())
    with alone_in(state):
        for target, (plan, images) in zip(out, _planned(model, first_stage, data, state, threads), strict=True):
            keep_parts(plan, images, lambda part: encode_images(model, part))
            join_batches(plan, target)
        forget_batches(state)


def encode_shard(*, first_stage: Path, data: list[Path], shard: str, state: Path, threads: int | None = None) -> None:
    """Encode a part of prepared splits, to share that among several processes, also on several machines.

    Whoever then encodes the same splits with the same `state` finds their codes there.

    Args:
        data: a prepared split, such as `train.npy`; may be given several times.
        shard: which part: 2-of-8 is the second of eight.
        state: folder of finished batches.

    Raises:
        UserError: there is no such shard, or the images do not have the size that the first stage was made for.
    """
    limit_threads(threads)
    model, _ = load_codec(first_stage, device())
    with alone_in(state / shard):
        for plan, images in _planned(model, first_stage, data, state, threads):
            keep_parts(plan, images, lambda part: encode_images(model, part), numbers=numbers_of(shard, plan))


def _planned(
    model: Codec, first_stage: Path, data: list[Path], state: Path, threads: int | None
) -> Iterator[tuple[Plan, np.ndarray]]:
    """The batches of each split, and its images."""
    for source in data:
        images = load_split(source, model.params.resolution)
        yield (
            plan_batches(
                count=len(images),
                batch_size=KEPT * images_at_once(model.params, device()),
                seed=0,
                settings=[fingerprint(first_stage), source.stem, fingerprint(source), threads],
                state=state,
                device=device(),
            ),
            images,
        )
