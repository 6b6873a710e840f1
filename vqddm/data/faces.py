"""`faces`: seeded avatars, drawn at any resolution and the same to the bit everywhere.

The stand-in for CelebA-HQ where nothing can be downloaded: the style Open Peeps by Pablo Stanley (CC0), chosen and
coloured by DiceBear and drawn by resvg. Skin (face, ear and neck), ink (outlines and dark hair), clothing and
background each have one colour across the whole picture, so that only a model with global context gets them right.
"""

import io
import itertools
import json
from functools import cache, partial
from pathlib import Path

import dicebear_styles
import numpy as np
import resvg_py
from dicebear import Avatar, Style
from PIL import Image

from vqddm.data.pool import map_in_pool
from vqddm.data.settings import DataParams
from vqddm.data.sources import Pictures

SOURCE = "avatars drawn by DiceBear in the style Open Peeps by Pablo Stanley; drawn, not photographed"
LICENCE = "CC0-1.0"
NOTE = "picture i is the avatar with the seed text `<seed>-<i>`; a picture equal to an earlier one is left out"

BACKGROUNDS = ["#9ecae8", "#b9a3e3", "#f7b6c9", "#a9dfb5", "#d0d4da", "#f2e29b"]
INKS = ["#000000", "#3a1c10", "#26264a", "#4b1f24"]

# Head, hair and shoulders fill the frame: the style's own canvas leaves a fifth of it empty.
FRAME = {"scale": 1.17, "translateX": -5.5, "translateY": -8.5}


@cache
def _style() -> Style:
    folder = Path(next(iter(dicebear_styles.__path__)))
    return Style(json.loads((folder / "open-peeps.json").read_text(encoding="utf-8")))


def draw_face(index: int, seed: int, resolution: int) -> np.ndarray:
    """Draw avatar number `index` of a seed, uint8 (resolution, resolution, 3)."""
    options = {"seed": f"{seed}-{index}", "backgroundColor": BACKGROUNDS, "inkColor": INKS, **FRAME}
    svg = Avatar(_style(), options).to_string()
    png = resvg_py.svg_to_bytes(svg_string=svg, width=resolution, height=resolution, skip_system_fonts=True)
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


def open_faces(params: DataParams, downloads: Path, workers: int | None = None) -> Pictures:
    """The source `faces` (`vqddm/data/sources.py`): the avatars 0, 1, 2, … of a seed without end."""
    draw = partial(draw_face, seed=params.seed, resolution=params.resolution)
    return Pictures(map_in_pool(draw, itertools.count(), workers), SOURCE, LICENCE, NOTE, {})
