"""Completions by any method that fills code maps, as a file (section 4.4)."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vqddm.artifacts import UserError, replacing
from vqddm.batches import BATCH_ON_GPU
from vqddm.compute import at_once, device, limit_threads, mixed
from vqddm.data.arrays import load_split, to_bytes, to_unit
from vqddm.data.progress import progress
from vqddm.prior.masks import all_masks
from vqddm.samplers import CodeSampler, Encoded, Process, Sampling, check_sampling, load_pair
from vqddm.vqgan.codec import decode_codes, encode_images, mask_pixels


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
        UserError: too few images or of another size, or method and first stage do not fit.
    """
    limit_threads(threads)
    method, model = load_pair(checkpoint, first_stage, device())
    how = Sampling(method.steps[-1], temperature, sampler=sampler)
    check_sampling(method, how, count)
    split = load_split(data, model.params.resolution)
    if len(split) < count:
        raise UserError(f"{data}: {len(split)} images, but {count} are to be completed")
    pixels = np.array(split[:count])
    height, width = method.shape
    masks = all_masks(height, width, seed)
    given = torch.stack(list(masks.values()))
    known = [encode_images(model, pixels, mask.to(device()) if encode == "masked" else None) for mask in given]
    codes = _complete(method, np.stack(known), given, how, seed)
    with replacing(out) as aside:
        np.savez(
            aside,
            names=np.array(list(masks)),
            masks=given.numpy(),
            originals=np.repeat(pixels[None], len(masks), axis=0),
            masked=np.stack([to_bytes(mask_pixels(to_unit(pixels), mask)) for mask in given]),
            completed=decode_codes(model, codes).reshape(len(masks), *pixels.shape),
        )


def _complete(method: CodeSampler, known: np.ndarray, given: Tensor, how: Sampling, seed: int) -> np.ndarray:
    """Code maps with what is given kept, (k * count, h, w), from known ones (k, count, h, w) and k masks (k, h, w)."""
    count = known.shape[1]
    together = max(1, at_once(device(), count, BATCH_ON_GPU) // count)  # masks: one's pictures leave a GPU idle
    parts = zip(torch.from_numpy(known.astype(np.int64)).split(together), given.split(together), strict=True)
    generator, codes = torch.Generator(device()).manual_seed(seed), []
    with mixed(method.network), progress("inpaint", -(-len(given) // together) * how.steps, "step") as bar:
        for maps, masks in parts:
            each = masks.repeat_interleave(count, 0).to(device())
            codes.append(method.complete(maps.flatten(0, 1).to(device()), each, how, generator, bar.update).cpu())
    return torch.cat(codes).numpy()
