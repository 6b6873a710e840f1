"""`dvc.yaml`, written from the DAG: one stage for each job."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from vqddm.artifacts import UserError, replacing
from vqddm.ledger.dag import Job

DVC_YAML = Path("dvc.yaml")
CODE = {".py", ".yaml", ".j2", ".css", ".js"}  # `.dvcignore` hides all else in vqddm/
METRICS = {"measure_reconstruction", "measure_samples", "measure_likelihood"}  # what `dvc metrics` shows
HEADER = """\
# Written from the Snakefile's DAG by `make dvc.yaml`; a test holds it against the DAG. One stage for each job, named
# as the job's rule, its command bound to that rule. Tables and figures: `dvc repro table1`, `dvc repro figure5`.
# The hash at a command's end is that of the rule's shell text, so that DVC too notices when it changes.
"""


def code_folders(root: Path) -> dict[str, frozenset[str]]:
    """Every folder of `vqddm/` with more than one code file in or below it, and those files; parents first."""
    found = {}
    for folder in sorted(f for f in (root / "vqddm").rglob("*") if f.is_dir()):
        files = frozenset(str(f.relative_to(root)) for f in folder.rglob("*") if f.suffix in CODE)
        if len(files) > 1:
            found[str(folder.relative_to(root))] = files
    return found


def folded(paths: Sequence[str], folders: Mapping[str, frozenset[str]]) -> list[str]:
    """Paths with a folder in the place of its files wherever all of them are named."""
    found = list(paths)
    for folder, files in folders.items():
        if files <= set(found):
            found.insert(min(map(found.index, files)), folder)
            found = [f for f in found if f not in files]
    return found


def stage(job: Job, folders: Mapping[str, frozenset[str]]) -> dict[str, Any]:
    """A job as a stage: what is small and committed (`results/`) stays out of DVC's cache."""
    outs: dict[str, list[Any]] = {"outs": [], "metrics": []}
    for path in job.outputs:
        kind = "metrics" if path.startswith("results/") and job.rule in METRICS else "outs"
        outs[kind].append({path: {"cache": False}} if path.startswith("results/") else path)
    target = shlex.quote(job.outputs[0])
    rules = " ".join([job.rule, *job.helpers])
    lists = {"deps": folded(job.inputs, folders), "params": list(job.keys), **outs}
    return {
        "cmd": f"snakemake --cores all --allowed-rules {rules} -- {target} # shell {job.shell}",
        **{key: value for key, value in lists.items() if value},
    }


def plots(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """Loss curves of all trainings, and the figures, for `dvc plots show`."""
    curves = {
        "The prior's loss (bits per code)": ("prior.csv", "bits_per_code"),
        "The first stages' reconstruction loss": ("first_stage.csv", "reconstruction"),
    }
    found: list[dict[str, Any]] = []
    for title, (name, column) in curves.items():
        files = {path: column for job in jobs for path in job.outputs if Path(path).name == name}
        if files:
            found.append({title: {"x": "step", "y": files}})
    return found + [{path: None} for job in jobs for path in job.outputs if path.endswith(".png")]


def dvc_yaml(jobs: Sequence[Job], root: Path = Path()) -> str:
    """The text of `dvc.yaml` for these jobs, in the order of the rules."""
    folders = code_folders(root)
    parts = [HEADER, "stages:"]
    for before, job in zip([None, *jobs], jobs, strict=False):
        if before is None or before.rule != job.rule:
            parts.append(f"\n  # {job.rule}")
        text = yaml.dump({job.name: stage(job, folders)}, sort_keys=False, width=116, default_flow_style=None)
        parts.append(re.sub("^", "  ", text.rstrip(), flags=re.MULTILINE))
    text = yaml.dump({"plots": plots(jobs)}, sort_keys=False, width=118, allow_unicode=True)
    return "\n".join(parts) + "\n\n" + text


def write_stages(jobs: Sequence[Job], root: Path = Path()) -> None:
    """Write `dvc.yaml`."""
    with replacing(root / DVC_YAML) as aside:
        aside.write_text(dvc_yaml(jobs, root), encoding="utf-8")


def check_stages(jobs: Sequence[Job], root: Path = Path()) -> None:
    """Refuse to work with a `dvc.yaml` that is not the DAG's.

    Raises:
        UserError: it is missing or older than the DAG.
    """
    path = root / DVC_YAML
    if not path.exists() or path.read_bytes() != dvc_yaml(jobs, root).encode():
        raise UserError(f"{path} is not what the Snakefile and params.yaml say now; run `make dvc.yaml`")
