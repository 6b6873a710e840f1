"""Grids of pictures, composed pixel by pixel: small pictures grow by whole factors, so none is blurred."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from vqddm.paper.figures.style import pixel_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Picture = np.ndarray  # uint8 (H, W, 3)


def fitted(picture: Picture, side: int) -> Picture:
    """The picture, at most `side` pixels wide: enlarged by a whole factor, or shrunk when it is larger."""
    height, width = picture.shape[:2]
    if width > side:
        size = (side, round(height * side / width))
        return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize(size, Image.Resampling.LANCZOS))
    factor = side // width
    return np.asarray(picture).repeat(factor, axis=0).repeat(factor, axis=1)


def hatched(picture: Picture, given: np.ndarray) -> Picture:
    """Cover what is not given with grey diagonal hatching.

    Args:
        picture: uint8 (H, W, 3), already at its final size.
        given: bool (h, w), True where the picture is known; spread over the picture's area.
    """
    height, width = picture.shape[:2]
    rows = np.arange(height)[:, None] * given.shape[0] // height
    columns = np.arange(width)[None] * given.shape[1] // width
    diagonal = (np.arange(height)[:, None] + np.arange(width)[None]) % 12 < 2
    cover = np.where(diagonal, 150, 222).astype(np.uint8)[..., None]
    return np.where(given[rows, columns][..., None], picture, cover)


def beside(pictures: Sequence[Picture], side: int, gap: int) -> Picture:
    """One white strip with pictures of one size in a row; `side` and `gap` are pixels."""
    shown = [fitted(picture, side) for picture in pictures]
    space = np.full((shown[0].shape[0], gap, 3), 255, dtype=np.uint8)
    return np.concatenate([part for picture in shown for part in (picture, space)][:-1], axis=1)


def cell_side(picture_width: int, columns: int, gap: int, room: int) -> int:
    """Pixels of one cell, so that `columns` of them fill `room`: a multiple of a small picture's width."""
    side = (room - (columns - 1) * gap) // columns
    return side if picture_width > side else side // picture_width * picture_width


def draw_sheet(figure: Figure, sheet: Picture, left: int, top: int) -> None:
    """Put a composed sheet into the figure, one array element to one pixel."""
    axes = pixel_axes(figure, left, top, sheet.shape[1], sheet.shape[0])
    axes.imshow(sheet, interpolation="none", aspect="auto")
    axes.set_axis_off()
