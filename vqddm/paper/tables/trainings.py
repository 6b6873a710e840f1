"""How far trainings with other seeds lie apart, beside the spread of what one of them is measured with."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from vqddm.paper.metrics import Metrics
from vqddm.paper.names import first_stage_label, short_title
from vqddm.paper.render import fixed, known, noted, whole
from vqddm.paper.tables.record import Table

BITS = "bits per code, test"
COLUMNS = ("dataset", "what", "measure", "trainings", "mean", "between", "within", "note")


def gather(metrics: Metrics) -> pd.DataFrame:
    """One row for each measured number of each dataset: distances of reconstructions and samples, test likelihood.

    `between` is the standard deviation between trainings, None of one; `within` what one training's number is told
    with: the deviation of its draws, or the standard error over its code maps.
    """
    rows = [
        {"dataset": dataset, "what": what, "trainings": metrics.plan.trainings, **found}
        for dataset in metrics.plan.datasets
        for what, found in _measured(metrics, dataset)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _measured(metrics: Metrics, dataset: str) -> Iterator[tuple[str, dict[str, Any]]]:
    about = metrics.plan.datasets[dataset]
    for stage in about.first_stages:
        found = metrics.read("reconstruction", dataset, stage)
        yield f"{first_stage_label(stage)}: reconstructions", _distance(found)
    for method in metrics.plan.measured("samples", dataset):
        for stage in about.stages(method.name):
            found = metrics.read("samples", dataset, stage, method.name)
            place = f" on {first_stage_label(stage)}" if method.fills == "codes" else ""
            yield f"{short_title(method)}{place}: samples", _distance(found)
    for method in metrics.plan.measured("likelihood", dataset):
        found = metrics.read("likelihood", dataset, method=method.name)
        where = f"{short_title(method)} on {first_stage_label(about.main_prior)}"
        yield where, _spread(found["test"], "bits_per_code", "standard_error", BITS) if found else _nothing(BITS)


def _distance(found: dict[str, Any] | None) -> dict[str, Any]:
    return _spread(found["distance"], "frechet", "frechet_std", found["distance"]["name"]) if found else _nothing(None)


def _spread(found: dict[str, Any], number: str, spread: str, measure: str) -> dict[str, Any]:
    several = f"{spread}_within" in found
    between, within = (found[spread], found[f"{spread}_within"]) if several else (None, found.get(spread))
    return {"measure": measure, "mean": found[number], "between": between, "within": within, "note": None}


def _nothing(measure: str | None) -> dict[str, Any]:
    return {"measure": measure, "note": "not measured yet"}


def display(tidy: pd.DataFrame) -> pd.DataFrame:
    """The spreads as they are read."""
    digits = [3 if measure == BITS else 1 for measure in tidy["measure"]]
    shown = {
        name: [fixed(x, places) for x, places in zip(tidy[column], digits, strict=True)]
        for name, column in (("Mean", "mean"), ("± between trainings", "between"), ("± within one", "within"))
    }
    return pd.DataFrame(
        {
            ("", "Dataset"): list(tidy["dataset"]),
            ("", "What"): list(tidy["what"]),
            ("", "Measure"): [known(x) for x in tidy["measure"]],
            **{("measured here", name): cells for name, cells in shown.items()},
            ("measured here", "Trainings"): [whole(x) for x in tidy["trainings"]],
            ("", "Note"): [noted(x) for x in tidy["note"]],
        }
    )


TABLE = Table("trainings", "4.3", gather, display)
