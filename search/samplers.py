"""How near samples come to the training pictures, by sampler and number of steps, into `results/samplers.csv`.

    python search/samplers.py faces=models/faces/refit_k256_p4000:evaluation/mini/faces/features_train.npy …

Each argument names a trained model and the features of its training pictures, which a run of the suite `mini` leaves;
several models of one name are several trainings. Distances are as in Table 2: `DRAWS` draws of `COUNT` pictures.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

import vqddm
from vqddm.artifacts import replacing
from vqddm.evaluate.distances import distances_of_draws
from vqddm.evaluate.features import extract
from vqddm.samplers import Process

TABLE = Path(__file__).parents[1] / "results/samplers.csv"
COUNT, DRAWS, SEED, FEATURES = 350, 3, 0, "efficientnet_lite0"
SWEEP = (2, 5, 10, 25, 100)
MEASURES = ("frechet", "frechet_std", "kid", "precision", "recall")


def distances(model: vqddm.Model, features: np.ndarray) -> list[dict[str, object]]:
    """Rows of one model: its measures with each sampler and number of steps."""
    rows: list[dict[str, object]] = []
    for steps in tqdm([steps for steps in SWEEP if steps <= model.timesteps], unit="numbers of steps"):
        for sampler in get_args(Process):
            pictures = model.sample(COUNT * DRAWS, steps=steps, seed=SEED, sampler=sampler)
            drawn = extract(pictures.pixels.numpy(), FEATURES)
            found = distances_of_draws(drawn, features, DRAWS, SEED, FEATURES)
            rows.append({"steps": steps, "sampler": sampler, **{measure: found[measure] for measure in MEASURES}})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="NAME=MODEL:FEATURES")
    given = parser.parse_args()
    torch.set_num_threads(1)  # last bits depend on it
    rows: list[dict[str, object]] = []
    for argument in given.models:
        name, _, paths = argument.partition("=")
        folder, _, features = paths.rpartition(":")
        if not folder or not Path(features).is_file():
            parser.error(f"{argument}: give NAME=MODEL:FEATURES, the latter a file of its training pictures' features")
        training = 1 + len({row["training"] for row in rows if row["dataset"] == name})
        found = distances(vqddm.load(folder, "cpu"), np.load(features))
        rows += [{"dataset": name, "training": training, **row} for row in found]
        with replacing(TABLE) as aside:
            pd.DataFrame(rows).round(5).to_csv(aside, index=False)


if __name__ == "__main__":
    main()
