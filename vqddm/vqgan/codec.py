"""First stages of any kind: read from a checkpoint; whole arrays of images to code maps and back, batch by batch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from vqddm.artifacts import UserError, describe_checkpoint, read_array
from vqddm.compute import at_once, load_network, mixed
from vqddm.data.arrays import to_bytes, to_unit
from vqddm.first_stages import FIRST_STAGES
from vqddm.registry import FirstStageKind, imported
from vqddm.vqgan.settings import AutoencoderParams

PIXELS, PIXELS_ON_GPU = 2**20, 2**22  # of one batch: 16 and 64 images at 256 px
BAR = {"mininterval": 10, "delay": 1}  # seconds: what is done at once shows no progress
DISCRIMINATOR = "loss.discriminator."  # begins the names of its tensors, as in the official checkpoints
FIRST_STAGE = "first stage"  # in the headers of VQ-GANs, trained, imported or rebuilt; others bear their kind's name


class Codec(Protocol):
    """What first stages of all kinds can do: images (B, 3, H, W) to codes (B, ...), int64, and back.

    Priors need codes that are one map (B, h, w).
    """

    params: AutoencoderParams

    @property
    def codebook_size(self) -> int: ...

    def encode(self, images: Tensor) -> Tensor: ...

    def decode(self, codes: Tensor) -> Tensor: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...


def kind_in(path: Path, header: str) -> FirstStageKind:
    """The kind of first stage that a checkpoint's header names.

    Raises:
        UserError: it is no first stage.
    """
    name = "vqgan" if header == FIRST_STAGE else header
    if name not in FIRST_STAGES:
        raise UserError(f"{path}: holds a {header}, not a first stage")
    return FIRST_STAGES[name]


def load_codec(path: Path, device: str = "cpu") -> tuple[Codec, dict[str, Any]]:
    """Read a first stage of any kind for inference, and what made it.

    Raises:
        UserError: missing, damaged, no first stage, or tensors that do not fit.
    """
    header = describe_checkpoint(path)["kind"]
    network = imported(kind_in(path, header).model)

    def make(about: dict[str, Any]) -> nn.Module:
        return network(AutoencoderParams.model_validate(about["autoencoder"]), about["codebook_size"])

    model, about = load_network(path, header, make, device, beside=(DISCRIMINATOR,))
    return cast(Codec, model.to(memory_format=torch.channels_last)), about


def images_at_once(autoencoder: AutoencoderParams, device: str | torch.device) -> int:
    """Images of one batch, where no gradient is needed: of so many pixels together, at most 256."""
    return max(1, min(256, at_once(device, PIXELS, PIXELS_ON_GPU) // autoencoder.resolution**2))


@torch.no_grad()
def encode_images(model: Codec, images: np.ndarray, given: Tensor | None = None) -> np.ndarray:
    """Images uint8 (N, H, W, 3) to their codes, uint16 (N, h, w) for code maps.

    Args:
        given: a code map's mask, bool (h, w) on the model's device; where it gives nothing, the encoder sees mid-grey.
    """
    device = next(model.parameters()).device
    batch_size = images_at_once(model.params, device)
    if not len(images):  # their codes have a shape too
        return encode_images(model, np.zeros((1, *images.shape[1:]), np.uint8), given)[:0]
    batches = []
    for start in tqdm(range(0, len(images), batch_size), desc="encode", **BAR):
        batch = to_unit(torch.from_numpy(np.array(images[start : start + batch_size])).to(device))
        batch = batch if given is None else mask_pixels(batch, given)
        with mixed(model):
            batches.append(model.encode(batch.contiguous(memory_format=torch.channels_last)).cpu().numpy())
    return np.concatenate(batches).astype(np.uint16)


def mask_pixels(images: Tensor, given: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1] with mid-grey where the code map's mask (h, w) gives nothing."""
    scale = images.shape[-1] // given.shape[-1]
    return images * given.repeat_interleave(scale, 0).repeat_interleave(scale, 1)


def decoded(model: Codec, codes: np.ndarray) -> Iterator[np.ndarray]:
    """Codes (N, ...), as `encode_images` gives them, of any integer type to batches of images uint8 (B, H, W, 3)."""
    device = next(model.parameters()).device
    batch_size = images_at_once(model.params, device)
    for start in tqdm(range(0, len(codes), batch_size), desc="decode", **BAR):
        batch = torch.from_numpy(codes[start : start + batch_size].astype(np.int64)).to(device)
        with torch.no_grad(), mixed(model):
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


def read_codes(path: Path, codebook_size: int, axes: int | None = 3) -> np.ndarray:
    """Memory-map codes, uint16 with so many axes (None: any): code maps are (N, h, w).

    Raises:
        UserError: no such codes, or a code that is not in [0, `codebook_size`).
    """
    codes = read_array(path)
    if axes not in (None, codes.ndim) or codes.dtype != np.uint16 or not codes.size:
        raise UserError(f"{path}: {codes.dtype} {codes.shape} are no code maps; expected uint16 (N, h, w)")
    if codes.max() >= codebook_size:
        raise UserError(
            f"{path}: holds code {codes.max()}, but the codebook has {codebook_size}; "
            "give the codes and the codebook size of the same first stage"
        )
    return codes
