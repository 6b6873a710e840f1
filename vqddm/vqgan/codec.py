"""Whole arrays of images to code maps and back, batch by batch."""

from __future__ import annotations

import numpy as np
import torch
from tqdm import tqdm

from vqddm.data.arrays import to_bytes, to_unit
from vqddm.vqgan.model import FirstStage

PIXELS = 2**20  # of one batch: 16 images at 256 px


@torch.no_grad()
def encode_images(model: FirstStage, images: np.ndarray) -> np.ndarray:
    """Images uint8 (N, H, W, 3) to their code maps, uint16 (N, h, w)."""
    device = next(model.parameters()).device
    batch_size = min(256, PIXELS // model.params.resolution**2)
    batches = []
    for start in tqdm(range(0, len(images), batch_size), desc="encode", mininterval=10):
        batch = to_unit(torch.from_numpy(images[start : start + batch_size]).to(device))
        batches.append(model.encode(batch.contiguous(memory_format=torch.channels_last)).cpu().numpy())
    return np.concatenate(batches).astype(np.uint16)


@torch.no_grad()
def decode_codes(model: FirstStage, codes: np.ndarray) -> np.ndarray:
    """Code maps (N, h, w) of any integer type to images uint8 (N, H, W, 3)."""
    device = next(model.parameters()).device
    batch_size = min(256, PIXELS // model.params.resolution**2)
    batches = []
    for start in tqdm(range(0, len(codes), batch_size), desc="decode", mininterval=10):
        batch = torch.from_numpy(codes[start : start + batch_size].astype(np.int64)).to(device)
        batches.append(to_bytes(model.decode(batch)))
    return np.concatenate(batches)
