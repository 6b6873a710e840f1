"""AFK-MC2 seeding (Bachem et al. 2016, the paper's reference [2]) and scikit-learn's Lloyd iterations."""

import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from vqddm.artifacts import UserError


def squared_distances(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances (n, m) between points (n, d) and centres (m, d), never negative."""
    cross = points @ centres.T
    squares = (points**2).sum(1)[:, None] + (centres**2).sum(1)[None]
    return np.maximum(squares - 2 * cross, 0.0)


def afkmc2(points: np.ndarray, count: int, chain_length: int, rng: np.random.Generator) -> np.ndarray:
    """Assumption-free k-MC2 seeding: k-means++ seeds, approximated by one Markov chain per centre.

    The first centre c is uniform. The proposal is q(x) = d(x, c)^2 / (2 sum d^2) + 1 / (2 n). Each further
    centre is the end of a Metropolis-Hastings chain of m = `chain_length` proposals whose target is proportional to
    the squared distance to the nearest centre so far.

    Args:
        points: float64 (n, d).
        count: number of centres, at most the number of distinct points.

    Returns:
        indices of the seeds in `points`, int64 (count,).
    """
    first = int(rng.integers(len(points)))
    chosen = [first]
    to_first = squared_distances(points, points[[first]])[:, 0]
    proposal = to_first / (2 * to_first.sum()) + 1 / (2 * len(points))
    proposal /= proposal.sum()
    candidates = rng.choice(len(points), size=(count - 1, chain_length), p=proposal)
    accept = rng.random((count - 1, chain_length))
    for row, draws in enumerate(candidates):
        nearest = squared_distances(points[draws], points[chosen]).min(1)
        # Metropolis-Hastings: accept y over x with probability min(1, d(y) q(x) / (d(x) q(y)))
        weight = nearest / proposal[draws]
        current = 0
        for step in range(1, chain_length):
            if weight[step] > accept[row, step] * weight[current]:
                current = step
        chosen.append(int(draws[current]))
    return np.asarray(chosen)


def rebuild_codebook(
    features: np.ndarray, codebook_size: int, chain_length: int, iterations: int, seed: int
) -> np.ndarray:
    """Section 3.2: the centres, float32 (K, d), of k-means with AFK-MC2 seeds, run on the sampled features.

    Args:
        features: float32 (P, d).
        iterations: at most this many Lloyd iterations.

    Raises:
        UserError: fewer distinct features than centres.
    """
    distinct = len(np.unique(features, axis=0))
    if distinct < codebook_size:
        raise UserError(
            f"{distinct} distinct features cannot give {codebook_size} centres; "
            "sample more features (the p of refit_k…_p…)"
        )
    points = features.astype(np.float64)
    with threadpool_limits(limits=1):  # several threads add up in any order, and the last bits differ
        seeds = afkmc2(points, codebook_size, chain_length, np.random.default_rng(seed))
        kmeans = KMeans(codebook_size, init=points[seeds], n_init=1, max_iter=iterations).fit(points)
    return kmeans.cluster_centers_.astype(np.float32)
