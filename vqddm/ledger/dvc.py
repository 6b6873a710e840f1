"""DVC, asked through its command line, and where that would take minutes through its Python interface."""

import contextlib
import fcntl
import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from vqddm.artifacts import UserError, replacing

READERS = ".dvc/tmp/rwlock"
ABSENT = ": not in cache"  # ends a word of `changes` on a file that is as it should be, but of which there is no copy
# Four times as fast on a dvc.lock of 24,000 lines, where PyYAML was built with it.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def dvc(*arguments: str, root: Path = Path(), show: bool = False) -> str:
    """Run one dvc command and return what it printed.

    Args:
        show: let its progress through to the screen.

    Raises:
        UserError: it failed; with DVC's own last words.
    """
    _mend_readers(root)
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(
        command, cwd=root, text=True, stdout=subprocess.PIPE, stderr=None if show else subprocess.PIPE
    )
    if done.returncode:
        words = (done.stderr or done.stdout or "").strip()
        raise UserError(f"dvc {' '.join(arguments[:3])} failed" + (f":\n{words}" if words else ", see above"))
    return done.stdout


def _mend_readers(root: Path) -> None:
    """Take away DVC's list of who reads and writes if a killed DVC left it cut short, for it refuses all work then.

    Who is still at work has its own lock on it while it writes; those that are dead DVC itself leaves out.
    """
    readers, guard = root / READERS, root / f"{READERS}.lock"
    if not readers.exists() or _is_json(readers):
        return
    with guard.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # it is just being written, or nobody can lock here
            return
        if not _is_json(readers):
            readers.unlink(missing_ok=True)


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except FileNotFoundError:
        return True
    except ValueError:
        return False
    return True


def changes(root: Path = Path()) -> dict[str, list[str]]:
    """What `dvc status` says of each stage that is not clean: words such as `params datasets.faces.prior: modified`.

    A kind of change is its first word: deps, outs, params or command.
    """
    told: dict[str, Any] = json.loads(dvc("status", "--json", root=root) or "{}")
    found = {}
    for name, entries in told.items():
        words: list[str] = []
        for entry in entries:
            if isinstance(entry, str):
                words.append(entry.removeprefix("changed "))
                continue
            for kind, what in entry.items():
                words += _words(kind.removeprefix("changed "), what)
        found[name] = words
    return found


def stale(found: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """What of `changes` tells of other parameters, inputs, code or files, and not only that the cache lacks a file."""
    told = {name: [word for word in words if not word.endswith(ABSENT)] for name, words in found.items()}
    return {name: words for name, words in told.items() if words}


def _words(kind: str, what: dict[str, Any]) -> list[str]:
    words = []
    for path, change in what.items():
        if isinstance(change, dict):  # the keys of params.yaml
            words += [f"params {key}: {how}" for key, how in change.items()]
        else:
            words.append(f"{kind} {path}: {change}")
    return words


def recorded_stages(root: Path = Path()) -> dict[str, dict[str, str]]:
    """The stages of `dvc.lock`, each with its outputs and their MD5.

    Raises:
        UserError: it is missing or damaged.
    """
    path = root / "dvc.lock"
    try:
        stages = yaml.load(path.read_bytes(), LOADER)["stages"]
        return {
            str(name): {str(out["path"]): str(out["md5"]) for out in stage.get("outs", [])}
            for name, stage in stages.items()
        }
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # a damaged file can make its reader raise anything
        words = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: not what DVC wrote ({words}); `git checkout -- dvc.lock` brings it back") from None


def clean_stages(root: Path = Path()) -> set[str]:
    """The stages that `dvc.lock` names and `dvc status` calls clean; none where DVC cannot tell (no git, no lock).

    Raises:
        UserError: `dvc.lock` is damaged.
    """
    if not (root / "dvc.lock").exists():
        return set()
    recorded = recorded_stages(root)
    try:
        return recorded.keys() - stale(changes(root)).keys()
    except UserError:
        return set()


def commit(stages: Collection[str], root: Path = Path()) -> None:
    """Write the files of these stages as they are into `dvc.lock` and the cache.

    DVC's command line writes over `dvc.lock`, which takes a second, once for each stage that it is given.

    Raises:
        UserError: a file is missing or cannot be written.
    """
    if not stages:
        return
    from dvc.dvcfile import Lockfile
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    _mend_readers(root)
    lock = root.resolve() / "dvc.lock"
    try:
        with contextlib.chdir(root), Repo() as repo, repo.lock:  # DVC reads stages relative to where it is called
            chosen = [stage for stage in repo.index.stages if stage.name in set(stages)]
            for stage in chosen:
                stage.save()
                stage.commit(relink=False)  # a file that kept its time is no news to Snakemake
            with replacing(lock) as aside:
                if lock.exists():
                    shutil.copyfile(lock, aside)
                logging.getLogger("dvc.dvcfile").setLevel(logging.WARNING)  # it would name the file aside
                Lockfile(repo, str(aside)).dump_stages(chosen)
    except DvcException as error:
        raise UserError(f"dvc commit failed:\n{error}") from None
