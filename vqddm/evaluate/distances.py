"""Fréchet and kernel distance, precision and recall of feature arrays, computed by torch-fidelity.

But for the Fréchet distance of fewer rows than features, for which it takes the root of a large, singular matrix.
"""

import math
from typing import Any

import numpy as np
import torch
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric
from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

from vqddm.artifacts import UserError
from vqddm.evaluate.draws import mean_and_spread, split_draws
from vqddm.params import FEWEST

KID_SUBSETS = 100  # as torch-fidelity has it
KID_SUBSET = 1000  # images in a subset, as torch-fidelity has it, where there are twice as many


Gaussian = dict[str, np.ndarray]  # as torch-fidelity has it: mean `mu` (D,) and covariance `sigma` (D,D), float64


def gaussian(features: np.ndarray) -> Gaussian:
    """The Gaussian that is fitted to an array (N,D)."""
    return fid_features_to_statistics(torch.from_numpy(np.array(features)).double())


def frechet(features: np.ndarray, reference: Gaussian) -> float:
    """Fréchet distance of the Gaussian fitted to an array (N,D) to that of a reference; >= 0 but for rounding.

    It is biased upward, the more so the fewer the rows: compare only numbers of the same N and reference.
    """
    made = gaussian(features)
    if len(features) >= features.shape[1]:
        return float(fid_statistics_to_metric(made, reference, verbose=False)[KEY_METRIC_FID])
    # The covariances' product (D,D) has no other eigenvalues than this smaller matrix (N,N), but for zeros.
    centred = (features - made["mu"]) / math.sqrt(len(features) - 1)
    roots = np.linalg.eigvalsh(centred @ reference["sigma"] @ centred.T).clip(0) ** 0.5
    gap = made["mu"] - reference["mu"]
    return float(gap @ gap + (centred**2).sum() + reference["sigma"].trace() - 2 * roots.sum())


def frechet_of_draws(features: np.ndarray, reference: Gaussian, draws: int) -> tuple[float, float | None]:
    """The Fréchet distance of several independent draws, one after the other in (N,D): mean and spread."""
    return mean_and_spread([frechet(part, reference) for part in split_draws(features, draws)])


def kernel_and_coverage(features: np.ndarray, reference: np.ndarray, subsets: int, seed: int) -> dict[str, float]:
    """Kernel distance, precision and recall of features (N,D) against those of real images (M,D), both float32.

    Args:
        subsets: of KID, each of half the smaller array, at most 1,000 rows; `seed` is theirs.

    Returns:
        `kid` (unbiased, so it may be below 0), `kid_std` (over the subsets), `precision` and `recall` (k = 3).
    """
    first, second = (torch.from_numpy(np.array(rows, dtype=np.float32)) for rows in (features, reference))
    size = min(KID_SUBSET, len(first) // 2, len(second) // 2)
    kernel = kid_features_to_metric(
        first, second, kid_subsets=subsets, kid_subset_size=size, rng_seed=seed, verbose=False
    )
    covered = prc_features_to_metric(first, second, verbose=False)
    return {
        "kid": kernel[KEY_METRIC_KID_MEAN],
        "kid_std": kernel[KEY_METRIC_KID_STD],
        "precision": covered[KEY_METRIC_PRECISION],
        "recall": covered[KEY_METRIC_RECALL],
    }


def distances_of_draws(
    features: np.ndarray, reference: np.ndarray, draws: int, seed: int, label: str
) -> dict[str, Any]:
    """How far several independent draws of images are from a reference set: means, and spreads as `…_std`.

    Args:
        features: float32 (N,D): the draws one after the other, N // `draws` rows each; rows beyond are left out.
        reference: float32 (M,D), of real images, the same for every draw.
        draws: number of draws.
        seed: of KID's subsets, each draw with others, about 100 in all.
        label: name of the Fréchet distance with this feature network.

    Returns:
        `name`, `frechet`, `frechet_std`, `kid`, `kid_std`, `precision`, `precision_std`, `recall`, `recall_std`,
        `draws`, `images` (of a draw) and `reference_images`. Of one draw there is no deviation (None), but
        KID's over its subsets.

    Raises:
        UserError: a draw or the reference has fewer than 8 rows, other numbers of features, or one that is not finite.
    """
    parts = split_draws(features, draws)
    for part in parts:
        _check(part, "images", label)
    _check(reference, "reference images", label)
    if features.shape[1] != reference.shape[1]:
        raise UserError(
            f"{label}: {features.shape[1]} features of the images but {reference.shape[1]} of the reference; "
            "extract both with the same network"
        )
    mean, spread = frechet_of_draws(features, gaussian(reference), draws)
    found: dict[str, Any] = {"name": label, "frechet": mean, "frechet_std": spread}
    subsets = math.ceil(KID_SUBSETS / draws)
    others = [kernel_and_coverage(part, reference, subsets, seed + i) for i, part in enumerate(parts)]
    for key in ("kid", "precision", "recall"):
        found[key], found[f"{key}_std"] = mean_and_spread([one[key] for one in others])
    if draws == 1:
        found["kid_std"] = others[0]["kid_std"]
    return found | {"draws": draws, "images": len(parts[0]), "reference_images": len(reference)}


def _check(features: np.ndarray, what: str, label: str) -> None:
    if features.ndim != 2 or len(features) < FEWEST:
        raise UserError(f"{label}: features of shape {features.shape} for the {what}; at least {FEWEST} are needed")
    if not np.isfinite(features).all():
        raise UserError(f"{label}: features of the {what} are not finite; build that file again")
