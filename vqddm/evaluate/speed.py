"""Seconds per sampling step and per decoded image (section 4.3, Figures 5 and 6)."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from vqddm.artifacts import write_json
from vqddm.baselines.ddpm.network import sample_pixels
from vqddm.baselines.ddpm.train import load_ddpm
from vqddm.baselines.transformer.raster import complete_codes
from vqddm.baselines.transformer.train import load_transformer
from vqddm.evaluate.draws import mean_and_spread
from vqddm.prior.sample import sample_codes
from vqddm.prior.train import load_prior
from vqddm.training import limit_threads
from vqddm.vqgan.codec import PIXELS
from vqddm.vqgan.model import load_first_stage

BATCH = 64
STEPS = 10
REPEATS, ENOUGH = 5, 30.0  # at most so many repeats, none after so many seconds


def seconds(work: Callable[[], object], device: str) -> tuple[float, float | None]:
    """Mean wall seconds of `work` over a few repeats, after one that is not counted, and their standard deviation."""

    def timed() -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    timed()
    times = [timed()]
    while len(times) < REPEATS and sum(times) < ENOUGH:
        times.append(timed())
    return mean_and_spread(times)


def _of_each(name: str, timed: tuple[float, float | None], count: int) -> dict[str, float | None]:
    """The mean of a timing, and its deviation as `…_std`, for one of `count`."""
    mean, spread = timed
    return {name: mean / count, f"{name}_std": None if spread is None else spread / count}


def measure_speed(
    prior: Path,
    first_stage: Path,
    first_stage_name: str,
    transformer: Path | None,
    ddpm: Path | None,
    out: Path,
    threads: int | None = None,
) -> None:
    """Time sampling steps of the prior and the decoder, and what is compared with, in the same run.

    These numbers differ from run to run.

    Args:
        prior: the prior's checkpoint.
        first_stage: checkpoint of its first stage.
        first_stage_name: recorded in the output.
        transformer: checkpoint of a transformer on the same codes, if there is one.
        ddpm: checkpoint of a pixel diffusion of the same images, if there is one.
        out: JSON of the seconds per image: means over a few repeats, and standard deviations as `…_std`.
        threads: CPU threads.
    """
    limit_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, schedule, about = load_prior(prior, device)
    decoder, _ = load_first_stage(first_stage, device)
    generator = torch.Generator(device).manual_seed(0)
    shape = (BATCH, *about["latent_size"])
    codes = torch.randint(about["codebook_size"], shape, device=device, generator=generator)
    steps = min(STEPS, schedule.timesteps)
    with torch.no_grad():
        stepping = seconds(lambda: sample_codes(model, schedule, shape, steps, 1.0, generator), device)
        decoded = codes[: max(1, min(BATCH, PIXELS // decoder.params.resolution**2))]
        decoding = seconds(lambda: decoder.decode(decoded), device)
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if device == "cuda" else platform.machine(),
        "threads": torch.get_num_threads(),
        "batch_size": BATCH,
        "first_stage": first_stage_name,
        **_of_each("seconds_per_step", stepping, steps * BATCH),
        **_of_each("seconds_decode", decoding, len(decoded)),
        "timesteps": schedule.timesteps,
        "prior_parameters": sum(p.numel() for p in model.parameters()),
    }
    if transformer is not None:
        network, _ = load_transformer(transformer, device)
        nothing = torch.zeros(shape, dtype=torch.bool, device=device)
        whole = seconds(lambda: complete_codes(network, codes, nothing, None, 1.0, generator), device)
        positions = codes[0].numel()
        found["transformer"] = _of_each("seconds_per_step", whole, positions * BATCH) | {"steps": positions}
    if ddpm is not None:
        pixels, params, about_pixels = load_ddpm(ddpm, device)
        side = about_pixels["resolution"]
        whole = seconds(
            lambda: sample_pixels(pixels, params.timesteps, (BATCH, 3, side, side), STEPS, 0.0, generator), device
        )
        found["ddpm"] = _of_each("seconds_per_step", whole, STEPS * BATCH) | {"timesteps": params.timesteps}
    write_json(out, found)
