"""How many steps each training of a dataset takes in the seconds that it is given, by the measured speed of this card.

Reads what `gpu/benchmark.py` wrote and writes a file that Snakemake merges over `params.yaml` (`--configfile`).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from vqddm.methods import METHODS
from vqddm.params import load

SLOWER = 0.85  # other jobs run beside a training
# Seconds of what lies around the trainings: starts, features, k-means, codes. In the third run (results/gpu/run.log)
# the chain up to the prior took 337 s, of which the steps of trainings are 219 s by their speeds.
AROUND = 120
COLUMNS = ["work", "way", "batch", "seconds", "per_second"]  # that are read
REFIT = 0.8  # a step of ReFiT beside one of the VQ-GAN: the encoder has no gradients
SAMPLES = (100, 200, 500, 1000, 2000)  # that may be drawn, in batches of at most 1,000


def steps(seconds: float, each: float) -> int:
    """Steps in so many seconds, rounded to 50, at least 50."""
    return max(50, round(SLOWER * seconds / each / 50) * 50)


def shortened(seconds: dict[str, float], left: float) -> dict[str, float]:
    """The seconds of trainings and sampling, all by one factor fewer where less time is left than they take."""
    share = min(1.0, max(0.0, left - AROUND) / sum(seconds.values()))
    return {name: share * each for name, each in seconds.items()}


def seconds_of(table: pd.DataFrame, work: str, batch: int) -> float | None:
    """Seconds of one call of a work's fast way; of another batch where that one was not measured."""
    rows = table[table["work"].str.startswith(work) & (table["way"] == "fast")]
    if rows.empty:
        return None
    row = rows.iloc[(rows["batch"] - batch).abs().argmin()]
    return float(row["seconds"]) * batch / float(row["batch"])


def budget(
    table: pd.DataFrame, dataset: str, params: Path, seconds: dict[str, float], batch: int = 0
) -> dict[str, Any]:
    """The keys of params.yaml to be changed; a work that was not measured keeps what stands there.

    `seconds` are those of each training, and of all sampling; `batch` is the VQ-GAN's, 0 for what params.yaml has.
    """
    known = load(params)
    about, evaluate = known.datasets[dataset], known.suites["gpu"].evaluate
    found: dict[str, Any] = {}
    batch = batch or about.vqgan.training.batch_size
    vqgan = seconds_of(table, "VQ-GAN, training step", batch)
    if vqgan:
        count = steps(seconds["vqgan"], vqgan)
        found["vqgan"] = {"training": {"steps": count, "batch_size": batch}}
        if about.vqgan.loss.discriminator_start < about.vqgan.training.steps:
            start = round(count * about.vqgan.loss.discriminator_start / about.vqgan.training.steps)
            found["vqgan"]["loss"] = {"discriminator_start": start}
        found["refit"] = {"training": {"steps": steps(seconds["refit"], REFIT * vqgan)}}
    prior = seconds_of(table, "prior, training step", about.prior.training.batch_size)
    if prior:
        found["prior"] = {"training": {"steps": steps(seconds["prior"], prior)}}
    whole: dict[str, Any] = {"suite": "gpu"}
    if found:
        whole["datasets"] = {dataset: found}
    sampled = table[table["work"].str.startswith("prior, ") & table["work"].str.endswith("sampling steps")]
    fast = sampled[sampled["way"] == "fast"].sort_values("per_second")
    if not fast.empty:
        at_once = int(fast.iloc[-1]["work"].split()[1])
        # of one sample: all steps on each prior, and the sweep on the first, by each sampler
        last, sweep = about.prior.diffusion.timesteps, sum(evaluate.step_sweep)
        others = sum(METHODS[name].of == "prior" for name in about.methods)
        count = last * len(about.priors) + sweep + others * (last + sweep)
        each = count / at_once / float(fast.iloc[-1]["per_second"])
        fits = [n for n in SAMPLES if n <= evaluate.samples and n * each <= seconds["samples"]] or [SAMPLES[0]]
        if fits[-1] < evaluate.samples:
            whole["suites"] = {"gpu": {"evaluate": {"samples": fits[-1]}}}
        print(f"{evaluate.samples} samples of each kind take {evaluate.samples * each:.0f} s")
    return whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--benchmark", type=Path, required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--out", type=Path, required=True)
    for name in ("vqgan", "refit", "prior", "samples"):
        parser.add_argument(f"--{name}", type=float, required=True, help="seconds")
    parser.add_argument("--left", type=float, required=True, help="seconds until all must be done")
    parser.add_argument(
        "--rate",
        type=float,
        default=0,
        help="the VQ-GAN's learning rate, and that of ReFiT's decoder; 0: as params.yaml has it",
    )
    parser.add_argument("--batch", type=int, default=0, help="the VQ-GAN's batch size; 0: as params.yaml has it")
    given = parser.parse_args()
    seconds = {name: getattr(given, name) for name in ("vqgan", "refit", "prior", "samples")}
    seconds = shortened(seconds, given.left)
    table = pd.read_csv(given.benchmark) if given.benchmark.exists() else pd.DataFrame(columns=COLUMNS)
    found = budget(table, given.dataset, given.params, seconds, given.batch)
    if given.rate:  # ReFiT's decoder goes on at the same
        about = found.setdefault("datasets", {}).setdefault(given.dataset, {})
        about.setdefault("vqgan", {})["learning_rate"] = given.rate
        about.setdefault("refit", {})["decoder_learning_rate"] = given.rate
    given.out.write_text(yaml.safe_dump(found, sort_keys=False))
    print(yaml.safe_dump(found, sort_keys=False, default_flow_style=True, width=1000).strip())


if __name__ == "__main__":
    main()
