"""Clones of the built tiny suite as repositories of their own, and commands in them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml
from tiny import BIN, ENVIRONMENT

from vqddm.ledger.commands import record
from vqddm.ledger.dag import read_dag
from vqddm.ledger.dvc import dvc
from vqddm.ledger.stages import write_stages


def run(folder: Path, *command: str, check: bool = True) -> str:
    """A command of the environment in `folder`; both of its outputs."""
    done = subprocess.run(
        [BIN / command[0], *command[1:]], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=600
    )
    if check:
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def edit(folder: Path, key: str, value: Any) -> None:
    """Change one value of the clone's params.yaml."""
    path = folder / "params.yaml"
    params = yaml.safe_load(path.read_text())
    *above, last = key.split(".")
    section = params
    for part in above:
        section = section[part]
    assert section[last] != value
    section[last] = value
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def to_make(folder: Path) -> set[str]:
    """The names of the jobs that Snakemake would run."""
    return {job.name for job in read_dag(root=folder) if job.outdated}


def clone(project: Path, target: Path) -> Path:
    """A fresh clone with the same remote storage."""
    subprocess.run(["git", "clone", "-q", str(project), str(target)], check=True)
    return target


def recorded_project(folder: Path) -> None:
    """Make a copy in which the tiny suite was built a git repository, recorded, and pushed to a folder beside it."""
    tiny = yaml.safe_load((folder / "tests/tiny.yaml").read_text())
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
