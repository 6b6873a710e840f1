"""What all tests share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from clones import clone, git, to_make
from tiny import copy_of, snakemake

# Fixed before torch is imported: last bits may differ between numbers of threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first, the slow ones last."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


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
    from vqddm.ledger.commands import record
    from vqddm.ledger.dag import read_dag
    from vqddm.ledger.dvc import dvc
    from vqddm.ledger.stages import write_stages
    from vqddm.params import PAPER

    def make(folder: Path) -> None:
        shutil.copytree(built, folder, symlinks=True)
        tiny = yaml.safe_load((folder / "tests/tiny.yaml").read_text())
        presets = yaml.safe_load((folder / "params.yaml").read_text())["presets"]
        tiny["presets"][PAPER] = presets[PAPER]  # no more: DVC reads the file once for each stage
        (folder / "params.yaml").write_text(yaml.safe_dump(tiny, sort_keys=False))
        (folder / "dvc.lock").unlink()  # of the default suite
        ignored = (folder / ".gitignore").read_text().replace("/results/tiny/\n", "")
        (folder / ".gitignore").write_text(ignored)
        write_stages(read_dag(root=folder), folder)
        git(folder, "init", "-q")
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", "the tiny suite")
        assert not to_make(folder)
        record([], print, folder)
        storage = folder.parent / "storage"
        storage.mkdir()
        dvc("remote", "add", "--default", "storage", str(storage), root=folder)
        dvc("push", root=folder)
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", "recorded")

    return made_once(tmp_path_factory, "project", make)


@pytest.fixture(scope="session")
def restored(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone after `restore`, of which each test process has a copy; tests that change it work on further ones."""
    from vqddm.ledger.commands import restore

    whole = made_once(tmp_path_factory, "restored", lambda folder: restore(print, clone(project, folder)))
    return Path(shutil.copytree(whole, tmp_path_factory.getbasetemp() / "restored", symlinks=True))
