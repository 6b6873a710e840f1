"""Completions as numbers (section 4.4): each mask and method of a dataset, side by side."""

from typing import Any

import pandas as pd

from vqddm.paper.metrics import Metrics
from vqddm.paper.names import rule_first, short_title
from vqddm.paper.render import known, spreads
from vqddm.paper.tables.record import Table

MEANS = ("agreement", "chance", "seam_gap")


def gather(metrics: Metrics) -> pd.DataFrame:
    """One row for each dataset, mask and method that completes and is trained.

    Each mean beside half the width of its 95 % interval over pictures (`…_half`); `…_minus` are the paired differences,
    a baseline's less VQ-DDM's. A dataset without measured completions has one row without mask.
    """
    rows: list[dict[str, Any]] = []
    for dataset, planned in metrics.plan.datasets.items():
        methods = metrics.plan.measured("inpainting", dataset)
        read = {short_title(method): metrics.read("inpainting", dataset, method=method.name) for method in methods}
        made = {title: one for title, one in read.items() if one}
        about = {"dataset": dataset, "first_stage": planned.main_prior}
        masks = rule_first(dict.fromkeys(mask for one in made.values() for mask in one["masks"]))
        rows += [about | _row(mask, title, one) for mask in masks for title, one in made.items()]
        if not made:
            rows.append(about | {"note": "not measured yet"})
    return pd.DataFrame(rows, columns=_columns())


def _columns() -> list[str]:
    means = [f"{key}{part}" for key in (*MEANS, "agreement_minus", "seam_gap_minus") for part in ("", "_half")]
    about = ["dataset", "first_stage", "mask", "given_fraction", "method", "images", "agreement_name"]
    return [*about, *means, "distance_name", "distance", "distance_std", "note"]


def _row(mask: str, method: str, found: dict[str, Any]) -> dict[str, Any]:
    """One mask of one method."""
    block = found["masks"][mask]
    means = {key: block[key] for key in MEANS}
    means |= {f"{key}_minus": mean for key, mean in block.get("minus", {}).items()}
    return {
        "mask": mask,
        "given_fraction": block["given_fraction"],
        "method": method,
        "images": block["images"],
        "agreement_name": found["metric"],
        **{key: mean["mean"] for key, mean in means.items()},
        **{f"{key}_half": mean["half_width"] for key, mean in means.items()},
        "distance_name": found["frechet"],
        "distance": block["frechet"],
        "distance_std": block.get("frechet_std"),
    }


def display(tidy: pd.DataFrame) -> pd.DataFrame:
    """The completions as they are read; seam gaps times 1000."""

    def told(key: str, scale: int = 1, digits: int = 3) -> list[str]:
        return spreads(scale * tidy[key], scale * tidy[f"{key}_half"], digits)

    region, border = "distance in the filled region", "seam gap × 10³"
    given = [
        f"{mask} ({100 * share:.3g}%)" if pd.notna(mask) else note
        for mask, share, note in zip(tidy["mask"], tidy["given_fraction"], tidy["note"], strict=True)
    ]
    names = sorted(tidy["distance_name"].dropna().unique())
    return pd.DataFrame(
        {
            ("", "Dataset"): list(tidy["dataset"]),
            ("", "Given"): given,
            ("", "Method"): [known(x) for x in tidy["method"]],
            (region, "to the own picture"): told("agreement"),
            (region, "to another"): told("chance"),
            (region, "less VQ-DDM's"): told("agreement_minus"),
            (border, "mean"): told("seam_gap", 1000, 1),
            (border, "less VQ-DDM's"): told("seam_gap_minus", 1000, 1),
            **{
                ("whole picture", name): spreads(
                    tidy["distance"].where(tidy["distance_name"] == name), tidy["distance_std"]
                )
                for name in names
            },
        }
    )


TABLE = Table("inpainting", "4.4", gather, display)
