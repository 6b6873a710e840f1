"""The one training loop. Every training brings a recipe (`vqddm/recipe.py`); this file does the rest.

Everything random in a step is a function of (seed, step), so a training that was killed at any moment and started
again gives the same final weights as one that was not: bit for bit on the CPU with the same threads. Several
processes share each batch and draw the same noise for the whole of it, so their number changes only rounding.
Where the state is kept: `vqddm/state.py`.
"""

import csv
import inspect
import math
import os
import signal
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import DynamoBackend
from torch import Tensor

from vqddm.artifacts import UserError, replacing, write_checkpoint
from vqddm.compute import at_once, limit_threads, step_generator, to_device
from vqddm.data.progress import progress
from vqddm.recipe import Recipe, set_rate
from vqddm.settings import TrainingParams
from vqddm.state import StateFolder, steps_done

HELD_OUT = 128  # validation examples that a curve's `validation` is the loss of
READ_EVERY = 20  # steps on a GPU, after which losses are read and signals answered: the host waits for the card then


class Interrupted(SystemExit):
    """A signal or the end of the job's time came; the state was saved and the same command goes on from it.

    The exit code is 128 + the signal; the end of the job's time counts as SIGTERM.
    """


def batch_indices(count: int, batch_size: int, step: int, seed: int) -> np.ndarray:
    """The indices of one batch, int64 (batch_size,) in [0, count).

    They come in epochs of seeded permutations, an incomplete last batch left out.
    """
    epoch, position = divmod(step, count // batch_size)
    return _epoch_order(count, seed, epoch)[position * batch_size : (position + 1) * batch_size]


@lru_cache(maxsize=1)
def _epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(count)


def mean_over_processes(losses: Mapping[str, Tensor], accelerator: Accelerator) -> dict[str, Tensor]:
    """Each loss of the whole batch from those of the shares."""
    if accelerator.num_processes == 1:
        return dict(losses)
    together = accelerator.reduce(torch.stack([value.double() for value in losses.values()]), "mean")
    return dict(zip(losses, together, strict=True))


def check_finite(losses: Mapping[str, float], step: int, state: StateFolder) -> None:
    """Stop at the first loss that is not finite, before it can reach a state.

    Raises:
        UserError: names the losses, the step and the state before it.
    """
    broken = ", ".join(f"{name} {value}" for name, value in losses.items() if not math.isfinite(value))
    if not broken:
        return
    state.drop_after(step - 1)  # the weights of a state right before may be broken already
    kept = state.latest()
    raise UserError(
        f"step {step + 1}: a loss is not finite ({broken}); "
        + (f"{kept} is kept, and the same command goes on from it. " if kept else "")
        + "If it happens again: lower the learning rate or train with precision: no, "
        f"which begins anew (move {state.folder} away then)"
    )


class LossCurve:
    """Mean of every loss over windows of steps, and the learning rate at their ends.

    It has at most about 500 rows however long the training; every 25th and the last await the loss of validation
    examples. Losses wait on their device until they are read, for which a host waits for its GPU.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.window = -(-steps // 500)
        self.added = 0
        self.rows: list[dict[str, float]] = []
        self.sums: dict[str, float] = {}
        self.unread: list[tuple[int, float, Tensor]] = []
        self.names: list[str] = []

    def add(self, step: int, losses: Mapping[str, Tensor], learning_rate: float) -> None:
        """Note the losses of `step`."""
        self.names = list(losses)
        values = torch.stack([value.detach().double() for value in losses.values()])
        self.unread.append((step, learning_rate, values))

    def awaits_validation(self, step: int) -> bool:
        """Whether the row that ends with `step` is to have a `validation`."""
        return step + 1 == self.steps or (step + 1) % (25 * self.window) == 0

    def read(self) -> list[tuple[int, dict[str, float]]]:
        """Take in what was noted, and return it: steps and their losses."""
        if not self.unread:
            return []
        steps, rates, values = zip(*self.unread, strict=True)
        self.unread = []
        found = [dict(zip(self.names, row, strict=True)) for row in torch.stack(values).tolist()]
        for step, rate, losses in zip(steps, rates, found, strict=True):
            self.added += 1
            self.sums = {name: self.sums.get(name, 0.0) + value for name, value in losses.items()}
            if (step + 1) % self.window == 0 or step + 1 == self.steps:
                row = {name: total / self.added for name, total in self.sums.items()}
                self.rows.append({"step": step + 1, **row, "learning_rate": rate})
                self.sums, self.added = {}, 0
        return list(zip(steps, found, strict=True))

    def latest(self) -> str:
        """The last row in a few words, for the progress line."""
        if not self.rows:
            return ""
        losses = {name: value for name, value in self.rows[-1].items() if name not in ("step", "learning_rate")}
        return " ".join(f"{name} {value:.3g}" for name, value in losses.items())

    def write(self, path: Path) -> None:
        """Write the rows as CSV; nan is where nothing was measured."""
        with replacing(path) as aside, aside.open("w", newline="") as handle:
            names = dict.fromkeys(name for row in self.rows for name in row)  # not all, if validation began or ended
            writer = csv.DictWriter(handle, fieldnames=list(names), restval=math.nan)
            writer.writeheader()
            writer.writerows(self.rows)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "sums": self.sums, "added": self.added}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows, self.added = state_dict["rows"], state_dict["added"]
        self.sums = {name: float(total) for name, total in state_dict["sums"].items()}  # earlier versions kept tensors


class _Signals:
    """Remembers that SIGTERM, SIGINT or SIGUSR1 arrived while the block runs, so that the loop can save first."""

    def __init__(self) -> None:
        self.received: int | None = None

    def __enter__(self) -> Self:
        self._before = {s: signal.signal(s, self._remember) for s in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
        return self

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.received = number

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


class Training(NamedTuple):
    """What a training is made of.

    Args:
        make: takes the device of this process and makes the recipe; it is seeded.
        examples: (N, ...), memory-mapped or not; a batch is a tensor of some of them.
        read: reads a file of such examples: those that are held out.
        params: steps, batch size over all processes, precision, seed.
        about: all that the result depends on, and `kind`; kept in the checkpoint.
        identity: what an unfinished state must agree in, if it is not all of `about`.
    """

    make: Callable[[torch.device], Recipe]
    examples: np.ndarray
    read: Callable[[Path], np.ndarray]
    params: TrainingParams
    about: Mapping[str, Any]
    identity: Mapping[str, Any] | None = None


def trains(prepare: Callable[..., Training]) -> Callable[..., None]:
    """Turn a function that prepares a training into one that trains, or goes on where it was interrupted.

    The parameters of `run` join its own; what they are, `vqddm/options.py` says.
    """

    def run(
        *,
        state: Path,
        out: Path,
        curve: Path,
        validation: Path | None = None,
        save_seconds: float = 60.0,
        threads: int | None = None,
        **own: Any,
    ) -> None:
        limit_threads(threads)
        _check_compiler()
        device = join_processes().device
        make, examples, read, params, about, identity = prepare(**own)
        held_out = None if validation is None else _held_out(validation, read(validation), examples)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(params.seed)
            recipe = make(device)
        with StateFolder(state, dict(identity or about), save_seconds) as folder:
            if folder.take_finished([out, curve]):
                return
            train(
                recipe,
                lambda index: torch.from_numpy(examples[index]),
                len(examples),
                params,
                folder,
                curve,
                held_out,
            )
            if PartialState().is_main_process:
                write_checkpoint(out, recipe.checkpoint(), about)
                folder.finish([out, curve])

    signatures = [inspect.signature(function, eval_str=True) for function in (prepare, run)]
    parameters = [p for signature in signatures for p in signature.parameters.values() if p.name != "own"]
    run.__signature__ = signatures[1].replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__doc__ = prepare.__doc__
    return run


def _held_out(path: Path, held_out: np.ndarray, examples: np.ndarray) -> Tensor:
    """The first validation examples.

    Raises:
        UserError: they do not have the size of the training examples.
    """
    if held_out.shape[1:] != examples.shape[1:]:
        raise UserError(
            f"{path}: examples of {held_out.shape[1:]}, but those to train on have {examples.shape[1:]}; "
            "give two splits of the same dataset"
        )
    return torch.from_numpy(np.array(held_out[:HELD_OUT]))


def train(
    recipe: Recipe,
    fetch: Callable[[np.ndarray], Tensor],
    count: int,
    params: TrainingParams,
    state: StateFolder,
    curve_path: Path,
    held_out: Tensor | None = None,
) -> None:
    """Train `recipe` to its last step, resuming from `state` where there is one.

    Args:
        fetch: takes int64 indices (n,) and returns the batch as a CPU tensor (n, ...).
        count: number of training examples.
        state: where the resumable state is kept, and how often; the caller finishes it after writing the checkpoint.
        curve_path: CSV of every loss, written at the end.
        held_out: examples (n, ...) whose loss the curve shows too; nothing else depends on them.

    Raises:
        UserError: fewer examples than one batch, a batch that the processes cannot share, a loss that is
            not finite, a full disk.
        Interrupted: a signal or the end of the job's time came; the state is saved.
    """
    accelerator = _accelerator(count, params)
    curve = LossCurve(params.steps)
    recipe.prepare(accelerator)
    accelerator.register_for_checkpointing(curve, *recipe.stateful.values())
    rates = {name: [group["lr"] for group in o.param_groups] for name, o in recipe.optimizers.items()}
    first_rate = next(iter(rates.values()))[0]
    first = _resume(state, accelerator)
    every = at_once(accelerator.device, 1, READ_EVERY)
    share = slice(accelerator.process_index, None, accelerator.num_processes)
    bar = progress(None, params.steps, "step", initial=first, disable=not accelerator.is_main_process)
    with _Signals() as signals, bar:
        for step in range(first, params.steps):
            factor = recipe.learning_rate_factor(step)
            _set_rates(recipe, rates, factor)
            batch = fetch(batch_indices(count, params.batch_size, step, params.seed)[share])
            generator = step_generator(params.seed, step, accelerator.device)
            losses = recipe.step(to_device(batch, accelerator.device), step, generator, accelerator)
            curve.add(step, mean_over_processes(losses, accelerator), first_rate * factor)
            bar.update()
            awaits = curve.awaits_validation(step)
            if (step + 1) % every and step + 1 < params.steps and not awaits:
                continue
            for past, read in curve.read():
                check_finite(read, past, state)
            if held_out is not None and awaits:
                curve.rows[-1]["validation"] = validation_loss(recipe, held_out, params, accelerator)
            bar.set_postfix_str(curve.latest(), refresh=False)
            _save_if_due(state, signals, accelerator, step + 1, params.steps)
    if accelerator.is_main_process:
        curve.write(curve_path)
    recipe.modules = {
        name: accelerator.unwrap_model(module, keep_torch_compile=False) for name, module in recipe.modules.items()
    }


@torch.no_grad()
def validation_loss(recipe: Recipe, held_out: Tensor, params: TrainingParams, accelerator: Accelerator) -> float:
    """The loss of validation examples, with the same noise at any step.

    Every process computes all of it, since they are few.
    """
    generator = step_generator(params.seed, params.steps, accelerator.device)  # no step of the training draws from it
    total = 0.0
    with accelerator.autocast():
        for batch in held_out.split(max(1, params.batch_size // accelerator.num_processes)):
            loss = recipe.validate(batch.to(accelerator.device), generator, accelerator)
            total += len(batch) * float(loss)
    return total / len(held_out)


def _check_compiler() -> None:
    """Raise UserError where accelerate would not know what is to compile the networks."""
    known = [backend.value.lower() for backend in DynamoBackend]
    if (asked := os.environ.get("ACCELERATE_DYNAMO_BACKEND", "no")).lower() not in known:
        raise UserError(f"ACCELERATE_DYNAMO_BACKEND: '{asked}' compiles nothing; there are {', '.join(known)}")


def _accelerator(count: int, params: TrainingParams) -> Accelerator:
    if count < params.batch_size:
        raise UserError(f"{count} training examples are fewer than one batch of {params.batch_size}")
    accelerator = Accelerator(mixed_precision=params.precision)
    if params.batch_size % accelerator.num_processes:
        raise UserError(f"batch_size {params.batch_size} is not a multiple of {accelerator.num_processes} processes")
    if accelerator.num_processes > 1:
        accelerator.print(f"{accelerator.num_processes} processes share each batch", file=sys.stderr)
    return accelerator


def _resume(state: StateFolder, accelerator: Accelerator) -> int:
    """Load the newest state that can be loaded, if there is one; return the number of steps that are done."""
    damaged: dict[Path, str] = {}
    for saved in state.newest_first():
        words = ""
        try:
            accelerator.load_state(str(saved))
        except Exception as error:  # a damaged pickle can raise anything
            words = f"{type(error).__name__}: {error}".split("\n")[0][:200]
        if not accelerator.gather(torch.tensor([len(words)], device=accelerator.device)).any():
            if accelerator.is_main_process:
                state.set_aside(damaged, saved)
            accelerator.print(f"resuming after step {steps_done(saved)} from {saved}", file=sys.stderr)
            return steps_done(saved)
        damaged[saved] = words or "damaged for another process"
    state.refuse_all(damaged)
    return 0


def _set_rates(recipe: Recipe, rates: Mapping[str, list[float]], factor: float) -> None:
    """Set every learning rate to so much of its first value, in `rates` by optimizer and group of parameters."""
    for name, optimizer in recipe.optimizers.items():
        for number, rate in enumerate(rates[name]):
            set_rate(optimizer, number, rate * factor)


def _save_if_due(state: StateFolder, signals: _Signals, accelerator: Accelerator, done: int, steps: int) -> None:
    """Save the state where it is time to, a signal came or the job's time is nearly over, but not after the last step.

    Raises:
        Interrupted: after a signal, or at the end of the job's time.
    """
    if state.time_is_up and not signals.received:
        accelerator.print("the job's time is nearly over", file=sys.stderr)
        signals.received = signal.SIGTERM
    if signals.received or state.due:
        accelerator.set_trigger()
    if done < steps and accelerator.check_trigger():
        state.save(accelerator, done)
        _stop_if_told(signals, accelerator)


def _stop_if_told(signals: _Signals, accelerator: Accelerator) -> None:
    """Raise Interrupted where any process received a signal; the state is saved."""
    mine = torch.tensor([signals.received or 0], device=accelerator.device)
    if received := int(accelerator.gather(mine).max()):
        accelerator.print(f"signal {received}: state saved, run again to go on", file=sys.stderr)
        raise Interrupted(128 + received)


def join_processes() -> PartialState:
    """Meet the other processes of this training, if `vqddm launch` started several; call it before anything else.

    They wait for each other without limit, because the main one may have to wait for the state's folder.
    """
    return PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(days=30))
