"""The arrays of Figure 2: one real image's codes at several timesteps, with the probability bars."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from vqddm.artifacts import replacing
from vqddm.data.arrays import load_split, to_bytes, to_unit
from vqddm.prior.diffusion import posterior
from vqddm.prior.train import load_prior
from vqddm.training import limit_threads
from vqddm.vqgan.model import load_first_stage

BARS = 8  # codes shown in the bar charts
FRACTIONS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of T


@torch.no_grad()
def draw_chain(
    prior: Path, first_stage: Path, data: Path, image: int, seed: int, out: Path, threads: int | None = None
) -> None:
    """Diffuse one test image's codes (Eq. 17) and let the prior predict z_0 from each z_t (Eqs. 20 to 23).

    Args:
        prior: the prior's checkpoint.
        first_stage: checkpoint of its first stage.
        data: `test.npy` of the dataset.
        image: index of the image.
        seed: seed of the noise.
        out: `.npz` of images, code maps and probabilities.
        threads: CPU threads.
    """
    limit_threads(threads)
    model, schedule, about = load_prior(prior)
    decoder, _ = load_first_stage(first_stage)
    picture = np.array(load_split(data)[image : image + 1])
    size = about["codebook_size"]
    z0 = decoder.encode(to_unit(torch.from_numpy(picture)))
    timesteps = [round(f * schedule.timesteps) for f in FRACTIONS]
    row, column = z0.shape[1] // 2, z0.shape[2] // 2
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(z0.shape, generator=generator)
    noise = torch.randint(size, z0.shape, generator=generator)
    codes, forward, predicted = [], [], []
    for t in timesteps:
        early = schedule.transition(0, t)
        keep = float(early.keep)
        z = torch.where(uniform < keep, z0, noise)  # the same noise at every t: a code once lost stays lost
        codes.append(z[0])
        q = torch.full((size,), (1 - keep) / size)
        q[z0[0, row, column]] += keep
        forward.append(q)
        if t == 0:
            predicted.append(torch.nn.functional.one_hot(z0[0, row, column], size).float())
        else:
            p0 = model(z, torch.tensor([t])).softmax(-1)
            predicted.append(posterior(z, p0, early, schedule.transition(0, 0))[0, row, column])
    bars = torch.stack(predicted).amax(0).argsort(descending=True)[:BARS].sort().values
    maps = torch.stack(codes)
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
            forward=torch.stack(forward)[:, bars].numpy(),
            predicted=torch.stack(predicted)[:, bars].numpy(),
            codebook_size=size,
        )
