"""What all tests share."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clones import clone, recorded_project
from tiny import copy_of, snakemake

# Fixed before torch is imported: last bits may differ between numbers of threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parent.parent
# What slow tests share, each made from the one before.
SHARED = ("built", "project", "restored")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """How tests are handed out to several processes."""
    from together import Together  # brings pytest-xdist, which a GPU machine lacks (gpu/packages.txt)

    return Together(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first; of the slow ones the longest, which makes what others share; then those that need least of it.

    So no process is idle while another one makes it, nor at the end.
    """

    def place(item: pytest.Item) -> tuple[bool, bool, int]:
        slow, longest = (item.get_closest_marker(name) is not None for name in ("slow", "longest"))
        return slow, not longest, sum(name in SHARED for name in getattr(item, "fixturenames", ()))

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """What was imported stays; Python's garbage collector need not go through it again and again."""
    gc.freeze()


@pytest.fixture
def root() -> Path:
    """The repository's root."""
    return ROOT


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder `name` that `make` fills: the test process that comes first makes it for all."""
    from vqddm.state import alone_in  # brings torch, which reads OMP_NUM_THREADS

    base = factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"shared-{name}"
    with alone_in(shared):
        whole = shared / name
        if not whole.exists():
            make(shared / "making")
            (shared / "making").rename(whole)
    return whole


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which the tiny suite was built on two cores; each test process has one of its own."""

    def build(folder: Path) -> None:
        done = snakemake(copy_of(ROOT, folder), "--cores", "2", traced=True)
        assert done.returncode == 0, done.stderr[-3000:]

    whole = made_once(tmp_path_factory, "built", build)
    return Path(shutil.copytree(whole, tmp_path_factory.getbasetemp() / "built", symlinks=True))


@pytest.fixture(scope="session")
def project(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built tiny suite as a git repository of its own, recorded and pushed to a folder; read, never changed."""

    def make(folder: Path) -> None:
        recorded_project(Path(shutil.copytree(built, folder, symlinks=True)))

    return made_once(tmp_path_factory, "project", make)


@pytest.fixture(scope="session")
def restored(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone after `restore`, of which each test process has a copy; tests that change it work on further ones."""
    from vqddm.ledger.commands import restore

    whole = made_once(tmp_path_factory, "restored", lambda folder: restore(print, clone(project, folder)))
    return Path(shutil.copytree(whole, tmp_path_factory.getbasetemp() / "restored", symlinks=True))
