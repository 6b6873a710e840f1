"""Whole arrays of images to code maps and back, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from vqddm.data.arrays import to_bytes, to_unit
from vqddm.vqgan.settings import AutoencoderParams

PIXELS = 2**20  # of one batch: 16 images at 256 px


class Codec(Protocol):
    """What first stages of all kinds can do: images (B, 3, H, W) to codes (B, ...), int64, and back."""

    params: AutoencoderParams

    @property
    def codebook_size(self) -> int: ...

    def encode(self, images: Tensor) -> Tensor: ...

    def decode(self, codes: Tensor) -> Tensor: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...


@torch.no_grad()
def encode_images(model: Codec, images: np.ndarray) -> np.ndarray:
    """Images uint8 (N, H, W, 3) to their codes, uint16 (N, h, w) for code maps."""
    device = next(model.parameters()).device
    batch_size = min(256, PIXELS // model.params.resolution**2)
    batches = []
    for start in tqdm(range(0, len(images), batch_size), desc="encode", mininterval=10):
        batch = to_unit(torch.from_numpy(images[start : start + batch_size]).to(device))
        batches.append(model.encode(batch.contiguous(memory_format=torch.channels_last)).cpu().numpy())
    return np.concatenate(batches).astype(np.uint16)


def decoded(model: Codec, codes: np.ndarray) -> Iterator[np.ndarray]:
    """Codes (N, ...), as `encode_images` gives them, of any integer type to batches of images uint8 (B, H, W, 3)."""
    device = next(model.parameters()).device
    batch_size = min(256, PIXELS // model.params.resolution**2)
    for start in tqdm(range(0, len(codes), batch_size), desc="decode", mininterval=10):
        batch = torch.from_numpy(codes[start : start + batch_size].astype(np.int64)).to(device)
        with torch.no_grad():
            images = to_bytes(model.decode(batch))
        yield images


def decode_codes(model: Codec, codes: np.ndarray) -> np.ndarray:
    """The same as one array (N, H, W, 3): 10 GB for 50,000 images of 256 px."""
    side, done = model.params.resolution, 0
    images = np.empty((len(codes), side, side, 3), np.uint8)
    for batch in decoded(model, codes):
        images[done : done + len(batch)] = batch
        done += len(batch)
    return images
