"""The one training loop. The first stage, ReFiT and the prior bring a `Recipe`; this file does the rest.

Everything random in a step is a function of (seed, step, process), so a training that was killed at any moment and
started again gives the same final weights as one that was not: bit for bit on the CPU with the same threads.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import IO, Any, Protocol, Self

import numpy as np
import torch
from accelerate import Accelerator, PartialState
from safetensors import SafetensorError
from torch import Tensor, nn
from tqdm import tqdm

from vqddm.artifacts import UserError, read_json, replacing, write_json
from vqddm.params import TrainingParams


class Stateful(Protocol):
    """What accelerate can save and restore beside modules and optimisers."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


class Recipe(Protocol):
    """What is trained, and one step of it.

    `train` replaces the values of `modules` and `optimizers` by what accelerate prepared.
    """

    modules: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    stateful: dict[str, Stateful]

    def learning_rate_factor(self, step: int) -> float:
        """Factor on every optimiser's initial learning rate at `step` (from 0)."""
        ...

    def step(self, batch: Tensor, step: int, generator: torch.Generator, accelerator: Accelerator) -> dict[str, Tensor]:
        """Update the weights once; return each loss as a detached scalar."""
        ...


class Interrupted(SystemExit):
    """A signal arrived; the state was saved and the same command goes on from it. Exit code 128 + signal."""


def batch_indices(count: int, batch_size: int, step: int, seed: int) -> np.ndarray:
    """The indices of one batch: epochs of seeded permutations, an incomplete last batch left out.

    Returns:
        int64 array of shape (batch_size,), values in [0, count).
    """
    epoch, position = divmod(step, count // batch_size)
    return _epoch_order(count, seed, epoch)[position * batch_size : (position + 1) * batch_size]


@lru_cache(maxsize=1)
def _epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(count)


def step_generator(seed: int, step: int, rank: int, device: torch.device) -> torch.Generator:
    """A generator that depends on nothing but (seed, step, rank)."""
    word = np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(word) >> 1)


class LossCurve:
    """Mean of every loss over windows of steps; at most about 500 rows however long the training."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.window = -(-steps // 500)
        self.added = 0
        self.rows: list[dict[str, float]] = []
        self.sums: dict[str, Tensor] = {}

    def add(self, step: int, losses: Mapping[str, Tensor]) -> None:
        """Take in the losses of `step`.

        Raises:
            UserError: a window's mean is NaN or infinite.
        """
        self.added += 1
        for name, value in losses.items():
            total = value.detach().double()
            self.sums[name] = self.sums[name] + total if name in self.sums else total
        if (step + 1) % self.window and step + 1 < self.steps:
            return
        row = {name: float(total) / self.added for name, total in self.sums.items()}
        broken = [name for name, value in row.items() if not np.isfinite(value)]
        if broken:
            raise UserError(
                f"step {step + 1}: {', '.join(broken)} is not finite ({row}); "
                "lower the learning rate or train with precision: no"
            )
        self.rows.append({"step": step + 1, **row})
        self.sums, self.added = {}, 0

    def latest(self) -> str:
        """The last row in a few words, for the progress line."""
        if not self.rows:
            return ""
        return " ".join(f"{name} {value:.3g}" for name, value in self.rows[-1].items() if name != "step")

    def write(self, path: Path) -> None:
        """Write the rows as CSV."""
        with replacing(path) as aside, aside.open("w", newline="") as handle:
            writer = csv.DictWriter(handle, fieldnames=list(self.rows[-1]), restval=0.0)
            writer.writeheader()
            writer.writerows(self.rows)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "sums": self.sums, "added": self.added}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows, self.sums, self.added = state_dict["rows"], state_dict["sums"], state_dict["added"]


class StateFolder:
    """Where a training keeps its resumable state: not a declared output, so nobody deletes it.

    Use it as a context manager: the folder is locked until the block ends. Of several processes that train together
    the main one locks, claims and writes.

    Raises:
        UserError: another process trains here, or the state is of other parameters or inputs.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock: IO[str] = (folder / "lock").open("a")
        if PartialState().is_main_process:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"{folder}: another process is training here; wait for it or end it") from None
            self._claim(identity)
        PartialState().wait_for_everyone()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._lock.close()

    def _claim(self, identity: dict[str, Any]) -> None:
        path = self.folder / "identity.json"
        if not self.latest():
            write_json(path, identity)
            return
        if not path.exists():
            raise UserError(f"{self.folder}: holds a state of unknown parameters; delete the folder to begin anew")
        known, given = _flatten(read_json(path)), _flatten(identity)
        changed = [
            f"  {key}: {known.get(key)!r} there, {given.get(key)!r} now"
            for key in sorted(known.keys() | given.keys())
            if known.get(key) != given.get(key)
        ]
        if changed:
            raise UserError(
                f"{self.folder}: holds an unfinished training of other parameters or inputs:\n"
                + "\n".join(changed)
                + "\nput them back to go on with it, or delete the folder to begin anew"
            )

    def latest(self) -> Path | None:
        """The newest whole state, or None. A state is whole once it bears its final name."""
        return max(self.folder.glob("step-*"), default=None)

    def save(self, accelerator: Accelerator, step: int) -> None:
        """Save all state after `step` steps, then drop the older ones."""
        aside, final = self.folder / "saving", self.folder / f"step-{step:09d}"
        if accelerator.is_main_process:
            shutil.rmtree(aside, ignore_errors=True)
        accelerator.wait_for_everyone()
        try:
            accelerator.save_state(str(aside))
        except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors wrap a full disk
            raise UserError(f"{aside}: could not be saved ({error}); the last state is kept") from None
        accelerator.wait_for_everyone()
        if accelerator.is_main_process and not final.exists():
            aside.replace(final)
            self._drop(sorted(self.folder.glob("step-*"))[:-1])

    def discard(self) -> None:
        """Delete the state: call it once the final checkpoint bears its name."""
        if PartialState().is_main_process:
            self._drop(sorted(self.folder.glob("step-*")))
            shutil.rmtree(self.folder / "saving", ignore_errors=True)
            for name in ("identity.json", "lock"):
                (self.folder / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # what others put there stays
                self.folder.rmdir()

    def _drop(self, states: list[Path]) -> None:
        """Delete states; renamed first, so that one which is half deleted is never taken for a whole one."""
        dropped = self.folder / "dropped"
        for state in states:
            shutil.rmtree(dropped, ignore_errors=True)
            state.replace(dropped)
        shutil.rmtree(dropped, ignore_errors=True)


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """{'a': {'b': 1}} as {'a.b': 1}."""
    if not isinstance(value, dict):
        return {prefix: value}
    return {k: v for key, part in value.items() for k, v in _flatten(part, f"{prefix}.{key}".strip(".")).items()}


class _Signals:
    """Remembers that SIGTERM, SIGINT or SIGUSR1 arrived, so that the loop can save first."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._before = {s: signal.signal(s, self._remember) for s in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.received = number

    def restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def train(
    recipe: Recipe,
    fetch: Callable[[np.ndarray], Tensor],
    count: int,
    params: TrainingParams,
    state: StateFolder,
    curve_path: Path,
    save_seconds: float,
) -> None:
    """Train `recipe` to its last step, resuming from `state` where there is one.

    Args:
        recipe: modules, optimisers and the step.
        fetch: takes int64 indices (n,) and returns the batch as a CPU tensor (n, ...).
        count: number of training examples.
        params: steps, batch size over all processes, precision, seed.
        state: where the resumable state is kept; the caller discards it after writing the checkpoint.
        curve_path: CSV of every loss, written at the end.
        save_seconds: the state is saved about this often. Does not change any result.

    Raises:
        UserError: fewer examples than one batch, a batch that the processes cannot share, a loss that is
            not finite, a full disk.
        Interrupted: a signal arrived; the state is saved.
    """
    if count < params.batch_size:
        raise UserError(f"{count} training examples are fewer than one batch of {params.batch_size}")
    accelerator = Accelerator(mixed_precision=params.precision)
    if params.batch_size % accelerator.num_processes:
        raise UserError(f"batch_size {params.batch_size} is not a multiple of {accelerator.num_processes} processes")
    recipe.modules = {name: accelerator.prepare(m) for name, m in recipe.modules.items()}
    recipe.optimizers = {name: accelerator.prepare(o) for name, o in recipe.optimizers.items()}
    curve = LossCurve(params.steps)
    accelerator.register_for_checkpointing(curve, *recipe.stateful.values())
    rates = {name: [g["lr"] for g in o.param_groups] for name, o in recipe.optimizers.items()}

    first = 0
    if saved := state.latest():
        try:
            accelerator.load_state(str(saved))
        except (OSError, RuntimeError, SafetensorError, EOFError) as error:
            raise UserError(f"{saved}: this state is damaged ({error}); delete it to begin anew") from None
        first = int(saved.name.removeprefix("step-"))
        accelerator.print(f"resuming after step {first} from {saved}", file=sys.stderr)

    for module in recipe.modules.values():
        module.train()
    signals = _Signals()
    saved_at = time.monotonic()
    share = slice(accelerator.process_index, None, accelerator.num_processes)
    progress = tqdm(
        total=params.steps,
        initial=first,
        disable=not accelerator.is_main_process,
        mininterval=0.5 if sys.stderr.isatty() else 20,
        maxinterval=30,
        unit="step",
    )
    try:
        for step in range(first, params.steps):
            for name, optimizer in recipe.optimizers.items():
                for group, rate in zip(optimizer.param_groups, rates[name], strict=True):
                    group["lr"] = rate * recipe.learning_rate_factor(step)
            batch = fetch(batch_indices(count, params.batch_size, step, params.seed)[share])
            generator = step_generator(params.seed, step, accelerator.process_index, accelerator.device)
            losses = recipe.step(batch.to(accelerator.device), step, generator, accelerator)
            curve.add(step, losses)
            progress.update()
            progress.set_postfix_str(curve.latest(), refresh=False)
            if signals.received or time.monotonic() - saved_at > save_seconds:
                accelerator.set_trigger()
            if step + 1 < params.steps and accelerator.check_trigger():
                state.save(accelerator, step + 1)
                saved_at = time.monotonic()
                mine = torch.tensor([signals.received or 0], device=accelerator.device)
                if received := int(accelerator.gather(mine).max()):  # one process may have had it alone
                    accelerator.print(f"signal {received}: state saved, run again to go on", file=sys.stderr)
                    raise Interrupted(128 + received)
    finally:
        progress.close()
        signals.restore()
    if accelerator.is_main_process:
        curve.write(curve_path)
    recipe.modules = {name: accelerator.unwrap_model(m) for name, m in recipe.modules.items()}


def limit_threads(threads: int | None) -> None:
    """Use `threads` CPU threads in this process (None leaves torch's choice).

    Results may differ in their last bits between thread counts, so rules pass a fixed number.
    """
    if threads is not None:
        torch.set_num_threads(threads)
        os.environ["OMP_NUM_THREADS"] = str(threads)
