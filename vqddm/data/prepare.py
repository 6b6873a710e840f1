"""Make a dataset's three splits: an array file for each, and a manifest beside it that says what is in it."""

import contextlib
import hashlib
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
from numpy.lib.format import write_array_header_1_0

from vqddm.artifacts import UserError, replacing, sha256, write_json
from vqddm.data.progress import progress
from vqddm.data.settings import DataParams
from vqddm.data.sources import SOURCES, Pictures
from vqddm.registry import imported


def prepare(params: DataParams, out: Path, workers: int | None = None) -> None:
    """Write `train.npy`, `test.npy` and `validation.npy`, uint8 (N, H, W, 3), and a manifest, `train.json`, of each.

    The splits follow each other in one seeded order of the pictures, of which every picture equal to an earlier
    one is left out: so the splits are disjoint, and no picture of one is in another under another name. Validation
    comes last and may have no picture (N = 0): its number changes neither of the others.

    Args:
        out: the dataset's folder; downloads are kept in `downloads` beside it.
        workers: processes that draw or read pictures; `None` is one for each usable core. It changes no result.

    Raises:
        UserError: the pictures cannot be had, are damaged or too few, or the files cannot be written.
    """
    counts = params.counts
    pictures = imported(SOURCES[params.source].open)(params, out.parent / "downloads", workers)
    for name in counts:  # a manifest must never stand beside another run's array
        (out / f"{name}.json").unlink(missing_ok=True)
    checksums = _write_splits(pictures, counts, params.resolution, out)
    for name, count in counts.items():
        manifest = {
            "split": name,
            "sha256": checksums[name],
            "source": pictures.source,
            "licence": pictures.licence,
            "note": pictures.note,
            "originals": pictures.originals,
            "count": count,
            "resolution": params.resolution,
            "seed": params.seed,
        }
        write_json(out / f"{name}.json", manifest)


def _write_splits(pictures: Pictures, counts: dict[str, int], side: int, out: Path) -> dict[str, str]:
    """Write each split's array; return each file's SHA-256."""
    checksums = {}
    needed = sum(counts.values())
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(contextlib.closing(_distinct(pictures.stream)))
        bar = stack.enter_context(progress(out.name, needed))
        # All arrays get their names together, once all pictures are there.
        for name, count in counts.items():
            aside = stack.enter_context(replacing(out / f"{name}.npy"))
            with aside.open("wb") as file:
                header = {"descr": "|u1", "fortran_order": False, "shape": (count, side, side, 3)}
                write_array_header_1_0(file, header)
                for _ in range(count):
                    picture = next(stream, None)
                    if picture is None:
                        raise UserError(
                            f"{out}: {pictures.source}: {bar.n} different pictures are fewer than "
                            f"{' + '.join(counts)} = {needed}; lower `data.train` or another of them"
                        )
                    # Written, not memory-mapped: on a full disk a mapped page kills the process without a word.
                    file.write(picture.tobytes())
                    bar.update()
            checksums[name] = sha256(aside)
    return checksums


def _distinct(pictures: Iterator[np.ndarray]) -> Generator[np.ndarray, None, None]:
    """Every picture that does not equal an earlier one, pixel by pixel."""
    seen = set()
    for picture in pictures:
        digest = hashlib.sha256(picture.tobytes()).digest()
        if digest not in seen:
            seen.add(digest)
            yield picture
