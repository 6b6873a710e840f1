"""The arrays of Figure 2: one real image's codes at several timesteps, with the probability bars."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vqddm.artifacts import UserError, replacing
from vqddm.compute import limit_threads
from vqddm.data.arrays import load_split, to_bytes, to_unit
from vqddm.prior.diffusion import marginal, posterior, resample
from vqddm.prior.sampler import load_uniform
from vqddm.prior.schedule import NoiseSchedule
from vqddm.prior.unet import Prior

BARS = 8  # codes shown in the bar charts
FRACTIONS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of T


def diffuse_alike(
    schedule: NoiseSchedule, z0: Tensor, timesteps: list[int], codebook_size: int, generator: torch.Generator
) -> Tensor:
    """Draws of Eq. 17 with the same noise at every timestep, so that a code once lost stays lost: int64 (n, h, w).

    Args:
        z0: one code map, int64 (1, h, w).
        timesteps: n of them, from 0 to T.
    """
    chance = 1 - torch.rand(z0.shape, generator=generator)
    noise = torch.randint(codebook_size, z0.shape, generator=generator)
    return torch.cat([resample(z0, noise, chance, schedule.interval(0, t)) for t in timesteps])


def predict(prior: Prior, z: Tensor, t: int) -> Tensor:
    """p(z_0 | z_t) of a code map (1, h, w) at t (Eqs. 20 to 23): (1, h, w, K); at t = 0 it is what is there."""
    nothing = prior.schedule.interval(0, 0)
    if t == 0:
        return marginal(z, nothing, prior.codebook_size)
    p0 = prior(z, torch.tensor([t])).softmax(-1)
    if t == 1 and prior.diffusion.as_printed:
        return p0
    return posterior(z, p0, prior.schedule.interval(0, t), nothing)


@torch.no_grad()
def draw_diffused(
    *, prior: Path, first_stage: Path, data: Path, image: int = 0, seed: int = 0, out: Path, threads: int | None = None
) -> None:
    """Diffuse one test image's codes and let the prior predict z_0 from each z_t.

    Args:
        prior: checkpoint of a prior with the uniform transition.
        image: index of the image in the split.
        out: `.npz` of images, code maps and probabilities, to write.

    Raises:
        UserError: a prior of another transition or first stage, or there is no such image.
    """
    limit_threads(threads)
    sampler, decoder = load_uniform(prior, first_stage)
    schedule, size = sampler.network.schedule, sampler.codebook_size
    pictures = load_split(data, decoder.params.resolution)
    if not image < len(pictures):
        raise UserError(f"{data}: has pictures 0 to {len(pictures) - 1}; there is no {image}")
    picture = np.array(pictures[image : image + 1])
    z0 = decoder.encode(to_unit(picture))
    timesteps = [round(fraction * schedule.timesteps) for fraction in FRACTIONS]
    maps = diffuse_alike(schedule, z0, timesteps, size, torch.Generator().manual_seed(seed))
    row, column = z0.shape[1] // 2, z0.shape[2] // 2
    forward = torch.stack([marginal(z0, schedule.interval(0, t), size)[0, row, column] for t in timesteps])
    predicted = torch.stack(
        [predict(sampler.network, z[None], t)[0, row, column] for z, t in zip(maps, timesteps, strict=True)]
    )
    bars = predicted.amax(0).argsort(descending=True)[:BARS].sort().values
    with replacing(out) as aside:
        np.savez(
            aside,
            image=picture[0],
            reconstruction=to_bytes(decoder.decode(z0))[0],
            timesteps=np.asarray(timesteps),
            codes=maps.numpy(),
            decoded=to_bytes(decoder.decode(maps)),
            position=np.asarray([row, column]),
            bar_codes=bars.numpy(),
            forward=forward[:, bars].numpy(),
            predicted=predicted[:, bars].numpy(),
            codebook_size=size,
        )
