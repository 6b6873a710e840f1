"""Fréchet and kernel distance, precision and recall of feature arrays: the numbers of torch-fidelity.

They are computed here, in NumPy, because importing torch-fidelity takes a measuring job longer than the measuring, and
because its root of a product of covariances does not use that they are symmetric. The tests hold them against it.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from vqddm.artifacts import UserError
from vqddm.evaluate.draws import mean_and_spread, split_draws
from vqddm.params import FEWEST

KID_SUBSETS = 100  # as torch-fidelity has it
KID_SUBSET = 1000  # images in a subset, as torch-fidelity has it, where there are twice as many
NEIGHBOUR = 3  # whose distance is the radius of a point of precision and recall
AT_ONCE = 4096  # rows whose distances to all others are held in memory together


class Gaussian(NamedTuple):
    """A Gaussian fitted to features (N,D), in float64: mean (D,) and covariance (D,D)."""

    mean: np.ndarray
    covariance: np.ndarray


def gaussian(features: np.ndarray) -> Gaussian:
    """The Gaussian that is fitted to an array (N,D)."""
    rows = features.astype(np.float64)
    return Gaussian(rows.mean(axis=0), np.cov(rows, rowvar=False))


def frechet(features: np.ndarray, reference: Gaussian) -> float:
    """Fréchet distance of the Gaussian fitted to an array (N,D) to that of a reference; >= 0 but for rounding.

    It is biased upward, the more so the fewer the rows: compare only numbers of the same N and reference.
    """
    made = gaussian(features)
    gap = made.mean - reference.mean
    factor = _factor(features.astype(np.float64) - made.mean, made.covariance)
    # The covariances' product has the eigenvalues of this symmetric matrix, and zeros.
    roots = np.linalg.eigvalsh(factor @ reference.covariance @ factor.T).clip(0) ** 0.5
    return float(gap @ gap + made.covariance.trace() + reference.covariance.trace() - 2 * roots.sum())


def _factor(centred: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """A with AᵀA the covariance of rows (N,D) whose mean is 0: the rows themselves, or (D,D) where they are more."""
    if len(centred) < len(covariance):
        return centred / math.sqrt(len(centred) - 1)
    values, vectors = np.linalg.eigh(covariance)
    return (values.clip(0) ** 0.5 * vectors).T


def frechet_of_draws(features: np.ndarray, reference: Gaussian, draws: int) -> tuple[float, float | None]:
    """The Fréchet distance of several independent draws, one after the other in (N,D): mean and spread.

    Raises:
        UserError: a draw would have fewer than two rows, of which there is no covariance, or the reference has other
            features.
    """
    if len(features) < 2 * draws:
        raise UserError(f"{len(features)} pictures are too few for {draws} draws, each of which needs two")
    if features.shape[1] != len(reference.mean):
        raise UserError(
            f"{features.shape[1]} features of the images but {len(reference.mean)} of the reference; "
            "extract both with the same network"
        )
    return mean_and_spread([frechet(part, reference) for part in split_draws(features, draws)])


def kernel_distance(features: np.ndarray, reference: np.ndarray, subsets: int, seed: int) -> tuple[float, float]:
    """KID of features (N,D) to those of real images (M,D): mean over subsets, unbiased, and deviation over them.

    Each subset has half the rows of the smaller array, at most 1,000; torch-fidelity draws the same ones from `seed`.
    """
    size = min(KID_SUBSET, len(features) // 2, len(reference) // 2)
    rng, found = np.random.RandomState(seed), []
    for _ in range(subsets):
        ours = features[rng.choice(len(features), size, replace=False)]
        real = reference[rng.choice(len(reference), size, replace=False)]
        within = [_polynomial(rows, rows) for rows in (ours, real)]
        apart = sum(kernel.sum(dtype=np.float64) - kernel.trace(dtype=np.float64) for kernel in within)
        found.append(apart / (size * (size - 1)) - 2 * _polynomial(ours, real).mean(dtype=np.float64))
    return float(np.mean(found)), float(np.std(found))


def _polynomial(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The kernel (x·y / D + 1)³ between rows (N,D) and others (M,D): (N,M) in their dtype."""
    base = rows @ others.T / rows.shape[1] + 1
    return base * base * base


def covered(points: np.ndarray, centres: np.ndarray) -> float:
    """The share of points (N,D) that lie in a ball around one of the centres (M,D).

    A ball reaches to its centre's third nearest other centre. Points made and centres real: precision; the other way
    round: recall.
    """
    reach = [np.partition(apart, NEIGHBOUR)[:, NEIGHBOUR] for apart in _squared_distances(centres, centres)]
    inside = [(apart <= np.concatenate(reach)).any(axis=1) for apart in _squared_distances(points, centres)]
    return float(np.concatenate(inside).mean())


def _squared_distances(points: np.ndarray, centres: np.ndarray) -> Iterator[np.ndarray]:
    """Of some points (N,D) after others to all centres (M,D): (n,M) in their dtype."""
    norms = (centres**2).sum(axis=1)
    for start in range(0, len(points), AT_ONCE):
        part = points[start : start + AT_ONCE]
        apart = part @ centres.T
        apart *= -2
        apart += norms
        apart += (part**2).sum(axis=1, keepdims=True)
        yield apart


def kernel_and_coverage(features: np.ndarray, reference: np.ndarray, subsets: int, seed: int) -> dict[str, float]:
    """Kernel distance, precision and recall of features (N,D) against those of real images (M,D), both float32.

    Returns:
        `kid` (unbiased, so it may be below 0), `kid_std` (over the subsets), `precision` and `recall`.
    """
    kid, deviation = kernel_distance(features, reference, subsets, seed)
    inside = {"precision": covered(features, reference), "recall": covered(reference, features)}
    return {"kid": kid, "kid_std": deviation, **inside}


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
