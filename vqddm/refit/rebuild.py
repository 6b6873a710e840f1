"""ReFiT's first half: the codebook rebuilt from sampled features (section 3.2)."""

from __future__ import annotations

from pathlib import Path

import torch

from vqddm.artifacts import UserError, write_array
from vqddm.data.arrays import load_split
from vqddm.refit.kmeans import rebuild_codebook
from vqddm.refit.sampled_features import sample_features
from vqddm.refit.settings import RefitParams
from vqddm.training import limit_threads
from vqddm.vqgan.model import load_first_stage


def rebuild(
    source: Path,
    data: Path,
    params: RefitParams,
    codebook_size: int,
    count: int,
    out: Path,
    threads: int | None = None,
) -> None:
    """Sample P features of the training images, cluster them, and write the centres.

    Args:
        source: checkpoint of the trained VQ-GAN.
        data: `train.npy` of the dataset.
        params: the dataset's section `refit`.
        codebook_size: the desired capacity K.
        count: the number P of features.
        out: the centres to write, float32 (K, d) `.npy`.
        threads: CPU threads.
    """
    limit_threads(threads)
    if count < codebook_size:
        raise UserError(f"{count} features cannot give {codebook_size} codes: P must be far larger than K")
    model, _ = load_first_stage(source, "cuda" if torch.cuda.is_available() else "cpu")
    features = sample_features(model, load_split(data), count, params.kmeans_seed)
    centres = rebuild_codebook(
        features, codebook_size, params.chain_length, params.lloyd_iterations, params.kmeans_seed
    )
    write_array(out, centres)
