"""The prior's network μ(Z_t, t): the small U-Net of the multinomial-diffusion line, and Eq. 23 around it.

At the paper's setting it has 117.59 M parameters (K = 1024). Activations are channels-last in memory: that is how
the embedding makes them and how the logits, K last, are wanted.
"""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqddm.artifacts import UserError
from vqddm.layers import GroupNorm, Mish
from vqddm.prior.diffusion import first_term_as_printed
from vqddm.prior.schedule import NoiseSchedule
from vqddm.prior.settings import DiffusionParams, UNetParams
from vqddm.prior.transitions import TRANSITIONS, Transition

PAPER_TIMESTEPS = 4000


class TimeEmbedding(nn.Module):
    """Sinusoids of t and a two-layer perceptron: (B,) to (B, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), Mish(), nn.Linear(4 * width, width), Mish())

    def forward(self, t: Tensor) -> Tensor:
        half = self.width // 2
        rates = torch.exp(torch.arange(half, device=t.device) * (-math.log(10000) / half))
        angles = t.float()[:, None] * rates
        return self.mlp(torch.cat([angles.sin(), angles.cos()], dim=1))


class Block(nn.Sequential):
    """3 x 3 convolution, GroupNorm, Mish. On a GPU the convolution's bias is added with the normalisation."""

    def __init__(self, channels_in: int, channels_out: int, groups: int) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, 3, padding=1), GroupNorm(groups, channels_out, activation="mish")
        )

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_cuda:
            return super().forward(x)
        convolution, norm = self
        return norm(F.conv2d(x, convolution.weight, padding=1), convolution.bias)  # type: ignore[arg-type]


class ResidualBlock(nn.Module):
    """Two blocks with the time embedding added between them, and a (1 x 1 convolved) shortcut."""

    def __init__(self, channels_in: int, channels_out: int, time_width: int, groups: int) -> None:
        super().__init__()
        self.block1 = Block(channels_in, channels_out, groups)
        self.time = nn.Linear(time_width, channels_out)
        self.block2 = Block(channels_out, channels_out, groups)
        same = channels_in == channels_out
        self.shortcut = nn.Identity() if same else nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        hidden = self.block1(x) + self.time(time)[:, :, None, None]
        return self.block2(hidden) + self.shortcut(x)


class LinearAttention(nn.Module):
    """Attention whose cost is linear in the positions, on a branch gated by ReZero: x + gate · attention(x).

    The keys are normalised over the positions, so every head sums the values up in one (d, d) context.
    """

    def __init__(self, channels: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, head_dim
        self.qkv = nn.Conv2d(channels, 3 * heads * head_dim, 1, bias=False)
        self.out = nn.Conv2d(heads * head_dim, channels, 1)
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        qkv = self.qkv(x).permute(0, 2, 3, 1).reshape(batch, height * width, 3, self.heads, self.head_dim)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, N, d)
        context = key.softmax(2).transpose(2, 3) @ value
        attended = (query @ context).transpose(1, 2).reshape(batch, height, width, -1)
        return x + self.gate.to(x.dtype) * self.out(attended.permute(0, 3, 1, 2))


class Level(nn.Module):
    """Two residual blocks and linear attention at one size, then a change of size."""

    def __init__(self, channels_in: int, channels_out: int, params: UNetParams, resize: nn.Module) -> None:
        super().__init__()
        self.block1 = ResidualBlock(channels_in, channels_out, params.width, params.groups)
        self.block2 = ResidualBlock(channels_out, channels_out, params.width, params.groups)
        self.attention = LinearAttention(channels_out, params.heads, params.head_dim)
        self.resize = resize

    def forward(self, x: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """The level's result, before and after the change of size."""
        x = self.attention(self.block2(self.block1(x, time), time))
        return x, self.resize(x)


class CodeUNet(nn.Module):
    """μ(Z_t, t) of Eq. 23.

    Args:
        states: values that a position of Z_t can take: K, and one more where the transition has a mask.
        params: width, one multiplier per level (each level halves the size), groups, heads.

    Raises:
        UserError: the width is odd, or the groups do not divide the channels.
    """

    def __init__(self, states: int, codebook_size: int, params: UNetParams) -> None:
        super().__init__()
        channels = [params.width * m for m in params.multipliers]
        if wrong := [c for c in channels if c % params.groups]:
            raise UserError(f"unet: {params.groups} groups do not divide {wrong[0]} channels; change width or groups")
        if params.width % 2:
            raise UserError(f"unet: width {params.width} is odd; the sinusoids of t need an even one")
        self.multiple = 2 ** (len(channels) - 1)
        self.embedding = nn.Embedding(states, params.width)
        self.time = TimeEmbedding(params.width)
        self.down = nn.ModuleList()
        for number, (c_in, c_out) in enumerate(pairwise([params.width, *channels])):
            deepest = number == len(channels) - 1
            resize = nn.Identity() if deepest else nn.Conv2d(c_out, c_out, 3, stride=2, padding=1)
            self.down.append(Level(c_in, c_out, params, resize))
        bottom = channels[-1]
        self.middle1 = ResidualBlock(bottom, bottom, params.width, params.groups)
        self.middle_attention = LinearAttention(bottom, params.heads, params.head_dim)
        self.middle2 = ResidualBlock(bottom, bottom, params.width, params.groups)
        self.up = nn.ModuleList(
            Level(2 * c_in, c_out, params, nn.ConvTranspose2d(c_out, c_out, 4, stride=2, padding=1))
            for c_in, c_out in pairwise(reversed(channels))
        )
        self.head = nn.Sequential(
            Block(channels[0], channels[0], params.groups), nn.Conv2d(channels[0], codebook_size, 1)
        )
        self.to(memory_format=torch.channels_last)

    def check_size(self, height: int, width: int) -> None:
        """Raise UserError unless every level can halve a code map of this size."""
        if height % self.multiple or width % self.multiple:
            raise UserError(
                f"unet: the sides of a {height} x {width} code map are no multiples of {self.multiple}; "
                "give fewer multipliers"
            )

    def forward(self, codes: Tensor, t: Tensor) -> Tensor:
        """Logits (B, K, h, w) for code maps (B, h, w) int64 at timesteps (B,), or (1,) for all.

        Raises:
            UserError: the levels cannot halve the code map.
        """
        self.check_size(*codes.shape[1:])
        x = self.embedding(codes).permute(0, 3, 1, 2)
        time = self.time(t).to(x.dtype)
        skips = []
        for level in self.down:
            skip, x = level(x, time)
            skips.append(skip)
        x = self.middle2(self.middle_attention(self.middle1(x, time)), time)
        for level in self.up:
            _, x = level(torch.cat([x, skips.pop()], dim=1), time)
        block, logits = self.head
        return logits(block(x).to(logits.weight.dtype))

    def keep_in_bf16(self) -> None:
        """Turn the weights into bf16, for evaluation, but for those of t's perceptron and of the last convolution.

        So the logits are formed in float32, unless autocast rounds them, as on a GPU it does.
        """
        for name, part in self.named_children():
            if name not in ("time", "head"):
                part.to(torch.bfloat16)
        self.head[0].to(torch.bfloat16)


class Prior(nn.Module):
    """p0 for z_t: the network, and with `residual` the one-hot of Z_t on top of its logits (Eq. 23).

    It bears the diffusion's noise schedule and transition.

    The network sees t on the paper's scale, 0..4000 whatever T is: at t = 1 Eq. 22 as printed asks for another p0
    than Eq. 24 does at t = 2 (see `diffusion.posterior`), so neighbours must be easy to tell apart.
    """

    def __init__(self, codebook_size: int, unet: UNetParams, diffusion: DiffusionParams) -> None:
        super().__init__()
        self.codebook_size = codebook_size
        self.diffusion = diffusion
        self.schedule = NoiseSchedule(diffusion.timesteps, diffusion.schedule)
        self.time_scale = PAPER_TIMESTEPS / diffusion.timesteps
        self.unet = CodeUNet(self.transition.states(codebook_size), codebook_size, unet)

    @property
    def transition(self) -> Transition:
        """The functions of its transition."""
        return TRANSITIONS[self.diffusion.transition].functions

    def bound_terms(self, z_0: Tensor, z_t: Tensor, t: Tensor, logits: Tensor) -> Tensor:
        """L_t of each image in nats, summed over its positions (Eqs. 7 and 24): (B,) in the dtype of `kl_terms`.

        Args:
            z_0, z_t: (B, h, w) int64.
            t: (B,) in 1..T.
            logits: of p0 for z_t, (B, h, w, K).
        """
        late, early = self.schedule.interval(t - 1, t), self.schedule.interval(0, t - 1)
        terms = self.transition.kl_terms(z_0, z_t, logits, late, early)
        if self.diffusion.as_printed:
            first = t == 1
            terms = terms.masked_scatter(first, first_term_as_printed(z_0[first], logits[first]).to(terms.dtype))
        return terms

    def forward(self, codes: Tensor, t: Tensor) -> Tensor:
        """Logits of p0, (B, h, w, K), for z_t (B, h, w) int64 and t in 1..T, (B,) or (1,) for all."""
        logits = self.unet(codes, t * self.time_scale)
        if self.diffusion.residual:  # before the permutation, since added to a view it is copied thrice on the way back
            index = codes.unsqueeze(1)
            logits.scatter_add_(1, index, torch.ones_like(index, dtype=logits.dtype))
        return logits.permute(0, 2, 3, 1)
