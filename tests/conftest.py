"""What all tests share."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tiny import copy_of, snakemake

# Fixed before torch is imported: last bits may differ between numbers of threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first, the slow ones last, those of a file in one process, where they share what they built."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.xdist_group(item.path.name))


@pytest.fixture
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which the tiny suite was built on two cores; each test process has one of its own."""
    from vqddm.state import alone_in  # brings torch, which reads OMP_NUM_THREADS

    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    with alone_in(shared):  # the process that comes first builds it for all
        whole = shared / "clone"
        if not whole.exists():
            folder = copy_of(ROOT, shared / "building")
            done = snakemake(folder, "--cores", "2")
            assert done.returncode == 0, done.stderr[-3000:]
            folder.rename(whole)
    return Path(shutil.copytree(whole, base / "clone", symlinks=True))
