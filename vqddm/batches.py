"""Work in batches that are kept, so that what was killed goes on, and several jobs can share it.

So samples are drawn, pictures encoded, and their features extracted.
"""

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vqddm.artifacts import UserError, code_and_packages, read_array, write_array
from vqddm.compute import step_generator
from vqddm.data.progress import progress
from vqddm.settings import to_json

BATCH, BATCH_ON_GPU = 250, 1000  # of code maps
BATCHES = "batches-"


class Plan(NamedTuple):
    """The batches in which examples are drawn, or made from others.

    Args:
        sizes: examples of each batch.
        files: where each is kept once it is there.
        seed: each batch's generator is a function of (seed, number of the batch) alone, so it does not matter who
            draws it, and when.
        device: where the generators live.
    """

    sizes: list[int]
    files: list[Path]
    seed: int
    device: str


def plan_batches(
    *, count: int, batch_size: int = BATCH, seed: int, settings: list[Any], state: Path, device: str
) -> Plan:
    """Plan the making of `count` examples.

    Args:
        batch_size: at most so many at a time.
        settings: what else the examples depend on; batches of other settings, code or packages are not taken.
        state: folder of the batches.
        device: where the generators live.
    """
    of = [*settings, count, batch_size, seed, device, code_and_packages()]
    key = hashlib.sha256(to_json(of).encode()).hexdigest()[:16]
    sizes = [min(batch_size, count - start) for start in range(0, count, batch_size)] or [0]
    files = [state / f"{BATCHES}{key}" / f"{number:05d}.npy" for number in range(len(sizes))]
    return Plan(sizes, files, seed, device)


def numbers_of(shard: str, plan: Plan) -> range:
    """The numbers of the batches in a shard: the second of three, `2-of-3`, has 1, 4, 7 and so on.

    Raises:
        UserError: there is no such shard.
    """
    match = re.fullmatch(r"([1-9][0-9]*)-of-([1-9][0-9]*)", shard)
    which, shards = map(int, match.groups()) if match else (1, 0)
    if which > shards:
        raise UserError(f"'{shard}' is no shard; the second of eight is called 2-of-8")
    return range(which - 1, len(plan.sizes), shards)


def draw_batches(
    plan: Plan,
    draw: Callable[[int, torch.Generator, Callable[[], object]], Tensor],
    *,
    ticks: int,
    numbers: Iterable[int] | None = None,
) -> None:
    """Draw batches and keep them, as `keep_batches` does.

    Args:
        draw: takes a size, a generator on the plan's device and a function to call `ticks` times; returns (size, ...).
    """

    def make(number: int, tick: Callable[[], object]) -> np.ndarray:
        drawn = draw(plan.sizes[number], step_generator(plan.seed, number, plan.device), tick)
        return drawn.cpu().numpy()

    keep_batches(plan, make, ticks=ticks, numbers=numbers)


def keep_batches(
    plan: Plan,
    make: Callable[[int, Callable[[], object]], np.ndarray],
    *,
    ticks: int = 1,
    numbers: Iterable[int] | None = None,
) -> None:
    """Make batches and keep them; one that is there already is left as it is. `forget_batches` deletes them.

    Args:
        make: takes a batch's number and a function to call `ticks` times; returns (size, ...).
        ticks: of each batch, for the progress.
        numbers: of the batches; left out: all.
    """
    wanted = list(range(len(plan.sizes)) if numbers is None else numbers)
    done = {number for number in wanted if plan.files[number].exists()}
    with progress(None, len(wanted) * ticks, "step", initial=len(done) * ticks) as bar:
        for number in wanted:
            if number not in done:
                write_array(plan.files[number], make(number, bar.update))


def join_batches(plan: Plan, out: Path) -> None:
    """Write all batches as one array, in their dtype.

    Raises:
        UserError: one of them is missing, damaged, or not of its size.
    """
    batches = [read_array(file) for file in plan.files]
    for file, batch, size in zip(plan.files, batches, plan.sizes, strict=True):
        if len(batch) != size:
            raise UserError(f"{file}: {len(batch)} examples, but the batch has {size}; delete it and run this again")
    write_array(out, np.concatenate(batches))


def keep_parts(
    plan: Plan,
    examples: np.ndarray,
    make: Callable[[np.ndarray], np.ndarray],
    *,
    numbers: Iterable[int] | None = None,
) -> None:
    """Make batches from equal parts of `examples` (N, ...) and keep them, as `keep_batches` does."""

    def part(number: int, tick: Callable[[], object]) -> np.ndarray:
        start = sum(plan.sizes[:number])
        made = make(examples[start : start + plan.sizes[number]])
        tick()
        return made

    keep_batches(plan, part, numbers=numbers)


def forget_batches(state: Path) -> None:
    """Delete the batches that were kept; what else lies there is left alone."""
    for batches in state.glob(f"{BATCHES}*"):
        for file in batches.glob("[0-9]*.npy"):
            file.unlink()
        with contextlib.suppress(OSError):  # something else is in it
            batches.rmdir()
