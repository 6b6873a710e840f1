"""In which kernels a step of each of the paper's networks spends its time on this card, as CSV: the longest of each.

`busy` is the card's time in all kernels of a step, `step` the step's own time: where they are far apart the card waits
for the host. Weights and pictures are noise.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from benchmark import CUDA, prior_step, rehearsed, sampling_step, timed, vqgan_step
from torch.profiler import ProfilerActivity, profile

from vqddm.params import Dataset, load

LONGEST = 15  # kernels of each network that are told
REPEATED = 3  # steps that are watched


def watched(work: Callable[[], object]) -> pd.DataFrame:
    """The kernels of one step: milliseconds and calls, the longest first; on a CPU the operators."""
    step = timed(work, 0.5 if CUDA else 0) * 1e3
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * CUDA
    with profile(activities=activities) as profiler:
        for _ in range(REPEATED):
            work()
        if CUDA:
            torch.cuda.synchronize()
    told = profiler.key_averages()
    kernels = [event for event in told if not CUDA or event.device_type == torch.autograd.DeviceType.CUDA]
    rows = [
        {
            "kernel": event.key[:120],
            "calls": event.count / REPEATED,
            "milliseconds": (event.self_device_time_total if CUDA else event.self_cpu_time_total) / 1e3 / REPEATED,
        }
        for event in kernels
    ]
    found = pd.DataFrame(rows).sort_values("milliseconds", ascending=False)
    return found.assign(busy=found["milliseconds"].sum(), step=step).head(LONGEST)


def works(dataset: Dataset) -> dict[str, Callable[[], Callable[[], object]]]:
    """What prepares each step that is watched."""
    autoencoder, prior, batch = dataset.vqgan.autoencoder, dataset.prior, dataset.prior.training.batch_size
    side, many = autoencoder.resolution // autoencoder.downsampling, 1000 if CUDA else 2
    return {
        "VQ-GAN, training step": lambda: vqgan_step(dataset, dataset.vqgan.training.batch_size, "fast"),
        "prior, training step": lambda: prior_step(prior, side, batch, "fast"),
        "prior, sampling steps": lambda: sampling_step(prior, side, many, "fast"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="faces256")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--only", default="", help="works whose names begin so")
    parser.add_argument("--rehearse", action="store_true", help="at half the resolution, with small batches")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    dataset = load(given.params).datasets[given.dataset]
    if given.rehearse:
        dataset = rehearsed(dataset)
    found: list[pd.DataFrame] = []
    for name, prepare in works(dataset).items():
        if not name.startswith(given.only):
            continue
        rows = watched(prepare())
        found.append(rows.assign(work=name)[["work", "step", "busy", "kernel", "calls", "milliseconds"]])
        print(f"{name}: {rows['step'].iloc[0]:.1f} ms, the card busy for {rows['busy'].iloc[0]:.1f}", flush=True)
        print(rows[["milliseconds", "calls", "kernel"]].head(6).to_string(index=False), flush=True)
        pd.concat(found).round(4).to_csv(given.out, index=False)
        if CUDA:
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
