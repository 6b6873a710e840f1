"""Pictures in a zip archive or an LMDB: which they are, and their bytes. What is mapped is known to be whole."""

import os
import posixpath
import stat
import struct
import subprocess
import sys
import tarfile
import zipfile
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from vqddm.artifacts import UserError
from vqddm.data.walk import Picture, is_picture, listed, passed_over

UNPACKED = "unpack it, and put or link the folder of its pictures here instead"
METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
ENCRYPTED = 1  # bit of an entry's flags
LARGEST = 1 << 32  # bytes of an entry

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
    """The pictures in a zip archive, at any depth; of entries of one name the last counts, as when it is unpacked.

    Each real file is taken once, so links in the archive to others of its files and folders add nothing.

    Raises:
        UserError: not a whole zip archive, one of an LMDB, or entries in it that cannot be read; all are named.
    """
    visible = {entry.filename: entry for entry in open_zip(path).infolist() if _is_visible(entry)}
    links = [entry for entry in visible.values() if stat.S_ISLNK(entry.external_attr >> 16)]
    taken = {name: entry for name, entry in visible.items() if entry not in links and is_picture(name)}
    if nested := [name for name in visible if _parts(name)[-1] == "data.mdb"]:
        raise UserError(f"{path}: a zip of an LMDB ({nested[0]}); unpack it, and put or link the folder here instead")
    problems = [f"{Picture(path, name)}: {why}" for name, entry in taken.items() if (why := _unreadable(entry))]
    folders = {"/".join(_parts(name)[:depth]) for name in visible for depth in range(1, len(_parts(name)))}
    for link in links:
        goal, expected = _goal(path, link), taken.keys() if is_picture(link.filename) else visible.keys() | folders
        if goal not in expected:
            problems.append(f"{Picture(path, link.filename)}: a link to {goal}, which the archive does not hold so")
    if problems:
        raise UserError(listed(f"entries of {path} cannot be read:", [f"{why}; {UNPACKED}" for why in problems]))
    return [Picture(path, name) for name in taken]


def _parts(name: str) -> tuple[str, ...]:
    """An entry's path; some programs for Windows write it with backslashes."""
    return PurePosixPath(name.replace("\\", "/")).parts or (name,)


def _is_visible(entry: zipfile.ZipInfo) -> bool:
    """Whether an entry is a file or a link that the walk does not pass over."""
    is_folder = entry.filename.endswith(("/", "\\"))
    return not is_folder and not passed_over(part for part in _parts(entry.filename) if part != "..")


def _goal(path: Path, link: zipfile.ZipInfo) -> str:
    """Where a link in the archive leads: an entry's name, or a text that is none."""
    try:
        beside = posixpath.dirname(link.filename)
        return posixpath.normpath(posixpath.join(beside, open_zip(path).read(link).decode()))
    except Exception as error:  # zipfile raises nearly every kind on damaged files
        return f"({error})"


def _unreadable(entry: zipfile.ZipInfo) -> str | None:
    """Why a picture's entry is not read."""
    if entry.flag_bits & ENCRYPTED:
        return "encrypted"
    if entry.compress_type not in METHODS:
        return f"compressed by a method that Python does not know (number {entry.compress_type})"
    if ".." in _parts(entry.filename):
        return "its name leads out of the archive"
    return f"{entry.file_size:,} bytes are too many for a picture" if entry.file_size > LARGEST else None


@lru_cache(maxsize=1)
def open_zip(path: Path) -> zipfile.ZipFile:
    """Each process opens the archive once: file handles cannot be shared."""
    try:
        return zipfile.ZipFile(path)
    except Exception as error:  # zipfile raises nearly every kind on damaged files
        if isinstance(error, OSError) and error.errno:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None
        if tarfile.is_tarfile(path):
            raise UserError(f"{path}: a tar archive; {UNPACKED}") from None
        raise UserError(f"{path}: not a whole zip archive ({error}); fetch it again") from None


def in_lmdb(folder: Path) -> list[Picture]:
    """The pictures in an LMDB, in the order of its keys, all of which are taken.

    Raises:
        UserError: not a whole LMDB.
    """
    check_size(folder / "data.mdb")
    walked = subprocess.run([sys.executable, "-c", KEYS, folder], capture_output=True, text=True, check=False)
    if walked.returncode:
        said = walked.stderr.strip().splitlines() or ["its pages are damaged"]
        raise UserError(f"{folder}: not a whole LMDB ({said[-1]}); fetch it again")
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
                raise UserError(f"{file}: not a whole LMDB ({what}); fetch it again")
            opened.seek(first[0])
            # Of the two pages the one of the later transaction counts.
            page_size, last, _ = max(first, _meta(opened.read(META.size)) or first, key=lambda meta: meta[2])
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from None
    if size < (last + 1) * page_size:
        raise UserError(f"{file}: cut short ({size:,} of {(last + 1) * page_size:,} bytes); fetch it again")


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
        raise UserError(f"{folder}: not a whole LMDB ({error}); fetch it again") from None


def content(picture: Picture) -> bytes:
    """The bytes of a picture: of its file or of its entry."""
    if isinstance(picture.key, str):
        return open_zip(picture.place).read(picture.key)
    if picture.key is None:
        return picture.place.read_bytes()
    with open_lmdb(picture.place).begin() as transaction:
        return bytes(transaction.get(picture.key))
