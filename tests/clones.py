"""Clones of the built tiny suite as repositories of their own, and commands in them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml
from tiny import BIN, ENVIRONMENT

from vqddm.ledger.dag import read_dag


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
