"""What a walk takes as pictures, follows and passes over: one rule for folders and zips, told in the README."""

import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from vqddm.artifacts import UserError

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".npy"}
NAMED = 20  # bad pictures that a message names

# Folders that systems and NAS keep for themselves, for thumbnails, deleted files and the like.
FOREIGN = {
    "__macosx",
    "@__thumb",
    "@eadir",
    "@recently-snapshot",
    "@recycle",
    "@tmp",
    "#recycle",
    "#snapshot",
    "$recycle.bin",
    "lost+found",
    "network trash folder",
    "system volume information",
    "temporary items",
}


class Picture(NamedTuple):
    """One picture: a file, or an entry of a zip archive or an LMDB."""

    place: Path
    key: str | bytes | None = None

    def __str__(self) -> str:
        key = self.key.decode(errors="replace") if isinstance(self.key, bytes) else self.key
        return shown(str(self.place) if key is None else f"{self.place}: {key}")


def shown(name: str) -> str:
    """A name in one line that can be printed: line breaks and bytes that are no text are escaped."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in name)


def listed(what: str, problems: Sequence[str]) -> str:
    """A message on one problem, or on several: `what` behind their number, then the first of them, one a line."""
    if len(problems) == 1:
        return problems[0]
    more = [f"and {len(problems) - NAMED:,} more"] if len(problems) > NAMED else []
    return "\n  ".join([f"{len(problems):,} {what}", *problems[:NAMED], *more])


def passed_over(parts: Iterable[str]) -> bool:
    """Whether a path's parts name something hidden, or something that a system or a NAS keeps for itself."""
    return any(part.startswith(".") or part.lower() in FOREIGN for part in parts)


def is_picture(name: str) -> bool:
    """Whether a file of this name is taken for a picture."""
    return os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122 (a Path for each of a million names is slow)


def pictures_in(folder: Path) -> Iterator[Picture]:
    """The pictures in a folder, at any depth, in no order that means anything; the first comes soon.

    Links are followed, and count under their own name. Each real folder is walked once, and each real file is
    taken once: under its own name if it lies in `folder`, else under that of the first link. A link to a folder
    that it lies in is a loop and left alone.

    Raises:
        UserError: at the end, naming all links that lead nowhere, folders that cannot be read, and what is named like
            a picture and is no file (a pipe would never end).
    """
    walk = _Walk()
    yield from walk.pictures(folder)
    if walk.problems:
        raise UserError(listed(f"entries of {shown(str(folder))} cannot be read:", walk.problems))


class _Walk:
    """What one walk has seen."""

    def __init__(self) -> None:
        self.folders: set[str] = set()  # all by their real paths
        self.problems: list[str] = []

    def pictures(self, folder: Path) -> Iterator[Picture]:
        """The pictures below `folder`: first what is there, then what links add, folders before files."""
        waiting = deque([(str(folder), os.path.realpath(folder))])
        links: deque[str] = deque()
        files: dict[str, str] = {}  # a link for each real path
        while waiting or links:
            if waiting:
                yield from self._listing(*waiting.popleft(), waiting, links)
                continue
            link = links.popleft()
            real, mode = os.path.realpath(link), self._mode(link)
            if stat.S_ISDIR(mode):
                if not Path(os.path.realpath(Path(link).parent)).is_relative_to(real):
                    waiting.append((link, real))
            elif mode and is_picture(link) and self._is_file(link, mode):
                files.setdefault(real, link)
        for real, link in files.items():
            above, name = os.path.split(real)
            if not (above in self.folders and is_picture(name) and not passed_over([name])):
                yield Picture(Path(link))

    def _listing(self, folder: str, real: str, waiting: deque[tuple[str, str]], links: deque[str]) -> Iterator[Picture]:
        """The pictures right in a folder; what is to be walked and followed later goes into the queues."""
        if real in self.folders:
            return
        self.folders.add(real)
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            self.problems.append(f"{shown(folder)}: cannot be read ({error.strerror}); make it readable or remove it")
            return
        for entry in entries:
            if passed_over([entry.name]):
                continue
            if entry.is_symlink():
                links.append(entry.path)
            elif entry.is_dir(follow_symlinks=False):
                waiting.append((entry.path, f"{real.rstrip('/')}/{entry.name}"))
            elif is_picture(entry.name) and (
                entry.is_file(follow_symlinks=False) or self._is_file(entry.path, entry.stat().st_mode)
            ):
                yield Picture(Path(entry.path))

    def _mode(self, link: str) -> int:
        """The mode of what a link leads to; 0 where it leads nowhere, which is then a problem."""
        try:
            return Path(link).stat().st_mode
        except OSError as error:
            goal = shown(str(Path(link).readlink()))
            self.problems.append(f"{shown(link)}: a link to {goal}, which fails ({error.strerror}); mend or remove it")
            return 0

    def _is_file(self, path: str, mode: int) -> bool:
        """Whether a thing that is no folder is a file; else it is a problem."""
        if not stat.S_ISREG(mode):
            self.problems.append(f"{shown(path)}: a pipe, a socket or a device and no picture; remove it")
        return stat.S_ISREG(mode)
