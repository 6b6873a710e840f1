"""Pictures side by side, as one."""

from collections.abc import Sequence

from PIL import Image


def grid(pictures: Sequence[Image.Image], columns: int, gap: int) -> Image.Image:
    """Pictures of one size in rows of so many, on white, with `gap` pixels between them."""
    width, height = pictures[0].size
    rows = -(-len(pictures) // columns)
    whole = Image.new("RGB", (columns * (width + gap) - gap, rows * (height + gap) - gap), "white")
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        whole.paste(picture, (column * (width + gap), row * (height + gap)))
    return whole
