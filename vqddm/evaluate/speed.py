"""Seconds per sampling step and per decoded image (section 4.3, Figures 5 and 6)."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from vqddm.artifacts import write_json
from vqddm.compute import at_once, device, limit_threads, machine_name, mixed
from vqddm.evaluate.draws import mean_and_spread
from vqddm.samplers import CodeSampler, Sampler, Sampling, load_pair, load_sampler
from vqddm.vqgan.codec import PIXELS, Codec

BATCH = 64
STEPS, STEPS_ON_GPU = 10, 500  # of a chain: on a GPU its first steps are launched one by one, then recorded
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


def of_one(timed: tuple[float, float | None], count: int, name: str = "seconds_per_step") -> dict[str, float | None]:
    """The mean of a timing, and its deviation as `…_std`, for one of `count`."""
    mean, spread = timed
    return {name: mean / count, f"{name}_std": None if spread is None else spread / count}


def time_a_step(sampler: Sampler, generator: torch.Generator) -> dict[str, float | None]:
    """Seconds of a sampling step of one example, in batches of `BATCH`.

    They are means over a chain of `STEPS` steps, on a GPU of `STEPS_ON_GPU`. In a longer one fewer positions change in
    each, so that the prior's steps are somewhat cheaper than told.
    """
    steps = at_once(generator.device, STEPS, STEPS_ON_GPU)
    steps = steps if steps in sampler.steps else sampler.steps[-1]
    with mixed(sampler.network):
        drawing = seconds(lambda: sampler.draw(BATCH, Sampling(steps), generator, lambda: None), generator.device.type)
    return of_one(drawing, steps * BATCH)


def time_decoding(sampler: CodeSampler, decoder: Codec, generator: torch.Generator) -> dict[str, float | None]:
    """Seconds of decoding one code map."""
    count = max(1, min(BATCH, PIXELS // decoder.params.resolution**2))
    where = generator.device
    codes = torch.randint(sampler.codebook_size, (count, *sampler.shape), device=where, generator=generator)
    with torch.no_grad(), mixed(decoder):
        return of_one(seconds(lambda: decoder.decode(codes), where.type), count, "seconds_decode")


def measure_speed(
    *,
    prior: Path,
    first_stage: Path,
    name: str,
    transformer: Path | None = None,
    ddpm: Path | None = None,
    out: Path,
    threads: int | None = None,
) -> None:
    """Time sampling steps of the prior and the decoder, and the baselines beside them, in the same run.

    These numbers differ from run to run.

    Args:
        prior: checkpoint of a prior.
        name: name of the first stage, recorded in the output.
        transformer: checkpoint of a transformer on the same codes, if there is one.
        ddpm: checkpoint of a pixel diffusion of the same images, if there is one.
        out: JSON to write, of seconds per image: means over a few repeats, and standard deviations as `…_std`.
    """
    limit_threads(threads)
    sampler, decoder = load_pair(prior, first_stage, device())
    generator = torch.Generator(device()).manual_seed(0)
    found: dict[str, Any] = {
        "device": machine_name(),
        "threads": torch.get_num_threads(),
        "batch_size": BATCH,
        "first_stage": name,
        **time_a_step(sampler, generator),
        **time_decoding(sampler, decoder, generator),
        "timesteps": sampler.steps[-1],
        "prior_parameters": sum(p.numel() for p in sampler.network.parameters()),
    }
    for baseline, checkpoint, most in (("transformer", transformer, "steps"), ("ddpm", ddpm, "timesteps")):
        if checkpoint is not None:
            other = load_sampler(checkpoint, device())
            found[baseline] = time_a_step(other, generator) | {most: other.steps[-1]}
    write_json(out, found)
