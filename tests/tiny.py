"""Running the tiny suite in a copy of the project."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

BIN = Path(sys.executable).parent
TRACED = Path(__file__).parent / "helpers/traced"
TRACES = Path(".snakemake/traces")  # what each process imported, where a run is traced
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


def copy_of(root: Path, target: Path) -> Path:
    """The project's own files, as a clone has them."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (root / name).is_file() and not name.startswith("results/"):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target / name)
    return target


def snakemake(folder: Path, *arguments: str, traced: bool = False) -> subprocess.CompletedProcess[str]:
    """Run Snakemake on the tiny suite, with the folder's own code.

    A traced run tells in `TRACES` what its processes imported.
    """
    path, told = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])], {}
    if traced:
        (folder / TRACES).mkdir(parents=True)
        path, told = [str(TRACED), *path], {"VQDDM_TRACED": str(folder / TRACES)}
    return subprocess.run(
        [BIN / "snakemake", "--configfile", "tests/tiny.yaml", *arguments],
        cwd=folder,
        env=ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(path)} | told,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )


def untimed_claims(folder: Path) -> list[str]:
    """The rows of the tiny suite's claims but for the one about speed, whose numbers are another run's each time."""
    rows = (folder / "results/tiny/claims.csv").read_text().splitlines()
    assert any(row.startswith("speed,") for row in rows)
    return [row for row in rows if not row.startswith("speed,")]
