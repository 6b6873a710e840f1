"""ReFiT's first half: the codebook rebuilt from sampled features (section 3.2)."""

from pathlib import Path

import torch

from vqddm.artifacts import UserError, fingerprint, read_checkpoint, write_checkpoint
from vqddm.compute import device, limit_threads
from vqddm.data.arrays import load_split
from vqddm.refit.kmeans import rebuild_codebook
from vqddm.refit.sampled_features import sample_features
from vqddm.refit.settings import RefitParams
from vqddm.vqgan.codec import FIRST_STAGE
from vqddm.vqgan.model import CODEBOOK, load_first_stage


def rebuild(
    *,
    source: Path,
    data: Path,
    params: RefitParams,
    codebook_size: int,
    features: int,
    out: Path,
    threads: int | None = None,
) -> None:
    """Sample P features and replace a VQ-GAN's codebook by their k-means centres; nothing is trained.

    Args:
        features: number P of sampled features.
        out: the first stage to write: the VQ-GAN and its discriminator with the rebuilt codebook.
    """
    limit_threads(threads)
    if features < codebook_size:
        raise UserError(f"{features} features cannot give {codebook_size} codes: P must be far larger than K")
    model, about = load_first_stage(source, device())
    sampled = sample_features(model, load_split(data, model.params.resolution), features, params.kmeans_seed)
    centres = rebuild_codebook(sampled, codebook_size, params.chain_length, params.lloyd_iterations, params.kmeans_seed)
    tensors, _ = read_checkpoint(source, FIRST_STAGE)
    made_by = {"step": "rebuild", "params": params.model_dump(mode="json"), "features": features}
    write_checkpoint(
        out,
        tensors | {CODEBOOK: torch.from_numpy(centres)},
        {
            "kind": FIRST_STAGE,
            "codebook_size": codebook_size,
            "autoencoder": about["autoencoder"],
            "made_by": made_by | {"source": about["made_by"]},
            "inputs": {f.name: fingerprint(f) for f in (source, data)},
        },
    )
