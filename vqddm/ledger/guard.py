"""Nothing expensive is made again only because Snakemake's records are not the truth about it."""

import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from vqddm.artifacts import UserError
from vqddm.data.sources import SOURCES
from vqddm.ledger.dag import job_of
from vqddm.ledger.dvc import clean_stages
from vqddm.params import Dataset
from vqddm.registry import imported


def guard_checkpoints(workflow: Any, root: Path = Path()) -> None:
    """Before the first job: refuse to overwrite checkpoints without need; tell of those that a remote storage has.

    Two kinds are meant: a checkpoint of which Snakemake has no record (`dvc pull` brings such), and one that
    `dvc.lock` calls clean though Snakemake's record is of another (DVC put it back from its cache).

    Raises:
        UserError: names the checkpoints and says what to do.
    """
    if workflow.touch:
        return
    trained = [
        (job, path) for job in workflow.dag.needrun_jobs() for path in job.output if path.endswith(".safetensors")
    ]
    here = [(job, path) for job, path in trained if (root / path).exists()]
    records, lock = workflow.persistence, root / "dvc.lock"
    clean = clean_stages(root) if here else set()
    kept = [
        path
        for job, path in here
        if (records.metadata(path) is None and not workflow.async_run(records.incomplete(job)))
        or job_of(workflow, job).name in clean
    ]
    if kept:
        raise UserError(
            f"{', '.join(kept)}: here and about to be trained again, though Snakemake has no record of it, or dvc.lock "
            "has it as made by just these parameters, inputs and code (DVC brings files without telling Snakemake). "
            "Run `make restore`, which lets Snakemake record what fits dvc.lock; to train anew, delete the file"
        )
    recorded = lock.read_bytes() if lock.exists() else b""
    configs = [root / ".dvc" / name for name in ("config", "config.local")]
    if any(config.exists() and b"remote" in config.read_bytes() for config in configs):
        known = [path for job, path in trained if path.encode() in recorded and (job, path) not in here]
        if known:
            print(
                f"vqddm: {len(known)} of the checkpoints that are trained now are in dvc.lock; where their parameters "
                "are the same, `make restore` fetches them instead. Ctrl-C loses nothing.",
                file=sys.stderr,
            )


def require_originals(jobs: Collection[Any], datasets: Mapping[str, Dataset]) -> None:
    """Stop where pictures or official checkpoints that Snakemake's jobs need are not there; pictures are named first.

    Args:
        datasets: all that are trained, the repeats of further trainings too.

    Raises:
        UserError: names what is absent and where it is to be had.
    """
    prepared = {job.wildcards.dataset for job in jobs if job.rule.name == "prepare_data"}
    official = {(job.wildcards.dataset, job.params.checkpoint) for job in jobs if job.rule.name == "import_vqgan"}
    absent = []
    for dataset in sorted(prepared):
        data = datasets[dataset].data
        if check := SOURCES[data.source].check:
            try:
                imported(check)(data)
            except UserError as error:
                absent.append(str(error))
    absent += [
        f"{checkpoint}: the official VQ-GAN of {dataset} is not here (nothing was started); fetch it from "
        "github.com/CompVis/taming-transformers (section Overview of pretrained models), or take "
        "`pretrained` out of the dataset's `vqgan` in params.yaml to train one"
        for dataset, checkpoint in sorted(official)
        if not Path(checkpoint).exists()
    ]
    if absent:
        raise UserError("\nvqddm: ".join(absent))


def forget_shards(workflow: Any, drawn: str, shards: Collection[str]) -> None:
    """Let Snakemake forget in what shards a work was done.

    It keeps its records of temporary files that it has long deleted, and would do it anew where they tell of other
    shards, though they make no difference.

    Args:
        drawn: the temporary file that is made from all shards.
        shards: the temporary files of those that there are now.
    """
    from snakemake.io import IOFile

    whole, *parts = map(IOFile, (drawn, *shards))
    if workflow.persistence.input(whole) not in (None, sorted(shards)):
        parts.append(whole)
    for file in parts:
        workflow.persistence.cleanup_metadata(file)
