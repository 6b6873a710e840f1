"""Trainings that are repeated with other seeds: a suite's `trainings: 3` trains all that it has three times.

The first training is that of the dataset itself; the second one of `faces` is that of `faces_T2`, a dataset with the
same pictures and settings. No dataset of params.yaml can bear such a name, for it has a capital letter.
"""

import math
import re
from collections.abc import Sequence
from statistics import stdev
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vqddm.params import Dataset

SEEDS_APART = 1000  # between one training's seeds and the next one's
CONFIDENCE = 0.95  # of an interval over trainings
REPEATED = ("reconstruction", "samples", "likelihood", "inpainting")  # what is measured of every training


def repeat(dataset: str, number: int) -> str:
    """The dataset whose models are the `number`-th training's, from 1."""
    return dataset if number == 1 else f"{dataset}_T{number}"


def repeated(dataset: str) -> str:
    """The dataset of params.yaml that one is a repeat of."""
    return re.sub(r"_T\d+$", "", dataset)


def half_interval(values: Sequence[float]) -> float:
    """Half the 95 % interval of the mean of a number that each training has, by Student's t."""
    from scipy.stats import t as student  # here, since Snakemake plans without it

    quantile = float(student.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    return quantile * stdev(values) / math.sqrt(len(values))


def reseeded(dataset: "Dataset", number: int) -> "Dataset":
    """The settings of the `number`-th training: other seeds for k-means and in every section that has a training."""
    more = SEEDS_APART * (number - 1)
    sections = {name: section for name, section in dataset if hasattr(section, "training")}
    changed = {
        name: section.model_copy(
            update={"training": section.training.model_copy(update={"seed": section.training.seed + more})}
        )
        for name, section in sections.items()
    }
    kmeans_seed = {"kmeans_seed": dataset.refit.kmeans_seed + more}
    return dataset.model_copy(update={**changed, "refit": changed["refit"].model_copy(update=kmeans_seed)})
