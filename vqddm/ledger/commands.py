"""`vqddm ledger`: each ledger certifies what the other knows.

Snakemake's records say which parameters, inputs and code made a file; `dvc.lock` says the same, with checksums, and
travels with git. A clone has the second and not the first, a run has the first and not the second.
"""

import hashlib
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from vqddm.artifacts import UserError
from vqddm.ledger.dag import Job, read_dag, with_dependents
from vqddm.ledger.dvc import ABSENT, changes, commit, dvc, recorded_stages, stale
from vqddm.ledger.stages import check_stages, write_stages

Say = Callable[[str], object]
STORED = ("data/", "models/", "evaluation/")  # the folders of what DVC keeps


def stages(root: Path = Path()) -> None:
    """Write `dvc.yaml` from the Snakefile's DAG."""
    write_stages(read_dag(root=root), root)


def restore(say: Say = print, root: Path = Path()) -> None:
    """Bring the recorded files, drop what is stale, let Snakemake know the rest.

    Stale is what `dvc.lock` records of other parameters, inputs or code.

    Raises:
        UserError: `dvc.yaml` is not the DAG's, files lie here that are not recorded, or DVC could not bring the files.
    """
    jobs = read_dag(root=root)
    check_stages(jobs, root)
    if not (root / "dvc.lock").exists():
        raise UserError("there is no dvc.lock: nothing was recorded yet; build with Snakemake, then `make record`")
    here = any((root / path).exists() for job in jobs for path in job.outputs if path.startswith(STORED))
    _refuse_unrecorded(changes(root) if here else {}, root)  # asking takes seconds
    bring(jobs, say, root)
    found = changes(root)
    dirty = stale(found)
    dropped = with_dependents(jobs, set(dirty))
    _refuse_only_copies([job for job in jobs if job.name in dropped], found, root)
    for job in jobs:
        if job.name in dropped:
            for path in job.outputs:
                (root / path).unlink(missing_ok=True)
            say(f"dropped {job.name}: {'; '.join(dirty.get(job.name, ['what it is made from is dropped']))}")
    clean = [job for job in jobs if job.name not in dropped]
    touch(clean, root)
    say(f"{len(clean)} stages are as dvc.lock says, and Snakemake knows it; {len(dropped)} are to be made again")


def _refuse_unrecorded(found: Mapping[str, Sequence[str]], root: Path) -> None:
    """Raise UserError where a file is not as recorded and would be lost: git has it only as a result, if at all."""
    changed = [path for words in found.values() for path in map(_changed_file, words) if path]
    results = [path for path in changed if not path.startswith(STORED)]
    kept = set(results) - not_in_git(results, root)
    if unrecorded := [path for path in changed if path not in kept]:
        raise UserError(
            f"{_listed(unrecorded)}: here, but not as dvc.lock has it, and the recorded file would overwrite it; "
            f"`make record TARGET={unrecorded[0]}` if it is to stay, delete it if not"
        )


def _refuse_only_copies(jobs: Sequence[Job], found: Mapping[str, Sequence[str]], root: Path) -> None:
    """Raise UserError where one of these jobs' files is to be dropped, of which DVC has no copy."""
    absent = {word.removeprefix("outs ").removesuffix(ABSENT) for words in found.values() for word in words}
    if only := [path for job in jobs for path in job.outputs if path in absent and (root / path).exists()]:
        raise UserError(
            f"{_listed(only)}: stale, but DVC's cache has no copy, so it is not dropped; delete it if it is not "
            "needed, and run the same command again"
        )


def not_in_git(paths: Sequence[str], root: Path) -> set[str]:
    """Those of the files that git does not have as they are."""
    if not paths:
        return set()
    command = ["git", "status", "--porcelain", "-z", "--no-renames", "--ignored", "--untracked-files=all", "--", *paths]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    return {entry[3:] for entry in done.stdout.split("\0")} & set(paths) if done.returncode == 0 else set(paths)


def bring(jobs: Sequence[Job], say: Say, root: Path) -> None:
    """Fetch and check out what `dvc.lock` names of these jobs; what is damaged in the cache is fetched once more.

    DVC takes a file of its cache for whole without reading it. `dvc.lock` may name stages of suites that are no longer
    built: they stay as they are.

    Raises:
        UserError: a file is damaged wherever DVC has it.
    """
    settings = dict(line.split("=", 1) for line in dvc("config", "--list", root=root).splitlines() if "=" in line)
    remotes = [value for key, value in settings.items() if key.startswith("remote.") and key.endswith(".url")]
    recorded = recorded_stages(root)
    checksums = {path: md5 for job in jobs for path, md5 in recorded.get(job.name, {}).items()}
    arguments = ["pull" if remotes else "checkout"]
    if any(job.name not in recorded for job in jobs):  # lacks nothing; to name all others would take DVC minutes
        arguments.append("--allow-missing")
    try:
        dvc(*arguments, root=root, show=True)
        lacking = [path for path in checksums if path.startswith(STORED) and not (root / path).exists()]
        if lacking:
            raise UserError(f"{_listed(lacking)}: not there after dvc {arguments[0]}, see above")
    except UserError as error:
        source = f"the storage {', '.join(remotes)} could not be reached, or lacks files that dvc.lock names"
        if not remotes:
            source = (
                "DVC's cache here lacks files that dvc.lock names, and no storage is configured "
                "(`dvc remote add --default storage …`)"
            )
        raise UserError(f"{error}: {source}; or build them with `snakemake --cores all`") from None
    cache = (root / dvc("cache", "dir", root=root).strip()) / "files" / "md5"
    broken = damaged(checksums, cache, root)
    for path in broken:
        say(f"{path}: its copy in DVC's cache is damaged; it is thrown away")
        _in_cache(cache, checksums[path]).unlink(missing_ok=True)
        (root / path).unlink()
    if broken and remotes:
        dvc(*arguments, root=root, show=True)
        if broken := damaged(checksums, cache, root):
            raise UserError(f"{_listed(broken)}: damaged in the remote storage too; delete it and build it again")


def damaged(checksums: Mapping[str, str], cache: Path, root: Path) -> list[str]:
    """Data and checkpoints that are not what their MD5 says, neither here nor in the cache."""

    def differs(path: Path, checksum: str) -> bool:
        if not path.exists():
            return False
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "md5").hexdigest() != checksum

    stored = {path: md5 for path, md5 in checksums.items() if path.startswith(STORED)}
    return [p for p, md5 in stored.items() if differs(root / p, md5) and differs(_in_cache(cache, md5), md5)]


def _in_cache(cache: Path, checksum: str) -> Path:
    return cache / checksum[:2] / checksum[2:]


def record(targets: Sequence[str] = (), say: Say = print, root: Path = Path()) -> None:
    """Write what Snakemake made into `dvc.lock` and DVC's cache.

    Args:
        targets: Snakemake's targets; none: everything.

    Raises:
        UserError: Snakemake has something to do for them, or `dvc.yaml` is not the DAG's.
    """
    check_stages(read_dag(root=root), root)
    jobs = read_dag(targets, root)
    if waiting := [job.name for job in jobs if job.outdated]:
        command = " ".join(["snakemake --cores all", *targets])
        raise UserError(f"not recorded: Snakemake has still to make {_listed(waiting)}; run `{command}`")
    dirty = changes(root)
    new = [job.name for job in jobs if job.name in dirty]
    commit(new, root)
    say(
        f"dvc.lock records {len(jobs)} stages, {len(new)} of them anew; next: `git add dvc.lock`, and `dvc push` where "
        "there is a remote"
    )


def ask(question: str) -> bool:
    """Whether the user at the terminal answers yes."""
    try:
        return input(f"{question} [y/N]: ").strip().lower() in ("y", "yes")
    except EOFError:  # nobody is there
        return False


def accept(say: Say = print, agree: Callable[[str], bool] = ask, root: Path = Path(), *, yes: bool = False) -> None:
    """After an edit of code that changes no result: list what it concerns, and tell both ledgers.

    Accepted is a stage of whose reasons to run again none is other than code: files of `vqddm/` or its rule's shell
    text, and only if all that it is made from is clean or accepted too.

    Args:
        yes: do not ask.

    Raises:
        UserError: `dvc.yaml` is not the DAG's, or the user does not agree.
    """
    jobs = read_dag(root=root)
    check_stages(jobs, root)
    dirty = stale(changes(root))
    edited = {name for name, words in dirty.items() if all(_is_code(word) for word in words)}
    refused = with_dependents(jobs, set(dirty) - edited)
    accepted = [job for job in jobs if job.name in edited - refused]
    for job in jobs:
        if job.name in refused & set(dirty):
            words = [word for word in dirty[job.name] if not _is_code(word)]
            say(f"not accepted: {job.name} ({'; '.join(words) or 'what it is made from has changed'})")
    if not accepted:
        say("nothing to accept: no stage has changed code alone")
        return
    for job in accepted:
        say(f"to accept: {job.name} ({'; '.join(dirty[job.name])})")
    if not yes and not agree(f"Do these {len(accepted)} stages give the same results with the edited code?"):
        raise UserError("nothing was accepted")
    commit([job.name for job in accepted], root)
    touch([job for job in jobs if job.name not in refused], root)
    say(f"accepted {len(accepted)} stages; next: `git add dvc.lock`")


def touch(jobs: Sequence[Job], root: Path) -> None:
    """Let Snakemake record these jobs' files as made by the present parameters, inputs and code."""
    outputs = [path for job in jobs for path in job.outputs]
    if not outputs:
        return
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--touch", "--forceall", "--quiet", "all", "--"]
    done = subprocess.run([*command, *outputs], cwd=root, text=True, capture_output=True)
    if done.returncode:
        raise UserError(f"Snakemake could not record the files:\n{done.stderr.strip()[-2000:]}")


def _changed_file(word: str) -> str | None:
    """The output that a word of `changes` calls other than recorded, though it is there."""
    kind, _, rest = word.partition(" ")
    path, _, how = rest.rpartition(": ")
    return path if kind == "outs" and how in ("modified", "new") else None


def _is_code(word: str) -> bool:
    return word == "command" or word.startswith("deps vqddm/")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
