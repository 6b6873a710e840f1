"""`folder`: the user's own pictures, cropped to the central square and resized."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from vqddm.artifacts import UserError
from vqddm.data.pool import map_in_pool

LICENCE = "as the pictures' owner says"
NOTE = "a seeded order of all pictures; the central square of each; a picture equal to an earlier one is left out"

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}


def find_pictures(folder: Path, needed: int) -> list[Path]:
    """All pictures under a folder, sorted by their path inside it. Hidden files are passed over.

    Raises:
        UserError: no such folder, or fewer than `needed` pictures in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; let the dataset's `data.path` name a folder of pictures")
    found = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
    if len(found) < needed:
        raise UserError(
            f"{folder}: {len(found)} pictures ({', '.join(sorted(SUFFIXES))}) are fewer than train + test = "
            f"{needed}; add pictures or lower `data.train` and `data.test`"
        )
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def read_picture(path: Path, resolution: int) -> np.ndarray:
    """One picture, upright, its central square resized with antialiasing: uint8 (resolution, resolution, 3).

    Transparent pictures are laid on white; grey ones are repeated to three channels, 16 bits become 8.

    Raises:
        UserError: not a whole picture, or smaller than the resolution. It names the file.
    """
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            picture = _to_rgb(upright)
    except Exception as error:  # Pillow's decoders raise nearly every kind on damaged files
        raise UserError(f"{path}: not a whole picture ({error}); replace or remove it") from None
    if min(picture.size) < resolution:
        raise UserError(
            f"{path}: {picture.width} x {picture.height} pixels are fewer than the resolution {resolution}; "
            "replace or remove it, or lower `data.resolution`"
        )
    return np.asarray(ImageOps.fit(picture, (resolution, resolution), Image.Resampling.LANCZOS))


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any mode to 8-bit RGB."""
    if image.mode.startswith("I"):  # 16-bit grey; `convert` would clip it instead of scaling
        return Image.fromarray((np.asarray(image).astype(np.int64) // 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def read_pictures(
    folder: Path, needed: int, resolution: int, seed: int, workers: int | None = None
) -> Iterator[np.ndarray]:
    """The folder's pictures in one seeded order, each uint8 (resolution, resolution, 3).

    Raises:
        UserError: as `find_pictures` and `read_picture` say.
    """
    paths = find_pictures(folder, needed)
    order = np.random.default_rng(seed).permutation(len(paths))
    return map_in_pool(partial(read_picture, resolution=resolution), (paths[i] for i in order), workers)
