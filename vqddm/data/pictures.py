"""Pictures as people have them: a folder (of any depth, also one of `.npy` arrays), a zip archive or an LMDB.

Each is cropped to its central square and resized. The paper's three datasets and the user's own pictures come this way.
"""

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vqddm.artifacts import UserError, shown
from vqddm.data.archives import in_lmdb, in_zip
from vqddm.data.decode import decode, reason, square
from vqddm.data.pool import map_in_pool
from vqddm.data.progress import progress
from vqddm.data.settings import DataParams
from vqddm.data.sources import Pictures
from vqddm.data.walk import SUFFIXES, Picture, listed, passed_over, pictures_in
from vqddm.settings import SPLITS

NOTE = "a seeded order of all pictures; the central square of each; a picture equal to an earlier one is left out"
ARCHIVES = {".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar"}
SHOWN = 8  # folders or files that a message names


class Original(NamedTuple):
    """A dataset of the paper as its makers give it out."""

    title: str
    layout: str
    number: int
    origin: str
    only: str | None = None  # where a folder of this name is, the others hold no pictures of the dataset

    @property
    def expected(self) -> str:
        """What should lie there, for a message."""
        return f"{self.layout}, {self.number:,} pictures"


ORIGINALS = {
    "celebahq": Original(
        "CelebA-HQ",
        "a folder or a zip of JPEG or PNG pictures, or a folder of .npy arrays (imgHQ00000.npy, …)",
        30_000,
        "made from CelebA by the scripts of github.com/tkarras/progressive_growing_of_gans; non-commercial research",
        only="CelebA-HQ-img",  # CelebAMask-HQ, the zip that most people have, holds masks beside it
    ),
    "lsun_church": Original(
        "LSUN-Church",
        "the official LMDB church_outdoor_train_lmdb, unpacked (data.mdb, lock.mdb), or a folder or zip of pictures",
        126_227,
        "fetched by the script of github.com/fyu/lsun: `python3 download.py -c church_outdoor`",
    ),
    "imagenet": Original(
        "ImageNet",
        "the training images' class folders (n01440764/n01440764_10026.JPEG, …)",
        1_281_167,
        "to be had from image-net.org after registration; non-commercial research",
    ),
}


def require_original(source: str, path: Path) -> None:
    """Check, without counting, that pictures of a dataset of the paper lie at `path`, in a form that can be read.

    Raises:
        UserError: nothing is there, or nothing that can be read; says what should be and where it is to be had.
    """
    known = ORIGINALS[source]
    with _readable():
        if not (path.is_file() or (path.is_dir() and any(path.iterdir()))):
            raise UserError(
                f"{shown(path)}: {known.title} is not here (nothing was started). Put or link there {known.expected}; "
                f"{known.origin}. Another place: the dataset's `data.path` in params.yaml"
            )
        if next(_pictures_in(path, known), None) is None:
            raise UserError(f"{shown(path)}: 0 pictures (nothing was started){_advice(path, known)}")


def find_pictures(path: Path, needed: int, known: Original | None = None) -> list[Picture]:
    """All pictures in a folder, a zip archive or an LMDB, sorted by name; `walk.py` says which are taken.

    Args:
        needed: the fewest that will do.
        known: the dataset of the paper that they are.

    Raises:
        UserError: no such place, not a whole archive, fewer pictures than `needed` or more than the dataset has.
    """
    with _readable():
        found = sorted(_pictures_in(path, known), key=partial(_name, path))
    if known and known.only:
        found = [picture for picture in found if known.only in _name(path, picture).split("/")] or found
    if len(found) < needed:
        raise UserError(
            f"{shown(path)}: {len(found)} pictures ({', '.join(sorted(SUFFIXES))}) are fewer than "
            f"{' + '.join(SPLITS)} = {needed}; add pictures or lower `data.train` or another of them"
            f"{_advice(path, known)}"
        )
    if known and len(found) > known.number:
        raise UserError(
            f"{shown(path)}: {len(found):,} pictures are more than the {known.number:,} of {known.title} "
            f"({_counts(path, found)}); take the others away, or let the dataset's `data.path` in params.yaml name "
            f"the folder that holds only {known.layout}"
        )
    return found


def _pictures_in(path: Path, known: Original | None) -> Iterator[Picture]:
    """The pictures of a place, in no order; the first comes soon. A UserError tells of what cannot be read."""
    if path.is_file():
        return iter(in_zip(path))
    if not path.is_dir():
        what = "neither a folder nor a file" if path.exists() else "no such folder"
        raise UserError(f"{shown(path)}: {what}; let the dataset's `data.path` name a folder of pictures")
    database = _lmdb_folder(path, known)
    return iter(in_lmdb(database)) if database else pictures_in(path)


def _name(root: Path, picture: Picture) -> str:
    """A picture's path inside `root`; an LMDB's, whose keys are sorted already, all have one name."""
    return picture.key if isinstance(picture.key, str) else picture.place.relative_to(root).as_posix()


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """Turn what the file system refuses in the block into a UserError."""
    try:
        yield
    except OSError as error:
        where = shown(os.fsdecode(error.filename or "pictures"))
        raise UserError(f"{where}: cannot be read ({error.strerror}); make it readable") from None


def _advice(path: Path, known: Original | None) -> str:
    """What else to do where pictures are missing: archives to unpack, the layout of a known dataset."""
    entries = sorted(path.iterdir()) if path.is_dir() else []
    archives = [shown(entry.name) for entry in entries if entry.suffix.lower() in ARCHIVES and entry.is_file()]
    unpack = f"; unpack there first {_first(archives)}" if archives else ""
    return unpack + (f"; expected: {known.expected}" if known else "")


def _counts(root: Path, pictures: Sequence[Picture]) -> str:
    """How many pictures lie in each folder of `root`, at the first level where they part."""
    folders = [Path(shown(_name(root, picture)).lstrip("/")).parent for picture in pictures]
    depth = len(Path(os.path.commonpath(folders)).parts) + 1
    counts = Counter("/".join(folder.parts[:depth]) or "." for folder in folders)
    return _first([f"{folder}: {count:,}" for folder, count in counts.most_common()])


def _first(names: Sequence[str]) -> str:
    """The first of the names, and how many there are beside."""
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")


def _lmdb_folder(path: Path, known: Original | None) -> Path | None:
    """The folder of an LMDB: `path` itself or, for a known dataset, the one in it; of several that for training."""
    if (path / "data.mdb").is_file():
        return path
    folders = sorted(entry for entry in path.iterdir() if not passed_over([entry.name])) if known else []
    nested = [folder for folder in folders if (folder / "data.mdb").is_file()]
    nested = [folder for folder in nested if "train" in folder.name] or nested
    if len(nested) > 1:
        several = _first([shown(folder.name) for folder in nested])
        raise UserError(
            f"{shown(path)}: {len(nested)} LMDBs ({several}); let the dataset's `data.path` name one of them"
        )
    return nested[0] if nested else None


def read_picture(picture: Picture, resolution: int, smallest: int = 1) -> np.ndarray:
    """One picture, upright, its central square resized with antialiasing: uint8 (resolution, resolution, 3).

    `decode` says how other kinds become RGB. Arrays are uint8 (H, W, 3), (3, H, W) or (1, 3, H, W).

    Args:
        smallest: fewest pixels that each side must have; smaller pictures than the result are enlarged.

    Raises:
        UserError: not a whole picture, or smaller than `smallest`. It names the file.
    """
    try:
        rgb = decode(picture)
    except Exception as error:  # Pillow's decoders raise nearly every kind on damaged files
        raise UserError(f"{picture}: {reason(picture, error)}; replace or remove it") from None
    if min(rgb.size) < smallest:
        raise UserError(
            f"{picture}: {rgb.width} x {rgb.height} pixels are fewer than the resolution {smallest}; "
            "replace or remove it, or lower `data.resolution`"
        )
    return square(rgb, resolution)


def read_pictures(
    pictures: Sequence[Picture], resolution: int, smallest: int, seed: int, workers: int | None = None
) -> Iterator[np.ndarray]:
    """All pictures in one seeded order, each uint8 (resolution, resolution, 3).

    Raises:
        UserError: one is broken or too small; then all others are read too, and all bad ones are named.
    """
    order = np.random.default_rng(seed).permutation(len(pictures))
    read = partial(_picture_or_error, resolution=resolution, smallest=smallest)
    results = map_in_pool(read, (pictures[i] for i in order), workers)
    for number, result in enumerate(results, start=1):
        if isinstance(result, UserError):
            raise UserError(_all_bad(result, results, number, len(pictures)))
        yield result


def _all_bad(first: UserError, results: Iterator[np.ndarray | UserError], number: int, count: int) -> str:
    """The message on all bad pictures of `count`, of which the first was found at `number`, the others follow."""
    bad = [str(first)]
    with progress("looking for other bad pictures", count, initial=number) as bar:
        for result in results:
            bar.update()
            if isinstance(result, UserError):
                bad.append(str(result))
    return listed(f"of {count:,} pictures are bad (nothing was written):", sorted(bad))


def _picture_or_error(picture: Picture, resolution: int, smallest: int) -> np.ndarray | UserError:
    """As `read_picture`, with its error as the result, so that a pool goes on."""
    try:
        return read_picture(picture, resolution, smallest)
    except UserError as error:
        return error


def check_folder(params: DataParams) -> None:
    """Raise UserError where `open_folder` would not find the pictures."""
    assert params.place is not None  # `DataParams` demands it
    find_pictures(params.place, sum(params.counts.values()))


def check_original(params: DataParams) -> None:
    """Raise UserError where no pictures of a dataset of the paper lie; they are not counted."""
    assert params.place is not None  # its source has one
    require_original(params.source, params.place)


def open_folder(params: DataParams, downloads: Path, workers: int | None = None) -> Pictures:
    """The source `folder`: the user's own pictures, of which a tiny one is rather a mistake."""
    assert params.place is not None  # `DataParams` demands it
    found = find_pictures(params.place, sum(params.counts.values()))
    stream = read_pictures(found, params.resolution, params.resolution, params.seed, workers)
    return Pictures(stream, f"pictures under {params.path}", "as the pictures' owner says", _note(found), {})


def open_original(params: DataParams, downloads: Path, workers: int | None = None) -> Pictures:
    """A dataset of the paper, whose pictures are of all sizes."""
    known = ORIGINALS[params.source]
    check_original(params)
    assert params.place is not None  # its source has one
    found = find_pictures(params.place, sum(params.counts.values()), known)
    stream = read_pictures(found, params.resolution, 1, params.seed, workers)
    return Pictures(stream, known.title, f"as its makers say: {known.origin}", _note(found), {})


def _note(found: Sequence[Picture]) -> str:
    return f"{len(found):,} pictures found; {NOTE}"
