"""VQ-VAE-2 (Razavi et al., 2019): two levels of codes, the bottom one knowing the top one (Table 1)."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqddm.vqgan.layers import Decoder, Downsample, Encoder, ResidualBlock, Upsample
from vqddm.vqgan.model import Quantiser
from vqddm.vqgan.settings import AutoencoderParams


class VQVAE2(nn.Module):
    """Images in [-1, 1] to two code maps and back; the encoder and decoder are those of the VQ-GAN.

    The bottom map has the VQ-GAN's latent size (h, w), the top map half of it. An image's codes are one row: the
    bottom map's, in [0, K), then the top map's, in [K, 2 K), so that a code of either codebook has one number.
    """

    def __init__(self, params: AutoencoderParams, codebook_size: int) -> None:
        super().__init__()
        self.params, self.codebook_size = params, codebook_size
        channels, dim, width = params.z_channels, params.embed_dim, params.width * params.multipliers[-1]
        refine = partial(ResidualBlock, width, width, params.groups)
        self.encoder = Encoder(params)
        self.encoder_top = nn.Sequential(nn.Conv2d(channels, width, 1), Downsample(width), refine())
        self.quant_top, self.quantize_top = nn.Conv2d(width, dim, 1), Quantiser(codebook_size, dim)
        self.decoder_top = nn.Sequential(nn.Conv2d(dim, width, 1), refine(), Upsample(width))
        self.quant_bottom = nn.Conv2d(channels + width, dim, 1)
        self.quantize_bottom = Quantiser(codebook_size, dim)
        self.post_quant = nn.Conv2d(dim + width, channels, 1)
        self.decoder = Decoder(params)

    @property
    def side(self) -> int:
        """Height and width of the bottom map."""
        return self.params.resolution // self.params.downsampling

    def bottom_features(self, h: Tensor, top: Tensor) -> tuple[Tensor, Tensor]:
        """What the bottom map is made from (B, d, h, w), and what of the top map the decoder sees (B, ., h, w)."""
        above = self.decoder_top(top)
        return self.quant_bottom(torch.cat([h, above], 1)), above

    def render(self, bottom: Tensor, above: Tensor) -> Tensor:
        """Vectors of the bottom codes and what comes from the top to images (B, 3, H, W), not clamped."""
        return self.decoder(self.post_quant(torch.cat([bottom, above], 1)))

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) to codes (B, h w + h w / 4), int64 in [0, 2 K)."""
        h = self.encoder(images)
        top = self.quantize_top(self.quant_top(self.encoder_top(h)))
        features, _ = self.bottom_features(h, self.quantize_top.lookup(top))
        return torch.cat([self.quantize_bottom(features).flatten(1), top.flatten(1) + self.codebook_size], 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, h w + h w / 4) to images (B, 3, H, W), not clamped."""
        bottom, top = codes.split([self.side**2, (self.side // 2) ** 2], 1)
        vectors = self.quantize_top.lookup(top.unflatten(1, (self.side // 2, -1)) - self.codebook_size)
        return self.render(self.quantize_bottom.lookup(bottom.unflatten(1, (self.side, -1))), self.decoder_top(vectors))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images (B, 3, H, W) to reconstructions, codebook loss and commitment loss, gradients straight through."""
        h = self.encoder(images)
        top, top_codebook, top_commitment = _straight_through(self.quantize_top, self.quant_top(self.encoder_top(h)))
        features, above = self.bottom_features(h, top)
        bottom, codebook, commitment = _straight_through(self.quantize_bottom, features)
        return self.render(bottom, above), codebook + top_codebook, commitment + top_commitment


def _straight_through(quantiser: Quantiser, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The nearest codes' vectors with the features' gradient, and the two losses of Eq. 14."""
    nearest = quantiser.lookup(quantiser(features))
    passed = nearest.detach() + (features - features.detach())  # exactly the code's vector
    return passed, F.mse_loss(nearest, features.detach()), F.mse_loss(features, nearest.detach())
