"""Speed, which the paper gives in its text only (section 4.3)."""

from typing import Any

import pandas as pd

from vqddm.methods import BASELINES, METHODS
from vqddm.paper.metrics import Metrics
from vqddm.paper.names import timed_runs
from vqddm.paper.render import fixed, known, noted, spreads, whole
from vqddm.paper.reported import reported
from vqddm.paper.tables.record import Table

SECONDS_PER_HOUR = 3600


def gather(metrics: Metrics) -> pd.DataFrame:
    """Hours for 50k images: the paper's three, then ours at each number of sampling steps.

    Columns `seconds_per_step`, `seconds_decode` and `seconds_per_image` are of one image.
    """
    paper = reported()["speed"]
    rows: list[dict[str, Any]] = [
        {
            "source": "paper",
            "method": row["method"],
            "device": paper["device"],
            "steps": row["steps"],
            "seconds_per_image": row["hours"]["value"] * SECONDS_PER_HOUR / paper["images"],
            "hours": row["hours"]["value"],
            "hours_text": row["hours"]["text"],
        }
        for row in paper["rows"]
    ]
    for name, dataset in metrics.plan.datasets.items():
        found, ours = metrics.read("speed", name), METHODS["prior"].title
        if found is None:
            rows.append({"source": "measured", "method": ours, "dataset": name, "note": "not measured yet"})
            continue
        rows += [_timed(name, found, found, found, ours, steps) for steps in dataset.methods["prior"]]
        for method in BASELINES.values():
            if timed := found.get(method.name):
                decoder = {"seconds_decode": 0.0} if method.fills == "pixels" else found
                runs = timed_runs(method, timed, dataset.methods.get(method.name, ()))
                rows += [_timed(name, found, decoder, timed, *run) for run in runs]
    columns = ["source", "method", "dataset", "first_stage", "device", "threads", "batch_size", "steps"]
    columns += ["seconds_per_step", "seconds_per_step_std", "seconds_decode", "seconds_decode_std"]
    columns += ["seconds_per_image", "hours", "hours_text", "note"]
    return pd.DataFrame(rows, columns=columns)


def _timed(
    dataset: str, about: dict[str, Any], decoder: dict[str, Any], timed: dict[str, Any], method: str, steps: int
) -> dict[str, Any]:
    """A row: what `about` tells of the machine, seconds of `decoder` and of a step as `timed`, a method, its steps."""
    decode = decoder["seconds_decode"]
    per_image = steps * timed["seconds_per_step"] + decode
    return {
        "source": "measured",
        "method": method,
        "dataset": dataset,
        **{key: about[key] for key in ("first_stage", "device", "threads", "batch_size")},
        "seconds_decode": decode,
        "seconds_decode_std": decoder.get("seconds_decode_std"),
        "seconds_per_step": timed["seconds_per_step"],
        "seconds_per_step_std": timed.get("seconds_per_step_std"),
        "steps": steps,
        "seconds_per_image": per_image,
        "hours": per_image * reported()["speed"]["images"] / SECONDS_PER_HOUR,
    }


def display(tidy: pd.DataFrame) -> pd.DataFrame:
    """The timings as they are read."""

    def milliseconds(key: str) -> list[str]:
        return spreads(1000 * tidy[key], 1000 * tidy[f"{key}_std"].astype(float), 3)

    return pd.DataFrame(
        {
            ("", "Source"): ["paper" if x == "paper" else "measured here" for x in tidy["source"]],
            ("", "Method"): list(tidy["method"]),
            ("", "Dataset"): [known(x) for x in tidy["dataset"]],
            ("", "Device"): [known(x) for x in tidy["device"]],
            ("", "Steps"): [whole(x) for x in tidy["steps"]],
            ("one image", "ms per step"): milliseconds("seconds_per_step"),
            ("one image", "ms to decode"): milliseconds("seconds_decode"),
            ("one image", "seconds"): [fixed(x, 3) for x in tidy["seconds_per_image"]],
            ("50,000 images", "hours"): [
                fixed(h) if pd.isna(t) else str(t) for h, t in zip(tidy["hours"], tidy["hours_text"], strict=True)
            ],
            ("", "Note"): [noted(x) for x in tidy["note"]],
        }
    )


TABLE = Table("speed", "4.3", gather, display)
