"""The jobs of the Snakefile's DAG, as Snakemake itself plans them."""

import contextlib
import hashlib
import io
import logging
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqddm.artifacts import UserError
from vqddm.asked import check_targets


@dataclass(frozen=True)
class Job:
    """One job: a rule with its wildcards.

    Args:
        wildcards: in the order of the rule's outputs.
        inputs, outputs: paths relative to the project's root; temporary ones are left out.
        keys: the keys of `params.yaml` that its parameters come from.
        values: its parameters, as text.
        shell: short hash of the rule's shell text.
        outdated: Snakemake would run it.
        helpers: the rules of the temporary files that it takes; they are no stages.
    """

    rule: str
    wildcards: dict[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    keys: tuple[str, ...]
    values: dict[str, str]
    shell: str
    outdated: bool
    helpers: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of its DVC stage: `table1`, `figure5`, `claims`, or the rule and its wildcards."""
        if self.rule == "judge_claims":
            return "claims"
        if self.rule in ("table", "figure"):
            return "".join([*(["figure"] if self.rule == "figure" else []), *self.wildcards.values()])
        values = [f"{name}{value}" if len(name) == 1 else value for name, value in self.wildcards.items()]
        return "-".join([self.rule, *values])


def read_dag(targets: Sequence[str] = (), root: Path = Path()) -> list[Job]:
    """The jobs that `targets` (none: the default target) need, finished ones too, in the order of the rules.

    Raises:
        UserError: Snakemake cannot plan them.
    """
    from snakemake.api import SnakemakeApi
    from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, Quietness, ResourceSettings

    if not (root / "Snakefile").exists():
        raise UserError("there is no Snakefile here; call this in the project's root")
    told = io.StringIO()
    logging.captureWarnings(True)
    with (
        contextlib.redirect_stdout(told),
        contextlib.redirect_stderr(told),
        SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api,
    ):
        try:
            planned = api.workflow(
                resource_settings=ResourceSettings(cores=1),
                config_settings=ConfigSettings(),
                snakefile=root / "Snakefile",
                workdir=root,
            )
            workflow: Any = planned._workflow  # the interface has no public way to the jobs
            check_targets(workflow, targets)
            planned.dag(DAGSettings(targets=set(targets))).summary()
            jobs = [job_of(workflow, job) for job in workflow.dag.jobs if job.rule.shellcmd]
        except (Exception, SystemExit) as error:
            words = str(error).removeprefix("vqddm: ")
            raise UserError(f"Snakemake cannot plan {' '.join(targets) or 'the workflow'}: {words}") from None
    order = [rule.name for rule in workflow.rules]
    return sorted(jobs, key=lambda job: (order.index(job.rule), [_natural(path) for path in job.outputs]))


def _natural(text: str) -> list[str | int]:
    """A key that sorts figure2 before figure10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]


def job_of(workflow: Any, job: Any) -> Job:
    """One of Snakemake's own jobs, as this module has it."""
    temporary = {f: maker.rule.name for maker in workflow.dag.dependencies[job] for f in maker.temp_output}
    return Job(
        rule=job.rule.name,
        wildcards=dict(job.wildcards_dict),
        inputs=tuple(dict.fromkeys(str(f) for f in job.input if f not in temporary)),
        outputs=tuple(str(f) for f in job.output),
        keys=tuple(_keys(job)),
        values={name: str(value) for name, value in job.params.items()},
        shell=hashlib.sha256(job.rule.shellcmd.encode()).hexdigest()[:8],
        outdated=workflow.dag.needrun(job),
        helpers=tuple(sorted(set(temporary.values()))),
    )


def _keys(job: Any) -> list[str]:
    """The keys with which `reads` (`workflow/rules/common.smk`) marked the functions of the job's parameters."""
    found: dict[str, None] = {}
    for _, function in job.rule.params._allitems():
        for key in getattr(function, "keys", ()):
            found |= dict.fromkeys(key(job.wildcards) if callable(key) else [key.format(**job.wildcards_dict)])
    return list(found)


def with_dependents(jobs: Collection[Job], changed: set[str]) -> set[str]:
    """The names in `changed` and of all jobs that depend on their outputs, however far."""
    makers = {path: job.name for job in jobs for path in job.outputs}
    found = set(changed)
    while True:
        more = {job.name for job in jobs if any(makers.get(path) in found for path in job.inputs)} - found
        if not more:
            return found
        found |= more
