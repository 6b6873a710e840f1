"""Weights of published networks that are fetched: torch-fidelity's Inception, and LPIPS with VGG16.

The project's own folder is laid out as torch's cache of downloads is, so the libraries find the files in either.
"""

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from vqddm.artifacts import UserError, replacing, sha256
from vqddm.data.download import download

FOLDER = Path("data/weights")


class Weights(NamedTuple):
    """A file to fetch: its address, and its SHA-256 or the beginning of it."""

    url: str
    digest: str

    @property
    def file(self) -> str:
        """Its name, in the address and in the cache."""
        return self.url.rsplit("/", 1)[1]


WEIGHTS = {
    "inception": Weights(
        "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
        "6726825d",  # these two name it in the file's name, as torch's files do
    ),
    "vgg16": Weights("https://download.pytorch.org/models/vgg16-397923af.pth", "397923af"),
    "lpips": Weights(
        "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-vgg16-lpips.pth",
        # That of weights/v0.1/vgg.pth in the authors' own package lpips 0.1.4, whose copy this is.
        "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    ),
}


def check_weights(name: str, path: Path) -> None:
    """Compare a file with the checksum of the weights called `name`.

    Raises:
        UserError: it is another file.
    """
    found = sha256(path)
    if not found.startswith(WEIGHTS[name].digest):
        raise UserError(f"{path}: SHA-256 {found[:16]}… does not begin with {WEIGHTS[name].digest}; delete it")


def fetch_weights(name: str) -> None:
    """Fetch the weights of a published network into `data/weights/`.

    They are taken from torch's cache if they are there, else from the network.

    Args:
        name: `inception`, `vgg16` or `lpips`.

    Raises:
        UserError: no such network, no connection or no right file; says where to put it by hand.
    """
    import torch

    if name not in WEIGHTS:
        raise UserError(f"'{name}' is not one of {', '.join(WEIGHTS)}")
    weights, cached = WEIGHTS[name], Path(torch.hub.get_dir()) / "checkpoints"
    path = FOLDER / "checkpoints" / weights.file
    if (cached / weights.file).exists():
        with contextlib.suppress(UserError), replacing(path) as aside:
            check_weights(name, cached / weights.file)
            shutil.copyfile(cached / weights.file, aside)
            return
    try:
        download(weights.url, path, lambda aside: check_weights(name, aside))
    except UserError as error:
        raise UserError(f"{error}; fetch {weights.url} elsewhere and put it at {path}") from None


@contextlib.contextmanager
def weights_at_hand(what: str, names: Sequence[str]) -> Iterator[None]:
    """While the block runs, the libraries find these of `WEIGHTS`, which a network needs, and no others, checked.

    Raises:
        UserError: they lie neither in the project's folder nor in torch's cache, or are other files.
    """
    import torch

    before = torch.hub.get_dir()
    for folder in (str(FOLDER), before):
        files = {name: Path(folder) / "checkpoints" / WEIGHTS[name].file for name in names}
        if all(file.exists() for file in files.values()):
            break
    else:
        targets = " ".join(str(FOLDER / "checkpoints" / WEIGHTS[name].file) for name in names)
        raise UserError(
            f"{what} needs {' and '.join(WEIGHTS[name].file for name in names)} in {FOLDER}/checkpoints; on a machine "
            f"with a network run `snakemake --cores 1 {targets}`, or choose efficientnet_lite0 in params.yaml"
        )
    for name, file in files.items():
        check_weights(name, file)
    torch.hub.set_dir(folder)
    try:
        yield
    finally:
        torch.hub.set_dir(before)
