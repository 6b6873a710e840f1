"""How fast the paper's networks are on this card: the plain way beside the fast one, in one run, as CSV.

`plain` is bf16 as autocast does it, with torch's own normalisation and Adam and float32 weights, and losses read after
each step; `float32` is the same without bf16 (convolutions in TF32, as torch has it). `fast` is what `vqddm` does on a
GPU, `launched` the same without a recorded step: the host launches every kernel, and `tuned` the same as `fast` where
cuDNN has tried which of its convolutions is fastest.
Peaks of matrix product and memory copy are measured in the same run. Weights and pictures are noise. A part that fails
is told and left out.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import gc
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from vqddm.compute import step_generator, to_device
from vqddm.evaluate.features import extract
from vqddm.evaluate.networks import macs
from vqddm.params import Dataset, load
from vqddm.prior.reverse import sample_codes
from vqddm.prior.settings import PriorParams
from vqddm.prior.train import PriorRecipe
from vqddm.prior.unet import Prior
from vqddm.recipe import Recipe
from vqddm.recorded import BEFORE
from vqddm.training import batch_indices
from vqddm.vqgan.model import Discriminator, FirstStage
from vqddm.vqgan.settings import AutoencoderParams
from vqddm.vqgan.train import FirstStageRecipe

COLUMNS = ("work", "way", "batch", "seconds", "per_second", "memory_gib", "tflops", "share_of_peak", "device")
CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
CODES, EXAMPLES = 1024, 256
LATE = 500_000  # step


class Part(NamedTuple):
    """One row of the table; `prepare` returns the work that is timed."""

    work: str
    way: str
    batch: int
    macs: float  # of the whole batch, forward alone
    passes: int  # 3 where gradients are taken
    prepare: Callable[[], Callable[[], object]]


def timed(work: Callable[[], object], least: float) -> float:
    """Mean seconds of `work`, after two that are not counted, over at least three and about `least` seconds."""

    def once(count: int) -> float:
        if CUDA:
            torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(count):
            work()
        if CUDA:
            torch.cuda.synchronize()
        return time.perf_counter() - start

    if least == 0:
        return once(1)
    once(2)
    first = once(1)
    return once(max(3, round(least / max(first, 1e-6)))) / max(3, round(least / max(first, 1e-6)))


@contextlib.contextmanager
def ways(way: str) -> Iterator[None]:
    """Undo, where `way` is not fast, what the fast way does to normalisation and steps."""
    with contextlib.ExitStack() as undone:
        torch.backends.cudnn.benchmark = way == "tuned"
        if way not in ("fast", "tuned"):
            undone.enter_context(mock.patch("vqddm.recipe.can_record", return_value=False))
            undone.enter_context(mock.patch("vqddm.prior.reverse.recorded_network", lambda network, device: network))
        if way in ("plain", "float32"):
            undone.enter_context(mock.patch("vqddm.layers.can_fuse", return_value=False))
        yield


def precision(way: str) -> AbstractContextManager[object]:
    """In what a network is evaluated."""
    on = CUDA and way != "float32"
    return torch.autocast("cuda", torch.bfloat16) if on else contextlib.nullcontext()


def training(recipe: Recipe, examples: np.ndarray, batch: int, way: str) -> Callable[[], object]:
    """Steps of a training, so late that every loss is there that ever comes."""
    AcceleratorState._reset_state(True)
    accelerator = Accelerator(mixed_precision="no" if way == "float32" else "bf16")
    if way in ("plain", "float32"):
        recipe.optimizers = {
            name: torch.optim.Adam([p for g in o.param_groups for p in g["params"]], 1e-6)
            for name, o in recipe.optimizers.items()
        }
    recipe.prepare(accelerator)
    step = 0

    def work() -> None:
        nonlocal step
        given = torch.from_numpy(examples[batch_indices(len(examples), batch, step, 0)])
        given = to_device(given, accelerator.device)
        losses = recipe.step(given, LATE, step_generator(0, step, accelerator.device), accelerator)
        if way in ("plain", "float32"):
            bool(torch.stack([value.double() for value in losses.values()]).isfinite().all())
        step += 1

    for _ in range(BEFORE if CUDA else 0):  # the next one is recorded
        work()
    return work


def vqgan_step(dataset: Dataset, batch: int, way: str) -> Callable[[], object]:
    side, loss = dataset.vqgan.autoencoder.resolution, dataset.vqgan.loss
    model = FirstStage(dataset.vqgan.autoencoder, CODES)
    discriminator = Discriminator(loss.discriminator_width, loss.discriminator_layers)
    rates = {"learning_rate": 1e-6, "discriminator_learning_rate": 1e-6}
    recipe = FirstStageRecipe(model, discriminator, loss, dataset.vqgan.optimizer, steps=1, **rates)
    images = np.random.default_rng(0).integers(0, 256, (max(EXAMPLES, batch), side, side, 3), np.uint8)
    return training(recipe, images, batch, way)


def prior_step(params: PriorParams, side: int, batch: int, way: str) -> Callable[[], object]:
    recipe = PriorRecipe(CODES, params, DEVICE)
    maps = np.random.default_rng(0).integers(0, CODES, (max(EXAMPLES, 2 * batch), side, side)).astype(np.uint16)
    return training(recipe, maps, batch, way)


def sampling_step(params: PriorParams, side: int, batch: int, way: str) -> Callable[[], object]:
    prior = Prior(CODES, params.unet, params.diffusion).to(DEVICE).eval().requires_grad_(False)
    if way in ("fast", "launched", "tuned") and CUDA:
        prior.unet.keep_in_bf16()
    generator = torch.Generator(DEVICE).manual_seed(0)
    shape = (batch, side, side)
    steps = STEPS if CUDA else 2

    def work() -> None:
        with precision(way):
            sample_codes(prior, shape, steps, 1.0, generator)

    return work


STEPS = 50  # of one timed sampling; strided, so that more codes change in each than at T steps


def first_stage_pass(autoencoder: AutoencoderParams, decode: bool, batch: int, way: str) -> Callable[[], object]:
    model = FirstStage(autoencoder, CODES).eval().requires_grad_(False)
    model = model.to(DEVICE).to(memory_format=torch.channels_last)
    side = autoencoder.resolution // autoencoder.downsampling
    codes = torch.randint(CODES, (batch, side, side), device=DEVICE)
    images = torch.rand(batch, 3, autoencoder.resolution, autoencoder.resolution, device=DEVICE)
    images = images.contiguous(memory_format=torch.channels_last)

    def work() -> None:
        with torch.no_grad(), precision(way):
            model.decode(codes) if decode else model.encode(images)

    return work


def features(side: int, count: int, batch: int) -> Callable[[], object]:
    images = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)
    return lambda: extract(images, "efficientnet_lite0", batch)


def copying(gib: float) -> Callable[[], object]:
    source = torch.empty(int(gib * 2**30), dtype=torch.uint8, device=DEVICE).random_()
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def product(size: int) -> Callable[[], object]:
    first, second = (torch.randn(size, size, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    return lambda: first @ second


def operations(dataset: Dataset, side: int) -> tuple[int, int, int]:
    """Multiply-accumulates forward of an image: encoder, whole first stage, prior on `side` x `side` codes."""
    autoencoder, prior = dataset.vqgan.autoencoder, dataset.prior
    with torch.device("meta"):
        stage, unet = FirstStage(autoencoder, CODES), Prior(CODES, prior.unet, prior.diffusion)
        image, codes = torch.zeros(1, 3, *2 * [autoencoder.resolution]), torch.zeros(1, side, side, dtype=torch.int64)
    encoder = macs(stage.encoder, image)
    decoder = macs(stage.decoder, torch.zeros(1, autoencoder.z_channels, side, side))
    return encoder, encoder + decoder, macs(unet, codes, torch.ones(1))


def parts(dataset: Dataset) -> list[Part]:
    """All rows: first those that `budget.py` reads, then the most telling."""
    autoencoder, prior = dataset.vqgan.autoencoder, dataset.prior
    side = autoencoder.resolution // autoencoder.downsampling
    encoder, forward, network = operations(dataset, side)
    small, large = dataset.vqgan.training.batch_size, dataset.prior.training.batch_size
    paper, few, many, pictures = (180, 250, 1000, 64) if CUDA else (2, 2, 4, 2)

    def vqgan(way: str, batch: int) -> Part:
        return Part("VQ-GAN, training step", way, batch, forward * batch, 3, partial(vqgan_step, dataset, batch, way))

    def train(way: str, batch: int) -> Part:
        return Part(
            "prior, training step", way, batch, network * batch, 3, partial(prior_step, prior, side, batch, way)
        )

    def sample(way: str, batch: int) -> Part:
        steps = STEPS if CUDA else 2
        work = partial(sampling_step, prior, side, batch, way)
        return Part(f"prior, {steps} sampling steps", way, batch, steps * network * batch, 1, work)

    def coded(way: str, decode: bool, batch: int) -> Part:
        what, count = ("decode", forward - encoder) if decode else ("encode", encoder)
        return Part(what, way, batch, count * batch, 1, partial(first_stage_pass, autoencoder, decode, batch, way))

    def measured(way: str, batch: int) -> Part:
        count = 1024 if CUDA else 4
        return Part("features", way, count, 0, 1, partial(features, autoencoder.resolution, count, batch))

    quarter = pictures // 4 or 1
    return [
        vqgan("fast", small),
        train("fast", large),
        sample("fast", many),
        vqgan("launched", small),
        vqgan("plain", small),
        train("launched", large),
        train("plain", large),
        sample("launched", many),
        vqgan("tuned", small),
        train("tuned", large),
        sample("tuned", many),
        vqgan("fast", 3 * small // 2),
        sample("plain", many),
        sample("fast", 2 * many),
        coded("fast", False, pictures),
        coded("plain", False, pictures),
        coded("fast", True, pictures),
        coded("plain", True, pictures),
        measured("fast", 256 if CUDA else 4),
        measured("plain", 16 if CUDA else 2),
        train("fast", paper),
        train("plain", paper),
        sample("fast", few),
        sample("plain", few),
        vqgan("fast", 2 * small),
        train("fast", 2 * large),
        vqgan("float32", small),
        train("float32", paper),
        sample("float32", few),
        coded("float32", False, quarter),
        coded("float32", True, quarter),
    ]


def rehearsed(dataset: Dataset) -> Dataset:
    """The dataset's networks at half the resolution and with small batches."""
    half = dataset.vqgan.autoencoder.resolution // 2
    vqgan = dataset.vqgan.model_copy(
        update={
            "autoencoder": dataset.vqgan.autoencoder.model_copy(update={"resolution": half}),
            "training": dataset.vqgan.training.model_copy(update={"batch_size": 2}),
        }
    )
    training = dataset.prior.training.model_copy(update={"batch_size": 4})
    return dataset.model_copy(update={"vqgan": vqgan, "prior": dataset.prior.model_copy(update={"training": training})})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="faces256")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--seconds", type=float, default=75, help="no part begins after so many")
    parser.add_argument("--only", default="", help="works whose names begin so")
    parser.add_argument("--ways", default="fast,launched,tuned,plain,float32", help="those that are timed")
    parser.add_argument("--rehearse", action="store_true", help="each part once, at half the resolution")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    began = time.monotonic()
    dataset = load(given.params).datasets[given.dataset]
    if given.rehearse:
        dataset = rehearsed(dataset)
    least = 0.0 if given.rehearse else 0.8
    device = torch.cuda.get_device_name() if CUDA else platform.machine()
    size, gib = (8192, 4.0) if CUDA else (512, 0.1)
    peak = 2 * size**3 / timed(product(size), least) / 1e12
    bandwidth = 2 * gib * 2**30 / timed(copying(gib), least) / 1e12
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with given.out.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, COLUMNS, restval="")
        writer.writeheader()
        writer.writerow({"work": "matrix product, bf16", "batch": size, "tflops": f"{peak:.4g}", "device": device})
        writer.writerow({"work": "copy, TB/s read and written", "per_second": f"{bandwidth:.4g}", "device": device})
        handle.flush()
        print(f"peak {peak:.0f} TFLOP/s, copy {bandwidth:.2f} TB/s", flush=True)
        for part in parts(dataset):
            if part.way not in given.ways.split(",") or not part.work.startswith(given.only):
                continue
            if time.monotonic() - began > given.seconds:
                print(f"left out for want of time: {part.work}, {part.way}, {part.batch}", flush=True)
                continue
            try:
                gc.collect()  # accelerate's wrappers are cycles
                if CUDA:
                    torch.cuda.empty_cache()
                    torch.cuda.reset_peak_memory_stats()
                with ways(part.way):
                    seconds = timed(part.prepare(), least)
            except Exception as error:
                print(f"{part.work}, {part.way}, {part.batch}: {type(error).__name__}: {error}"[:300], file=sys.stderr)
                continue
            rate = 2 * part.macs * part.passes / seconds / 1e12
            row = {
                "work": part.work,
                "way": part.way,
                "batch": part.batch,
                "seconds": f"{seconds:.5g}",
                "per_second": f"{part.batch / seconds:.5g}",
                "memory_gib": f"{torch.cuda.max_memory_allocated() / 2**30:.3g}" if CUDA else "",
                "tflops": f"{rate:.4g}",
                "share_of_peak": f"{rate / peak:.3f}",
                "device": device,
            }
            writer.writerow(row)
            handle.flush()
            words = (
                f"{part.work:28s} {part.way:8s} {part.batch:5d} {seconds * 1e3:8.1f} ms {part.batch / seconds:9.1f}/s"
            )
            print(f"{words} {rate:6.1f} TFLOP/s {row['memory_gib']} GiB", flush=True)


if __name__ == "__main__":
    main()
