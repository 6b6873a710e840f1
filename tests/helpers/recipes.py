"""What tests of the recipes share: brute-force matrices, small data, small and large networks."""

from __future__ import annotations

from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import torch
import yaml

from vqddm.artifacts import sha256, write_array, write_json
from vqddm.baselines.dvae.settings import DVAEParams
from vqddm.baselines.dvae.train import train_dvae
from vqddm.baselines.transformer.settings import TransformerParams
from vqddm.evaluate.settings import PaperNetworks
from vqddm.params import paper_networks
from vqddm.prior.schedule import Interval, NoiseSchedule
from vqddm.prior.settings import DiffusionParams, PriorParams, UNetParams
from vqddm.prior.train import train_prior
from vqddm.settings import OptimizerParams, TrainingParams, parse
from vqddm.vqgan.settings import AdversarialParams, AutoencoderParams

# ---- the diffusion by matrices, in float64

CASES = [(5, 4, "cosine"), (6, 10, "sqrt_cosine"), (7, 50, "cosine"), (5, 50, "sqrt_cosine")]


def keeps(timesteps: int, kind: str) -> np.ndarray:
    """Eq. 19 as printed, or its square root, for t = 0..T."""
    f = np.cos((np.arange(timesteps + 1) / timesteps + 0.008) / 1.008 * np.pi / 2) ** 2
    return f / f[0] if kind == "cosine" else np.sqrt(f / f[0])


def between(steps: list[np.ndarray], s: int, t: int) -> np.ndarray:
    """The product Q_{s+1} ... Q_t."""
    found = np.eye(len(steps[0]))
    for step in steps[s + 1 : t + 1]:
        found = found @ step
    return found


def brute_posterior(steps: list[np.ndarray], s: int, t: int, p0: np.ndarray) -> np.ndarray:
    """Eqs. 20 to 22 by matrices: [z_t, z_s]."""
    joint = between(steps, s, t).T * (p0 @ between(steps, 0, s))
    return joint / joint.sum(1, keepdims=True)


def parts(schedule: NoiseSchedule, s: int, t: int) -> tuple[Interval, Interval]:
    """(late, early) in float64."""
    return schedule.interval(s, t, torch.float64), schedule.interval(0, s, torch.float64)


def strides(timesteps: int) -> list[tuple[int, int]]:
    """Pairs s < t: neighbours, long jumps, from and to both ends."""
    ends = {(0, 1), (1, 2), (timesteps - 1, timesteps), (0, timesteps), (1, timesteps)}
    return sorted(ends | {(s, t) for s, t in product(range(0, timesteps, 7), range(1, timesteps + 1, 5)) if s < t})


JOINT = torch.tensor([[0.30, 0.02, 0.05], [0.01, 0.25, 0.02], [0.10, 0.05, 0.20]], dtype=torch.float64)

# ---- small data and what is trained on it

PRIOR = PriorParams(
    diffusion=DiffusionParams(timesteps=12, schedule="cosine", residual=True),
    unet=UNetParams(width=16, multipliers=(1, 2), groups=4, heads=2, head_dim=8),
    learning_rate=3e-3,
    warmup_steps=0,
    gradient_clip=None,
    importance_sampling=True,
    ema_decay=0.9,
    training=TrainingParams(steps=30, batch_size=32, precision="no", seed=3),
)
TRANSFORMER = TransformerParams(
    layers=2,
    width=16,
    heads=2,
    window=4,
    top_k=None,
    learning_rate=5e-3,
    warmup_steps=5,
    gradient_clip=1.0,
    training=TrainingParams(steps=60, batch_size=32, precision="no", seed=3),
)


AUTOENCODER = AutoencoderParams(
    resolution=16, patch=2, width=32, multipliers=(1, 1), blocks=1, attention=(), z_channels=8, embed_dim=6
)  # f = 4: code maps of 4 x 4
ADVERSARIAL = AdversarialParams(
    squared_weight=0.0,
    commitment=0.25,
    perceptual="efficientnet_lite0",
    perceptual_weight=0.25,
    discriminator_width=8,
    discriminator_layers=1,
    discriminator_start=2,
    discriminator_weight=0.8,
)
ADAM = OptimizerParams(betas=(0.9, 0.999), schedule="constant", warmup_steps=0, ema_decay=0.0)
DVAE = DVAEParams(
    kl_weight=0.0005,
    learning_rate=0.003,
    optimizer=ADAM,
    training=TrainingParams(steps=60, batch_size=16, precision="no", seed=0),
)


def write_maps(path: Path, count: int = 200) -> np.ndarray:
    """Code maps (N, 4, 4) of 6 codes: each is one code all over, or, in its right half, the next."""
    rng = np.random.default_rng(0)
    code, turns = rng.integers(6, size=(count, 1, 1)), rng.integers(2, size=(count, 1, 1))
    maps = ((code + turns * (np.arange(4) > 1)[None, None]) % 6 + np.zeros((1, 4, 1), int)).astype(np.uint16)
    write_array(path, maps)
    return maps


def write_pictures(path: Path, images: np.ndarray) -> Path:
    """A prepared split of images uint8 (N, H, W, 3)."""
    write_array(path, images)
    about = {"count": len(images), "resolution": images.shape[1], "sha256": sha256(path)}
    write_json(path.with_suffix(".json"), about)
    return path


def trained_prior(
    folder: Path, params: PriorParams = PRIOR, save_seconds: float = 1e9, micro_batch: int | None = None
) -> Path:
    """Train in `folder` on `codes.npy` there; the checkpoint's path."""
    out = folder / "prior.safetensors"
    train_prior(
        codes=folder / "codes.npy",
        params=params,
        codebook_size=6,
        state=folder / "state",
        out=out,
        curve=folder / "prior.csv",
        save_seconds=save_seconds,
        micro_batch=micro_batch,
        threads=1,
    )
    return out


def train_dvae_on(data: Path, out: Path) -> None:
    """Train a discrete VAE of 16 codes on pictures of 16 pixels."""
    state, curve = out.parent / "state", out.parent / "curve.csv"
    train_dvae(
        data=data, autoencoder=AUTOENCODER, params=DVAE, codebook_size=16, state=state, out=out, curve=curve, threads=1
    )


# ---- the paper's sizes


@cache
def paper() -> PaperNetworks:
    """The paper's own networks, as `params.yaml` has them."""
    values = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())
    return parse(PaperNetworks, paper_networks(values))
