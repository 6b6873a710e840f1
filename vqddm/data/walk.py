"""What a walk takes as pictures, follows and passes over: one rule for folders and zips, told in the README."""

import os
import stat
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from vqddm.artifacts import UserError, shown

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".npy"}
NAMED = 20  # bad pictures that a message names

# Folders that systems and NAS keep for themselves, for thumbnails, deleted files, snapshots and the like. (Not
# `Recycled`, of the time before Windows NT: a class of pictures may well be called so.)
FOREIGN = {
    *(f"found.{number:03d}" for number in range(1000)),
    "__macosx",
    "@__thumb",
    "@eadir",
    "@recently-snapshot",
    "@recycle",
    "@sharesnap",
    "@snapshot",
    "@synoresource",
    "@tmp",
    "#recycle",
    "#snapshot",
    "$recycle.bin",
    "$winreagent",
    "lost+found",
    "network trash folder",
    "recycler",
    "system volume information",
    "temporary items",
    "~snapshot",
}


class Picture(NamedTuple):
    """One picture: a file, or an entry of a zip archive or an LMDB."""

    place: Path
    key: str | bytes | None = None

    def __str__(self) -> str:
        key = self.key.decode(errors="replace") if isinstance(self.key, bytes) else self.key
        return shown(str(self.place) if key is None else f"{self.place}: {key}")


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
    walk = Walk()
    for path in walk.pictures(str(folder)):
        yield Picture(Path(path))
    if walk.problems:
        raise UserError(listed(f"entries of {shown(folder)} cannot be read:", walk.problems))
    walk.tell_others(folder)


class Entry(Protocol):
    """What a folder holds under a name, as `os.scandir` tells it."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> str: ...
    def is_symlink(self) -> bool: ...
    def is_dir(self, *, follow_symlinks: bool) -> bool: ...
    def is_file(self, *, follow_symlinks: bool) -> bool: ...


class Walk:
    """What one walk has seen. `listing`, `real` and `mode` are the file system's; a zip has its own."""

    def __init__(self) -> None:
        self.folders: set[str] = set()  # all by their real paths
        self.problems: list[str] = []
        self.others: Counter[str] = Counter()  # files that are not taken, by their suffixes

    def pictures(self, folder: str) -> Iterator[str]:
        """The pictures below `folder`: first what is there, then what links add, folders before files."""
        waiting = deque([(folder, self.real(folder))])
        links: deque[str] = deque()
        files: dict[str, str] = {}  # a link for each real path
        while waiting or links:
            if waiting:
                yield from self._pictures_right_in(*waiting.popleft(), waiting, links)
                continue
            link = links.popleft()
            real, mode = self.real(link), self.mode(link)
            if stat.S_ISDIR(mode):
                if not Path(self.real(os.path.split(link)[0])).is_relative_to(real):
                    waiting.append((link, real))
            elif mode and is_picture(link) and self._is_file(link, mode):
                files.setdefault(real, link)
        for real, link in files.items():
            above, name = os.path.split(real)
            if not (above in self.folders and is_picture(name) and not passed_over([name])):
                yield link

    def _pictures_right_in(
        self, folder: str, real: str, waiting: deque[tuple[str, str]], links: deque[str]
    ) -> Iterator[str]:
        """The pictures right in a folder; what is to be walked and followed later goes into the queues."""
        if real in self.folders:
            return
        self.folders.add(real)
        for entry in self.listing(folder):
            if passed_over([entry.name]):
                continue
            if entry.is_symlink():
                links.append(entry.path)
            elif entry.is_dir(follow_symlinks=False):
                waiting.append((entry.path, os.path.join(real, entry.name)))  # noqa: PTH118 (as above)
            elif not is_picture(entry.name):
                self.others[os.path.splitext(entry.name)[1].lower()] += 1  # noqa: PTH122 (as above)
            elif entry.is_file(follow_symlinks=False) or self._is_file(entry.path, self.mode(entry.path)):
                yield entry.path

    def listing(self, folder: str) -> Sequence[Entry]:
        """What is right in a folder, in the order of names; what keeps it from being read is a problem."""
        try:
            with os.scandir(folder) as found:
                return sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            self.problems.append(f"{shown(folder)}: cannot be read ({error.strerror}); make it readable or remove it")
            return []

    def real(self, path: str) -> str:
        """A path without links."""
        return os.path.realpath(path)

    def mode(self, path: str) -> int:
        """The mode of what is there; 0 where a link leads nowhere, which is then a problem."""
        try:
            return Path(path).stat().st_mode
        except OSError as error:
            goal = shown(Path(path).readlink())
            self.problems.append(f"{shown(path)}: a link to {goal}, which fails ({error.strerror}); mend or remove it")
            return 0

    def _is_file(self, path: str, mode: int) -> bool:
        """Whether a thing that is no folder is a file; else it is a problem."""
        if not stat.S_ISREG(mode):
            self.problems.append(f"{shown(path)}: a pipe, a socket or a device and no picture; remove it")
        return stat.S_ISREG(mode)

    def tell_others(self, place: Path) -> None:
        """Say how many files were passed over for their names alone."""
        if not self.others:
            return
        count = self.others.total()
        kinds = [f"{shown(suffix) or 'none'} {number:,}" for suffix, number in self.others.most_common(8)]
        more = ", …" if len(self.others) > 8 else ""
        what = f"{count:,} file{'s do' if count > 1 else ' does'} not count, by suffix ({', '.join(kinds)}{more})"
        print(f"vqddm: {shown(place)}: {what}; pictures are {', '.join(sorted(SUFFIXES))}", file=sys.stderr)
