"""Both sides of what happens to a codebook: nearest codes, seeds, k-means."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from sklearn.cluster import KMeans, kmeans_plusplus
from threadpoolctl import threadpool_limits
from torch import Tensor

from bench.diffusion import seeded
from bench.records import Differs, Match, Sizes
from vqddm.refit.kmeans import afkmc2, rebuild_codebook, squared_distances
from vqddm.vqgan.model import Quantiser

CHAIN, LLOYD = 200, 100  # the project's own settings: length of a chain, Lloyd iterations at most


# ---- nearest codes


def quantiser(sizes: Sizes, device: torch.device) -> tuple[Quantiser, Tensor]:
    """A codebook (K, d) and features (1, d, P, 1), standard normal."""
    generator = seeded(device)
    found = Quantiser(sizes["K"], sizes["d"]).to(device)
    with torch.no_grad():
        found.embedding.weight.normal_(generator=generator)
    return found, torch.randn(1, sizes["d"], sizes["P"], 1, generator=generator, device=device)


def quantised(found: Quantiser, features: Tensor) -> Tensor:
    """Codes (P,), after their vectors were looked up too."""
    codes = found(features)
    found.lookup(codes)
    return codes.flatten()


Nearest = Callable[[Quantiser], Callable[[Tensor], Tensor]]


def by_package(found: Quantiser) -> Callable[[Tensor], Tensor]:
    """vector-quantize-pytorch's layer with the same codebook, features (1, P, d) to codes (P,) and vectors."""
    from vector_quantize_pytorch import VectorQuantize

    size, dim = found.embedding.weight.shape
    layer = VectorQuantize(dim=dim, codebook_size=size).to(found.embedding.weight.device).eval()
    with torch.no_grad():
        layer.codebook = found.embedding.weight.detach()
    return lambda vectors: layer(vectors)[1].flatten()


def by_cdist(found: Quantiser) -> Callable[[Tensor], Tensor]:
    """torch's distances and their smallest."""

    def nearest(vectors: Tensor) -> Tensor:
        codes = torch.cdist(vectors[0], found.embedding.weight).argmin(1)
        found.embedding(codes)
        return codes

    return nearest


def quantising(sizes: Sizes, device: torch.device, way: Nearest) -> Match:
    """The nearest codes of P features and their vectors; each side has the features as it likes them."""
    found, features = quantiser(sizes, device)
    nearest, vectors = way(found), features[..., 0].transpose(1, 2).contiguous()
    ours = torch.inference_mode()(lambda: quantised(found, features))
    theirs = torch.inference_mode()(lambda: nearest(vectors))
    return Match(ours, theirs, flops=2.0 * sizes["P"] * sizes["K"] * sizes["d"])


def check_quantising(device: torch.device, way: Nearest) -> str:
    """All but perhaps one code in a thousand, which may be a tie."""
    match = quantising({"P": 2000, "K": 50, "d": 8}, device, way)
    unlike = int((match.ours() != match.theirs()).sum())
    if unlike > 2:
        raise Differs(f"{unlike} of 2000 codes differ")
    return "same codes"


# ---- k-means


def points_of(sizes: Sizes) -> np.ndarray:
    """Features in clusters, three for every two centres and of uneven size, float64 (P, d)."""
    rng = np.random.default_rng(0)
    clusters = 3 * sizes["K"] // 2
    of = np.minimum(rng.geometric(4 / clusters, sizes["P"]) - 1, clusters - 1)
    return rng.normal(size=(clusters, sizes["d"]))[of] + 0.3 * rng.normal(size=(sizes["P"], sizes["d"]))


def inertia(points: np.ndarray, centres: np.ndarray) -> float:
    """Mean squared distance to the nearest centre."""
    parts = np.array_split(points, max(1, len(points) // 2000))
    return float(np.concatenate([squared_distances(part, centres).min(1) for part in parts]).mean())


Seeding = Callable[[np.ndarray, int, int], np.ndarray]


def plusplus(points: np.ndarray, count: int, seed: int, trials: int | None = None) -> np.ndarray:
    """scikit-learn's k-means++, centres (K, d): the best of so many trials each, by itself 2 + log K."""
    return kmeans_plusplus(points, count, random_state=seed, n_local_trials=trials)[0]


def package_seeds(points: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The package's own AFK-MC2, the faster of its two ways, which keeps distances: centres (K, d)."""
    from afkmc2.afkmc2 import afkmc2_c as seeds

    np.random.seed(seed)  # noqa: NPY002  it draws from numpy's global generator
    return seeds(points, count, CHAIN)


def own_seeds(points: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Ours, on one thread always, as `rebuild_codebook` has it: centres (K, d)."""
    with threadpool_limits(limits=1):
        return points[afkmc2(points, count, CHAIN, np.random.default_rng(seed))]


def chains(sizes: Sizes) -> float:
    """Floating-point operations of AFK-MC2: distances of all points to the first seed, of proposals to all so far."""
    return 2.0 * sizes["P"] * sizes["d"] + CHAIN * sizes["d"] * sizes["K"] ** 2


def seeding(sizes: Sizes, device: torch.device, way: Seeding) -> Match:
    """K seeds of P points."""
    points, count = points_of(sizes), sizes["K"]
    ours, theirs = itertools.count(), itertools.count()
    return Match(
        lambda: own_seeds(points, count, next(ours)),
        lambda: way(points, count, next(theirs)),
        flops=chains(sizes),
        quality=partial(inertia, points),
    )


def check_seeding(device: torch.device, way: Seeding) -> str:
    """The mean distance to the seeds, over many seedings, within a tenth; with seeds at random it is far larger."""
    sizes = {"P": 600, "K": 12, "d": 4}
    points = points_of(sizes)
    ours, theirs = (
        np.mean([inertia(points, make(points, 12, seed)) for seed in range(20)]) for make in (own_seeds, way)
    )
    if not 0.9 < ours / theirs < 1.1:
        raise Differs(f"mean squared distances to the seeds: {ours:.4g} and {theirs:.4g}")
    return "alike in distance"


def rebuilding(sizes: Sizes, device: torch.device) -> Match:
    """Section 3.2, seeds and Lloyd's iterations, against scikit-learn's KMeans as it comes."""
    points = points_of(sizes)
    features, count = points.astype(np.float32), sizes["K"]
    ours, theirs = itertools.count(), itertools.count()

    def own() -> np.ndarray:
        return rebuild_codebook(features, count, CHAIN, LLOYD, next(ours))

    def plain() -> np.ndarray:
        return KMeans(count, n_init=1, max_iter=LLOYD, random_state=next(theirs)).fit(features).cluster_centers_

    once = 2.0 * points.size * count  # of Lloyd's passes, whose number the points decide
    return Match(own, plain, flops=chains(sizes) + once, quality=partial(inertia, points))


def check_rebuilding(device: torch.device) -> str:
    """The mean distance to the centres."""
    match = rebuilding({"P": 600, "K": 12, "d": 4}, device)
    assert match.theirs is not None and match.quality is not None
    ours, theirs = (np.mean([match.quality(side()) for _ in range(8)]) for side in (match.ours, match.theirs))
    if not 0.9 < ours / theirs < 1.1:
        raise Differs(f"mean squared distances to the centres: {ours:.4g} and {theirs:.4g}")
    return "alike in distance"
