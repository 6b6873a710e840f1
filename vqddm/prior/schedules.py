"""The noise schedules that `params.yaml` can name. Adding one: its function and its record here.

They are records (`vqddm/registry.py`): nothing here imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vqddm.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

OFFSET = 0.008  # s of Eq. 19


@dataclass(frozen=True)
class Schedule:
    """A noise schedule.

    Args:
        name: in `params.yaml`.
        log_keep: takes t / T, float64 (T + 1,), from 0 to 1; returns log ᾱ_t up to a constant, which falls.
    """

    name: str
    log_keep: Callable[[Tensor], Tensor]


def cosine(fraction: Tensor) -> Tensor:
    """Eq. 19 as printed."""
    return 2 * sqrt_cosine(fraction)


def sqrt_cosine(fraction: Tensor) -> Tensor:
    """The square root of Eq. 19, which public code uses."""
    return ((fraction + OFFSET) / (1 + OFFSET) * math.pi / 2).cos().log()


SCHEDULES = Registry(
    "noise schedule",
    [
        Schedule("cosine", cosine),
        Schedule("sqrt_cosine", sqrt_cosine),
    ],
)
