"""DALL-E's discrete VAE (Ramesh et al., 2021): codes relaxed by Gumbel-softmax in training (Table 1)."""

import math

import torch
from torch import Tensor, nn

from vqddm.vqgan.layers import Decoder, Encoder
from vqddm.vqgan.settings import AutoencoderParams


class DVAE(nn.Module):
    """Images in [-1, 1] to maps of K codes and back; the encoder and decoder are those of the VQ-GAN."""

    def __init__(self, params: AutoencoderParams, codebook_size: int) -> None:
        super().__init__()
        self.params, self.codebook_size = params, codebook_size
        self.encoder = Encoder(params)
        self.to_logits = nn.Conv2d(params.z_channels, codebook_size, 1)
        self.embedding = nn.Embedding(codebook_size, params.embed_dim)
        self.post_quant = nn.Conv2d(params.embed_dim, params.z_channels, 1)
        self.decoder = Decoder(params)

    def logits(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) to unnormalised log q(code | image), (B, K, h, w)."""
        return self.to_logits(self.encoder(images))

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) to the likeliest codes (B, h, w), int64 in [0, K)."""
        return self.logits(images).argmax(1)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, h, w) to images (B, 3, H, W), not clamped."""
        return self.decoder(self.post_quant(self.embedding(codes).movedim(-1, 1)))

    def forward(self, images: Tensor, temperature: float, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruct from codes drawn softly, softmax((logits + Gumbel noise) / temperature).

        Args:
            images: (B, 3, H, W).
            temperature: above 0; towards 0 the draws become hard.
            noise: uniform in (0, 1), (B, K, h, w).

        Returns:
            Reconstructions (B, 3, H, W), and KL(q | uniform) in nats per code.
        """
        logits = self.logits(images).float()
        soft = torch.softmax((logits - torch.log(-torch.log(noise))) / temperature, 1)
        vectors = torch.einsum("bkhw,kd->bdhw", soft, self.embedding.weight)
        return self.decoder(self.post_quant(vectors)), kl_to_uniform(logits)


def kl_to_uniform(logits: Tensor) -> Tensor:
    """KL of Cat(softmax(logits (B, K, h, w))) to the uniform distribution, nats, the mean over codes: in [0, ln K]."""
    log_q = torch.log_softmax(logits, 1)
    return (log_q.exp() * log_q).sum(1).mean() + math.log(logits.shape[1])
