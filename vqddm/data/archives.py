"""Pictures in a zip archive or an LMDB: which they are, and their bytes. What is mapped is known to be whole."""

import os
import posixpath
import re
import stat
import struct
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from vqddm.artifacts import UserError, shown
from vqddm.data.walk import Picture, Walk, is_picture, listed, passed_over

UNPACK = "unpack it, and put or link the folder of its pictures here instead"
METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
ENCRYPTED = 1  # bit of an entry's flags
LARGEST = 1 << 30  # bytes of an entry, which is read whole: as many pixels as Pillow takes, of six bytes each
LONGEST = 4096  # bytes of a link
LINKS = 40  # followed for one path, as Linux has it
BEGINNING = 512  # bytes that tell what a file is
PICTURES = {
    b"\x89PNG": "one PNG picture",
    b"\xff\xd8\xff": "one JPEG picture",
    b"GIF8": "one GIF picture",
    b"RIFF": "one WebP picture",
    b"BM": "one BMP picture",
    b"II*\0": "one TIFF picture",
    b"MM\0*": "one TIFF picture",
    b"\x93NUMPY": "one .npy array",
}
PACKED = {
    b"7z\xbc\xaf'\x1c": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"ustar": "a tar archive",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
}

# A meta page of an LMDB (64 bits, little-endian): behind the page's own 16 bytes, magic number and version, address and
# size of the map, two trees of 48 bytes whose first field is the page's size, the last page in use, the transaction.
META = struct.Struct("<16x II 16x I 44x 48x QQ")
MAGIC, VERSION = 0xBEEFC0DE, 1
# Goes over all keys, in a process of its own: LMDB knows no checksums, and a damaged page may end the process.
KEYS = """
import lmdb, sys
with lmdb.open(sys.argv[1], readonly=True, lock=False, readahead=False).begin(buffers=True) as transaction:
    sum(1 for _ in transaction.cursor())
"""


def in_zip(path: Path) -> list[Picture]:
    """The pictures in a zip archive, at any depth, by the rule for folders: as if it were unpacked.

    Raises:
        UserError: not a whole zip archive, one of an LMDB, or entries in it that cannot be read; all are named.
    """
    walk = Unpacked(path)
    parts = (name.split("/") for name in walk.entries)
    if nested := next((path for path in parts if path[-1] == "data.mdb" and not passed_over(path)), None):
        what = f"a zip of an LMDB ({shown('/'.join(nested))})"
        raise UserError(f"{shown(path)}: {what}; unpack it, and put or link the folder here instead")
    taken = list(walk.pictures(""))
    problems = [*walk.odd, *walk.problems]
    problems += [f"{Picture(path, name)}: {why}" for name in taken if (why := _unreadable(walk.entry(name)))]
    if problems:
        raise UserError(listed(f"entries of {shown(path)} cannot be read:", [f"{why}; {UNPACK}" for why in problems]))
    walk.tell_others(path)
    return [Picture(path, name) for name in taken]


class InZip(NamedTuple):
    """What a folder in a zip holds under a name."""

    name: str
    path: str
    kind: int

    def is_symlink(self) -> bool:
        return self.kind == stat.S_IFLNK

    def is_dir(self, *, follow_symlinks: bool) -> bool:
        return self.kind == stat.S_IFDIR

    def is_file(self, *, follow_symlinks: bool) -> bool:
        return self.kind == stat.S_IFREG


class Unpacked(Walk):
    """A zip as the folder that it would be unpacked to; of entries of one name the last counts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.entries: dict[str, zipfile.ZipInfo] = {}
        self.odd: list[str] = []  # what cannot be unpacked: problems
        self.below: dict[str, dict[str, None]] = {"": {}}  # each folder's names
        for entry in open_zip(path).infolist():
            name = entry.filename.replace("\\", "/")  # as some programs for Windows write it
            parts = [part for part in name.split("/") if part not in ("", ".")]
            if ".." in parts:
                if is_picture(name) and not passed_over(part for part in parts if part != ".."):
                    self.odd.append(f"{Picture(path, entry.filename)}: its name leads out of the archive")
                continue
            if not name.endswith("/") and parts:
                self.entries["/".join(parts)] = entry
            self._put(parts, name.endswith("/"))
        is_link = {name: stat.S_ISLNK(entry.external_attr >> 16) for name, entry in self.entries.items()}
        self.links = {name: _goal(path, entry) for name, entry in self.entries.items() if is_link[name]}
        for name in self.entries.keys() & self.below.keys():  # one of the two would be lost
            if (is_link[name] or is_picture(name)) and not passed_over(name.split("/")):
                self.odd.append(f"{Picture(path, name)}: both a file or link and a folder")

    def _put(self, parts: list[str], is_folder: bool) -> None:
        """Put an entry into its folder, and that into its own, up to the first that is known."""
        if is_folder:
            self.below.setdefault("/".join(parts), {})
        while parts:
            *parts, name = parts
            above = "/".join(parts)
            known = above in self.below
            self.below.setdefault(above, {})[name] = None
            if known:
                break

    def entry(self, name: str) -> zipfile.ZipInfo:
        """The entry behind a path, links followed."""
        return self.entries[self.real(name)]

    def listing(self, folder: str) -> Sequence[InZip]:
        real = self.real(folder)
        paths = {name: posixpath.join(real, name) for name in sorted(self.below[real])}
        return [InZip(name, posixpath.join(folder, name), self._kind(path)) for name, path in paths.items()]

    def _kind(self, real: str) -> int:
        if real in self.links:
            return stat.S_IFLNK
        return stat.S_IFDIR if real in self.below else stat.S_IFREG

    def real(self, path: str) -> str:
        """A path without links, as POSIX has it; one that begins with a slash leads nowhere."""
        done: list[str] = []
        left, followed = path.split("/")[::-1], 0
        while left:
            part = left.pop()
            if part == "..":
                if not done or "/".join(done) not in self.below:
                    return f"/{path}"
                done.pop()
            elif part not in ("", "."):
                done.append(part)
            if (goal := self.links.get("/".join(done))) is not None and part not in ("", "."):
                followed += 1
                if followed > LINKS or goal.startswith("/"):
                    return f"/{path}"
                done.pop()
                left += goal.split("/")[::-1]
        return "/".join(done)

    def mode(self, path: str) -> int:
        real = self.real(path)
        if real in self.entries or real in self.below:
            return self._kind(real)
        goal = self.links[f"{self.real(posixpath.dirname(path))}/{posixpath.basename(path)}".lstrip("/")]
        self.problems.append(f"{Picture(self.path, path)}: a link to {shown(goal)}, which the archive does not hold")
        return 0


def _goal(path: Path, link: zipfile.ZipInfo) -> str:
    """What a link in the archive says; a text that leads nowhere where it cannot be read."""
    try:
        if link.file_size > LONGEST:
            return f"/({link.file_size:,} bytes are too many for a path)"
        return open_zip(path).read(link).decode() or "/()"
    except Exception as error:  # zipfile raises nearly every kind on damaged files
        return f"/({error})"


def _unreadable(entry: zipfile.ZipInfo) -> str | None:
    """Why a picture's entry is not read."""
    if entry.flag_bits & ENCRYPTED:
        return "encrypted"
    if entry.compress_type not in METHODS:
        return f"compressed by a method that Python does not know (number {entry.compress_type})"
    return f"{entry.file_size:,} bytes are too many for a picture" if entry.file_size > LARGEST else None


@lru_cache(maxsize=1)
def open_zip(path: Path) -> zipfile.ZipFile:
    """Each process opens the archive once: file handles cannot be shared."""
    try:
        return zipfile.ZipFile(path)
    except Exception as error:  # zipfile raises nearly every kind on damaged files
        if isinstance(error, OSError) and error.errno:
            raise UserError(f"{shown(path)}: cannot be read ({error.strerror})") from None
        with path.open("rb") as file:
            start = file.read(BEGINNING)
        raise UserError(f"{shown(path)}: {_no_zip(start, error)}") from None


def _no_zip(start: bytes, error: Exception) -> str:
    """What a file is that is no whole zip archive, by its first bytes, and what to do."""
    if not start:
        return "not a whole zip archive (an empty file); fetch it again"
    if start.startswith(b"PK"):
        why = str(error)
        if why == "File is not a zip file":
            why = "it does not end as one: cut short, or something else stands behind it"
        return f"not a whole zip archive ({why}); fetch it again, or {UNPACK}"
    for begins, what in PICTURES.items():
        if start.startswith(begins):
            return f"{what} and no folder of pictures; let `data.path` name the folder"
    for begins, what in PACKED.items():
        if start.startswith(begins) or start[257:262] == begins:
            return f"{what}; {UNPACK}"
    if _meta(start[: META.size]):
        return "the file of an LMDB; let `data.path` name its folder"
    text = start.decode(errors="replace")[:-1]  # the last letter may be cut
    if re.match(r"\s*<(!doctype|html|head)", text, re.IGNORECASE):
        return "a web page, saved instead of the archive; fetch the archive itself"
    if not re.search("[\0\ufffd]", text):
        return "a text file; let `data.path` name a folder, a zip or an LMDB of pictures"
    return f"no zip archive, it begins with {start[:8]!r}; let `data.path` name a folder, a zip or an LMDB of pictures"


@lru_cache(maxsize=1)
def _unpacked(path: Path) -> Unpacked:
    """Each process looks at the names once."""
    return Unpacked(path)


def in_lmdb(folder: Path) -> list[Picture]:
    """The pictures in an LMDB, in the order of its keys, all of which are taken.

    Raises:
        UserError: not a whole LMDB.
    """
    check_size(folder / "data.mdb")
    walked = subprocess.run([sys.executable, "-c", KEYS, folder], capture_output=True, text=True, check=False)
    if walked.returncode:
        said = walked.stderr.strip().splitlines() or ["its pages are damaged"]
        raise UserError(f"{shown(folder)}: not a whole LMDB ({said[-1]}); fetch it again")
    with open_lmdb(folder).begin() as transaction:
        return [Picture(folder, bytes(key)) for key in transaction.cursor().iternext(values=False)]


def check_size(file: Path) -> None:
    """Compare the size of an LMDB's file with what its meta pages say, without mapping it.

    To read a mapped page that is not there ends the process (SIGBUS).

    Raises:
        UserError: it is no LMDB, or cut short.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            first = _meta(opened.read(META.size))
            if first is None:
                what = f"its first page is not that of an LMDB of version {VERSION}" if size else "an empty file"
                raise UserError(f"{shown(file)}: not a whole LMDB ({what}); fetch it again")
            opened.seek(first[0])
            # Of the two pages the one of the later transaction counts.
            page_size, last, _ = max(first, _meta(opened.read(META.size)) or first, key=lambda meta: meta[2])
    except OSError as error:
        raise UserError(f"{shown(file)}: cannot be read ({error.strerror})") from None
    if size < (last + 1) * page_size:
        raise UserError(f"{shown(file)}: cut short ({size:,} of {(last + 1) * page_size:,} bytes); fetch it again")


def _meta(page: bytes) -> tuple[int, int, int] | None:
    """A meta page's size of pages, last page in use and transaction; None if it is none."""
    if len(page) < META.size:
        return None
    magic, version, page_size, last, transaction = META.unpack(page)
    return (page_size, last, transaction) if magic == MAGIC and version & 0xFFFF == VERSION else None


@lru_cache(maxsize=1)
def open_lmdb(folder: Path) -> Any:
    """Each process maps the file once."""
    import lmdb

    try:
        return lmdb.open(os.fsencode(folder), readonly=True, lock=False, readahead=False)
    except lmdb.Error as error:
        raise UserError(f"{shown(folder)}: not a whole LMDB ({error}); fetch it again") from None


def content(picture: Picture) -> bytes:
    """The bytes of a picture: of its file or of its entry."""
    if isinstance(picture.key, str):
        return open_zip(picture.place).read(_unpacked(picture.place).entry(picture.key))
    if picture.key is None:
        return picture.place.read_bytes()
    with open_lmdb(picture.place).begin() as transaction:
        return bytes(transaction.get(picture.key))
