"""A small file system of its own for each writer: full, or read-only."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Self

from torture.outcome import Found, Lost, check_refusal, check_whole
from torture.processes import differing, halves, run, tree
from torture.steps import SAVING, Reference, Step, set_up

PAGE = 4096
FILLER = "filler"
ROOM = 1024 * 2**20  # bytes, before it is filled and after it is mended
LONGEST = 300


def mountable(folder: Path) -> str:
    """Why no small file system can be mounted here; nothing where it can."""
    try:
        with Small(folder):
            return ""
    except (OSError, subprocess.CalledProcessError) as error:
        words = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        return f"no small file system can be mounted ({words[-1] if words else 'no reason given'})"


class Small:
    """A tmpfs in the place of a folder while the block runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._mount(f"size={ROOM}", "none")
        return self

    def __exit__(self, *exception: object) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=False, capture_output=True)

    def _mount(self, options: str, *source: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, *source, str(self.folder)]
        subprocess.run(command, check=True, capture_output=True, text=True)

    def fill(self, pages: int) -> None:
        """Leave room for so many pages; a file of one page, for a size of none would mean no limit."""
        (self.folder / FILLER).write_bytes(bytes(PAGE))
        about = os.statvfs(self.folder)
        used = (about.f_blocks - about.f_bfree) * about.f_frsize
        self._mount(f"remount,size={used + pages * PAGE}", "none")

    def lock(self) -> None:
        """Let nothing be written."""
        self._mount("remount,ro", "none")

    def mend(self) -> None:
        """Let all be written, with room for it."""
        self._mount(f"remount,rw,size={ROOM}", "none")
        (self.folder / FILLER).unlink(missing_ok=True)


def starve_step(step: Step, how: str, reference: Reference, project: Path, folder: Path, rng: random.Random) -> Found:
    """Run a step on a full disk or in a read-only folder; then, that mended, once more.

    In every second trial an earlier run's outputs lie there.

    Raises:
        Lost: no sentence, a half-written file, an earlier output or an input that is not whole, or other results.
    """
    with Small(folder) as disk:
        set_up(step, project, folder)
        needed = sum(-(-(project / name).stat().st_size // PAGE) for name in step.outputs)
        if rng.random() < 0.5:
            put_earlier(step, folder)
            needed = max(1, needed - len(step.outputs))  # those give room to later ones
        before = {name: content for name, content in tree(folder).items() if not removable(step, name)}
        disk.fill(rng.randrange(needed)) if how == "full disk" else disk.lock()
        ended = run(step.forked(), folder, LONGEST, more=SAVING)
        after, left = tree(folder), halves(folder)
        disk.mend()
        check_refusal(ended, [])
        check_kept(before, after, left, reference)
        check_whole(run(step.forked(), folder, LONGEST, more=SAVING))
        if words := [*differing(tree(folder), reference.tree), *halves(folder)]:
            raise Lost(f"with room again: {'; '.join(words[:5])}")
    return Found(refused=1)


def check_kept(before: dict[str, str], after: dict[str, str], left: list[str], reference: Reference) -> None:
    """What lay there is as it was, or as the step makes it; states and drawn batches may stay, halves may not.

    Raises:
        Lost: not so.
    """
    if words := [name for name in before if after.get(name) not in (before[name], reference.tree.get(name))]:
        raise Lost(f"not as before: {', '.join(words[:5])}")
    if words := [name for name in left if not name.rsplit("/", 1)[-1].startswith(("step-", "batches-"))]:
        raise Lost(f"left half-written: {', '.join(words[:5])}")


def put_earlier(step: Step, folder: Path) -> None:
    """Earlier outputs, as large as a few bytes."""
    for name in step.outputs:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"an earlier run's {name}")


def removable(step: Step, name: str) -> bool:
    """A manifest of prepared pictures goes before they are written: it must never stand beside other pictures."""
    return step.rule == "prepare_data" and name.endswith(".json")


def unmount_all(below: Path) -> None:
    """Take away what a killed run left mounted, and the folders."""
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for place in mounted:
        if Path(place).is_relative_to(below):
            subprocess.run(["umount", "--lazy", place], check=False)
    shutil.rmtree(below, ignore_errors=True)
