"""`fashion`: Fashion-MNIST, 70,000 real photographs of clothes (Xiao, Rasul, Vollgraf 2017; MIT)."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import struct
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from vqddm.artifacts import UserError, replacing

ABOUT = {"source": "Fashion-MNIST, photographs of clothes by Zalando Research", "licence": "MIT"}
SERVER = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
DEBIAN_PACKAGE = "dataset-fashion-mnist"
TIMEOUT = 10.0  # seconds without an answer
# SHA-256 of what the files hold: mirrors compress them anew, so the .gz files themselves differ.
CONTENT = {
    "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
}


def read_idx(content: bytes, where: Path) -> np.ndarray:
    """Parse the IDX format of unsigned bytes with three dimensions: uint8 (N, rows, columns).

    Raises:
        UserError: another format, or cut short.
    """
    if len(content) < 16 or content[:4] != b"\x00\x00\x08\x03":
        raise UserError(f"{where}: not an IDX file of pictures")
    shape = struct.unpack(">3I", content[4:16])
    if len(content) != 16 + int(np.prod(shape)):
        raise UserError(f"{where}: cut short; delete it and try again")
    return np.frombuffer(content, np.uint8, offset=16).reshape(shape)


def checked(path: Path) -> bytes:
    """The content of a .gz file whose checksum is right.

    Raises:
        UserError: missing, not gzip, cut short, or another content.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; the folder should hold {' and '.join(CONTENT)}") from None
    except (OSError, EOFError) as error:
        raise UserError(f"{path}: not a whole .gz file ({error})") from None
    if hashlib.sha256(content).hexdigest() != CONTENT[path.name]:
        raise UserError(f"{path}: its checksum is wrong: not Fashion-MNIST, or damaged")
    return content


def from_server(folder: Path, server: str = SERVER, tries: int = 3) -> None:
    """Download the public files; a damaged download is thrown away and tried again.

    Raises:
        UserError: no answer, or a wrong checksum at every try.
    """
    for name in CONTENT:
        problem = ""
        for _ in range(tries):
            try:
                with (
                    replacing(folder / name) as aside,
                    urllib.request.urlopen(server + name, timeout=TIMEOUT) as answer,
                    aside.open("wb") as file,
                ):
                    shutil.copyfileobj(answer, file)
                checked(folder / name)
                break
            except (urllib.error.URLError, TimeoutError, ConnectionError, UserError) as error:
                (folder / name).unlink(missing_ok=True)
                problem = str(error)
        else:
            raise UserError(f"{server}{name}: {problem}")


def from_debian(folder: Path) -> None:
    """Take the files out of Debian's package. Needs apt-get and dpkg-deb, but no root.

    Raises:
        UserError: no such tools or no such package here.
    """
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise UserError("no apt-get and dpkg-deb on this machine")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        for command in (
            ["apt-get", "download", DEBIAN_PACKAGE],
            ["sh", "-c", "exec dpkg-deb -x ./*.deb ."],
        ):
            done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False, timeout=300)
            if done.returncode:
                raise UserError(f"`{' '.join(command)}`: {done.stderr.strip().splitlines()[-1:]}")
        for name in CONTENT:
            found = next(Path(scratch).rglob(name), None)
            if found is None:
                raise UserError(f"Debian's package {DEBIAN_PACKAGE} holds no {name}")
            checked(found)
            found.replace(folder / name)


def locate(path: str | None, downloads: Path) -> Path:
    """The folder that holds the checked files: the user's, or the downloads, fetched where they are missing.

    Raises:
        UserError: no source could be reached; says what was tried and how to bring the files by hand.
    """
    if path is not None:
        return Path(path)
    downloads.mkdir(parents=True, exist_ok=True)
    if all((downloads / name).exists() for name in CONTENT):
        return downloads
    problems = []
    sources: tuple[Callable[[Path], None], ...] = (from_debian, from_server)
    for source in sources:
        try:
            source(downloads)
            return downloads
        except (UserError, OSError, subprocess.TimeoutExpired) as error:
            problems.append(f"  {source.__name__.replace('_', ' ')}: {error}")
    raise UserError(
        "Fashion-MNIST could not be fetched:\n"
        + "\n".join(problems)
        + f"\nput {' and '.join(CONTENT)} into a folder and name it as `path` in params.yaml"
    )


def fit(pictures: np.ndarray, resolution: int) -> np.ndarray:
    """Grey pictures uint8 (N, 28, 28) to (N, resolution, resolution, 3).

    Padded with their black ground where there is room (28 to 32 pixels), else resized.
    """
    spare = resolution - pictures.shape[1]
    if 0 <= spare <= pictures.shape[1] // 4:
        before, after = spare // 2, spare - spare // 2
        sized = np.pad(pictures, ((0, 0), (before, after), (before, after)))
    else:
        size = (resolution, resolution)
        sized = np.stack([np.asarray(Image.fromarray(p).resize(size, Image.Resampling.LANCZOS)) for p in pictures])
    return np.repeat(sized[..., None], 3, axis=-1)


def fashion(path: str | None, downloads: Path) -> tuple[np.ndarray, dict[str, str]]:
    """All different pictures of Fashion-MNIST, uint8 (N, 28, 28), and the SHA-256 of the files they come from."""
    folder = locate(path, downloads)
    parts = [read_idx(checked(folder / name), folder / name) for name in CONTENT]
    pictures = np.concatenate(parts)
    _, first = np.unique(pictures.reshape(len(pictures), -1), axis=0, return_index=True)
    return pictures[np.sort(first)], dict(CONTENT)
