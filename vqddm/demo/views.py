"""What the page shows, made by a model: enlarged sheets, coloured code maps, frames, completions. Without Gradio."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vqddm.api.model import Model
from vqddm.api.pictures import Pictures, enlarged, to_pixels, upright
from vqddm.artifacts import UserError
from vqddm.samplers import Process

CANVAS = 512  # height and width of what one paints on
FRAMES = 50  # of the reverse process, besides the first
GREY = 128  # where no code is drawn yet


class Frame(NamedTuple):
    """A moment of the reverse process: after `step` steps, decoded, and as code maps."""

    step: int
    pictures: Pictures
    maps: Pictures


class Look(NamedTuple):
    """A picture as the model sees it, its code map, what the decoder makes of that, and the map's bits per code."""

    seen: Pictures
    map: Pictures
    made: Pictures
    bits: float


def facts(model: Model) -> str:
    """A line on a model."""
    height, width = model.shape
    return (
        f"{model.resolution} × {model.resolution} pixels, maps of {height} × {width} codes out of "
        f"{model.codebook_size}, up to {model.timesteps} steps; computed on {model.device}."
    )


def shown(pictures: Pictures, columns: int | None = None) -> Image.Image:
    """Pictures as one sheet, small ones enlarged by a whole number, so that pixels stay squares."""
    return enlarged(pictures.sheet(columns))


def code_maps(codes: Tensor, codebook_size: int, side: int) -> Pictures:
    """Code maps, int64 (n, h, w), as coloured cells: uint8 (n, side, side, 3).

    A code has the same colour everywhere; grey is K, which stands where no code is drawn yet.
    """
    numbers = codes.numpy().astype(np.float64)
    saturation, value = 0.30 + 0.35 * (numbers * 0.324717957 % 1), 0.80 + 0.18 * (numbers * 0.569840291 % 1)
    hsv = np.stack([numbers * 0.61803398875 % 1, saturation, value], axis=-1) * 255
    cells = np.stack([np.asarray(Image.fromarray(each.astype(np.uint8), "HSV").convert("RGB")) for each in hsv])
    cells[codes.numpy() == codebook_size] = GREY
    return Pictures(_enlarged(torch.from_numpy(cells), side))


def decoded(model: Model, codes: Tensor) -> Pictures:
    """Pictures of code maps that may lack codes (K stands there): grey where they do."""
    lacking = codes == model.codebook_size
    pixels = model.decode(codes.masked_fill(lacking, 0)).pixels
    pixels[_enlarged(lacking, model.resolution)] = GREY
    return Pictures(pixels)


def frames(
    model: Model, count: int, steps: int, temperature: float, seed: int, sampler: Process = "ancestral"
) -> Iterator[Frame]:
    """The reverse process as it goes on: z_T, then at most `FRAMES` moments at even distances, at last z_0.

    Raises:
        UserError: a number that cannot be, or the model is no diffusion.
    """
    kept = set(np.linspace(0, steps, min(steps, FRAMES) + 1).round().astype(int).tolist())
    watched = model.watch(count, steps=steps, temperature=temperature, seed=seed, sampler=sampler)
    for step, codes in enumerate(watched):
        if step in kept:
            yield Frame(step, decoded(model, codes), code_maps(codes, model.codebook_size, model.resolution))


def opened(path: str, model: Model) -> Pictures:
    """An uploaded picture as the model sees it.

    Raises:
        UserError: it is no picture.
    """
    try:
        return Pictures(to_pixels(upright(path), model.resolution))
    except UserError as error:  # which names where the upload lies
        raise UserError(str(error).replace(f"{Path(path).parent}/", "")) from None


def look(model: Model, seen: Pictures) -> Look:
    """What a model makes of one picture of its own size."""
    codes = model.encode(seen)
    return Look(
        seen,
        code_maps(codes, model.codebook_size, model.resolution),
        model.decode(codes),
        float(model.bits_per_code(codes)),
    )


def bits_in_words(bits: float, codebook_size: int) -> str:
    """The likelihood of a code map beside what a code costs that is as likely as any other."""
    uniform = math.log2(codebook_size)
    return f"At most {bits:.2f} bits per code; a map of codes drawn blindly costs {uniform:.2f}."


def canvas(pictures: Pictures) -> Image.Image:
    """The one picture, large enough to paint on."""
    return pictures[0].resize((CANVAS, CANVAS), Image.Resampling.NEAREST)


def painted(layers: Sequence[Image.Image], shape: tuple[int, int]) -> Tensor:
    """Which codes are painted over: bool (h, w), True where paint covers at least an eighth of a code.

    Args:
        layers: RGBA, transparent where nothing is painted, as large as one another.
        shape: (h, w) of a code map.
    """
    height, width = shape
    cover = [layer.getchannel("A").resize((width, height), Image.Resampling.BOX) for layer in layers]
    found = np.zeros(shape, bool)
    for each in cover:
        found |= np.asarray(each) >= 32
    return torch.from_numpy(found)


def completions(
    model: Model,
    seen: Pictures | None,
    editor: Any,
    keeps: bool,
    count: int,
    temperature: float,
    seed: int,
    sampler: Process = "ancestral",
) -> Pictures:
    """The picture without what is drawn anew, then several completions.

    Args:
        seen: the picture, as the model sees it; None: none is there.
        editor: value of an image editor, whose `layers` are what was painted over the picture.
        keeps: what is painted stays and the rest is drawn anew, instead of the other way round.

    Raises:
        UserError: there is no picture, nothing is painted, or nothing else is left to draw.
    """
    if seen is None:
        raise UserError("no picture is there; upload one, or draw one")
    paint = painted(editor["layers"] if editor else [], model.shape)
    if not paint.any():
        raise UserError("nothing is painted; paint over the picture first")
    anew = (~paint if keeps else paint).numpy()
    if not anew.any():
        raise UserError("everything is painted, so nothing is left to draw; erase some of it")
    [made] = model.inpaint(seen, anew, completions=count, temperature=temperature, seed=seed, sampler=sampler)
    return Pictures(torch.cat([model.masked(seen, anew).pixels, made.pixels]))


def _enlarged(cells: Tensor, side: int) -> Tensor:
    """Cells (n, h, w, …) as squares: (n, side, side, …), side a multiple of h."""
    factor = side // cells.shape[1]
    return cells.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
