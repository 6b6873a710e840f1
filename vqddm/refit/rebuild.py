"""ReFiT's first half: the codebook rebuilt from sampled features (section 3.2)."""

from pathlib import Path

from vqddm.artifacts import UserError, write_array
from vqddm.compute import device, limit_threads
from vqddm.data.arrays import load_split
from vqddm.refit.kmeans import rebuild_codebook
from vqddm.refit.sampled_features import sample_features
from vqddm.refit.settings import RefitParams
from vqddm.vqgan.model import load_first_stage


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
    """Sample P features and write the k-means centres: the rebuilt codebook.

    Args:
        features: number P of sampled features.
        out: the centres to write, float32 (K, d) `.npy`.
    """
    limit_threads(threads)
    if features < codebook_size:
        raise UserError(f"{features} features cannot give {codebook_size} codes: P must be far larger than K")
    model, _ = load_first_stage(source, device())
    sampled = sample_features(model, load_split(data), features, params.kmeans_seed)
    centres = rebuild_codebook(sampled, codebook_size, params.chain_length, params.lloyd_iterations, params.kmeans_seed)
    write_array(out, centres)
