"""The steps of the tiny suite: command lines, inputs and outputs as Snakemake plans them.

As a program it writes them as JSON: `python -m torture.steps PROJECT FILE`. Snakemake changes the working directory,
so it runs in a process of its own.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from torture.processes import halves, run, tree

# Rules whose results are a time, which is another in each run.
TIMED = ("measure_speed", "cost")
SAVING = {"VQDDM_SAVE_SECONDS": "0"}  # a state after each step


class Step(NamedTuple):
    """A job: what it is called, its command, and its files relative to the project."""

    name: str
    rule: str
    words: list[str]
    inputs: list[str]
    outputs: list[str]

    @property
    def trains(self) -> bool:
        """It trains, and keeps states."""
        return self.rule.startswith(("train_", "finetune_"))

    @property
    def label(self) -> str:
        """What the table calls it: its command, and what it trains where that does not say it."""
        command, made = " ".join(self.forked()[1:3]), Path(self.outputs[0]).stem
        return (
            f"{command} ({made})"
            if self.trains and made not in ("first_stage", *re.split(r"[ -]", command))
            else command
        )

    def forked(self) -> list[str]:
        """The command without `launch`, which would become another program."""
        if self.words[1] != "launch":
            return self.words
        at = next(n for n, word in enumerate(self.words) if n > 1 and word[0].islower() and word.isalpha())
        return [self.words[0], *self.words[at:]]

    def files(self) -> list[str]:
        """Its inputs but for code and what only tells the order of jobs, and the manifests beside prepared splits."""
        own = [name for name in self.inputs if not name.startswith(("vqddm/", "state/"))]
        beside = [f"{name.removesuffix('.npy')}.json" for name in own if re.fullmatch(r"data/\w+/\w+\.npy", name)]
        return [*own, *beside]


class Reference(NamedTuple):
    """What a step leaves that nothing disturbed, and how long it took."""

    tree: dict[str, str]
    seconds: float


def planned(project: Path) -> list[Step]:
    """All jobs of the project's suite."""
    from snakemake.api import SnakemakeApi
    from snakemake.settings.types import DAGSettings, OutputSettings, Quietness, ResourceSettings

    with contextlib.redirect_stdout(io.StringIO()), SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        workflow = api.workflow(ResourceSettings(cores=1), snakefile=project / "Snakefile", workdir=project)
        workflow.dag(DAGSettings(forceall=True)).summary()
        jobs = [job for job in workflow._workflow.dag.jobs if job.rule.shellcmd]
        return [step_of(job) for job in jobs if job.rule.name not in TIMED]


def step_of(job: object) -> Step:
    """One of Snakemake's jobs; what its shell redirects is no part of its words."""
    words = shlex.split(job.shellcmd)
    words = words[: words.index(">")]
    inputs, outputs = (list(dict.fromkeys(map(str, files))) for files in (job.input, job.output))
    name = "-".join([job.rule.name, *dict(job.wildcards_dict).values()])
    return Step(name, job.rule.name, words, inputs, outputs)


def representatives(steps: Iterable[Step]) -> list[Step]:
    """One step for each rule and each command that it calls, and each training: everything that writes."""
    found: dict[tuple[str, str], Step] = {}
    for step in sorted(steps):
        found.setdefault((step.rule, step.label), step)
    return list(found.values())


def set_up(step: Step, project: Path, folder: Path) -> None:
    """A folder that holds the step's inputs and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in step.files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(project / name, folder / name)


def reference_of(step: Step, project: Path, folder: Path) -> Reference:
    """Run a step that nothing disturbs."""
    set_up(step, project, folder)
    ended = run(step.forked(), folder, 300, more=SAVING)
    if ended.code != 0 or halves(folder):
        raise RuntimeError(f"{step.name}: undisturbed it ended with {ended.code}: {ended.said[-2000:]}")
    return Reference(tree(folder), ended.seconds)


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(planned(Path(sys.argv[1]).resolve())))
