"""What Figures 8 and 11 share: pictures, what was given of them, and their completions, by mask."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vqddm.artifacts import read_arrays
from vqddm.paper.figures.pictures import fitted, hatched

GIVEN = {
    "lower": "lower part given",
    "corner": "lower right corner given",
    "centre": "centre given",
    "left": "left half given",
    "right": "right half given",
    "top": "upper half given",
    "random": "scattered places given",
}
IN_FIGURE8 = 2  # pictures for each mask


@dataclass(frozen=True)
class Completed:
    """One mask's pictures: what is given in words, and [original, masked with hatching, completed] for each."""

    words: str
    rows: list[list[np.ndarray]]


def read_completions(path: Path, side: int) -> dict[str, Completed]:
    """All masks of one file; pictures come enlarged to about `side` pixels, so that hatching is fine."""
    arrays = read_arrays(path, "names", "masks", "originals", "masked", "completed")
    found = {}
    for i, name in enumerate(str(n) for n in arrays["names"]):
        given = arrays["masks"][i].astype(bool)
        words = f"{GIVEN.get(name, name)}: {int(given.sum())} of {given.size} codes"
        pictures = zip(*(arrays[kind][i] for kind in ("originals", "masked", "completed")), strict=True)
        rows = [
            [fitted(original, side), hatched(fitted(masked, side), given), fitted(completed, side)]
            for original, masked, completed in pictures
        ]
        found[name] = Completed(words, rows)
    return found
