"""Trials of the first stage's recipe, each judged by validation pictures alone: `make search`.

`trials.yaml` beside this file says what is tried. A trial trains a VQ-GAN on a dataset's training pictures, rebuilds
its codebook and fine-tunes it (ReFiT), with the project's own functions, and measures both as Table 1 does, but for one
thing: what is reconstructed are validation pictures. No test picture is ever read. What is done is kept in
`search/state/` and not done again; a trial that was stopped goes on where it was. The tables are `docs/search.csv` and
`docs/search.md`.
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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
TRIALS = Path(__file__).with_name("trials.yaml")
STATE = Path(__file__).with_name("state")
DOCS = ROOT / "docs"
THREADS = 1  # of a trial; results may differ in their last bits with their number


class Trial(NamedTuple):
    """One recipe on one dataset, and the whole of the settings that it means."""

    name: str
    dataset: str
    changes: dict[str, Any]  # what trials.yaml says of it
    settings: dict[str, Any]  # data, vqgan, refit: all that its result depends on

    @property
    def folder(self) -> Path:
        return STATE / self.dataset / self.name


class Search(NamedTuple):
    """The whole of `trials.yaml`."""

    suite: str  # whose `evaluate` says how much is measured
    vqgan: str
    refit: str
    trials: list[Trial]
    chosen: dict[str, str]


def planned() -> Search:
    """Read `trials.yaml` and lay each trial over params.yaml.

    Raises:
        UserError: a setting that there is not, or a chosen trial that is none.
    """
    from vqddm.artifacts import UserError
    from vqddm.params import read, resolve
    from vqddm.yaml_file import merged, read_file

    asked, values = read_file(TRIALS).values, read([ROOT / "params.yaml"]).values
    trials = []
    for name, changes in asked["trials"].items():
        changes = dict(changes or {})
        for dataset in changes.pop("datasets", asked["datasets"]):
            laid = {"datasets": {dataset: merged(asked["base"], changes)}}
            resolved = resolve(merged(values, laid), where=f"{TRIALS.name}: {name}").datasets[dataset]
            whole = resolved.model_dump(mode="json", include={"data", "vqgan", "refit"}, exclude_unset=True)
            trials.append(Trial(name, dataset, changes, json.loads(json.dumps(whole))))
    chosen = dict(asked.get("chosen") or {})
    if unknown := [name for name in chosen.items() if name not in {(t.dataset, t.name) for t in trials}]:
        raise UserError(f"{TRIALS.name}: chosen: {unknown[0]} is no trial")
    return Search(asked["suite"], asked["vqgan"], asked["refit"], trials, chosen)


def data_of(dataset: str) -> Path:
    """Where the search keeps a dataset's splits and features."""
    return STATE / "data" / dataset


def prepare_dataset(search: Search, dataset: str, about: Mapping[str, Any]) -> None:
    """The splits of a dataset, the reference's features, and the distance of validation pictures themselves."""
    from vqddm.artifacts import UserError, write_json
    from vqddm.data.prepare import prepare
    from vqddm.data.settings import DataParams
    from vqddm.evaluate.measure import extract_features, measure_floor
    from vqddm.settings import parse

    folder, evaluate = data_of(dataset), evaluation(search)
    made, wanted = folder / "made.json", {"data": dict(about), "evaluate": evaluate}
    if made.exists() and json.loads(made.read_text()) == wanted:
        return
    if about["validation"] < evaluate["reconstructions"]:
        raise UserError(
            f"{dataset}: {about['validation']} validation pictures; {evaluate['reconstructions']} are needed"
        )
    prepare(parse(DataParams, about), folder, workers=1)
    network = evaluate["features"]
    reference, held_out = folder / "reference.npy", folder / "held_out.npy"
    counts = {reference: ("train", evaluate["reference"]), held_out: ("validation", evaluate["reconstructions"])}
    for out, (split, count) in counts.items():
        extract_features(data=folder / f"{split}.npy", count=count, out=out, network=network, threads=THREADS)
    measured = {"network": network, "draws": evaluate["draws"], "seed": evaluate["seed"]}
    measure_floor(train=reference, test=held_out, out=folder / "floor.json", **measured)
    write_json(made, wanted)


def evaluation(search: Search) -> dict[str, Any]:
    """Sizes of the measuring, as Table 1 of the suite has them."""
    from vqddm.params import load

    found = load(ROOT / "params.yaml").suites[search.suite].evaluate
    return found.model_dump(mode="json", include={"features", "reference", "reconstructions", "draws", "seed"})


@contextmanager
def timed(folder: Path, what: str) -> Iterator[None]:
    """Add this process's CPU seconds in the block to those that `cpu.json` has; a kill loses those of its block."""
    path, began = folder / "cpu.json", time.process_time()
    try:
        yield
    finally:
        spent = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(spent | {what: spent.get(what, 0) + time.process_time() - began}))


def run_trial(search: Search, trial: Trial) -> None:
    """Train and measure one trial; write its `result.json`."""
    from vqddm.artifacts import UserError, write_json

    folder = trial.folder
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "settings.json"
    if settings.exists() and json.loads(settings.read_text()) != trial.settings:
        shutil.rmtree(folder)  # what lies there is of a trial that trials.yaml had under this name before
        folder.mkdir()
    write_json(settings, trial.settings)
    try:
        train_both(search, trial)
        found = {name: measured(search, trial, name) for name in ("vqgan", "refit")}
    except UserError as error:  # such as a loss that is not finite: that is a result too
        found = {"failed": str(error)}
    write_json(folder / "result.json", found | {"cpu": json.loads((folder / "cpu.json").read_text())})


def train_both(search: Search, trial: Trial) -> None:
    """The VQ-GAN, its rebuilt codebook, the fine-tuning; what is there is not made again."""
    from vqddm.first_stages import codebook_size, sampled_features
    from vqddm.refit.finetune import finetune
    from vqddm.refit.rebuild import rebuild
    from vqddm.refit.settings import RefitParams
    from vqddm.settings import parse
    from vqddm.vqgan.settings import VQGANParams
    from vqddm.vqgan.train import train_vqgan

    folder, data = trial.folder, data_of(trial.dataset) / "train.npy"
    vqgan, rebuilt, refit = (folder / f"{name}.safetensors" for name in ("vqgan", "rebuilt", "refit"))
    first, second = parse(VQGANParams, trial.settings["vqgan"]), parse(RefitParams, trial.settings["refit"])

    def kept(out: Path) -> dict[str, Any]:
        state, curve = folder / f"state_{out.stem}", out.with_suffix(".csv")
        return {"data": data, "state": state, "out": out, "curve": curve, "threads": THREADS}

    size, features = codebook_size(search.refit), sampled_features(search.refit)
    steps: dict[Path, Callable[[], None]] = {
        vqgan: lambda: train_vqgan(params=first, codebook_size=codebook_size(search.vqgan), **kept(vqgan)),
        rebuilt: lambda: rebuild(
            source=vqgan, data=data, params=second, codebook_size=size, features=features, out=rebuilt, threads=THREADS
        ),
        refit: lambda: finetune(source=rebuilt, params=second, **kept(refit)),
    }
    for out, make in steps.items():
        if not out.exists():
            with timed(folder, out.stem):
                make()


def measured(search: Search, trial: Trial, name: str) -> dict[str, Any]:
    """Table 1's numbers of one of its first stages, with validation pictures in place of all others."""
    from vqddm.artifacts import read_json
    from vqddm.evaluate.measure import measure_reconstruction
    from vqddm.refit.codes import encode_splits

    data, evaluate = data_of(trial.dataset), evaluation(search)
    checkpoint, codes, out = (trial.folder / f"{name}{end}" for end in (".safetensors", "_codes.npy", ".json"))
    with timed(trial.folder, "measuring"):
        encode_splits(first_stage=checkpoint, data=[data / "validation.npy"], out=[codes], threads=THREADS)
        measure_reconstruction(
            first_stage=checkpoint,
            codes_train=codes,
            codes_test=codes,
            test=data / "validation.npy",
            reference=data / "reference.npy",
            images=evaluate["reconstructions"],
            out=out,
            pictures=trial.folder / f"{name}.npz",
            network=evaluate["features"],
            draws=evaluate["draws"],
            seed=evaluate["seed"],
            threads=THREADS,
        )
    found = dict(read_json(out))
    distance = found["distance"]
    return {
        "name": distance["name"],
        "frechet": distance["frechet"],
        "frechet_std": distance["frechet_std"],
        "psnr": found["psnr"],
        "perceptual": found["perceptual"]["value"],
        "usage": found["usage"]["test"]["seen"],
    }


def result(trial: Trial) -> dict[str, Any] | None:
    """What a trial gave with just these settings, None where that was not measured."""
    settings, found = trial.folder / "settings.json", trial.folder / "result.json"
    if not found.exists() or json.loads(settings.read_text()) != trial.settings:
        return None
    return dict(json.loads(found.read_text()))


def work_off(trials: list[Trial], jobs: int) -> None:
    """Each trial in a process of its own, at low priority; a signal to this process stops them all after a save."""
    waiting, running = [trial for trial in trials if result(trial) is None], list[subprocess.Popen[bytes]]()

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
        if len(alive := [process for process in running if process.poll() is None]) < len(running):
            running[:] = alive
            write_tables()
        while waiting and len(running) < jobs:
            trial = waiting.pop(0)
            print(f"{time.strftime('%H:%M:%S')} {trial.dataset}/{trial.name}; {len(waiting)} wait", flush=True)
            command = ["nice", "-n", "19", sys.executable, __file__, "--trial", f"{trial.dataset}/{trial.name}"]
            log = trial.folder.with_suffix(".log")
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as written:
                running.append(subprocess.Popen(command, env=environment, stdout=written, stderr=written))
        time.sleep(1)


def write_tables() -> None:
    """`docs/search.csv` and `docs/search.md`: what was tried, what it gave, which was chosen."""
    import pandas as pd

    from vqddm.artifacts import replacing

    search = planned()
    rows = [row for trial in search.trials if (row := table_row(search, trial))]
    with replacing(DOCS / "search.csv") as aside:
        pd.DataFrame(rows).to_csv(aside, index=False, float_format="%.4f")
    with replacing(DOCS / "search.md") as aside:
        aside.write_text(in_words(search, rows))


def table_row(search: Search, trial: Trial) -> dict[str, Any] | None:
    """One row of the CSV, None where the trial has no result yet."""
    found = result(trial)
    if found is None:
        return None
    row: dict[str, Any] = {"dataset": trial.dataset, "trial": trial.name}
    row |= {"chosen": search.chosen.get(trial.dataset) == trial.name, "failed": found.get("failed", "")}
    for stage in ("vqgan", "refit"):
        row |= {f"{stage}_{key}": value for key, value in found.get(stage, {}).items() if key != "name"}
    row |= {f"cpu_minutes_{what}": seconds / 60 for what, seconds in found["cpu"].items() if what != "measuring"}
    return row | {"changes": json.dumps(trial.changes, sort_keys=True), "settings": json.dumps(trial.settings)}


def in_words(search: Search, rows: list[dict[str, Any]]) -> str:
    """The table as it is read."""
    lines = [
        "# What was tried for the first stage",
        "",
        "Written by `make search` from [`search/trials.yaml`](../search/trials.yaml). Every trial trains on the "
        "training pictures and is measured on the validation pictures; no test picture was looked at. Distances are "
        "Fréchet distances of reconstructed validation pictures to training pictures, mean and deviation of "
        f"{evaluation(search)['draws']} draws; one training stands behind each row. Bold: chosen.",
        "",
    ]
    for dataset in dict.fromkeys(trial.dataset for trial in search.trials):
        floor = data_of(dataset) / "floor.json"
        words = f" (held-out pictures themselves: {json.loads(floor.read_text())['distance']['frechet']:.1f})"
        lines += [f"## {dataset}{words if floor.exists() else ''}", ""]
        lines += ["| trial | VQ-GAN: distance, PSNR, codes used | after ReFiT | CPU min | what it changes |"]
        lines += ["| --- | --- | --- | --- | --- |"]
        lines += [line_of(row) for row in rows if row["dataset"] == dataset]
        lines.append("")
    return "\n".join(lines)


def line_of(row: Mapping[str, Any]) -> str:
    """A row of the Markdown table."""
    name = f"**{row['trial']}**" if row["chosen"] else row["trial"]
    minutes = sum(value for key, value in row.items() if key.startswith("cpu_minutes_"))
    changes = f"`{row['changes']}`" if row["changes"] != "{}" else "nothing: what all others differ from"
    if row["failed"]:
        return f"| {name} | failed: {row['failed'].splitlines()[0]} | | {minutes:.1f} | {changes} |"
    both = [
        f"{row[f'{stage}_frechet']:.1f} ± {row[f'{stage}_frechet_std']:.1f}, {row[f'{stage}_psnr']:.1f} dB, "
        f"{row[f'{stage}_usage']:.0%}"
        for stage in ("vqgan", "refit")
    ]
    return f"| {name} | {both[0]} | {both[1]} | {minutes:.1f} | {changes} |"


def main() -> None:
    """What the command line asks for: all trials, or one of them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--trial", help="this one alone, in this process: DATASET/NAME")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="trials at a time (default: the cores)")
    parser.add_argument("--tables", action="store_true", help="write the tables of what is there, try nothing")
    given = parser.parse_args()
    search = planned()
    if given.tables:
        write_tables()
    elif given.trial:
        run_trial(search, next(t for t in search.trials if f"{t.dataset}/{t.name}" == given.trial))
    else:
        for trial in {trial.dataset: trial for trial in search.trials}.values():
            prepare_dataset(search, trial.dataset, trial.settings["data"])
        work_off(search.trials, given.jobs)
        write_tables()


if __name__ == "__main__":
    from vqddm.artifacts import UserError

    try:
        main()
    except UserError as error:
        sys.exit(f"search: {error}")
