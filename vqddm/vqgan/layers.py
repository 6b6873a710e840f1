"""Encoder and decoder of the VQ-GAN (Table 3), bearing the official checkpoints' state-dict names.

All feature maps are float tensors of shape (B, C, H, W).
"""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from vqddm.layers import GroupNorm
from vqddm.vqgan.settings import AutoencoderParams


def normalise(channels: int, groups: int, activation: Literal["none", "silu"] = "none") -> GroupNorm:
    """Group normalisation (Table 3, note 3: 32 groups), and the activation after it."""
    return GroupNorm(groups, channels, eps=1e-6, activation=activation)


class ResidualBlock(nn.Module):
    """GroupNorm, swish, 3x3 convolution, twice; a 1x1 shortcut where the channels change."""

    def __init__(self, channels_in: int, channels_out: int, groups: int) -> None:
        super().__init__()
        self.norm1 = normalise(channels_in, groups, "silu")
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm2 = normalise(channels_out, groups, "silu")
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        if channels_in != channels_out:
            self.nin_shortcut = nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(self.norm1(x))
        h = self.conv2(self.norm2(h))
        return h + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class AttentionBlock(nn.Module):
    """Non-local self-attention over the positions of a feature map, one head."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = normalise(channels, groups)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = (layer(h).flatten(2).transpose(1, 2) for layer in (self.q, self.k, self.v))
        h = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        return x + self.proj_out(h.transpose(1, 2).reshape(x.shape))


class Downsample(nn.Module):
    """Halve height and width by a strided convolution, padded on the right and below."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Double height and width by repetition, then convolve."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """The blocks at one resolution, each followed by attention where the map has the preset size.

    Encoder and decoder put a `Downsample` or `Upsample` where the resolution changes after the level.
    """

    def __init__(self, channels_in: int, channels_out: int, blocks: int, attention: bool, groups: int) -> None:
        super().__init__()
        inputs = [channels_in] + [channels_out] * (blocks - 1)
        self.block = nn.ModuleList(ResidualBlock(c, channels_out, groups) for c in inputs)
        self.attn = nn.ModuleList(AttentionBlock(channels_out, groups) for _ in inputs if attention)
        self.downsample: nn.Module = nn.Identity()
        self.upsample: nn.Module = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        for index, block in enumerate(self.block):
            x = block(x)
            if self.attn:
                x = self.attn[index](x)
        return self.upsample(self.downsample(x))


class Middle(nn.Module):
    """Residual block, self-attention, residual block (Table 3, note 2)."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.block_1 = ResidualBlock(channels, channels, groups)
        self.attn_1 = AttentionBlock(channels, groups)
        self.block_2 = ResidualBlock(channels, channels, groups)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x)))


class Encoder(nn.Module):
    """Images (B, 3, H, W) in [-1, 1] to (B, z_channels, H / f, W / f)."""

    def __init__(self, p: AutoencoderParams) -> None:
        super().__init__()
        self.patch = p.patch
        size = p.resolution // p.patch
        widths = [p.width * m for m in p.multipliers]
        self.conv_in = nn.Conv2d(3 * p.patch**2, p.width, 3, padding=1)
        self.down = nn.ModuleList()
        for index, (before, width) in enumerate(zip([p.width, *widths], widths, strict=False)):
            level = Level(before, width, p.blocks, size in p.attention, p.groups)
            if index < len(widths) - 1:
                level.downsample = Downsample(width)
                size //= 2
            self.down.append(level)
        self.mid = Middle(widths[-1], p.groups)
        self.norm_out = normalise(widths[-1], p.groups, "silu")
        self.conv_out = nn.Conv2d(widths[-1], p.z_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv_in(F.pixel_unshuffle(x, self.patch))
        for level in self.down:
            h = level(h)
        return self.conv_out(self.norm_out(self.mid(h)))


class Decoder(nn.Module):
    """(B, z_channels, H / f, W / f) to images (B, 3, H, W), about [-1, 1]; one block more per level."""

    def __init__(self, p: AutoencoderParams) -> None:
        super().__init__()
        self.patch = p.patch
        widths = [p.width * m for m in p.multipliers]
        size = p.resolution // p.downsampling
        self.conv_in = nn.Conv2d(p.z_channels, widths[-1], 3, padding=1)
        self.mid = Middle(widths[-1], p.groups)
        levels: list[Level] = []
        before = widths[-1]
        for index, width in reversed(list(enumerate(widths))):
            level = Level(before, width, p.blocks + 1, size in p.attention, p.groups)
            if index > 0:
                level.upsample = Upsample(width)
                size *= 2
            levels.insert(0, level)  # up.0 is the full resolution and runs last
            before = width
        self.up = nn.ModuleList(levels)
        self.norm_out = normalise(widths[0], p.groups, "silu")
        self.conv_out = nn.Conv2d(widths[0], 3 * p.patch**2, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.mid(self.conv_in(z))
        for level in reversed(self.up):
            h = level(h)
        return F.pixel_shuffle(self.conv_out(self.norm_out(h)), self.patch)
