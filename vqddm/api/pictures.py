"""Pictures as a user has them and as networks want them, and masks over them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeAlias, overload

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from vqddm.artifacts import UserError, replacing
from vqddm.data.decode import decode, reason, square, to_rgb, turned
from vqddm.data.grid import grid
from vqddm.data.walk import Picture

One: TypeAlias = Image.Image | str | Path
Images: TypeAlias = One | Sequence[One] | np.ndarray | Tensor
Mask: TypeAlias = One | np.ndarray | Tensor
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
GAP = 2  # white pixels between the pictures of a sheet
SHEET = 512  # pixels of the longer side that a small sheet is enlarged to, about
LARGEST_SHEET = 100_000_000  # pixels of an enlarged one


class Pictures(Sequence[Image.Image]):
    """Pictures that a model made: a sequence of PIL images, and all of them as one tensor.

    Attributes:
        pixels: uint8 (n, H, W, 3), on the CPU.
    """

    def __init__(self, pixels: Tensor) -> None:
        self.pixels = pixels

    def __repr__(self) -> str:
        count, height, width, _ = self.pixels.shape
        return f"<{count} pictures of {height} x {width}>"

    def __len__(self) -> int:
        return len(self.pixels)

    @overload
    def __getitem__(self, index: int) -> Image.Image: ...

    @overload
    def __getitem__(self, index: slice) -> Pictures: ...

    def __getitem__(self, index: int | slice) -> Image.Image | Pictures:
        if isinstance(index, slice):
            return Pictures(self.pixels[index])
        return Image.fromarray(self.pixels[index].numpy())

    def sheet(self, columns: int | None = None) -> Image.Image:
        """All of them as one picture, row by row.

        Args:
            columns: pictures in a row; left out: about as many as rows.

        Raises:
            UserError: there is no picture, or not one in a row.
        """
        if not len(self) or (columns is not None and columns < 1):
            raise UserError(f"{len(self)} pictures, {columns} in a row: there must be at least one")
        return grid(self, columns or math.ceil(math.sqrt(len(self))), GAP)


def enlarged(sheet: Image.Image, scale: int | None = None) -> Image.Image:
    """Each pixel as a square of `scale` x `scale`; left out: so many that the longer side has about `SHEET`."""
    if scale is None:
        scale = max(1, round(SHEET / max(sheet.size)))
    return sheet.resize((sheet.width * scale, sheet.height * scale), Image.Resampling.NEAREST)


def save(picture: Image.Image, path: Path) -> None:
    """Write a picture aside and rename it.

    Raises:
        UserError: the name says no kind of picture, or the file cannot be written.
    """
    check_name(path)
    with replacing(path) as aside:
        picture.save(aside)


def check_name(path: Path) -> None:
    """Refuse a file's name that does not end as a picture's, or a place that cannot be written to, before any work.

    Raises:
        UserError: names the endings that there are, or what is no folder or write-protected.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: a picture's name ends with one of {', '.join(SUFFIXES)}")
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        why = "write-protected" if above.is_dir() else "no folder"
        raise UserError(f"{path}: cannot be written; {above} is {why}")


def counted(number: int, noun: str) -> str:
    """A number with its noun, in the plural but for one."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def check_scale(scale: int | None, count: int, resolution: int) -> None:
    """Refuse to enlarge so many square pictures so many times.

    Raises:
        UserError: the scale is no positive number, or the sheet would be too large to look at.
    """
    if scale is not None and (scale < 1 or scale**2 * count * resolution**2 > LARGEST_SHEET):
        raise UserError(
            f"scale: {scale} cannot be; give a whole number from 1 on that makes a sheet of at most "
            f"{LARGEST_SHEET / 1e6:.0f} million pixels"
        )


def upright(images: Images) -> list[Image.Image]:
    """Pictures as they are given, each as 8-bit RGB, of its own size.

    Raises:
        UserError: there is none, or one is no picture.
    """
    if isinstance(images, np.ndarray | Tensor):
        return [Image.fromarray(array) for array in _stored(images)]
    if isinstance(images, Image.Image | str | Path) or not isinstance(images, Iterable):
        return [_rgb(images)]
    found = [_rgb(image) for image in images]
    if not found:
        raise UserError("no picture was given")
    return found


def to_pixels(images: Sequence[Image.Image], resolution: int) -> Tensor:
    """The central square of each, resized as data preparation does it: uint8 (N, resolution, resolution, 3)."""
    return torch.from_numpy(np.stack([square(image, resolution) for image in images]))


def _stored(images: np.ndarray | Tensor) -> np.ndarray:
    """Arrays and tensors of pictures as uint8 (N, H, W, 3)."""
    if isinstance(images, Tensor):
        images = images.detach().cpu()
        images = images.float() if images.is_floating_point() else images  # numpy has no bfloat16
    array = np.asarray(images)
    if not array.size:
        raise UserError("no picture was given")
    if array.ndim == 4 and array.dtype == np.uint8 and array.shape[3] == 3:
        return array
    floats = array.ndim == 4 and np.issubdtype(array.dtype, np.floating) and array.shape[1] == 3
    if floats and array.min() >= 0 and array.max() <= 1:
        return np.ascontiguousarray(np.rint(array * 255).astype(np.uint8).transpose(0, 2, 3, 1))
    raise UserError(
        f"{array.dtype} {array.shape} are no pictures; give uint8 (N, H, W, 3), or floats (N, 3, H, W) from 0 to 1"
    )


def _rgb(image: One) -> Image.Image:
    """One picture as 8-bit RGB, upright, laid on white where it is transparent: as `decode` makes it from a file."""
    if isinstance(image, str | Path):
        picture = Picture(Path(image))
        try:
            return decode(picture)
        except Exception as error:  # Pillow's decoders raise nearly every kind on damaged files
            raise UserError(f"{picture}: {reason(picture, error)}; give another picture") from None
    if not isinstance(image, Image.Image):
        raise UserError(f"a {type(image).__name__} is no picture; give a PIL image or the path of one")
    try:
        return turned(to_rgb(image), image)
    except (OSError, ValueError) as error:  # an opened file is read when its pixels are asked for
        raise UserError(f"a PIL image cannot be read ({error}); give another picture") from None


def given_codes(mask: Mask, images: Sequence[Image.Image], resolution: int, shape: tuple[int, int]) -> Tensor:
    """Which codes a mask leaves as they are: bool (h, w), True where no pixel of a code is white.

    Args:
        mask: white, or True, where something is to be drawn anew. As large as the pictures, which are then all of one
            size, or as what becomes of them (resolution, resolution), or with one pixel for each code.
        images: the pictures that it is for.
        shape: (h, w) of a code map.

    Raises:
        UserError: no mask, of another size, or nothing in it is white, or nothing of the central square.
    """
    anew = _anew(mask)
    if not anew.any():
        raise UserError("the mask marks nothing: what is white in it (True, or at least 128 of 255) is drawn anew")
    if anew.shape == shape:
        return torch.from_numpy(~anew)
    size, wanted = anew.shape[::-1], {image.size for image in images}
    if size != (resolution, resolution) and wanted != {size}:
        theirs = " and ".join(f"{width} x {height}" for width, height in sorted(wanted)[:3])
        models = "" if wanted == {(resolution, resolution)} else f"{resolution} x {resolution}, or "
        raise UserError(
            f"the mask is {size[0]} x {size[1]}, but must be as large as the picture, {theirs}, or "
            f"{models}{shape[1]} x {shape[0]}, a pixel for each code"
        )
    grey = Image.fromarray(anew.astype(np.float32))  # not in 8 bits, where one pixel of many rounds to none
    square = ImageOps.fit(grey, (resolution, resolution), Image.Resampling.BOX)
    touched = torch.from_numpy(np.asarray(square) > 0).float()[None, None]
    given = F.max_pool2d(touched, resolution // shape[0])[0, 0] == 0
    if given.all():
        raise UserError("the mask marks nothing of the picture's central square, which is all that a model sees of it")
    return given


def _anew(mask: Mask) -> np.ndarray:
    """bool (H, W), True where something is to be drawn anew."""
    if not isinstance(mask, np.ndarray | Tensor):
        return np.asarray(_rgb(mask).convert("L")) > 127
    array = mask.detach().cpu().numpy() if isinstance(mask, Tensor) else mask
    if array.ndim != 2 or array.dtype not in (np.bool_, np.uint8):
        raise UserError(f"{array.dtype} {array.shape} is no mask; give bool or uint8 (H, W)")
    return array if array.dtype == np.bool_ else array > 127
