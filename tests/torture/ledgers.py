"""`record` and `restore`, killed, on a full disk and in a read-only folder: the ledgers end clean, the files whole."""

from __future__ import annotations

import hashlib
import random
import shutil
import subprocess
from pathlib import Path

from torture.disks import Small
from torture.kills import struck
from torture.outcome import Found, Lost, check_refusal, check_whole
from torture.processes import differing, run, start, tree
from vqddm.artifacts import BUILT

LONGEST = 400
SECONDS = {"record": 16.0, "restore": 16.0}  # about what they take


def work_on(what: str, project: Path, folder: Path) -> None:
    """A copy of the project of which nothing is recorded yet, or a clone in which nothing lies yet."""
    if what == "restore":
        subprocess.run(["git", "clone", "-q", str(project), str(folder)], check=True)
        return
    ignored = shutil.ignore_patterns("cache", "tmp", "dvc.lock", "__pycache__")
    shutil.copytree(project, folder, symlinks=True, ignore=ignored, dirs_exist_ok=True)


def kill_ledger(what: str, project: Path, folder: Path, rng: random.Random) -> Found:
    """Kill `record` or `restore`, and call it again until it is done.

    Raises:
        Lost: the ledgers are not clean then, or a file is not the recorded one.
    """
    work_on(what, project, folder)
    words, kills = ["vqddm", "ledger", what], 0
    for _ in range(rng.choice([1, 2, 3])):
        unlock(folder)
        kills += struck(start(words, folder, real=True), folder, SECONDS[what], rng)
    unlock(folder)
    check_whole(run(words, folder, LONGEST, real=True))
    check_ledgers(project, folder)
    return Found(kills, accepted=kills)


def unlock(folder: Path) -> None:
    """Take a killed Snakemake's lock away, as `docs/tutorial/first-run.md` says."""
    if any((folder / ".snakemake/locks").glob("*")):
        check_whole(run(["snakemake", "--unlock"], folder, LONGEST, real=True))


def check_ledgers(project: Path, folder: Path) -> None:
    """Both ledgers call everything clean, all files are the project's, and those in DVC's cache are whole.

    Raises:
        Lost: not so.
    """
    stored = [{f"{part}/{n}": s for part in BUILT for n, s in tree(root / part).items()} for root in (folder, project)]
    if words := differing(*stored):
        raise Lost("; ".join(words[:5]))
    if (folder / "dvc.lock").read_bytes() != (project / "dvc.lock").read_bytes():
        raise Lost("dvc.lock is another")
    for cached in (folder / ".dvc/cache/files/md5").glob("??/[!.]*"):  # not what DVC had begun
        if hashlib.md5(cached.read_bytes()).hexdigest() != cached.parent.name + cached.name:
            raise Lost(f"{cached.relative_to(folder)} is not whole")
    for command, said in ((["dvc", "status"], "up to date"), (["snakemake", "--dry-run"], "Nothing to be done")):
        ended = run(command, folder, LONGEST, real=True)
        check_whole(ended)
        if said not in ended.said:
            raise Lost(f"{' '.join(command)}: {ended.said[-1000:]}")


def starve_ledger(what: str, how: str, project: Path, folder: Path, rng: random.Random) -> Found:
    """Call `record` or `restore` on a full disk or in a read-only folder, and again when that is mended.

    Raises:
        Lost: there was no sentence, or the second call did not do all.
    """
    with Small(folder) as disk:
        work_on(what, project, folder)
        before = {name: content for name, content in tree(folder).items() if name.startswith(BUILT)}
        disk.fill(rng.randint(0, 40)) if how == "full disk" else disk.lock()
        ended = run(["vqddm", "ledger", what], folder, LONGEST, real=True)
        check_refusal(ended, [])
        lost = [name for name, content in before.items() if tree(folder).get(name) != content]
        disk.mend()
        if lost:
            raise Lost(f"not as before: {', '.join(lost[:5])}")
        unlock(folder)
        check_whole(run(["vqddm", "ledger", what], folder, LONGEST, real=True))
        check_ledgers(project, folder)
    return Found(refused=1)
