"""Samples of any method, as files."""

from collections.abc import Iterable
from pathlib import Path

from vqddm.artifacts import UserError, fingerprint, read_array, write_batches
from vqddm.batches import (
    BATCH,
    BATCH_ON_GPU,
    Plan,
    draw_batches,
    forget_batches,
    join_batches,
    numbers_of,
    plan_batches,
)
from vqddm.compute import at_once, device, limit_threads, mixed
from vqddm.samplers import Process, Sampler, Sampling, check_sampling, fills_codes, load_pair, load_sampler
from vqddm.state import alone_in
from vqddm.vqgan.codec import Codec, decoded


def sample_images(
    *,
    checkpoint: Path,
    first_stage: Path | None = None,
    steps: int | None = None,
    count: int = 64,
    seed: int = 0,
    temperature: float = 1.0,
    eta: float = 0.0,
    sampler: Process = "ancestral",
    state: Path,
    codes: Path | None = None,
    out: Path,
    threads: int | None = None,
) -> None:
    """Sample images: code maps of a first stage, which are decoded, or pixels.

    Args:
        first_stage: checkpoint of the first stage that it was trained on; a method that fills pixels has none.
        steps: sampling steps, from 1 to T; left out: all.
        eta: of pixel diffusion: 0 is DDIM; 1 with all T steps is DDPM.
        sampler: of diffusion on codes: ancestral draws z_s from p(z_s | z_t); renoise draws z_0 and diffuses it.
        state: folder of finished batches, those of `sample_shard` too; they are deleted at the end.
        codes: the sampled code maps to write, uint16 (count, h, w), if it fills code maps.
        out: the images to write, uint8 (count, H, W, 3).

    Raises:
        UserError: method and first stage do not fit, or numbers that cannot be.
    """
    limit_threads(threads)
    decoder: Codec | None = None
    method: Sampler
    if first_stage is None:
        method, drawn = load_sampler(checkpoint, device()), out
    else:
        method, decoder = load_pair(checkpoint, first_stage, device())
        drawn = codes or out.with_name(f"{out.stem}_codes.npy")
    if decoder is None and fills_codes(method):
        raise UserError(
            f"{checkpoint}: a {method.about['kind']} fills code maps; give the first stage that decodes them"
        )
    how = _how(method, steps, temperature, eta, sampler, count)
    with alone_in(state):
        plan = _plan(checkpoint, method, how, count, seed, state, threads)
        _draw(plan, method, how)
        join_batches(plan, drawn)
        if decoder is not None:
            write_batches(out, decoded(decoder, read_array(drawn)), count)
        forget_batches(state)


def sample_shard(
    *,
    checkpoint: Path,
    shard: str,
    steps: int | None = None,
    count: int = 64,
    seed: int = 0,
    temperature: float = 1.0,
    eta: float = 0.0,
    sampler: Process = "ancestral",
    state: Path,
    threads: int | None = None,
) -> None:
    """Draw a part of the batches of a sampling, to share it among several processes, also on several machines.

    Whoever then samples with the same settings into the same `state` finds them there; with others it draws anew.

    Args:
        shard: which part: 2-of-8 is the second of eight.
        steps: sampling steps, from 1 to T; left out: all.
        count: number of images of the whole sampling.
        eta: of pixel diffusion: 0 is DDIM; 1 with all T steps is DDPM.
        sampler: of diffusion on codes: ancestral draws z_s from p(z_s | z_t); renoise draws z_0 and diffuses it.
        state: folder of finished batches.

    Raises:
        UserError: there is no such shard, or numbers that cannot be.
    """
    limit_threads(threads)
    method = load_sampler(checkpoint, device())
    how = _how(method, steps, temperature, eta, sampler, count)
    plan = _plan(checkpoint, method, how, count, seed, state, threads)
    numbers = numbers_of(shard, plan)
    with alone_in(state / shard):
        _draw(plan, method, how, numbers)


def _how(method: Sampler, steps: int | None, temperature: float, eta: float, sampler: Process, count: int) -> Sampling:
    """How to draw, checked."""
    how = Sampling(method.steps[-1] if steps is None else steps, temperature, eta, sampler)
    check_sampling(method, how, count)
    return how


def _plan(
    checkpoint: Path, method: Sampler, how: Sampling, count: int, seed: int, state: Path, threads: int | None
) -> Plan:
    return plan_batches(
        count=count,
        batch_size=at_once(device(), BATCH, BATCH_ON_GPU) if fills_codes(method) else BATCH,
        seed=seed,
        settings=[fingerprint(checkpoint), *how, threads],
        state=state,
        device=device(),
    )


def _draw(plan: Plan, method: Sampler, how: Sampling, numbers: Iterable[int] | None = None) -> None:
    with mixed(method.network):
        draw_batches(
            plan,
            lambda size, generator, tick: method.draw(size, how, generator, tick),
            ticks=how.steps,
            numbers=numbers,
        )
