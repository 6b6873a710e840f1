"""Where a training keeps its resumable state: a folder that is no declared output, so that nobody deletes it.

Snakemake and DVC both delete a step's outputs before they run it. So the state lies apart, and so does a copy of what a
finished training wrote: when whoever waited for it was killed, the next run takes it instead of training again.
"""

import contextlib
import errno
import fcntl
import os
import re
import shutil
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import IO, Any, Self

from accelerate import Accelerator, PartialState
from accelerate.utils import broadcast_object_list
from safetensors import SafetensorError

from vqddm.artifacts import UserError, checksum, code_and_packages, json_sum, read_json, replacing, shown, write_json
from vqddm.slurm import deadline

IDENTITY = "identity.json"
SEAL = {"belongs_to", "folder", "files", "crc32"}  # the keys in it; a folder of an earlier version has none of them
STATE = re.compile(r"step-([0-9]{9}|[1-9][0-9]{9,})")  # a copy beside it, such as `step-000000007 (copy)`, is none
HALF = re.compile(r"saving|finishing|dropped-.*")  # what a killed training may leave
OURS = re.compile(  # what accelerate writes into a state, and what a kill may leave there
    r"(model|optimizer|scheduler|scaler|sampler|custom_checkpoint|random_states)(_[0-9]+)?\.(safetensors|bin|pkl|pt)"
    r"|identity\.json|\.identity\..*\.partial\.json|\.tmp\w{6}"
)


class Damaged(Exception):
    """A folder is not what was written there; the message says why in a few words."""


def seal(folder: Path, belongs_to: Mapping[str, Any], name: str) -> None:
    """Write beside a folder's files to whom they belong and their checksums; all of it is on the disk then.

    Args:
        name: what the folder is to be called in the end.
    """
    files = {}
    for file in sorted(file for file in folder.iterdir() if file.is_file()):
        files[file.name] = checksum(file)
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
    record = {"belongs_to": belongs_to, "folder": name, "files": files}
    write_json(folder / IDENTITY, record | {"crc32": json_sum(record)})


def belongs_to(folder: Path) -> Any:
    """To whom a folder says that it belongs.

    Raises:
        Damaged: it does not say so, or says so no longer.
    """
    record = _record(folder)
    return record["belongs_to"] if SEAL & record.keys() else record


def check_files(folder: Path) -> None:
    """Compare a folder's files with the checksums that it was sealed with, if it was.

    Raises:
        Damaged: names the first file that is missing or not what was written.
    """
    for name, recorded in _record(folder).get("files", {}).items():
        try:
            found = checksum(folder / name)
        except OSError as error:
            raise Damaged(f"{name}: {error.strerror}") from None
        if found != recorded:
            raise Damaged(f"{name} is not what was written")


def _record(folder: Path) -> dict[str, Any]:
    try:
        record = read_json(folder / IDENTITY)
    except UserError as error:
        raise Damaged(str(error).removeprefix(f"{folder / IDENTITY}: ").split(";")[0]) from None
    if not isinstance(record, dict):
        raise Damaged(f"{IDENTITY} is no JSON object")
    if not SEAL & record.keys():
        return record
    told = record.pop("crc32", None)
    if record.keys() | {"crc32"} != SEAL or told != json_sum(record) or record["folder"] != folder.name:
        raise Damaged(f"{IDENTITY} is not what was written")
    return record


def alone_in(folder: Path) -> IO[bytes]:
    """Hold `folder` until what is returned is closed, as by `with`; while another process holds it, wait and say so.

    The folder is made. The lock is the system's: it goes with its process, however that ends.

    Raises:
        UserError: the file system has no locks, or something else stands in the place of the folder or its lock.
    """
    path, told = folder / "lock", False
    job = f", Slurm job {os.environ['SLURM_JOB_ID']}" if "SLURM_JOB_ID" in os.environ else ""
    while True:
        _check_places(folder, path)
        folder.mkdir(parents=True, exist_ok=True)
        lock = path.open("ab+", buffering=0)
        if _locked(lock, folder):
            if path.exists() and os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                with contextlib.suppress(OSError):  # a courtesy, for which a full disk has no room
                    lock.truncate(0)
                    lock.write(f"process {os.getpid()} on {os.uname().nodename}{job}".encode())
                return lock
        elif not told:
            lock.seek(0)
            other = lock.read().decode(errors="replace") or "another process"
            print(f"{folder}: {other} is at work here; waiting for its end", file=sys.stderr)
            told = True
        lock.close()  # held by another, or deleted by the one who held it
        time.sleep(0.5)


def _check_places(folder: Path, lock: Path) -> None:
    """Raise UserError where what is no folder, or what is no file, keeps a folder or its lock from being made."""
    for place in (*reversed(folder.parents), folder):
        if os.path.lexists(place) and not place.is_dir():
            raise UserError(f"{shown(place)}: {_what(place)} and no folder; move it away and run the same again")
    if os.path.lexists(lock) and not lock.is_file() and os.path.lexists(lock):  # it may just have been deleted
        raise UserError(f"{shown(lock)}: {_what(lock)} and no file; move it away and run the same again")


def _what(place: Path) -> str:
    """What stands in the place of something else, in words."""
    if place.is_symlink() and not place.exists():
        return "a link that leads nowhere"
    return "a folder" if place.is_dir() else "a file" if place.is_file() else "a pipe, a socket or a device"


def _locked(lock: IO[bytes], folder: Path) -> bool:
    """Lock a file, unless another process has; by `lockf` on file systems that know only that."""
    for way in (fcntl.flock, fcntl.lockf):
        try:
            way(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP):
                raise
    lock.close()
    raise UserError(
        f"{folder}: this file system has no locks (flock, lockf), without which two trainings could spoil each other's "
        "state; put the project, or this folder by a link, on one that has"
    )


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
        self._lock: IO[bytes] | None = None
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
        """Clear away what a killed training left half done, refuse a state of others, set damaged ones aside."""
        for path in (self.folder / name for name in ("saving", "finishing", "finished")):
            if os.path.lexists(path) and not path.is_dir():  # told now, not after the last step
                raise UserError(f"{shown(path)}: {_what(path)} and no folder; move it away and run the same again")
        self._drop([path for path in self.folder.iterdir() if HALF.fullmatch(path.name)])
        damaged: dict[Path, str] = {}
        for state in self.newest_first():
            try:
                known = belongs_to(state)
                check_files(state)
            except Damaged as error:
                damaged[state] = str(error)
                continue
            self._refuse_others(known)
            return self.set_aside(damaged, state)
        self.refuse_all(damaged)

    def _refuse_others(self, found: Any) -> None:
        known, given = _flatten(found), _flatten(self.identity)
        changed = [
            f"  {key}: {known.get(key)!r} there, {given.get(key)!r} now"
            for key in sorted(known.keys() | given.keys())
            if known.get(key) != given.get(key)
        ]
        if changed:
            raise UserError(
                f"{self.folder}: holds an unfinished training of other parameters or inputs:\n"
                + "\n".join(changed)
                + "\nput them back to go on with it, or move the folder away to begin anew"
            )

    def set_aside(self, damaged: Mapping[Path, str], whole: Path) -> None:
        """Rename damaged states, each with the reason, and say that a whole one takes their place."""
        for state, why in damaged.items():
            aside = self._free(f"damaged-{state.name}")
            state.rename(aside)
            print(f"{state}: damaged ({why}); set aside as {aside.name}, {whole.name} goes on", file=sys.stderr)

    def refuse_all(self, damaged: Mapping[Path, str]) -> None:
        """Where no state is whole: leave them all as they are.

        Raises:
            UserError: there are damaged ones.
        """
        if damaged:
            reasons = "; ".join(f"{state.name}: {why}" for state, why in damaged.items())
            raise UserError(
                f"{self.folder}: no state here can be read, each is damaged or of another version of the code "
                f"({reasons}); put a whole one back, or move the folder away to begin anew"
            )

    def latest(self) -> Path | None:
        """The newest whole state, or None. A state is whole once it bears its final name."""
        return next(iter(self.newest_first()), None)

    def newest_first(self) -> list[Path]:
        """The states."""
        return sorted((p for p in self.folder.iterdir() if STATE.fullmatch(p.name)), key=steps_done, reverse=True)

    def drop_after(self, step: int) -> None:
        """Drop the states after `step` steps and more."""
        if PartialState().is_main_process:
            self._drop([state for state in self.newest_first() if steps_done(state) > step])
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
            self._drop([aside])
        accelerator.wait_for_everyone()
        try:
            accelerator.save_state(str(aside))
            accelerator.wait_for_everyone()
            if accelerator.is_main_process and not final.exists():
                seal(aside, self.identity, final.name)
                aside.rename(final)
                self._drop(self.newest_first()[2:])
        except (OSError, RuntimeError, SafetensorError, UserError) as error:  # torch and safetensors wrap a full disk
            if accelerator.is_main_process:
                self._drop([aside])
            raise UserError(f"{aside}: could not be saved ({error}); the last state is kept") from None
        self._saved_at = time.monotonic()
        if self.save_seconds:
            self.save_seconds = max(self.save_seconds, 50 * (self._saved_at - began))

    def take_finished(self, outputs: Sequence[Path]) -> bool:
        """Put the outputs of a finished training in place, if it was of this identity, code and packages.

        Raises:
            UserError: they are damaged.
        """
        finished = self.folder / "finished"
        taken = False
        if PartialState().is_main_process:  # what a kill in `finish` left; the names of its files are known only here
            halves = [path for path in self.folder.iterdir() if HALF.fullmatch(path.name)]
            self._drop(halves, [output.name for output in outputs])
        if PartialState().is_main_process and finished.is_dir() and any(finished.iterdir()):
            try:
                if taken := belongs_to(finished) == self._whole_identity():
                    check_files(finished)
                    _put_back(finished, outputs)
            except Damaged as error:
                raise UserError(
                    f"{finished}: what this training wrote in the end is damaged ({error}); put it back, "
                    "or move that folder away to train anew"
                ) from None
            if taken:
                self._drop(self.newest_first())
                print(
                    f"already trained with these parameters, inputs and code; taken from {finished} "
                    "(move that folder away to train anew)",
                    file=sys.stderr,
                )
        return bool(broadcast_object_list([taken])[0])

    def finish(self, outputs: Sequence[Path]) -> None:
        """Keep what was written (as hard links where the file system has them) and drop the states."""
        if not PartialState().is_main_process:
            return
        names = [output.name for output in outputs]
        aside, finished = self.folder / "finishing", self.folder / "finished"
        self._drop([aside], names)
        aside.mkdir()
        for output in outputs:
            try:
                os.link(output, aside / output.name)
            except OSError:  # another file system, or one without links
                shutil.copyfile(output, aside / output.name)
        seal(aside, self._whole_identity(), finished.name)
        self._drop([finished], names)
        aside.rename(finished)
        self._drop([*self.newest_first(), self.folder / "saving"])

    def _whole_identity(self) -> dict[str, Any]:
        return {"identity": self.identity, **code_and_packages()}

    def _drop(self, folders: Sequence[Path], names: Collection[str] = ()) -> None:
        """Delete what is ours in these folders, and those that are empty then.

        Each is renamed first, so that one which is half deleted is never taken for a whole one.

        Args:
            names: of files that are ours, beside those of a state.
        """
        for folder in folders:
            dropped = folder
            if folder.exists() and not folder.name.startswith("dropped-"):
                dropped = folder.rename(self._free(f"dropped-{folder.name}"))
            with contextlib.suppress(OSError):
                for file in dropped.iterdir():
                    if OURS.fullmatch(file.name) or file.name in names:
                        file.unlink()
                dropped.rmdir()

    def _free(self, name: str) -> Path:
        """A path in the folder by this name, numbered if there is one already."""
        paths = (self.folder / (f"{name}-{number}" if number > 1 else name) for number in count(1))
        return next(path for path in paths if not os.path.lexists(path))


def steps_done(state: Path) -> int:
    """The steps after which a state was saved."""
    return int(state.name.removeprefix("step-"))


def _put_back(finished: Path, outputs: Sequence[Path]) -> None:
    for output in outputs:
        with replacing(output) as aside:
            try:
                shutil.copyfile(finished / output.name, aside)
            except FileNotFoundError:
                raise Damaged(f"{output.name} is missing") from None


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """{'a': {'b': 1}} as {'a.b': 1}."""
    if not isinstance(value, dict):
        return {prefix: value}
    return {k: v for key, part in value.items() for k, v in _flatten(part, f"{prefix}.{key}".strip(".")).items()}
