"""Where a training keeps its resumable state: a folder that is no declared output, so that nobody deletes it.

Snakemake and DVC both delete a step's outputs before they run it. So the state lies apart, and so does a copy of what a
finished training wrote: when whoever waited for it was killed, the next run takes it instead of training again.
"""

import fcntl
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Self

from accelerate import Accelerator, PartialState
from accelerate.utils import broadcast_object_list
from safetensors import SafetensorError

from vqddm.artifacts import UserError, made_with, read_json, replacing, write_json
from vqddm.slurm import deadline

IDENTITY = "identity.json"


def alone_in(folder: Path) -> IO[str]:
    """Hold `folder` until what is returned is closed, as by `with`; while another process holds it, wait and say so.

    The folder is made. The lock is the system's: it goes with its process, however that ends.
    """
    path, told = folder / "lock", False
    job = f", Slurm job {os.environ['SLURM_JOB_ID']}" if "SLURM_JOB_ID" in os.environ else ""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        lock = path.open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                lock.truncate(0)
                lock.write(f"process {os.getpid()} on {os.uname().nodename}{job}")
                lock.flush()
                return lock
        except BlockingIOError:
            if not told:
                lock.seek(0)
                other = lock.read() or "another process"
                print(f"{folder}: {other} is at work here; waiting for its end", file=sys.stderr)
                told = True
        lock.close()  # held by another, or deleted by the one who held it
        time.sleep(0.5)


class StateFolder:
    """A training's states, and what it wrote in the end.

    Use it as a context manager: the folder is made and held until the block ends; whoever comes second waits. Of
    several processes that train together the main one locks, claims and writes.

    Args:
        identity: parameters and inputs; a state of others is refused.
        save_seconds: a state is due about this often, or less often where saving takes more than 2 % of that time;
            0: after each step.

    Raises:
        UserError: the folder holds an unfinished training of other parameters or inputs.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], save_seconds: float) -> None:
        self.folder = folder
        self.identity = identity
        self.save_seconds = save_seconds
        self.deadline = deadline()
        self._saved_at = time.monotonic()
        self._lock: IO[str] | None = None
        if PartialState().is_main_process:
            self._lock = alone_in(folder)
            self._claim()
        PartialState().wait_for_everyone()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._lock is not None:
            self._lock.close()

    def _claim(self) -> None:
        state = self.latest()
        if state is None:
            return
        if not (state / IDENTITY).exists():
            raise UserError(f"{state}: a state of unknown parameters; delete it to begin anew")
        known, given = _flatten(read_json(state / IDENTITY)), _flatten(self.identity)
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
        return max(self._states(), default=None)

    def _states(self) -> list[Path]:
        return sorted(self.folder.glob("step-*"))

    def drop_after(self, step: int) -> None:
        """Drop the states after `step` steps and more."""
        if PartialState().is_main_process:
            self._drop([state for state in self._states() if int(state.name.removeprefix("step-")) > step])
        PartialState().wait_for_everyone()

    @property
    def due(self) -> bool:
        """It is time to save."""
        return time.monotonic() - self._saved_at > self.save_seconds

    @property
    def time_is_up(self) -> bool:
        """The Slurm job is about to reach its time limit."""
        return self.deadline is not None and time.time() > self.deadline

    def save(self, accelerator: Accelerator, step: int) -> None:
        """Save all state after `step` steps; the one before is kept too, older ones are dropped."""
        began = time.monotonic()
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
            write_json(aside / IDENTITY, self.identity)
            aside.replace(final)
            self._drop(self._states()[:-2])
        self._saved_at = time.monotonic()
        if self.save_seconds:
            self.save_seconds = max(self.save_seconds, 50 * (self._saved_at - began))

    def take_finished(self, outputs: Sequence[Path]) -> bool:
        """Put the outputs of a finished training in place, if it was of this identity, code and packages."""
        finished = self.folder / "finished"
        taken = False
        if PartialState().is_main_process and (finished / IDENTITY).exists():
            taken = read_json(finished / IDENTITY) == self._whole_identity()
            for output in outputs if taken else ():
                with replacing(output) as aside:
                    shutil.copyfile(finished / output.name, aside)
            if taken:
                print(
                    f"already trained with these parameters, inputs and code; taken from {finished} "
                    "(delete that folder to train anew)",
                    file=sys.stderr,
                )
        return bool(broadcast_object_list([taken])[0])

    def finish(self, outputs: Sequence[Path]) -> None:
        """Keep what was written (as hard links where the file system has them) and drop the states."""
        if not PartialState().is_main_process:
            return
        aside, finished = self.folder / "finishing", self.folder / "finished"
        for old in (aside, finished):
            shutil.rmtree(old, ignore_errors=True)
        aside.mkdir()
        for output in outputs:
            try:
                os.link(output, aside / output.name)
            except OSError:  # another file system, or one without links
                shutil.copyfile(output, aside / output.name)
        write_json(aside / IDENTITY, self._whole_identity())
        aside.replace(finished)
        self._drop(self._states())
        shutil.rmtree(self.folder / "saving", ignore_errors=True)

    def _whole_identity(self) -> dict[str, Any]:
        digest = hashlib.sha256()
        for file in sorted(Path(__file__).parent.rglob("*.py")):
            digest.update(file.read_bytes())
        made = {key: value for key, value in made_with().items() if key != "revision"}
        return {"identity": self.identity, "made_with": made, "code": digest.hexdigest()}

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
