"""Trials of settings, each judged by validation pictures alone: `make search`.

`trials.yaml` beside this file says what is tried. A trial trains with the project's own functions, on a dataset's
training pictures. First stages, such as a VQ-GAN and its ReFiT, are measured as Table 1 does, but for one thing: what
is reconstructed are validation pictures. Methods, such as the prior, are trained on the codes of an earlier trial's
first stage and measured by the validation pictures' codes and by samples. No test picture is ever read. What is done is
kept in `search/state/` and not done again; a trial that was stopped goes on where it was. The tables are
`docs/search.csv` and `docs/search.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from vqddm.artifacts import UserError, read_json, replacing, write_json
from vqddm.first_stages import begins_with, codebook_size, kind_of, sampled_features
from vqddm.methods import METHODS
from vqddm.params import Dataset, EvaluateParams, read, resolve
from vqddm.registry import imported
from vqddm.yaml_file import merged, read_file

if TYPE_CHECKING:
    from subprocess import Popen

ROOT = Path(__file__).parents[1]
TRIALS, STATE = (Path(__file__).with_name(name) for name in ("trials.yaml", "state"))
DOCS = ROOT / "docs"
SAMPLED = {"features", "reference", "draws", "seed", "samples", "temperature", "nll_images", "ddim_steps"}
MEASURES = {"bits": ".3f", "distance": ".0f"}  # of a method, and how they are written
THREADS = 1  # of a trial; last bits of results may differ with their number


class Trial(NamedTuple):
    """One recipe on one dataset."""

    name: str
    dataset: str
    first_stages: tuple[str, ...]  # what is measured, in this order
    methods: tuple[str, ...]  # and these, on the codes of `source`
    source: tuple[Self, str] | None  # a trial and a first stage of it; none where no method is tried
    changes: dict[str, Any]  # what trials.yaml says of it
    resolved: Dataset  # the dataset with them
    evaluate: EvaluateParams  # how much is measured

    @property
    def folder(self) -> Path:
        """Where it keeps what it makes."""
        return STATE / self.dataset / self.name

    @property
    def data(self) -> Path:
        """Where its dataset lies, which it shares with other trials."""
        return STATE / "data" / self.dataset

    @property
    def settings(self) -> dict[str, Any]:
        """All that its result depends on, but for the code."""
        needed = {"data", *self.methods, *(name for s in self.first_stages for name in sections_of(s, self.resolved))}
        found = {name: as_json(attrgetter(name)(self.resolved)) for name in sorted(needed)}
        about = {"first_stages": list(self.first_stages), "evaluate": measuring(self.evaluate), **found}
        if self.source is not None:
            sampled = self.evaluate.model_dump(mode="json", include=SAMPLED)
            about |= {"methods": list(self.methods), "source": self.source[0].settings, "evaluate": sampled}
        return about


def as_json(section: Any) -> Any:
    """A section as the rules pass it on."""
    return section.model_dump(mode="json", exclude_unset=True)


def measuring(evaluate: EvaluateParams) -> dict[str, Any]:
    """The part of a suite's `evaluate` that Table 1 depends on."""
    return evaluate.model_dump(mode="json", include={"features", "reference", "reconstructions", "draws", "seed"})


def made_from(first_stage: str, dataset: Dataset) -> str | None:
    """The first stage that another one is made from, None where it is trained anew."""
    kind = kind_of(first_stage)
    if kind.train:
        return None
    return begins_with(first_stage) if kind.fine_tunes else str(dataset.refit.source)


def sections_of(first_stage: str, dataset: Dataset) -> set[str]:
    """The sections of a dataset that a first stage, and what it is made from, depend on."""
    kind, before = kind_of(first_stage), made_from(first_stage, dataset)
    return {*(kind.sections.values() or [kind.section]), *(sections_of(before, dataset) if before else ())}


def planned() -> tuple[list[Trial], dict[str, list[str]]]:
    """Read `trials.yaml` and lay each trial over params.yaml: the trials, and which are chosen of a dataset.

    Raises:
        UserError: a setting that there is not, or a chosen trial that is none.
    """
    asked, values = read_file(TRIALS).values, read([ROOT / "params.yaml"]).values
    suite, chosen = asked["suite"], asked.get("chosen") or {}
    trials: dict[tuple[str, str], Trial] = {}
    for name, changes in asked["trials"].items():
        about = {"datasets": asked["datasets"], "first_stages": asked["first_stages"], "methods": [], **(changes or {})}
        datasets, stages, methods = (tuple(about.pop(key)) for key in ("datasets", "first_stages", "methods"))
        for dataset in datasets:
            laid = merged(values, {"datasets": {dataset: merged(asked["base"], about)}})
            if methods:
                laid = merged(laid, {"suites": {suite: {"evaluate": asked.get("samples") or {}}}})
            params = resolve(laid, where=f"{TRIALS.name}: {name}")
            source = None
            if methods:
                before, stage = asked["codes_of"][dataset]
                source, stages = (trials[dataset, before], stage), ()
            about_it = dict(changes or {}), params.datasets[dataset], params.suites[suite].evaluate
            trials[dataset, name] = Trial(name, dataset, stages, methods, source, *about_it)
    if wrong := [name for dataset, names in chosen.items() for name in names if (dataset, name) not in trials]:
        raise UserError(f"{TRIALS.name}: chosen: {wrong[0]} is no trial of that dataset")
    if untrained := sorted({name for trial in trials.values() for name in trial.methods if METHODS[name].of}):
        raise UserError(f"{TRIALS.name}: {untrained[0]} trains nothing that could be tried")
    return list(trials.values()), chosen


def prepare_dataset(trial: Trial) -> None:
    """The splits of a trial's dataset, the reference's features, and the distance of validation pictures themselves."""
    from vqddm.data.prepare import prepare
    from vqddm.evaluate.measure import extract_features, measure_floor

    folder, evaluate, data = trial.data, trial.evaluate, trial.resolved.data
    made, wanted = folder / "made.json", {"data": as_json(data), "evaluate": measuring(evaluate)}
    if made.exists() and read_json(made) == wanted:
        return
    if data.validation < evaluate.reconstructions:
        raise UserError(
            f"{trial.dataset}: {data.validation} validation pictures, {evaluate.reconstructions} are needed; "
            "raise `data.validation`"
        )
    prepare(data, folder, workers=1)
    for split, out, count in (
        ("train", "reference", evaluate.reference),
        ("validation", "held_out", evaluate.reconstructions),
    ):
        place = {"data": folder / f"{split}.npy", "out": folder / f"{out}.npy"}
        extract_features(
            count=count, network=evaluate.features, state=folder / f"state_{out}", threads=THREADS, **place
        )
    measured = {"network": evaluate.features, "draws": evaluate.draws, "seed": evaluate.seed}
    files = {"train": folder / "reference.npy", "test": folder / "held_out.npy", "out": folder / "floor.json"}
    measure_floor(**files, **measured)
    write_json(made, wanted)


@contextmanager
def timed(folder: Path, what: str) -> Iterator[None]:
    """Add this process's CPU seconds in the block to those that `cpu.json` has; a kill loses those of its block."""
    path, began = folder / "cpu.json", time.process_time()
    try:
        yield
    finally:
        spent = read_json(path) if path.exists() else {}
        write_json(path, spent | {what: spent.get(what, 0) + time.process_time() - began})


def run_trial(trial: Trial) -> None:
    """Train and measure one trial; write its `result.json`."""
    folder, settings = trial.folder, trial.folder / "settings.json"
    if settings.exists() and read_json(settings) != trial.settings:
        shutil.rmtree(folder)  # what lies there is of a trial that trials.yaml had under this name before
    write_json(settings, trial.settings)
    found: dict[str, Any] = {}
    try:
        for first_stage in trial.first_stages:
            make(trial, first_stage)
            found[first_stage] = measured(trial, first_stage)
        for method in trial.methods:
            found[method] = tried(trial, method)
    except UserError as error:  # such as a loss that is not finite: that is a result too
        found["failed"] = str(error)
    timed = folder / "cpu.json"  # not there if it failed before anything was made
    write_json(folder / "result.json", found | {"cpu": read_json(timed) if timed.exists() else {}})


def make(trial: Trial, first_stage: str) -> Path:
    """The checkpoint of a first stage and, before it, of what it is made from; what is there is not made again."""
    from vqddm.refit.finetune import finetune
    from vqddm.refit.rebuild import rebuild

    out, data, kind = trial.folder / f"{first_stage}.safetensors", trial.data / "train.npy", kind_of(first_stage)
    before = made_from(first_stage, trial.resolved)
    source = make(trial, before) if before else None
    kept = {"state": trial.folder / f"state_{first_stage}", "out": out, "curve": out.with_suffix(".csv")}
    size = codebook_size(first_stage)
    if out.exists():
        return out
    with timed(trial.folder, first_stage):
        if kind.train:
            given = {option: attrgetter(name)(trial.resolved) for option, name in kind.sections.items()}
            imported(kind.train)(data=data, codebook_size=size, threads=THREADS, **given, **kept)
        elif kind.fine_tunes:
            finetune(source=source, data=data, params=trial.resolved.refit, threads=THREADS, **kept)
        else:
            assert source is not None  # it is made from the VQ-GAN
            numbers = {"codebook_size": size, "features": sampled_features(first_stage), "threads": THREADS}
            rebuild(source=source, data=data, params=trial.resolved.refit, out=out, **numbers)
    return out


def measured(trial: Trial, first_stage: str) -> dict[str, Any]:
    """Table 1's numbers of a first stage, with validation pictures in place of all others."""
    from vqddm.evaluate.measure import measure_reconstruction
    from vqddm.refit.codes import encode_splits

    checkpoint, codes, out, pictures = (
        trial.folder / f"{first_stage}{end}" for end in (".safetensors", "_codes.npy", ".json", ".npz")
    )
    validation, evaluate = trial.data / "validation.npy", trial.evaluate
    files = {"first_stage": checkpoint, "codes_train": codes, "codes_test": codes, "test": validation}
    sizes = {"images": evaluate.reconstructions, "draws": evaluate.draws, "seed": evaluate.seed, "threads": THREADS}
    with timed(trial.folder, "measuring"):
        encode_splits(
            first_stage=checkpoint, data=[validation], state=trial.folder / "state_codes", out=[codes], threads=THREADS
        )
        reference = trial.data / "reference.npy"
        measure_reconstruction(
            **files, reference=reference, network=evaluate.features, out=out, pictures=pictures, **sizes
        )
    found = read_json(out)
    return {
        "distance": found["distance"]["frechet"],
        "distance_std": found["distance"]["frechet_std"],
        "psnr": found["psnr"],
        "perceptual": found["perceptual"]["value"],
        "usage": found["usage"]["test"]["seen"],
    }


def tried(trial: Trial, method: str) -> dict[str, Any]:
    """Train a method on the codes of the trial's source, or on pixels; its bits per validation code, its samples."""
    from vqddm.evaluate.likelihood import measure_likelihood
    from vqddm.evaluate.measure import measure_samples
    from vqddm.prior.sample import sample_images
    from vqddm.refit.codes import encode_splits

    assert trial.source is not None
    folder, evaluate, about = trial.folder, trial.evaluate, METHODS[method]
    checkpoint, samples, measures = (folder / f"{method}{end}" for end in (".safetensors", "_samples.npy", ".json"))
    before, stage = trial.source
    first_stage = before.folder / f"{stage}.safetensors" if about.fills == "codes" else None
    kept = {"state": folder / f"state_{method}", "out": checkpoint, "curve": checkpoint.with_suffix(".csv")}
    splits = [folder / f"codes_{split}.npy" for split in ("train", "validation")]
    examples: dict[str, Any] = {"data": trial.data / "train.npy"}
    if first_stage is not None:
        pictures = [trial.data / f"{split}.npy" for split in ("train", "validation")]
        encode_splits(first_stage=first_stage, data=pictures, state=folder / "state_codes", out=splits, threads=THREADS)
        examples = {"codes": splits[0], "codebook_size": codebook_size(stage)}
    with timed(folder, method):
        imported(about.train)(**examples, params=getattr(trial.resolved, method), threads=THREADS, **kept)
    found: dict[str, Any] = {}
    with timed(folder, "measuring"):
        if "likelihood" in about.commands:
            codes = {"codes_train": splits[0], "codes_test": splits[1], "images": evaluate.nll_images}
            measure_likelihood(checkpoint=checkpoint, **codes, seed=evaluate.seed, out=measures, threads=THREADS)
            bits = read_json(measures)["test"]
            found |= {"bits": bits["bits_per_code"], "bits_error": bits["standard_error"]}
        steps = trial.resolved.steps(method, evaluate)[-1] if about.strided else None
        how = {"steps": steps, "temperature": evaluate.temperature, "seed": evaluate.seed, "threads": THREADS}
        files = {"first_stage": first_stage, "out": samples, "state": folder / "state_samples"}
        sample_images(checkpoint=checkpoint, count=evaluate.samples, **files, **how)
        measuring = {"network": evaluate.features, "draws": evaluate.draws, "seed": evaluate.seed, "threads": THREADS}
        measure_samples(samples=samples, reference=trial.data / "reference.npy", out=measures, **measuring)
    distance = read_json(measures)["distance"]
    return found | {"distance": distance["frechet"], "distance_std": distance["frechet_std"]}


def result(trial: Trial) -> dict[str, Any] | None:
    """What a trial gave with just these settings, None where that was not measured."""
    settings, found = trial.folder / "settings.json", trial.folder / "result.json"
    if not found.exists() or read_json(settings) != trial.settings:
        return None
    return dict(read_json(found))


def ready(trial: Trial) -> bool:
    """What it goes on from is there."""
    return trial.source is None or result(trial.source[0]) is not None


def work_off(trials: list[Trial], jobs: int) -> None:
    """Each trial in a process of its own, at low priority; a signal to this process stops them all after a save."""
    waiting: list[Trial] = [trial for trial in trials if result(trial) is None]
    running: dict[Popen[bytes], Trial] = {}
    died: list[Trial] = []

    def stop(number: int, frame: object) -> None:
        for process in running:
            process.send_signal(number)
        for process in running:
            process.wait()
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    environment = os.environ | {"OMP_NUM_THREADS": str(THREADS)}
    while waiting or running:
        if ended := [process for process in running if process.poll() is not None]:
            died += [trial for trial in map(running.pop, ended) if result(trial) is None]
            write_tables()
        while waiting and len(running) < jobs:
            trial = next((one for one in waiting if ready(one)), None)
            if trial is None and not running:
                one = waiting[0]
                raise UserError(f"{one.dataset}/{one.name}: a trial that it goes on from gave no result; see its log")
            if trial is None:
                break  # all others go on from what is running
            waiting.remove(trial)
            print(f"{time.strftime('%H:%M:%S')} {trial.dataset}/{trial.name}; {len(waiting)} wait", flush=True)
            command = ["nice", "-n", "19", sys.executable, __file__, "--trial", f"{trial.dataset}/{trial.name}"]
            log = trial.folder.with_suffix(".log")
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as written:
                running[subprocess.Popen(command, env=environment, stdout=written, stderr=written)] = trial
        time.sleep(1)
    if died:
        logs = ", ".join(str(trial.folder.with_suffix(".log")) for trial in died)
        raise UserError(f"{len(died)} of the trials died; see {logs}")


def write_tables() -> None:
    """`docs/search.csv` and `docs/search.md`: what was tried, what it gave, which was chosen.

    They stay as they are where they tell of trials whose results are not at hand, as in a fresh clone.
    """
    import pandas as pd

    trials, chosen = planned()
    rows: list[dict[str, Any]] = []
    for trial in trials:
        if (found := result(trial)) is not None:
            rows += rows_of(trial, found, trial.name in chosen.get(trial.dataset, []))
    missing = {(trial.dataset, trial.name) for trial in trials} - {(row["dataset"], row["trial"]) for row in rows}
    if lost := sorted(told_trials() & missing):
        example = "/".join(lost[0])
        print(f"docs/search.* stay: no results here of {len(lost)} trials in them, such as {example}", flush=True)
        return
    asked = read_file(TRIALS).values
    words = in_words(trials, rows, asked.get("note") or "") + left_open(asked.get("open") or {}, rows)
    with replacing(DOCS / "search.csv") as aside:
        pd.DataFrame(rows).to_csv(aside, index=False, float_format="%.4f")
    with replacing(DOCS / "search.md") as aside:
        aside.write_text(words)


def told_trials() -> set[tuple[str, str]]:
    """Datasets and trials of which `docs/search.csv` tells."""
    import pandas as pd

    if not (path := DOCS / "search.csv").exists():
        return set()
    told = pd.read_csv(path)
    return set(zip(told["dataset"], told["trial"], strict=True))


def rows_of(trial: Trial, found: Mapping[str, Any], chosen: bool) -> list[dict[str, Any]]:
    """The CSV's rows of a trial, one for all that was measured; CPU minutes are those of all that were made for it."""
    rows = []
    for what in (*trial.first_stages, *trial.methods):
        if what not in found and rows:
            break  # the one before failed, and says so
        minutes, stage = 0.0, what
        while stage:
            minutes += found["cpu"].get(stage, 0) / 60
            stage = (None if what in trial.methods else made_from(stage, trial.resolved)) or ""
        about = {"dataset": trial.dataset, "trial": trial.name, "chosen": chosen, "what": what}
        rows.append(about | found.get(what, {}) | {"cpu_minutes": minutes})
    rows[-1]["failed"] = found.get("failed", "")
    said = {"changes": json.dumps(trial.changes, sort_keys=True), "settings": json.dumps(trial.settings)}
    return [row | said for row in rows]


def in_words(trials: list[Trial], rows: list[dict[str, Any]], note: str) -> str:
    """The table as it is read, below what is to be known of it."""
    lines = [
        "# What was tried",
        "",
        "Written by `make search` from [`search/trials.yaml`](../search/trials.yaml). Every trial trains on the "
        "training pictures and is measured on the validation pictures; no test picture was looked at. Distances are "
        "Fréchet distances to training pictures, of reconstructed validation pictures for a first stage and of samples "
        "for a method that fills its codes (or pixels), mean and deviation of draws; bits are those of a validation "
        "code, with their standard error; CPU minutes are those of the training and of what it goes on from. One "
        f"training stands behind each row. Bold: chosen. {note}".strip(),
        "",
    ]
    for dataset, trial in {trial.dataset: trial for trial in trials}.items():
        floor = read_json(trial.data / "floor.json")["distance"]["frechet"]
        lines += [f"## {dataset} (validation pictures themselves: {floor:.1f})", ""]
        lines += [
            "| trial | what | distance | PSNR | codes used | bits | CPU min | what it changes |",
            "| --- " * 8 + "|",
        ]
        lines += [line_of(row) for row in rows if row["dataset"] == dataset]
        lines.append("")
    return "\n".join(lines)


def left_open(questions: Mapping[str, Mapping[str, list[list[str]]]], rows: list[dict[str, Any]]) -> str:
    """What the paper leaves open: each choice beside the others, from the trainings that trials.yaml names."""
    if not questions:
        return ""
    found = {(row["trial"], row["what"]): row for row in rows}
    lines = [
        "",
        "## What the paper leaves open",
        "",
        "Trials of the prior on faces side by side, each the base but for what its row says (width 48, 1,000 steps): "
        "the mean over trainings, with both values in brackets where there are two.",
        "",
        "| | choice | bits | distance | trainings |",
        "| --- " * 5 + "|",
    ]
    for question, choices in questions.items():
        for choice, trainings in choices.items():
            there = [row for trial, method in trainings if (row := found.get((trial, method)))]
            bits, distance = (_mean_of([row[name] for row in there], form) for name, form in MEASURES.items())
            lines.append(f"| {question} | {choice} | {bits} | {distance} | {len(there)} |")
            question = ""
    return "\n".join([*lines, ""])


def _mean_of(values: list[float], form: str) -> str:
    """A mean, and the values where they are several; empty where there are none."""
    if not values:
        return ""
    several = f" ({', '.join(format(value, form) for value in values)})" if len(values) > 1 else ""
    return f"{fmean(values):{form}}{several}"


def line_of(row: Mapping[str, Any]) -> str:
    """A row of the Markdown table."""
    name = f"**{row['trial']}**" if row["chosen"] else row["trial"]
    cells = ["", "", "", ""]
    if "distance" in row:
        spread = "" if row["distance_std"] is None else f" ± {row['distance_std']:.1f}"
        cells[0] = f"{row['distance']:.1f}{spread}"
    if "psnr" in row:
        cells[1:3] = f"{row['psnr']:.1f}", f"{row['usage']:.0%}"
    if "bits" in row:
        cells[3] = f"{row['bits']:.3f} ± {row['bits_error']:.3f}"
    said = f"`{row['changes']}`" if row["changes"] != "{}" else "nothing: the base that the others change"
    if row.get("failed"):
        said += f"; failed: {row['failed'].splitlines()[0]}"
    return f"| {' | '.join([name, row['what'], *cells, format(row['cpu_minutes'], '.1f'), said])} |"


def main() -> None:
    """What the command line asks for: all trials, one of them, or the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--trial", help="this one alone, in this process: DATASET/NAME")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="trials at a time (default: the cores)")
    parser.add_argument("--tables", action="store_true", help="write the tables of what is there, try nothing")
    given = parser.parse_args()
    trials, _ = planned()
    if given.trial:
        run_trial(next(trial for trial in trials if f"{trial.dataset}/{trial.name}" == given.trial))
        return
    if not given.tables:
        for trial in {trial.dataset: trial for trial in trials if trial.source is None}.values():
            prepare_dataset(trial)
        work_off(trials, given.jobs)
    write_tables()


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"search: {error}")
