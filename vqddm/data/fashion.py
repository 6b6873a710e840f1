"""`fashion`: Fashion-MNIST, 70,000 real photographs of clothes (Xiao, Rasul, Vollgraf 2017; MIT).

The files come from the user's own folder, from Debian's package or from the public server, whichever is there. All
three hold the same content, which the checksums below pin.
"""

import gzip
import hashlib
import math
import shutil
import struct
import subprocess
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from vqddm.artifacts import UserError, replacing
from vqddm.data.download import TIMEOUT, download
from vqddm.data.settings import DataParams
from vqddm.data.sources import Pictures

SOURCE = "Fashion-MNIST: photographs of clothes by Zalando Research, its 60,000 + 10,000 taken together"
LICENCE = "MIT"
NOTE = (
    "a seeded order of all pictures; a picture equal to an earlier one is left out; "
    "`originals` are the SHA-256 of what the .gz files hold"
)

SERVERS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
)
DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")

# SHA-256 of what the files hold, not of the .gz around it: Debian's files have another header than the public ones.
CONTENT = {
    "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
}


def read_idx(content: bytes, where: Path) -> np.ndarray:
    """Parse an IDX file of unsigned bytes with three dimensions: uint8 (N, rows, columns).

    Raises:
        UserError: another format, cut short or too long.
    """
    if len(content) < 16 or content[:4] != b"\x00\x00\x08\x03":
        raise UserError(f"{where}: not an IDX file of grey pictures; delete it and try again")
    shape = struct.unpack(">3I", content[4:16])
    if len(content) != 16 + math.prod(shape):
        raise UserError(
            f"{where}: its header promises {math.prod(shape)} pixels, but {len(content) - 16} follow; "
            "delete it and try again"
        )
    return np.frombuffer(content, np.uint8, offset=16).reshape(shape)


def read_checked(path: Path, digest: str) -> bytes:
    """What a .gz file holds, if that has the SHA-256 `digest`.

    Raises:
        UserError: missing, not gzip, cut short, or another content.
    """
    if not path.is_file():  # a pipe would never end
        raise UserError(f"{path}: no such file; the folder must hold {' and '.join(CONTENT)}")
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: not a whole .gz file ({error}); replace it") from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise UserError(f"{path}: its checksum is wrong: damaged, or not Fashion-MNIST; replace it")
    return content


def from_server(folder: Path, server: str) -> None:
    """Download the public files; a damaged or broken download is thrown away and tried again.

    Raises:
        UserError: no connection, or no whole file.
    """
    for name, digest in CONTENT.items():
        download(server + name, folder / name, lambda aside, digest=digest: read_checked(aside, digest))  # type: ignore[misc]


def from_debian(folder: Path) -> None:
    """Take the files out of Debian's package, installed or downloaded for that. Needs no root.

    Raises:
        UserError: no such tools, no network or no such package here.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=".debian-") as scratch:
        unpacked = DEBIAN_FOLDER
        if not all((unpacked / name).exists() for name in CONTENT):
            if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
                raise UserError("no apt-get and dpkg-deb on this machine")
            unpacked = _unpack_package(Path(scratch)) / DEBIAN_FOLDER.relative_to("/")
        for name, digest in CONTENT.items():
            read_checked(unpacked / name, digest)
            with replacing(folder / name) as aside:
                shutil.copyfile(unpacked / name, aside)


def _unpack_package(scratch: Path) -> Path:
    apt = ["apt-get", "-q", f"-oAcquire::http::Timeout={TIMEOUT:.0f}", "-oAcquire::Retries=1"]
    apt += ["-oAPT::Sandbox::User="]  # apt's own user cannot write into this folder
    if subprocess.run([*apt, "download", DEBIAN_PACKAGE], cwd=scratch, capture_output=True, check=False).returncode:
        # No lists of packages here, or old ones: fetch them into the scratch folder, which needs no root.
        for part in ("state/lists/partial", "cache/archives/partial"):
            (scratch / part).mkdir(parents=True)
        apt += [f"-oDir::State={scratch.resolve()}/state", f"-oDir::Cache={scratch.resolve()}/cache"]
        _call([*apt, "update"], scratch)
        _call([*apt, "download", DEBIAN_PACKAGE], scratch)
    _call(["dpkg-deb", "-x", *(path.name for path in scratch.glob("*.deb")), "unpacked"], scratch)
    return scratch / "unpacked"


def _call(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise UserError(f"`{command[0]} … {command[-1]}`: {said[-1]}")


def find_originals(path: Path | None, downloads: Path) -> Path:
    """The folder that holds the files: the user's `path`, or `downloads`, which is filled if it must be.

    Raises:
        UserError: they can be had nowhere. It says what was tried, and how to bring them by hand.
    """
    if path is not None:
        return path
    try:
        for name, digest in CONTENT.items():
            read_checked(downloads / name, digest)
        return downloads
    except UserError:  # not there yet, or damaged since
        downloads.mkdir(parents=True, exist_ok=True)
    ways: dict[str, Callable[[Path], None]] = {f"Debian's package {DEBIAN_PACKAGE}": from_debian}
    for server in SERVERS:
        ways[server] = lambda folder, server=server: from_server(folder, server)  # type: ignore[misc]
    problems = []
    for name, way in ways.items():
        try:
            way(downloads)
            return downloads
        except UserError as error:
            problems.append(f"  {name}: {error}")
    raise UserError(
        "\n".join(["Fashion-MNIST could not be had:", *problems])
        + f"\nput {' and '.join(CONTENT)} into a folder and let the dataset's `data.path` name it"
    )


def fit(picture: np.ndarray, resolution: int) -> np.ndarray:
    """A grey picture uint8 (28, 28), padded with black to 32 x 32 and resized: uint8 (resolution, resolution, 3)."""
    framed = Image.fromarray(np.pad(picture, 2))
    if framed.width != resolution:
        framed = framed.resize((resolution, resolution), Image.Resampling.LANCZOS)
    return np.asarray(framed.convert("RGB"))


def open_fashion(params: DataParams, downloads: Path, workers: int | None = None) -> Pictures:
    """The source `fashion` (`vqddm/data/sources.py`): all photographs in one seeded order.

    Raises:
        UserError: as `find_originals` and `read_checked` say.
    """
    folder = find_originals(params.place, downloads / "fashion")
    files = {folder / name: digest for name, digest in CONTENT.items()}
    photographs = np.concatenate([read_idx(read_checked(file, digest), file) for file, digest in files.items()])
    order = np.random.default_rng(params.seed).permutation(len(photographs))
    stream = (fit(photographs[i], params.resolution) for i in order)
    return Pictures(stream, SOURCE, LICENCE, NOTE, dict(CONTENT))
