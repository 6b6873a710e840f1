"""Completions by any method that fills code maps, as a file (section 4.4)."""

from pathlib import Path

import numpy as np
import torch

from vqddm.artifacts import UserError, replacing
from vqddm.batches import BATCH_ON_GPU
from vqddm.compute import at_once, device, limit_threads, mixed
from vqddm.data.arrays import load_split, to_bytes, to_unit
from vqddm.data.progress import progress
from vqddm.prior.masks import all_masks, mask_pixels
from vqddm.samplers import Encoded, Process, Sampling, check_sampling, load_pair


@torch.inference_mode()
def inpaint_images(
    *,
    checkpoint: Path,
    first_stage: Path,
    data: Path,
    count: int = 8,
    encode: Encoded = "masked",
    seed: int = 0,
    temperature: float = 1.0,
    sampler: Process = "ancestral",
    out: Path,
    threads: int | None = None,
) -> None:
    """Complete the first images of a split from the masks of section 4.4 and others, with all steps.

    Args:
        count: number of images for each mask.
        encode: the image that gives the known codes: the `masked` one, as in the paper, or the `full` one.
        sampler: of diffusion on codes: ancestral draws z_s from p(z_s | z_t); renoise draws z_0 and diffuses it.
        out: `.npz` to write, with names (k,), masks (k, h, w) True = given, originals, masked and completed uint8
            (k, count, H, W, 3).

    Raises:
        UserError: too few images, or method and first stage do not belong together.
    """
    limit_threads(threads)
    method, model = load_pair(checkpoint, first_stage, device())
    how = Sampling(method.steps[-1], temperature, sampler=sampler)
    check_sampling(method, how, count)
    split = load_split(data)
    if len(split) < count:
        raise UserError(f"{data}: {len(split)} images, but {count} are to be completed")
    pixels = np.array(split[:count])
    images = to_unit(pixels).to(device())
    generator = torch.Generator(device()).manual_seed(seed)
    height, width = method.shape
    masks = all_masks(height, width, seed)
    given = torch.stack(list(masks.values())).to(device())
    masked, known, completed = [], [], []
    with mixed(model):
        for mask in given:
            seen = mask_pixels(images, mask)
            known.append(model.encode(seen if encode == "masked" else images))
            masked.append(to_bytes(seen))
    together = max(1, at_once(device(), count, BATCH_ON_GPU) // count)  # masks: one's pictures leave a GPU idle
    starts = range(0, len(given), together)
    with progress("inpaint", len(starts) * how.steps, "step") as bar:
        for some in (slice(start, start + together) for start in starts):
            with mixed(method.network):
                each = given[some].repeat_interleave(count, 0)
                codes = method.complete(torch.cat(known[some]), each, how, generator, bar.update)
            with mixed(model):
                completed += [to_bytes(model.decode(part)) for part in codes.split(count)]
    with replacing(out) as aside:
        np.savez(
            aside,
            names=np.array(list(masks)),
            masks=np.stack([mask.numpy() for mask in masks.values()]),
            originals=np.repeat(pixels[None], len(masks), axis=0),
            masked=np.stack(masked),
            completed=np.stack(completed),
        )
