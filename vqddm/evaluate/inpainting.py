"""Inpainting as numbers (section 4.4): what was filled in agrees with the picture, and joins what was given."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vqddm.artifacts import UserError, read_array, read_arrays, write_json
from vqddm.compute import limit_threads
from vqddm.evaluate.agreement import agreement
from vqddm.evaluate.distances import frechet_of_draws, gaussian
from vqddm.evaluate.features import LABELS, extract
from vqddm.vqgan.perceptual import FeatureDistance, perceptual_distance

ARRAYS = ("names", "masks", "originals", "completed")
NORMAL_95 = 1.96  # half the width of a 95 % confidence interval in standard errors


def seam(images: np.ndarray, given: Tensor) -> np.ndarray:
    """How far neighbouring pixels on the two sides of the mask's border are apart.

    Args:
        images: uint8 (n, H, W, 3).
        given: bool (h, w); h and w divide H and W.

    Returns:
        Float64 (n,) in [0, 1]: the mean absolute difference over all pairs across the border; 0 without a border.
    """
    scale = images.shape[1] // given.shape[0]
    mask = given.repeat_interleave(scale, 0).repeat_interleave(scale, 1).numpy()
    values = images.astype(np.float64) / 255
    down = np.abs(np.diff(values, axis=1))[:, mask[1:] != mask[:-1]]
    across = np.abs(np.diff(values, axis=2))[:, mask[:, 1:] != mask[:, :-1]]
    pairs = np.concatenate([down, across], axis=1)
    return pairs.mean((1, 2)) if pairs.size else np.zeros(len(images))


def seam_gap(images: np.ndarray, originals: np.ndarray, given: Tensor) -> np.ndarray:
    """How far each picture's jump across the mask's border is from its original's own, whichever of them is larger.

    A jump is no fault where the original has one too, and its absence is one: too smooth a filling is as far off as
    too rough a one. Arguments and the result, float64 (n,) in [0, 1], are as those of `seam`.
    """
    return np.abs(seam(images, given) - seam(originals, given))


def mean_of(values: np.ndarray) -> dict[str, float]:
    """The mean over pictures (n,), n at least 2, and half the width of its 95 % interval (normal approximation)."""
    return {"mean": float(values.mean()), "half_width": float(NORMAL_95 * values.std(ddof=1) / math.sqrt(len(values)))}


def measure_inpainting(
    *,
    pictures: Path,
    reference: Path,
    out: Path,
    against: Path | None = None,
    network: str = "efficientnet_lite0",
    draws: int = 1,
    threads: int | None = None,
) -> None:
    """Measure how well completions agree with their originals: inside the filled region, at its border, as a whole.

    Args:
        pictures: .npz of completions: names, masks, originals, completed.
        out: JSON to write, with a block for each mask. Means with half the width of their 95 % intervals over pictures:
            `agreement` with the own picture, `chance` with another, their paired difference `agreement_minus_chance`,
            and `seam_gap`. The plain means `seam` and `seam_original`, and the Fréchet distance of the completions,
            its mean over draws and its standard deviation `frechet_std`.
        against: completions of the same pictures from the same masks by another method; then `minus` holds the paired
            differences of `agreement` and `seam_gap`, this method's less the other's.
        draws: equal parts of the pictures, of at least two each, whose Fréchet distances are measured apart.

    Raises:
        UserError: a file is missing, or the two do not complete the same pictures.
    """
    limit_threads(threads)
    metric = perceptual_distance("efficientnet_lite0")
    mine = read_arrays(pictures, *ARRAYS)
    other = read_arrays(against, *ARRAYS) if against is not None else None
    if other is not None and not all(np.array_equal(mine[key], other[key]) for key in ("names", "masks", "originals")):
        raise UserError(f"{pictures} and {against} complete other pictures or masks; build both again")
    real = gaussian(read_array(reference, "float32", 2))
    found: dict[str, Any] = {}
    for index, name in enumerate(mine["names"]):
        given = torch.from_numpy(mine["masks"][index])
        originals, completed = mine["originals"][index], mine["completed"][index]
        theirs = other["completed"][index] if other is not None else None
        distance, spread = frechet_of_draws(extract(completed, network), real, draws)
        found[str(name)] = _compared(completed, originals, theirs, given, metric)
        found[str(name)] |= {"frechet": distance, "frechet_std": spread, "draws": draws}
    write_json(out, {"metric": metric.label, "frechet": LABELS[network], "masks": found})


def _compared(
    completed: np.ndarray, originals: np.ndarray, theirs: np.ndarray | None, given: Tensor, metric: FeatureDistance
) -> dict[str, Any]:
    """One mask's block, but for the Fréchet distance; all pictures uint8 (n, H, W, 3)."""
    own, chance = agreement(completed, originals, ~given, metric)
    gap = seam_gap(completed, originals, given)
    block = {
        "given_fraction": float(given.double().mean()),
        "images": len(own),
        "agreement": mean_of(own),
        "chance": mean_of(chance),
        "agreement_minus_chance": mean_of(own - chance),
        "seam_gap": mean_of(gap),
        "seam": float(seam(completed, given).mean()),
        "seam_original": float(seam(originals, given).mean()),
    }
    if theirs is None:
        return block
    minus = {
        "agreement": mean_of(own - agreement(theirs, originals, ~given, metric)[0]),
        "seam_gap": mean_of(gap - seam_gap(theirs, originals, given)),
    }
    return block | {"minus": minus}
