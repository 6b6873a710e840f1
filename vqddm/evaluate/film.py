"""The reverse process as one sees it: an animation of pictures on their way from z_T to z_0, and a strip of frames."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from vqddm.artifacts import replacing
from vqddm.compute import device, limit_threads, mixed
from vqddm.data.grid import grid
from vqddm.prior.diffusion import strided_timesteps
from vqddm.prior.reverse import reverse_process
from vqddm.prior.sampler import load_uniform
from vqddm.vqgan.codec import decode_codes

COLUMNS, ROWS = 8, 3  # pictures of the animation
SIDE, GAP = 64, 4  # pixels of a picture in both, and between two
FRAMES = 20  # of the animation, besides the first
SHOWN = 8  # frames of the strip
FRAME, REST = 130, 2500  # milliseconds of a frame, and of the last one
CAPTION = 22  # pixels above a column of the strip, for its t


@torch.no_grad()
def draw_film(
    *,
    prior: Path,
    first_stage: Path,
    temperature: float = 1.0,
    seed: int = 0,
    out: Path,
    strip: Path,
    threads: int | None = None,
) -> None:
    """Draw the reverse process of a few pictures with all T steps.

    Args:
        prior: checkpoint of a prior with the uniform transition.
        out: the animation to write, WebP, z_T and `FRAMES` frames at even steps.
        strip: PNG to write: a row for each of a few pictures, a column for each of a few timesteps.

    Raises:
        UserError: a prior of another transition or first stage.
    """
    limit_threads(threads)
    sampler, codec = load_uniform(prior, first_stage, device())
    network, steps = sampler.network, sampler.steps[-1]
    generator = torch.Generator(device()).manual_seed(seed)
    timesteps = [*strided_timesteps(steps, steps), 0]
    kept = set(np.linspace(0, steps, min(steps, FRAMES) + 1).round().astype(int).tolist())
    height, width = sampler.shape
    with mixed(network):
        process = reverse_process(network, (COLUMNS * ROWS, height, width), steps, temperature, generator)
        maps = [(t, z) for number, (t, z) in enumerate(zip(timesteps, process, strict=True)) if number in kept]
    pictures = [(t, [at_size(image) for image in decode_codes(codec, z.cpu().numpy())]) for t, z in maps]
    write_film(out, [grid(images, COLUMNS, GAP) for _, images in pictures])
    shown = np.linspace(0, len(pictures) - 1, SHOWN).round().astype(int)
    columns = [(f"t = {pictures[i][0]}", pictures[i][1][: ROWS + 1]) for i in shown]
    with replacing(strip) as aside:
        captioned(columns).save(aside, format="PNG", optimize=True)


def write_film(out: Path, frames: list[Image.Image]) -> None:
    """An endless animation, resting at its last frame."""
    with replacing(out) as aside:
        duration = [FRAME] * (len(frames) - 1) + [REST]
        how = {"duration": duration, "loop": 0, "quality": 70, "method": 4}
        frames[0].save(aside, format="WEBP", save_all=True, append_images=frames[1:], **how)


def at_size(image: np.ndarray) -> Image.Image:
    """A picture, uint8 (H, W, 3), enlarged or reduced to `SIDE` pixels."""
    how = Image.Resampling.NEAREST if image.shape[0] <= SIDE else Image.Resampling.LANCZOS
    return Image.fromarray(image).resize((SIDE, SIDE), how)


def captioned(columns: list[tuple[str, list[Image.Image]]]) -> Image.Image:
    """Columns of pictures side by side, each under its caption."""
    whole = grid([grid(images, 1, GAP) for _, images in columns], len(columns), GAP)
    page = Image.new("RGB", (whole.width, whole.height + CAPTION), "white")
    page.paste(whole, (0, CAPTION))
    pen = ImageDraw.Draw(page)
    for number, (words, _) in enumerate(columns):
        centre = number * (SIDE + GAP) + SIDE / 2, CAPTION / 2
        pen.text(centre, words, fill="#222222", anchor="mm", font_size=14)
    return page
