"""The commands that try a trained model, and what made it. Those that make pictures write them as one sheet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from vqddm.api.folders import find, pair
from vqddm.api.model import load
from vqddm.api.pictures import Pictures, check_name, check_scale, counted, enlarged, save, to_pixels, upright
from vqddm.artifacts import UserError, checkpoint_in_words, expanded
from vqddm.data.progress import progress
from vqddm.samplers import Encoded, Process


def sample(
    model: str = "faces",
    *,
    count: int = 16,
    steps: int | None = None,
    temperature: float = 1.0,
    seed: int = 0,
    sampler: Process = "ancestral",
    device: str | None = None,
    scale: int | None = None,
    out: Path = Path("samples.png"),
) -> str:
    """Draw pictures with a trained model, as one sheet.

    Args:
        steps: sampling steps, from 1 to T; left out: T.
        sampler: `ancestral` is the paper's; `renoise` draws whole code maps and diffuses them again, step by step.
        scale: draw each pixel as a square of so many; left out: small sheets get about 512 pixels.
        out: the picture to write.

    Raises:
        UserError: no such model or device, or numbers that cannot be.
    """
    check_name(out)
    loaded = load(model, device)
    check_scale(scale, count, loaded.resolution)
    how = loaded.sampling(count, steps, temperature, seed, sampler)  # refuses before a bar is shown
    total = how.steps * len(loaded.batches(count))
    with progress("sample", total, "step", leave=False) as bar:
        pictures = loaded.sample(
            count, steps=steps, temperature=temperature, seed=seed, sampler=sampler, tick=bar.update
        )
    save(enlarged(pictures.sheet(), scale), out)
    return f"{out}: {counted(count, 'picture')} of {loaded.resolution} x {loaded.resolution}"


def reconstruct(
    pictures: Sequence[Path],
    model: str = "faces",
    device: str | None = None,
    scale: int | None = None,
    out: Path = Path("reconstructed.png"),
) -> str:
    """Encode pictures and decode them, as one sheet: what the model sees above what it makes of it.

    Args:
        pictures: files; the central square of each is resized.
        scale: draw each pixel as a square of so many; left out: small sheets get about 512 pixels.
        out: the picture to write.

    Raises:
        UserError: no such model or device, what is given is no picture, or `out` is one of them.
    """
    check_name(out)
    keep_inputs(out, *pictures)
    loaded = load(model, device)
    check_scale(scale, 2 * len(pictures), loaded.resolution)
    seen = to_pixels(upright(list(pictures)), loaded.resolution)
    made = loaded.reconstruct(seen)
    sheet = Pictures(torch.cat([seen, made.pixels])).sheet(columns=len(seen))
    save(enlarged(sheet, scale), out)
    return f"{out}: {len(seen)} pictures as the model sees them, below them what it makes of them"


def inpaint(
    picture: Path,
    *,
    mask: Path,
    model: str = "faces",
    count: int = 4,
    steps: int | None = None,
    temperature: float = 1.0,
    seed: int = 0,
    sampler: Process = "ancestral",
    encode: Encoded = "masked",
    device: str | None = None,
    scale: int | None = None,
    out: Path = Path("inpainted.png"),
) -> str:
    """Draw anew what is white in a mask, as one sheet: the picture with that part in grey, then completions.

    What stays goes through the model too, so it looks as in a reconstruction.

    Args:
        picture: a file; its central square is resized.
        mask: a picture as large as the other one, white (at least 128) where it is to be drawn anew; or as large as the
            model's, or with one pixel for each code. A code of which any pixel is white is drawn anew.
        count: number of completions.
        steps: sampling steps, from 1 to T; left out: T.
        sampler: `ancestral` is the paper's; `renoise` draws all of the missing part in each step and diffuses it again.
        encode: the picture that gives the codes that stay: the `masked` one, or the `full` one, by which they know
            something of what is drawn anew.
        scale: draw each pixel as a square of so many; left out: small sheets get about 512 pixels.
        out: the picture to write.

    Raises:
        UserError: no such model or device, no picture, a mask that does not fit or marks nothing, or `out` is one of
            both.
    """
    check_name(out)
    keep_inputs(out, picture, mask)
    loaded = load(model, device)
    check_scale(scale, count + 1, loaded.resolution)
    masked = loaded.masked(picture, mask)
    how = loaded.sampling(count, steps, temperature, seed, sampler)  # refuses before a bar is shown
    with progress("inpaint", how.steps * len(loaded.batches(count)), "step", leave=False) as bar:
        [made] = loaded.inpaint(
            picture,
            mask,
            completions=count,
            steps=steps,
            temperature=temperature,
            seed=seed,
            sampler=sampler,
            encode=encode,
            tick=bar.update,
        )
    sheet = Pictures(torch.cat([masked.pixels, made.pixels])).sheet(columns=count + 1)
    save(enlarged(sheet, scale), out)
    return f"{out}: the picture without what is drawn anew, then {counted(count, 'completion')}"


def keep_inputs(out: Path, *inputs: Path) -> None:
    """Raise UserError where a picture that is read would be written over."""
    if out.exists() and any(given.exists() and given.samefile(out) for given in inputs):
        raise UserError(f"{out}: it is one of the pictures that are read; name another file with -o")


def show(checkpoint: str, *, tensors: bool = False) -> str:
    """Print what made a checkpoint: parameters, seed, inputs' checksums, code revision, package versions.

    Args:
        checkpoint: a `.safetensors` file of this project; or a model, by its name or folder: its first stage and prior.
        tensors: every tensor's shape too.

    Raises:
        UserError: no such file or model, or a file that is damaged or foreign.
    """
    file = expanded(checkpoint)  # a `Path` alone would be the shipped model's name in place of ./faces, a folder
    files = [file] if file.suffix == ".safetensors" or file.is_file() else pair(find(checkpoint))
    return "\n\n".join(checkpoint_in_words(file, tensors) for file in files)
