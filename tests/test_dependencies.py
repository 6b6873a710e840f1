"""Which code a result depends on: found from imports, and held against what runs and what both ledgers want to make."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from clones import to_make
from tiny import TRACES

from vqddm.ledger.dag import Job, read_dag, with_dependents
from vqddm.ledger.dvc import changes
from vqddm.ledger.imports import EXEMPT, CodeFiles
from vqddm.ledger.stages import code_folders, folded
from vqddm.registry import modules_with

ROOT = Path(__file__).parent.parent


def package(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / "vqddm" / name.replace("__", "/")
        path = path if path.suffix else path.with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for folder in {path.parent for path in (root / "vqddm").rglob("*.py")} | {root / "vqddm"}:
        (folder / "__init__.py").touch()
    return root


def test_imports_are_followed_wherever_they_stand(tmp_path: Path) -> None:
    root = package(
        tmp_path,
        a="import json\nfrom vqddm import b\n",
        b="def f():\n    from vqddm.c.d import x\n",
        c__d="import vqddm.e as e\nx = 1\n",
        e="",
        f="",
    )
    expected = ["__init__", "a", "b", "c/__init__", "c/d", "e"]
    assert CodeFiles(root).behind("vqddm.a") == [f"vqddm/{name}.py" for name in expected]
    assert CodeFiles(root).behind("vqddm.a:run") == CodeFiles(root).behind("vqddm.a")


def test_an_edited_import_is_seen_at_once(tmp_path: Path) -> None:
    root = package(tmp_path, a="", b="")
    assert "vqddm/b.py" not in CodeFiles(root).behind("vqddm.a")
    package(root, a="import vqddm.b  # now\n")
    assert "vqddm/b.py" in CodeFiles(root).behind("vqddm.a")


def test_data_beside_a_module_counts_where_the_module_names_it(tmp_path: Path) -> None:
    root = package(tmp_path, a='x = open("told.yaml")\ny = "pages"\n', b='"""Not `other.yaml`."""\n')
    (root / "vqddm/told.yaml").touch()
    (root / "vqddm/other.yaml").touch()
    (root / "vqddm/pages").mkdir()
    (root / "vqddm/pages/p.j2").touch()
    assert {"vqddm/told.yaml", "vqddm/pages/p.j2"} <= set(CodeFiles(root).behind("vqddm.a"))
    assert CodeFiles(root).behind("vqddm.b") == ["vqddm/__init__.py", "vqddm/b.py"]


def test_what_is_exempt_is_there_and_counts_only_where_it_is_named() -> None:
    for module in EXEMPT:
        assert CodeFiles(ROOT).behind(module)
    assert "vqddm/slurm.py" not in CodeFiles(ROOT).behind("vqddm.prior.train")
    assert "vqddm/methods.py" in CodeFiles(ROOT).behind("vqddm.prior.train", "vqddm.methods")
    shown = CodeFiles(ROOT).behind("vqddm.paper.page", "vqddm.methods", *modules_with("method.py"))
    assert "vqddm/prior/method.py" in shown and "vqddm/prior/train.py" not in shown


def test_the_transition_of_the_diffusion_is_a_dependency_of_its_training() -> None:
    """The fault that this module is there for."""
    found = CodeFiles(ROOT).behind("vqddm.prior.train")
    assert {f"vqddm/prior/{name}.py" for name in ("transitions", "schedules", "diffusion", "absorbing")} <= set(found)
    assert "vqddm/paper/reported.yaml" in CodeFiles(ROOT).behind("vqddm.paper.page")


def made_by(arguments: list[str], jobs: list[Job]) -> list[Job]:
    """The jobs whose outputs a command was told to write."""
    outs = [word for before, word in pairwise(arguments) if before == "--out"]
    return [
        job
        for job in jobs
        if any(output == out or output.startswith((f"{out}.", f"{out}/")) for out in outs for output in job.outputs)
    ]


def files_of(modules: list[str], root: Path) -> set[str]:
    """The files of modules of `vqddm`."""
    paths = [Path(*module.split(".")) for module in modules]
    return {str(path / "__init__.py" if (root / path).is_dir() else path.with_suffix(".py")) for path in paths}


@contextmanager
def edited(root: Path, *paths: str) -> Iterator[None]:
    """With these files changed, and as they were at the end."""
    before = {path: (root / path).read_bytes() for path in paths}
    try:
        for path, text in before.items():
            (root / path).write_bytes(text + b"\n# edited\n")
        yield
    finally:
        for path, text in before.items():
            (root / path).write_bytes(text)


@pytest.mark.slow
def test_a_job_imports_nothing_that_it_does_not_depend_on(project: Path) -> None:
    """What the processes of the tiny suite's run had in memory, against the inputs of their jobs."""
    jobs = read_dag(root=project)
    records = [*modules_with("kind.py"), *modules_with("method.py")]
    passed_over = set(CodeFiles(project).behind(*EXEMPT, *records)) | {"vqddm/__main__.py"}
    imported: dict[str, set[str]] = defaultdict(set)
    for file in (project / TRACES).glob("*.json"):
        told = json.loads(file.read_text())
        for job in made_by(told["arguments"], jobs):
            imported[job.name] |= files_of(told["modules"], project)
    assert imported.keys() == {job.name for job in jobs}
    for job in jobs:
        assert imported[job.name] - passed_over <= set(job.inputs), job.name


@pytest.mark.slow
def test_dvc_sees_each_edited_module_in_just_the_jobs_that_import_it(restored: Path) -> None:
    """All modules are edited at once: `dvc status` names for each stage which of its files have changed."""
    jobs = read_dag(root=restored)
    folders = {
        folder: files for folder, files in code_folders(restored).items() if any(f.endswith(".py") for f in files)
    }
    with edited(restored, *(str(file.relative_to(restored)) for file in (restored / "vqddm").rglob("*.py"))):
        told = {name: [word.split(":")[0].split(" ") for word in words] for name, words in changes(restored).items()}
    for job in jobs:
        named = {path for kind, path in told[job.name] if kind == "deps" and path.startswith("vqddm/")}
        code = [path for path in folded(job.inputs, folders) if path.startswith("vqddm/")]
        assert named == {path for path in code if path.endswith(".py") or path in folders}, job.name


@pytest.mark.slow
def test_snakemake_makes_again_just_what_imports_an_edited_module(restored: Path) -> None:
    """One module after another is edited; of those that the same jobs depend on, one stands for all.

    Of a job whose inputs are made again, Snakemake does not tell which of its files have changed.
    """
    jobs = read_dag(root=restored)
    users: dict[frozenset[str], str] = {}
    for path in sorted({path for job in jobs for path in job.inputs if path.startswith("vqddm/")}):
        users[frozenset(job.name for job in jobs if path in job.inputs)] = path
    assert len(users) > 40
    for names, path in users.items():
        with edited(restored, path):
            assert to_make(restored) == with_dependents(jobs, set(names)), path


@pytest.mark.slow
def test_both_ledgers_pass_over_an_exempt_module(restored: Path) -> None:
    with edited(restored, "vqddm/slurm.py", "vqddm/cli.py"):
        assert not to_make(restored)
        assert not changes(restored)
