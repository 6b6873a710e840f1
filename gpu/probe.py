"""A short training of the VQ-GAN at each of several learning rates: which one suits a training of some minutes?

Everything else is as params.yaml has it, but the discriminator stays out, and the schedule has the steps that are asked
for. Prints and writes as CSV: losses at the end, and PSNR and codes used on training pictures that were kept out of it.
"""

from __future__ import annotations

import argparse
import csv
import gc
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from vqddm.compute import mixed, step_generator
from vqddm.data.arrays import load_split, to_bytes, to_unit
from vqddm.evaluate.measure import psnr
from vqddm.params import Dataset, load
from vqddm.training import batch_indices
from vqddm.vqgan.model import Discriminator, FirstStage
from vqddm.vqgan.train import FirstStageRecipe

SHOWN = 64


def probed(dataset: Dataset, data: Path, rate: float, steps: int) -> dict[str, float]:
    """Train for so many steps at one learning rate and measure."""
    AcceleratorState._reset_state(True)
    torch.manual_seed(0)
    params = dataset.vqgan
    loss = params.loss.model_copy(update={"discriminator_start": 10**9})
    model = FirstStage(params.autoencoder, 1024)
    discriminator = Discriminator(loss.discriminator_width, loss.discriminator_layers)
    accelerator = Accelerator(mixed_precision=params.training.precision)
    device = accelerator.device
    optimizer = params.optimizer.model_copy(update={"warmup_steps": min(steps // 5, params.optimizer.warmup_steps)})
    rates = {"learning_rate": rate, "discriminator_learning_rate": rate}
    recipe = FirstStageRecipe(model, discriminator, loss, optimizer, steps=steps, device=device, **rates)
    recipe.prepare(accelerator)
    images = load_split(data / "train.npy")
    out = min(SHOWN, len(images) // 2)  # pictures that are kept out
    losses: dict[str, torch.Tensor] = {}
    for step in range(steps):
        for made in recipe.optimizers.values():
            made.param_groups[0]["lr"] = rate * recipe.learning_rate_factor(step)
        batch = torch.from_numpy(images[batch_indices(len(images) - out, params.training.batch_size, step, 0)])
        losses = recipe.step(batch.to(device), step, step_generator(0, step, device), accelerator)
    found = {name: float(value) for name, value in losses.items()}
    model = accelerator.unwrap_model(recipe.modules["model"]).eval()
    model.precision = params.training.precision
    kept_out = np.array(images[-out:])
    with torch.no_grad(), mixed(model):
        codes = model.encode(to_unit(kept_out).to(device).contiguous(memory_format=torch.channels_last))
        again = np.concatenate([to_bytes(model.decode(part)) for part in codes.split(16)])
    told = ("reconstruction", "perceptual", "codebook")
    return {
        "rate": rate,
        "steps": steps,
        **{k: found[k] for k in told},
        "psnr": float(psnr(kept_out, again).mean()),
        "codes": len(codes.unique()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="faces256")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--rates", type=float, nargs="+", default=[2e-4, 5e-4, 1e-3])
    parser.add_argument("--steps", type=int, default=250, help="of each rate")
    parser.add_argument("--rehearse", action="store_true", help="one rate, two steps of two pictures")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    dataset = load(given.params).datasets[given.dataset]
    if given.rehearse:
        training = dataset.vqgan.training.model_copy(update={"batch_size": 2})
        dataset = dataset.model_copy(update={"vqgan": dataset.vqgan.model_copy(update={"training": training})})
        given.rates, given.steps = given.rates[:1], 2
    rows: list[dict[str, float]] = []
    for rate in given.rates:
        rows.append(probed(dataset, Path("data") / given.dataset, rate, given.steps))
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
