"""The first part of a set, and equal parts of it that are measured apart: a number is their mean, its spread their
standard deviation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vqddm.artifacts import UserError


def enough(images: np.ndarray, wanted: int, where: Path) -> np.ndarray:
    """The first `wanted` images.

    Raises:
        UserError: there are fewer.
    """
    if len(images) < wanted:
        raise UserError(f"{where}: {len(images)} images, but the suite's `evaluate` asks for {wanted}")
    return images[:wanted]


def split_draws(rows: np.ndarray, draws: int) -> list[np.ndarray]:
    """Cut rows (N, ...) into `draws` parts of N // `draws` each; rows beyond are left out."""
    size = len(rows) // draws
    return [rows[i * size : (i + 1) * size] for i in range(draws)]


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean over draws, and their standard deviation; of one draw there is none."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None
