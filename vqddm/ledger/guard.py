"""Nothing expensive is made again only because Snakemake has no record of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from vqddm.artifacts import UserError


def guard_checkpoints(workflow: Any, root: Path = Path()) -> None:
    """Before the first job: refuse to overwrite checkpoints that Snakemake does not know; tell of those that DVC has.

    `dvc pull` brings checkpoints without Snakemake's records, which do not travel.

    Args:
        workflow: Snakemake's workflow, with its DAG built.
        root: the project's root.

    Raises:
        UserError: names the checkpoints and says what to do.
    """
    if workflow.touch:
        return
    trained = [
        (job, path) for job in workflow.dag.needrun_jobs() for path in job.output if path.endswith(".safetensors")
    ]
    here = [(job, path) for job, path in trained if (root / path).exists()]
    records = workflow.persistence
    unknown = [
        path for job, path in here if records.metadata(path) is None and not workflow.async_run(records.incomplete(job))
    ]
    if unknown:
        raise UserError(
            f"{', '.join(unknown)}: here, but Snakemake has no record of how it was made and would train it again. "
            "Files from `dvc pull` are so: run `make restore`, which lets Snakemake record what fits dvc.lock. "
            "To train anew, delete them"
        )
    lock = root / "dvc.lock"
    recorded = lock.read_text() if lock.exists() else ""
    configs = [root / ".dvc" / name for name in ("config", "config.local")]
    if any(config.exists() and "remote" in config.read_text() for config in configs):
        known = [path for job, path in trained if path in recorded and (job, path) not in here]
        if known:
            print(
                f"vqddm: {len(known)} of the checkpoints that are trained now are in dvc.lock; where their parameters "
                "are the same, `make restore` fetches them instead. Ctrl-C loses nothing.",
                file=sys.stderr,
            )
