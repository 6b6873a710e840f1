"""What a suite costs on this machine: each of its networks at work for a moment, extrapolated (`make cost`).

Networks, batch sizes and precision are the suite's own, weights and pictures are noise. Counted are the method's own
trainings, its code maps, samples, completions and likelihoods; preparing data, feature networks, baselines and controls
are not.
"""

import gc
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor
from tqdm import tqdm

from vqddm.artifacts import UserError, replacing
from vqddm.batches import BATCH, BATCH_ON_GPU
from vqddm.compute import at_once, device, limit_threads, machine_name, mixed, step_generator
from vqddm.evaluate.speed import seconds
from vqddm.params import Dataset, EvaluateParams, Params, codebook_size
from vqddm.prior.masks import paper_masks
from vqddm.prior.reverse import sample_codes
from vqddm.prior.settings import PriorParams
from vqddm.prior.train import PriorRecipe
from vqddm.prior.unet import Prior
from vqddm.recipe import Recipe
from vqddm.recorded import BEFORE
from vqddm.refit.finetune import freeze_encoder
from vqddm.settings import OptimizerParams, TrainingParams
from vqddm.vqgan.codec import images_at_once
from vqddm.vqgan.model import Discriminator, FirstStage
from vqddm.vqgan.settings import AdversarialParams, AutoencoderParams
from vqddm.vqgan.train import FirstStageRecipe

QUOTED_STEPS = 1000  # of the paper's own timing (section 4.3)
Work = Callable[[], object]


class Item(NamedTuple):
    """One kind of work of a dataset."""

    dataset: str
    what: str
    codebook_size: int
    batch: int
    times: int  # how often the suite does it
    covers: int  # how many of these times one call of the work does
    prepare: Callable[[], Work]  # makes networks and inputs, in the process that is timed


def items(name: str, dataset: Dataset, evaluate: EvaluateParams, sweep: bool, micro_batch: int | None) -> list[Item]:
    """All that one dataset asks for; `times` counts training steps, images or evaluations of one code map.

    Args:
        sweep: its main prior is sampled with each number of steps (Figure 5).
        micro_batch: code maps of a prior's batch that go through the network at once.
    """
    found = []
    for first_stage in sorted({*dataset.first_stages, dataset.refit.source}):
        found += _first_stage_items(name, dataset, first_stage)
    for first_stage in dataset.priors:
        main = first_stage == dataset.priors[0]  # its completions and likelihoods are measured
        steps = {dataset.prior.diffusion.timesteps, *(evaluate.step_sweep if main and sweep else ())}
        found += _prior_items(name, dataset, evaluate, codebook_size(first_stage), steps, main, micro_batch)
    return found


def _first_stage_items(name: str, dataset: Dataset, first_stage: str) -> list[Item]:
    autoencoder, kind, codes = dataset.vqgan.autoencoder, first_stage.split("_")[0], codebook_size(first_stage)
    if kind not in ("vqgan", "refit"):
        return []
    images, pictures = images_at_once(autoencoder, device()), dataset.data.train + dataset.data.test
    encode = partial(_coding, autoencoder, codes, images, False)
    found = [Item(name, "encode an image", codes, images, pictures, images, encode)]
    if kind == "refit" or not dataset.vqgan.pretrained:
        section = dataset.vqgan if kind == "vqgan" else dataset.refit
        training = section.training
        step = partial(
            _first_stage_step, autoencoder, codes, section.loss, section.optimizer, training, kind == "refit"
        )
        what = {"vqgan": "VQ-GAN, training step", "refit": "ReFiT, training step"}[kind]
        found.insert(0, Item(name, what, codes, training.batch_size, training.steps, 1, step))
    return found


def _prior_items(
    name: str,
    dataset: Dataset,
    evaluate: EvaluateParams,
    codes: int,
    steps: set[int],
    main: bool,
    micro_batch: int | None,
) -> list[Item]:
    autoencoder, prior = dataset.vqgan.autoencoder, dataset.prior
    side, last = autoencoder.resolution // autoencoder.downsampling, prior.diffusion.timesteps
    masks = len(paper_masks(side, side)) + 1  # and a random one
    completed, likelihoods = (evaluate.inpaintings * masks, 2 * evaluate.nll_images) if main else (0, 0)
    evaluations = evaluate.samples * sum(steps) + (completed + likelihoods) * last
    decoded, images = evaluate.samples * len(steps) + completed, images_at_once(autoencoder, device())
    train = partial(_prior_step, prior, codes, side, micro_batch)
    batch = at_once(device(), BATCH, BATCH_ON_GPU)
    sample = partial(_evaluations, prior, codes, side, batch)
    decode = partial(_coding, autoencoder, codes, images, True)
    return [
        Item(name, "prior, training step", codes, prior.training.batch_size, prior.training.steps, 1, train),
        Item(name, "prior, one step of an image", codes, batch, evaluations, batch * min(2, last), sample),
        Item(name, "decode an image", codes, images, decoded, images, decode),
    ]


def write_cost(*, params: Params, out: Path, micro_batch: int | None = None, threads: int | None = None) -> str:
    """Time a suite's networks for a moment each and extrapolate to its whole cost; print the table.

    Each kind of work is timed in a process of its own, so that its peak memory is its own too. What could not be
    timed, for want of weights or memory, has its reason in the column `note` and no hours.

    Args:
        params: the whole `params.yaml`, presets merged; it names the suite.
        out: CSV to write.
    """
    suite = params.suites[params.suite]
    wanted = [
        item
        for name in suite.dataset_names
        for item in items(name, params.datasets[name], suite.evaluate, name == suite.datasets.celebahq, micro_batch)
    ]
    machine = machine_name()
    timed: dict[str, tuple[float, float] | str] = {}
    rows = []
    for item in tqdm(wanted, unit="work", mininterval=0):
        work = repr(item.prepare)
        if work not in timed:
            timed[work] = _in_a_process(item, threads)
        rows.append({**item._asdict(), "device": machine, **_extrapolated(item, timed[work])})
    rows += [_quoted(item, rows, machine) for item in wanted if item.what == "prior, one step of an image"]
    table = pd.DataFrame(rows).drop(columns=["covers", "prepare"])
    total = {"dataset": "all", "what": "all that was timed", "device": machine, "hours": table.hours.sum()}
    table = pd.concat([table, pd.DataFrame([total])], ignore_index=True)
    table[["codebook_size", "batch", "times"]] = table[["codebook_size", "batch", "times"]].astype("Int64")
    with replacing(out) as aside:
        table.to_csv(aside, index=False, float_format="%.4g")
    return table.drop(columns="device").to_string(index=False, na_rep="", float_format="{:.3g}".format)


def _in_a_process(item: Item, threads: int | None) -> tuple[float, float] | str:
    """Seconds and peak memory in GiB, or why they could not be had.

    On a GPU all is timed in this process: there the allocator counts each work's memory apart.
    """
    if device() == "cuda":
        gc.collect()  # accelerate's wrappers of the work before are cycles
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        try:
            return _measure(item.prepare, threads)
        except (UserError, torch.OutOfMemoryError) as error:
            return str(error).splitlines()[0]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(_measure, item.prepare, threads).result()
        except (UserError, torch.OutOfMemoryError) as error:
            return str(error).splitlines()[0]
        except BrokenProcessPool:
            return "its process was killed: out of memory?"


def _measure(prepare: Callable[[], Work], threads: int | None) -> tuple[float, float]:
    limit_threads(threads)
    work = prepare()
    if device() == "cpu":
        return seconds(work, "cpu")[0], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return seconds(work, "cuda")[0], torch.cuda.max_memory_allocated() / 2**30


def _extrapolated(item: Item, found: tuple[float, float] | str) -> dict[str, Any]:
    if isinstance(found, str):
        return {"seconds_each": None, "hours": None, "memory_gib": None, "note": found}
    each = found[0] / item.covers
    return {"seconds_each": each, "hours": item.times * each / 3600, "memory_gib": found[1], "note": ""}


def _quoted(item: Item, rows: list[dict[str, Any]], machine: str) -> dict[str, Any]:
    """An image at the paper's 1,000 steps, to set beside its own timing; it is no work of the suite."""
    each = {
        row["what"]: row["seconds_each"]
        for row in rows
        if (row["dataset"], row["codebook_size"]) == (item.dataset, item.codebook_size)
    }
    step, decode = each[item.what], each["decode an image"]
    whole = None if None in (step, decode) else QUOTED_STEPS * step + decode
    what = f"an image at {QUOTED_STEPS} steps, decoded"
    about = {"dataset": item.dataset, "what": what, "codebook_size": item.codebook_size, "batch": item.batch}
    return {**about, "times": 0, "device": machine, "seconds_each": whole, "hours": 0.0, "note": "for comparison"}


def _stepping(recipe: Recipe, batch: Tensor, training: TrainingParams) -> Work:
    """Steps of a training, late enough that all of its losses are there."""
    AcceleratorState._reset_state(True)  # of an earlier work's precision in this process
    accelerator = Accelerator(mixed_precision=training.precision)
    recipe.prepare(accelerator)
    batch = batch.to(accelerator.device)
    generator = step_generator(0, 0, accelerator.device)

    def step() -> object:
        return recipe.step(batch, training.steps + 10**9, generator, accelerator)

    for _ in range(at_once(accelerator.device, 0, BEFORE)):  # the next one is recorded
        step()
    return step


def _first_stage_step(
    autoencoder: AutoencoderParams,
    codes: int,
    loss: AdversarialParams,
    optimizer: OptimizerParams,
    training: TrainingParams,
    refit: bool,
) -> Work:
    model = FirstStage(autoencoder, codes)
    if refit:
        model = freeze_encoder(model)
    discriminator = Discriminator(loss.discriminator_width, loss.discriminator_layers)
    rates = {"learning_rate": 1e-6, "discriminator_learning_rate": 1e-6}
    where = torch.device(device())
    recipe = FirstStageRecipe(model, discriminator, loss, optimizer, steps=training.steps, device=where, **rates)
    side = autoencoder.resolution
    return _stepping(recipe, torch.randint(256, (training.batch_size, side, side, 3), dtype=torch.uint8), training)


def _prior_step(prior: PriorParams, codes: int, side: int, micro_batch: int | None) -> Work:
    recipe = PriorRecipe(codes, prior, torch.device(device()), micro_batch)
    return _stepping(recipe, torch.randint(codes, (prior.training.batch_size, side, side)), prior.training)


def _evaluations(prior: PriorParams, codes: int, side: int, batch: int) -> Work:
    network = Prior(codes, prior.unet, prior.diffusion).to(device()).eval()
    network.precision = prior.training.precision  # type: ignore[assignment]
    generator = torch.Generator(device()).manual_seed(0)
    steps = min(2, prior.diffusion.timesteps)

    def work() -> None:
        with mixed(network):
            sample_codes(network, (batch, side, side), steps, 1.0, generator)

    return work


def _coding(autoencoder: AutoencoderParams, codes: int, count: int, decode: bool) -> Work:
    model = FirstStage(autoencoder, codes).eval().requires_grad_(False).to(device())
    model = model.to(memory_format=torch.channels_last)
    side, small = autoencoder.resolution, autoencoder.resolution // autoencoder.downsampling
    images = torch.rand(count, 3, side, side, device=device()).contiguous(memory_format=torch.channels_last)
    maps = torch.randint(codes, (count, small, small), device=device())
    return lambda: model.decode(maps) if decode else model.encode(images)
