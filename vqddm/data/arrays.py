"""Prepared splits as arrays, and what lies between stored pixels and what networks see."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vqddm.artifacts import UserError, fingerprint, read_array, read_json
from vqddm.settings import SPLITS


def load_split(path: Path, resolution: int | None = None) -> np.ndarray:
    """Memory-map a prepared split, uint8 (N, H, W, 3), read-only.

    Args:
        resolution: H and W that a first stage takes; left out, any will do.

    Raises:
        UserError: missing, damaged, not as its manifest says, or of another resolution.
    """
    images = read_array(path)
    manifest = read_json(path.with_suffix(".json"))
    fingerprint(path)  # without its checksum nobody would know what the array was
    told = manifest.get("split") if isinstance(manifest, dict) else None
    if path.stem in SPLITS and told in SPLITS and told != path.stem:
        raise UserError(
            f"{path}: its manifest says that it is the split `{told}`; put both files back under the name `{told}`, "
            "or delete them and prepare the dataset again"
        )
    try:
        expected = (manifest["count"], manifest["resolution"], manifest["resolution"], 3)
    except (KeyError, TypeError):
        raise UserError(
            f"{path.with_suffix('.json')}: not the manifest of a prepared split (no `count` or no `resolution`); "
            "delete it and prepare the dataset again"
        ) from None
    if images.dtype != np.uint8 or images.shape != expected:
        raise UserError(
            f"{path}: {images.dtype} {images.shape} is not what its manifest says (uint8 {expected}); "
            "delete both and prepare the dataset again"
        )
    if resolution is not None and images.shape[1] != resolution:
        raise UserError(
            f"{path}: images of {images.shape[1]} pixels, but the first stage takes {resolution}; "
            "give the checkpoint, the parameters and the data of the same dataset"
        )
    return images


def to_unit(batch: np.ndarray | Tensor) -> Tensor:
    """Pixels uint8 (B, H, W, 3) to images float32 (B, 3, H, W) in [-1, 1]."""
    # The copy is small and lets a read-only, memory-mapped split be handed in.
    pixels = torch.from_numpy(np.array(batch)) if isinstance(batch, np.ndarray) else batch
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


def to_bytes(images: Tensor) -> np.ndarray:
    """Images float (B, 3, H, W), clamped to [-1, 1], to the nearest pixels uint8 (B, H, W, 3)."""
    pixels = (images.detach().float().clamp(-1, 1) + 1) * 127.5
    return pixels.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
