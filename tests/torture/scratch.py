"""The folder that a run works in: the tiny suite, built and recorded once, for the code as it is."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from clones import recorded_project
from tiny import BIN, ENVIRONMENT, copy_of, snakemake

ROOT = Path(__file__).parents[2]
# What is built depends on these.
CODE = ("vqddm", "workflow", "profiles", "Snakefile", "params.yaml", "tests/tiny.yaml")
# One thread, so that bytes are the same, and so that there are none to fork.
ONE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")


def build(scratch: Path, cores: int) -> None:
    """Build what is not there; what was built with other code goes away, with what was tried on it."""
    now, told = code_digest(), scratch / "code.txt"
    if told.exists() and told.read_text() == now:
        return
    shutil.rmtree(scratch, ignore_errors=True)
    project = copy_of(ROOT, scratch / "project")
    print("building the tiny suite …", flush=True)
    done = snakemake(project, "--cores", str(cores))
    if done.returncode:
        raise SystemExit(f"the tiny suite could not be built:\n{done.stderr[-3000:]}")
    print("recording it …", flush=True)
    recorded_project(project)
    called("torture.steps", scratch, str(project), str(scratch / "steps.json"))
    told.write_text(now)


def code_digest() -> str:
    """A digest of what is built depends on."""
    found = hashlib.sha256()
    for name in CODE:
        files = sorted((ROOT / name).rglob("*")) if (ROOT / name).is_dir() else [ROOT / name]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                found.update(f"{file.relative_to(ROOT)}".encode() + file.read_bytes())
    return found.hexdigest()


def called(module: str, scratch: Path, *arguments: str) -> None:
    """Run a module of this package with the built project's code.

    Raises:
        SystemExit: it failed.
    """
    path = os.pathsep.join([str(scratch / "project"), str(ROOT / "tests")])
    command = [sys.executable, "-P", "-m", module, *arguments]
    variables = {**ENVIRONMENT, **ONE, "PYTHONPATH": path, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    variables.pop("VQDDM_SAVE_SECONDS", None)
    if subprocess.run(command, cwd=scratch, env=variables, check=False).returncode:
        raise SystemExit(f"{module} failed")
