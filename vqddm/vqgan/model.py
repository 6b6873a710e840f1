"""The first stage: encoder, codebook, decoder (section 2.2); one class for the small setting and the paper's."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

from vqddm.artifacts import UserError, read_checkpoint
from vqddm.compute import load_state
from vqddm.vqgan.codec import DISCRIMINATOR, FIRST_STAGE, load_codec
from vqddm.vqgan.layers import Decoder, Encoder
from vqddm.vqgan.settings import AutoencoderParams

CODEBOOK = "quantize.embedding.weight"  # the name of its tensor, as in the official checkpoints


class Reconstruction(NamedTuple):
    """What the first stage makes of a batch: images (B, 3, H, W), codes (B, h, w), two scalars of Eq. 14."""

    images: Tensor
    codes: Tensor
    codebook_loss: Tensor
    commitment_loss: Tensor


class Quantiser(nn.Module):
    """The codebook Z (K, d) and the nearest-neighbour assignment of Eq. 12."""

    def __init__(self, codebook_size: int, dim: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(codebook_size, dim)
        nn.init.uniform_(self.embedding.weight, -1.0 / codebook_size, 1.0 / codebook_size)

    def forward(self, features: Tensor) -> Tensor:
        """Eq. 12: features (B, d, h, w) to the indices (B, h, w), int64, of their nearest codes."""
        # Codes must not depend on mixed precision.
        with torch.no_grad(), torch.autocast(features.device.type, enabled=False):
            vectors = features.float().movedim(1, -1)
            codebook = self.embedding.weight.float()
            # |h - z|^2 without |h|^2, which is the same for every code
            distance = torch.addmm(codebook.square().sum(1), vectors.flatten(0, -2), codebook.T, alpha=-2)
            return distance.argmin(-1).view(vectors.shape[:-1])

    def lookup(self, codes: Tensor) -> Tensor:
        """Codes (B, h, w) to their vectors (B, d, h, w)."""
        return self.embedding(codes).movedim(-1, 1)


class FirstStage(nn.Module):
    """Images in [-1, 1] to code maps and back."""

    def __init__(self, params: AutoencoderParams, codebook_size: int) -> None:
        super().__init__()
        self.params = params
        self.encoder = Encoder(params)
        self.decoder = Decoder(params)
        self.quantize = Quantiser(codebook_size, params.embed_dim)
        self.quant_conv = nn.Conv2d(params.z_channels, params.embed_dim, 1)
        self.post_quant_conv = nn.Conv2d(params.embed_dim, params.z_channels, 1)

    @property
    def codebook_size(self) -> int:
        """The capacity K of the codebook."""
        return self.quantize.embedding.num_embeddings

    def features(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) to the latent features h (B, d, H/f, W/f) before quantisation."""
        return self.quant_conv(self.encoder(images))

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) to codes (B, H/f, W/f), int64 in [0, K)."""
        return self.quantize(self.features(images))

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, h, w) to images (B, 3, H, W), not clamped."""
        return self.decoder(self.post_quant_conv(self.quantize.lookup(codes)))

    def forward(self, images: Tensor) -> Reconstruction:
        """Eqs. 12 to 14: reconstruct with the straight-through gradient estimator."""
        h = self.features(images).float()
        codes = self.quantize(h)
        z = self.quantize.lookup(codes).float()
        straight_through = h + (z - h).detach()
        return Reconstruction(
            self.decoder(self.post_quant_conv(straight_through)).float(),
            codes,
            codebook_loss=F.mse_loss(z, h.detach()),
            commitment_loss=F.mse_loss(h, z.detach()),
        )


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation over the whole batch, also where several processes share it.

    torch's SyncBatchNorm does that on GPUs only.
    """

    def forward(self, x: Tensor) -> Tensor:
        together = torch.distributed.is_available() and torch.distributed.is_initialized()
        if not self.training or not together:
            return super().forward(x)
        processes = torch.distributed.get_world_size()
        channels = (1, -1, 1, 1)
        mean = all_reduce(x.mean((0, 2, 3))) / processes
        centred = x - mean.view(channels)
        variance = all_reduce(centred.square().mean((0, 2, 3))) / processes
        count = processes * x.numel() / x.shape[1]
        with torch.no_grad():
            assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked += 1
        scaled = centred * (variance + self.eps).rsqrt().view(channels)
        return scaled * self.weight.view(channels) + self.bias.view(channels)


class Discriminator(nn.Module):
    """The patch discriminator of VQ-GAN: images (B, 3, H, W) to logits (B, 1, h', w')."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        parts: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        channels = width
        for index in range(1, layers + 1):
            wider = width * min(2**index, 8)
            stride = 2 if index < layers else 1
            parts += [
                nn.Conv2d(channels, wider, 4, stride=stride, padding=1, bias=False),
                BatchNorm(wider),
                nn.LeakyReLU(0.2),
            ]
            channels = wider
        parts.append(nn.Conv2d(channels, 1, 4, stride=1, padding=1))
        self.main = nn.Sequential(*parts)
        for module in self.main:
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, 0.02)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02)

    def forward(self, images: Tensor) -> Tensor:
        return self.main(images)


def load_first_stage(path: Path, device: str = "cpu") -> tuple[FirstStage, dict[str, Any]]:
    """Read a VQ-GAN for inference, trained, imported or rebuilt, and what made it.

    Raises:
        UserError: missing, damaged, another first stage or none, or tensors that do not fit.
    """
    model, about = load_codec(path, device)
    if not isinstance(model, FirstStage):
        raise UserError(f"{path}: holds a {about['kind']}, not a VQ-GAN")
    return model, about


def load_discriminator(path: Path, width: int, layers: int) -> Discriminator:
    """Read the discriminator that was trained beside a first stage."""
    tensors, _ = read_checkpoint(path, FIRST_STAGE)
    model = Discriminator(width, layers)
    own = {k.removeprefix(DISCRIMINATOR): v for k, v in tensors.items() if k.startswith(DISCRIMINATOR)}
    load_state(model, own, path)
    return model
