"""Which part of a picture is given to be completed (section 4.4)."""

import torch
from torch import Tensor

RANDOM_FRACTION = 0.4  # of the codes is given by the random mask


def all_masks(height: int, width: int, seed: int) -> dict[str, Tensor]:
    """Those of `paper_masks` and a seeded `random` one, bool (h, w), True = given."""
    random = random_mask(height, width, RANDOM_FRACTION, torch.Generator().manual_seed(seed))
    return paper_masks(height, width) | {"random": random}


def paper_masks(height: int, width: int) -> dict[str, Tensor]:
    """Which part of a code map is given, bool (h, w): the three of Fig. 8, and three halves."""
    row = torch.arange(height)[:, None].expand(height, width)
    column = torch.arange(width).expand(height, width)
    middle_rows = (row >= height // 4) & (row < height // 4 + height // 2)
    middle_columns = (column >= width // 4) & (column < width // 4 + width // 2)
    return {
        "lower": row >= height - round(0.375 * height),
        "corner": (row >= height // 2) & (column >= width // 2),
        "centre": middle_rows & middle_columns,
        "left": column < width // 2,
        "right": column >= width // 2,
        "top": row < height // 2,
    }


def random_mask(height: int, width: int, fraction: float, generator: torch.Generator) -> Tensor:
    """A mask, bool (h, w), whose given positions are a random `fraction` of all, rounded, on the CPU."""
    mask = torch.zeros(height * width, dtype=torch.bool)
    mask[torch.randperm(height * width, generator=generator)[: round(fraction * height * width)]] = True
    return mask.view(height, width)
