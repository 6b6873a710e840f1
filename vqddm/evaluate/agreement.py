"""Does what an inpainting filled in agree with the picture that the rest came from (section 4.4)?"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vqddm.artifacts import UserError
from vqddm.data.arrays import to_unit
from vqddm.vqgan.perceptual import FeatureDistance


def region_distance(metric: FeatureDistance, first: Tensor, second: Tensor, region: Tensor) -> Tensor:
    """The perceptual distance inside a region only, (B,).

    Every feature map's distances are averaged with the share of each position's area that lies in the region.

    Args:
        first, second: images (B,3,H,W) in [-1, 1].
        region: bool (h,w), not empty, of any size that divides the images evenly, such as the code map's.
    """
    height, width = first.shape[-2:]
    rows = torch.arange(height, device=region.device) * region.shape[0] // height
    columns = torch.arange(width, device=region.device) * region.shape[1] // width
    pixels = region[rows][:, columns].float()[None, None]
    total = first.new_zeros(len(first))
    for positions in metric.maps(first, second):
        weight = F.adaptive_avg_pool2d(pixels, (positions.shape[-2], positions.shape[-1]))[0]
        total = total + (positions * weight).sum((1, 2)) / weight.sum()
    return total


def agreement(
    completed: np.ndarray, originals: np.ndarray, filled: Tensor, metric: FeatureDistance, batch_size: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """Perceptual distance inside the filled region, of completions to their own and to other originals.

    It is computed on the device that `metric` is on.

    Args:
        completed: uint8 (m,H,W,3), completions of the `originals`.
        originals: uint8 (m,H,W,3), at least two.
        filled: bool (h,w), True where the model filled in; h and w divide H and W, or are equal to them.

    Returns:
        Float64 (m,) each: the distance of every completion to its own original, and the chance level, its distance
        to the original half the set away (the same derangement always).

    Raises:
        UserError: fewer than two pictures, shapes that differ, or nothing filled in.
    """
    if completed.shape != originals.shape or len(originals) < 2:
        raise UserError(
            f"completions {completed.shape} and originals {originals.shape} must be equally many, and at least two"
        )
    if not bool(filled.any()):
        raise UserError("nothing was filled in: the mask gives the whole picture")
    others = np.roll(originals, len(originals) // 2, axis=0)
    device = next(metric.parameters()).device
    found: dict[str, list[Tensor]] = {"own": [], "chance": []}
    with torch.inference_mode():
        for start in range(0, len(completed), batch_size):
            part = slice(start, start + batch_size)
            made = to_unit(np.array(completed[part])).to(device)
            for name, against in (("own", originals), ("chance", others)):
                wanted = to_unit(np.array(against[part])).to(device)
                found[name].append(region_distance(metric, made, wanted, filled.to(device)).cpu())
    own, chance = (torch.cat(found[name]).double().numpy() for name in ("own", "chance"))
    return own, chance
