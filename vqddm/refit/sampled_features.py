"""P features for the rebuilt codebook (section 4.1)."""

import numpy as np
import torch
from tqdm import tqdm

from vqddm.compute import mixed
from vqddm.data.arrays import to_unit
from vqddm.vqgan.model import FirstStage


def draw_positions(count: int, images: int, height: int, width: int, seed: int) -> np.ndarray:
    """Section 4.1: draw P = `count` images with replacement, and one uniform position of each one's feature map.

    They are int64 (P, 3) of (image, row, column), sorted by image so that each image is read once.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.integers([images, height, width], size=(count, 3))
    return drawn[np.argsort(drawn[:, 0], kind="stable")]


@torch.no_grad()
def sample_features(model: FirstStage, images: np.ndarray, count: int, seed: int, batch_size: int = 64) -> np.ndarray:
    """Encode drawn images of an array uint8 (N, H, W, 3) and keep one feature of each of P draws: float32 (P, d)."""
    device = next(model.parameters()).device
    side = model.params.resolution // model.params.downsampling
    drawn = draw_positions(count, len(images), side, side, seed)
    which, inverse = np.unique(drawn[:, 0], return_inverse=True)
    features = np.empty((count, model.params.embed_dim), np.float32)
    for start in tqdm(range(0, len(which), batch_size), desc="features", mininterval=10):
        batch = to_unit(torch.from_numpy(images[which[start : start + batch_size]]).to(device))
        with mixed(model):
            maps = model.features(batch.contiguous(memory_format=torch.channels_last)).float().cpu().numpy()
        rows = np.flatnonzero((inverse >= start) & (inverse < start + batch_size))
        features[rows] = maps[inverse[rows] - start, :, drawn[rows, 1], drawn[rows, 2]]
    return features
