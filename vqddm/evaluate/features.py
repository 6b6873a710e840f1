"""Feature networks of the Fréchet distance, and features of image arrays."""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqddm.artifacts import UserError
from vqddm.compute import at_once, device
from vqddm.data.weights import weights_at_hand
from vqddm.vqgan.perceptual import load_efficientnet

# What the Fréchet distance is called with each network; only torch-fidelity's Inception makes it an FID.
LABELS = {"efficientnet_lite0": "FD (EfficientNet-Lite0)", "inception": "FID"}
SMALL, FULL = 112, 224


class EfficientNetLite0(nn.Module):
    """1280 pooled features of EfficientNet-Lite0; input uint8 (B,3,H,W), output a tuple of float32 (B,1280).

    That is what torch-fidelity's feature extractors give. Pictures are resized (bilinear, antialiased) to the network's
    224 px; those of at most 112 px to 112 px, where Fréchet distances rank damaged 32 px pictures nearly as at 224 px
    (rank correlation 0.98 on faces and on fashion) in a quarter of the time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.network: Any = load_efficientnet()

    def forward(self, images: Tensor) -> tuple[Tensor]:
        side = SMALL if max(images.shape[-2:]) <= SMALL else FULL
        resized = F.interpolate(images.float(), size=(side, side), mode="bilinear", antialias=True)
        maps = self.network.extract_features(((resized - 127) / 128).contiguous(memory_format=torch.channels_last))
        return (maps.mean((2, 3)),)


@lru_cache(maxsize=1)
def feature_extractor(network: str) -> nn.Module:
    """The frozen feature network that `params.yaml` calls `network`, on the GPU where there is one.

    Raises:
        UserError: no such network, or Inception's weights are not on this machine.
    """
    if network not in LABELS:
        raise UserError(f"evaluate.features: '{network}' is not one of {', '.join(LABELS)}")
    if network == "efficientnet_lite0":
        return EfficientNetLite0().eval().to(device())
    from torch_fidelity.utils import create_feature_extractor  # it takes seconds to import

    with weights_at_hand("FID (torch-fidelity's Inception)", ["inception"]):
        return create_feature_extractor("inception-v3-compat", ["2048"], cuda=torch.cuda.is_available(), verbose=False)


def extract(images: np.ndarray, network: str, batch_size: int | None = None) -> np.ndarray:
    """Features of images, the same bits again for the same batch size, threads and kind of machine.

    Args:
        images: uint8 (N,H,W,3), memory-mapped or not; it is read a batch at a time.
        network: `efficientnet_lite0` or `inception`.
        batch_size: images at a time; None: 16, and 256 on a GPU.

    Returns:
        float32 (N,D): D = 1280 for EfficientNet-Lite0, 2048 for Inception.

    Raises:
        UserError: not such an array, no such network, or its weights are missing.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or not len(images):
        raise UserError(f"images to measure must be uint8 (N,H,W,3), not {images.dtype} {images.shape}")
    extractor = feature_extractor(network)
    where = next(extractor.parameters()).device
    batch_size = batch_size or at_once(where, 16, 256)
    out = []
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        for start in range(0, len(images), batch_size):
            batch = torch.from_numpy(np.array(images[start : start + batch_size])).permute(0, 3, 1, 2)
            (features,) = extractor(batch.to(where))
            out.append(features.float().cpu().numpy())
    return np.concatenate(out)
