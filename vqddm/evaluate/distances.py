"""Fréchet and kernel distance, precision and recall of feature arrays, all computed by torch-fidelity."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric
from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

from vqddm.artifacts import UserError
from vqddm.params import FEWEST

MEASURES = ("frechet", "kid", "precision", "recall")
KID_SUBSET = 1000  # images in a subset, as torch-fidelity has it, where there are twice as many


def frechet(features: np.ndarray, reference: np.ndarray) -> float:
    """Fréchet distance of the Gaussians fitted to two arrays (N,D) and (M,D), in float64; >= 0 but for rounding.

    It is biased upward, the more so the fewer the rows: compare only numbers of the same N and M.
    """
    statistics = [fid_features_to_statistics(torch.from_numpy(rows).double()) for rows in (features, reference)]
    return float(fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID])


def distances(features: np.ndarray, reference: np.ndarray, seed: int, label: str) -> dict[str, Any]:
    """How far a set of images is from a reference set.

    Args:
        features: float32 (N,D), of the images that are judged.
        reference: float32 (M,D), of real images.
        seed: of KID's 100 subsets, each of half the smaller array, at most 1,000 rows.
        label: name of the Fréchet distance with this feature network.

    Returns:
        `frechet`, `kid` (unbiased, so it may be below 0), `kid_std` (over the subsets), `precision` and
        `recall` (k = 3).

    Raises:
        UserError: fewer than 8 rows, other numbers of features, or one that is not finite.
    """
    for what, rows in (("images", features), ("reference images", reference)):
        if rows.ndim != 2 or len(rows) < FEWEST:
            raise UserError(f"{label}: features of shape {rows.shape} for the {what}; at least {FEWEST} are needed")
        if not np.isfinite(rows).all():
            raise UserError(f"{label}: features of the {what} are not finite; build that file again")
    if features.shape[1] != reference.shape[1]:
        raise UserError(
            f"{label}: {features.shape[1]} features of the images but {reference.shape[1]} of the reference; "
            "extract both with the same network"
        )
    first, second = (torch.from_numpy(np.array(rows, dtype=np.float32)) for rows in (features, reference))
    subset = min(KID_SUBSET, len(first) // 2, len(second) // 2)
    kernel = kid_features_to_metric(first, second, kid_subset_size=subset, rng_seed=seed, verbose=False)
    covered = prc_features_to_metric(first, second, verbose=False)
    return {
        "frechet": frechet(first.numpy(), second.numpy()),
        "kid": kernel[KEY_METRIC_KID_MEAN],
        "kid_std": kernel[KEY_METRIC_KID_STD],
        "precision": covered[KEY_METRIC_PRECISION],
        "recall": covered[KEY_METRIC_RECALL],
    }


def distances_of_draws(
    features: np.ndarray, reference: np.ndarray, draws: int, seed: int, label: str
) -> dict[str, Any]:
    """The distances of several independent draws of images: their mean, and their standard deviation as `…_std`.

    Args:
        features: float32 (N,D): the draws one after the other, N // `draws` rows each; rows beyond are left out.
        reference: float32 (M,D), of real images, the same for every draw.
        draws: number of draws.
        seed: of KID's subsets.
        label: name of the Fréchet distance with this feature network.

    Returns:
        `name`, `frechet`, `frechet_std`, `kid`, `kid_std`, `precision`, `precision_std`, `recall`, `recall_std`,
        `draws`, `images` (of a draw) and `reference_images`. Of one draw there is no deviation (None), but
        KID's over its subsets.

    Raises:
        UserError: as `distances`.
    """
    size = len(features) // draws
    found = [distances(features[i * size : (i + 1) * size], reference, seed, label) for i in range(draws)]
    spread: dict[str, float | None] = {"kid_std": found[0]["kid_std"]}
    means = {}
    for key in MEASURES:
        values = [one[key] for one in found]
        means[key] = float(np.mean(values))
        if draws > 1:
            spread[f"{key}_std"] = float(np.std(values, ddof=1))
        else:
            spread.setdefault(f"{key}_std", None)
    about = {"draws": draws, "images": size, "reference_images": len(reference)}
    return {"name": label, **means, **spread, **about}
