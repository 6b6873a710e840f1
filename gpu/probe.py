"""Some seconds of the VQ-GAN's training at each of several learning rates: which one suits a training of a minute?

Everything else is as params.yaml has it, but the discriminator stays out. Prints and writes as CSV: steps, losses at
the end, PSNR and codes used on test pictures.
"""

from __future__ import annotations

import argparse
import csv
import gc
import time
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from vqddm.compute import mixed, step_generator
from vqddm.data.arrays import load_split, to_bytes, to_unit
from vqddm.params import Dataset, load
from vqddm.training import batch_indices
from vqddm.vqgan.model import Discriminator, FirstStage
from vqddm.vqgan.train import FirstStageRecipe

SHOWN = 64


def probed(dataset: Dataset, data: Path, rate: float, seconds: float) -> dict[str, float]:
    """Train for about so many seconds at one learning rate and measure."""
    AcceleratorState._reset_state(True)
    torch.manual_seed(0)
    params = dataset.vqgan
    loss = params.loss.model_copy(update={"discriminator_start": 10**9})
    model = FirstStage(params.autoencoder, 1024)
    discriminator = Discriminator(loss.discriminator_width, loss.discriminator_layers)
    accelerator = Accelerator(mixed_precision=params.training.precision)
    device = accelerator.device
    fixed = params.optimizer.model_copy(update={"schedule": "constant", "ema_decay": 0.0})
    rates = {"learning_rate": rate, "discriminator_learning_rate": rate}
    recipe = FirstStageRecipe(model, discriminator, loss, fixed, steps=1, **rates)
    recipe.prepare(accelerator)
    images = load_split(data / "train.npy")[:2000]
    began, step, losses = time.monotonic(), 0, {}
    while step < 2 or time.monotonic() - began < seconds:
        batch = torch.from_numpy(images[batch_indices(len(images), params.training.batch_size, step, 0)])
        losses = recipe.step(batch.to(device), step, step_generator(0, step, device), accelerator)
        step += 1
        if step % 10 == 0:
            float(losses["reconstruction"])  # so that the clock is the card's
    found = {name: float(value) for name, value in losses.items()}
    model = accelerator.unwrap_model(recipe.modules["model"]).eval()
    model.precision = params.training.precision
    test = np.array(load_split(data / "test.npy")[:SHOWN])
    with torch.no_grad(), mixed(model):
        codes = model.encode(to_unit(test).to(device).contiguous(memory_format=torch.channels_last))
        again = np.concatenate([to_bytes(model.decode(part)) for part in codes.split(16)])
    error = ((test.astype(np.float64) - again) ** 2).mean((1, 2, 3))
    psnr = float((10 * np.log10(255**2 / np.maximum(error, 1e-9))).mean())
    kept = ("reconstruction", "perceptual", "codebook")
    return {"rate": rate, "steps": step, **{k: found[k] for k in kept}, "psnr": psnr, "codes": len(codes.unique())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="faces256")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-4, 2e-4, 5e-4])
    parser.add_argument("--seconds", type=float, default=15, help="of each rate")
    parser.add_argument("--rehearse", action="store_true", help="one rate, two steps of two pictures")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    dataset = load(given.params).datasets[given.dataset]
    if given.rehearse:
        training = dataset.vqgan.training.model_copy(update={"batch_size": 2})
        dataset = dataset.model_copy(update={"vqgan": dataset.vqgan.model_copy(update={"training": training})})
        given.rates, given.seconds = given.rates[:1], 0
    rows: list[dict[str, float]] = []
    for rate in given.rates:
        rows.append(probed(dataset, Path("data") / given.dataset, rate, given.seconds))
        print(" ".join(f"{key} {value:.4g}" for key, value in rows[-1].items()), flush=True)
        with given.out.open("w", newline="") as handle:
            writer = csv.DictWriter(handle, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
