"""The reference pictures most like a sample (Figure 12)."""

from pathlib import Path

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from vqddm.artifacts import UserError, read_array, replacing
from vqddm.compute import device, limit_threads
from vqddm.data.arrays import load_split, to_unit
from vqddm.vqgan.perceptual import FeatureDistance, perceptual_distance

EMBEDDED_BYTES = 200e6  # of embedded training images held at a time


def nearest(queries: np.ndarray, reference: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` rows of `reference` (M,D) nearest to each row of `queries` (N,D), nearest first.

    Returns:
        Indices, int64 (N,count), and Euclidean distances, float64 (N,count).

    Raises:
        UserError: the reference has fewer than `count` rows.
    """
    if len(reference) < count:
        raise UserError(f"{count} neighbours asked for, but there are only {len(reference)} pictures to choose from")
    found = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(reference)
    distances, indices = found.kneighbors(queries)
    return indices.astype(np.int64), distances.astype(np.float64)


def perceptual_neighbours(
    samples: np.ndarray, train: np.ndarray, count: int, metric: FeatureDistance
) -> tuple[np.ndarray, np.ndarray]:
    """The training images nearest to each sample by perceptual distance: an exact search of all of them.

    Args:
        samples: uint8 (S,H,W,3).
        train: uint8 (M,H,W,3), memory-mapped or not; it is read once, in pieces.
        metric: its embeddings are compared, on the device that it is on.

    Returns:
        Indices into `train`, int64 (S,count), and perceptual distances, float64 (S,count), nearest first.

    Raises:
        UserError: there are fewer than `count` training images.
    """
    if len(train) < count:
        raise UserError(f"{count} neighbours asked for, but there are only {len(train)} training images")
    if next(metric.parameters()).is_cuda:
        return _nearest_on_gpu(samples, train, count, metric)
    queries = _embed(samples, metric)
    piece = max(1, int(EMBEDDED_BYTES / queries[0].nbytes))
    indices = np.empty((len(samples), 0), np.int64)
    distances = np.empty((len(samples), 0))
    for start in range(0, len(train), piece):
        embedded = _embed(train[start : start + piece], metric)
        found, gaps = nearest(queries, embedded, min(count, len(embedded)))
        indices = np.concatenate([indices, found + start], axis=1)
        distances = np.concatenate([distances, gaps**2], axis=1)
        best = np.argsort(distances, axis=1, kind="stable")[:, :count]
        indices, distances = np.take_along_axis(indices, best, 1), np.take_along_axis(distances, best, 1)
    return indices, distances


def find_neighbours(
    *, samples: Path, train: Path, out: Path, count: int = 8, neighbours: int = 10, threads: int | None = None
) -> None:
    """Find the training images nearest to some samples, uint8 (n,H,W,3) (Figure 12).

    Args:
        train: `train.npy` of the dataset.
        out: `.npz` to write, of `samples` (s,H,W,3), `neighbours` (s,n,H,W,3) and `distances` (s,n), nearest first.
        count: samples to look up, from the first.
        neighbours: training images kept for each.

    Raises:
        UserError: there are fewer samples or training images, or they differ in size.
    """
    limit_threads(threads)
    made = np.array(read_array(samples, "uint8", 4)[:count])
    images = load_split(train)
    if made.shape[1:] != images.shape[1:]:
        raise UserError(f"{samples}: pictures of {made.shape[1:]}, but {train} has {images.shape[1:]}")
    if len(made) < count:
        raise UserError(f"{samples}: {len(made)} samples, but {count} are to be looked up")
    metric = perceptual_distance("efficientnet_lite0").to(device())
    indices, distances = perceptual_neighbours(made, images, neighbours, metric)
    with replacing(out) as aside:
        np.savez(aside, samples=made, neighbours=images[indices], distances=distances)


@torch.inference_mode()
def _nearest_on_gpu(
    samples: np.ndarray, train: np.ndarray, count: int, metric: FeatureDistance, batch_size: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """The same on a GPU, where copying the embeddings would take longer than comparing them."""
    device = next(metric.parameters()).device

    def embed(images: np.ndarray) -> Tensor:
        return metric.embedding(to_unit(images).to(device))

    queries = embed(samples)
    parts = [
        torch.stack([(made - query).square().sum(1) for query in queries])
        for made in (embed(train[start : start + batch_size]) for start in range(0, len(train), batch_size))
    ]
    distances, indices = torch.cat(parts, dim=1).topk(count, largest=False)
    return indices.cpu().numpy(), distances.double().cpu().numpy()


def _embed(images: np.ndarray, metric: FeatureDistance, batch_size: int = 64) -> np.ndarray:
    """Embeddings, float32 (N,D), of uint8 images (N,H,W,3)."""
    device = next(metric.parameters()).device
    with torch.inference_mode():
        rows = [
            metric.embedding(to_unit(np.array(images[start : start + batch_size])).to(device)).cpu()
            for start in range(0, len(images), batch_size)
        ]
    return torch.cat(rows).numpy()
