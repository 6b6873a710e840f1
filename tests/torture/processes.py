"""Commands in processes of their own, started, killed and waited for, and what they leave.

A command is forked from a process that has imported all of the project already: the same code, without the seconds
that importing torch takes. Some are started as a user would, to see that it makes no difference.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

BIN = Path(sys.executable).parent
TOLD = "told.txt"  # what a command printed, beside the folder that it worked in
PR_SET_PDEATHSIG = 1
HALF = ("saving", "finishing", "dropped-", "batches-")  # how names begin that a killed command may leave


class Ended(NamedTuple):
    """How a command ended: its exit code, negative for a signal, None where it did not end in time; what it said."""

    code: int | None
    said: str
    seconds: float


class Running(NamedTuple):
    """A command at work, which leads a process group of its own."""

    pid: int
    told: Path
    began: float

    def ended(self) -> int | None:
        """The exit code, None while it is at work; to be asked until it is told, and not again."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None

    def kill(self) -> bool:
        """Kill it and all that it started with -9; whether it was still at work."""
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError):
                kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL

    def wait(self, seconds: float) -> Ended:
        """Wait for its end, at most so long."""
        code = None
        while (code := self.ended()) is None and time.monotonic() < self.began + seconds:
            time.sleep(0.01)
        if code is None:
            self.kill()
        return Ended(code, self.told.read_text(errors="replace"), time.monotonic() - self.began)


def start(words: Sequence[str], folder: Path, *, real: bool = False, more: Mapping[str, str] | None = None) -> Running:
    """Start a command in a folder.

    Args:
        words: its name and its arguments; `vqddm` and `snakemake` can be forked.
        real: start it as a program.
        more: variables of its environment.
    """
    told = folder.parent / TOLD
    told.write_bytes(b"")
    pid = os.fork()
    if pid == 0:
        _become(words, folder, told, real, more or {})
    return Running(pid, told, time.monotonic())


def run(words: Sequence[str], folder: Path, seconds: float = 120, **how: object) -> Ended:
    """Run a command to its end, as `start` starts it."""
    return start(words, folder, **how).wait(seconds)  # type: ignore[arg-type]


def _become(words: Sequence[str], folder: Path, told: Path, real: bool, more: Mapping[str, str]) -> None:
    """Be the command, in a process that was forked for it."""
    code = 70
    try:
        os.setsid()
        with contextlib.suppress(Exception):  # Linux: when the trial is killed, its command goes with it
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.chdir(folder)
        os.environ.update(more)
        for number, (name, flags) in enumerate([(os.devnull, os.O_RDONLY), *[(told, os.O_WRONLY | os.O_APPEND)] * 2]):
            os.dup2(os.open(name, flags), number)
        if real:
            os.execve(BIN / words[0], [str(BIN / words[0]), *words[1:]], dict(os.environ))
        code = _called(FORKED[words[0]], words)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)


def _called(main: Callable[[], object], words: Sequence[str]) -> int:
    """What a console script would exit with."""
    sys.argv = [str(BIN / words[0]), *words[1:]]
    try:
        main()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    return 0


def _vqddm() -> None:
    from vqddm.__main__ import main

    main()


def _snakemake() -> None:
    from snakemake.cli import main

    main()


FORKED = {"vqddm": _vqddm, "snakemake": _snakemake}


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder with its content's SHA-256; of a lock only that it is there."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file():
            found[name] = "" if path.name == "lock" else hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def halves(folder: Path) -> list[str]:
    """Half-written files, and folders of states and batches, that a command left."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*")]
    last = [(name, name.rsplit("/", 1)[-1]) for name in names]
    return [name for name, end in last if ".partial" in end or end.startswith(HALF) or end.startswith("step-")]


def differing(found: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    """The files that are missing, left over or other than expected, in words."""
    words = [f"{name} is missing" for name in expected.keys() - found.keys()]
    words += [f"{name} is left over" for name in found.keys() - expected.keys()]
    words += [f"{name} has other bytes" for name in found.keys() & expected.keys() if found[name] != expected[name]]
    return sorted(words)
