"""Examples drawn in batches that are kept, so that a drawing which was killed goes on."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vqddm.artifacts import read_array, write_array
from vqddm.compute import step_generator
from vqddm.data.progress import progress
from vqddm.settings import to_json

BATCH, BATCH_ON_GPU = 250, 1000  # of code maps
BATCHES = "batches-"


def in_batches(
    draw: Callable[[int, torch.Generator, Callable[[], object]], Tensor],
    *,
    count: int,
    batch_size: int = BATCH,
    ticks: int,
    seed: int,
    settings: list[Any],
    state: Path,
    out: Path,
    device: str,
) -> None:
    """Draw `count` examples in batches and write them as one array, in the batches' dtype.

    Each batch's generator is a function of (seed, number of the batch), and finished batches are kept in the
    folder `state`, so a run that was killed goes on and writes the same bytes. `forget_batches` deletes them.

    Args:
        draw: takes a size, a generator on `device` and a function to call `ticks` times; returns (size, ...).
        count: examples in all.
        batch_size: at most so many at a time.
        ticks: of each batch, for the progress.
        settings: what else the examples depend on; batches of other settings are not taken.
        state: folder of finished batches.
        device: where the generators live.
    """
    key = hashlib.sha256(to_json([*settings, count, batch_size, seed, device]).encode()).hexdigest()[:16]
    sizes = [min(batch_size, count - start) for start in range(0, count, batch_size)]
    files = [state / f"{BATCHES}{key}" / f"{number:05d}.npy" for number in range(len(sizes))]
    done = [file.exists() for file in files]
    with progress(None, len(files) * ticks, "step", initial=sum(done) * ticks) as bar:
        for number, size in enumerate(sizes):
            if not done[number]:
                generator = step_generator(seed, number, device)
                write_array(files[number], draw(size, generator, bar.update).cpu().numpy())
    write_array(out, np.concatenate([read_array(file) for file in files]))


def forget_batches(state: Path) -> None:
    """Delete the finished batches that `in_batches` kept; what else lies there is left alone."""
    for batches in state.glob(f"{BATCHES}*"):
        for file in batches.glob("[0-9]*.npy"):
            file.unlink()
        if not any(batches.iterdir()):
            batches.rmdir()
