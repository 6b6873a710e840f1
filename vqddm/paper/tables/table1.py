"""Table 1: codebook usage and reconstruction, reported beside measured."""

from typing import Any

import pandas as pd

from vqddm.first_stages import kind_of
from vqddm.paper.metrics import Metrics
from vqddm.paper.plan import ROLE_TITLES, Role, paper_rows
from vqddm.paper.render import known, noted, percent, spreads, whole
from vqddm.paper.reported import reported, told
from vqddm.paper.tables.distances import HERE, distance_columns, distance_of
from vqddm.paper.tables.record import Table


def gather(metrics: Metrics) -> pd.DataFrame:
    """One row for each role and row of Table 1, and for each first stage that the paper has no row for.

    Columns `reported_*` (the paper's) and measured ones; usages are fractions, `why` says why a row has no measured
    number.
    """
    rows = [*_role_rows(metrics, "celebahq"), *_role_rows(metrics, "imagenet")]
    church = metrics.plan.role("lsun_church")
    if church and church not in {row["dataset"] for row in rows}:
        stages = metrics.plan.datasets[church].first_stages
        rows += [_row(metrics, "lsun_church", church, None, stage) for stage in stages]
    return pd.DataFrame(rows)


def _role_rows(metrics: Metrics, role: Role) -> list[dict[str, Any]]:
    """The paper's rows for one role, then first stages of ours that stand in none of them."""
    dataset = metrics.plan.role(role)
    stages = metrics.plan.datasets[dataset].first_stages if dataset else ()
    ours = paper_rows(stages)
    rows = []
    for paper in reported()["table1"]["rows"]:
        stage = ours.get(paper["row"])
        if stage or paper["usage"][role] or paper["fid"][role]:
            rows.append(_row(metrics, role, dataset, paper, stage))
    others = set(stages) - {row["first_stage"] for row in rows}
    return rows + [_row(metrics, role, dataset, None, stage) for stage in stages if stage in others]


def _row(
    metrics: Metrics, role: Role, dataset: str | None, paper: dict[str, Any] | None, stage: str | None
) -> dict[str, Any]:
    usage, fid = (paper[key].get(role) if paper else None for key in ("usage", "fid"))
    row: dict[str, Any] = {
        "role": role,
        "dataset": dataset,
        "id": paper["id"] if paper else stage,
        "model": paper["model"] if paper else _unreported(stage),
        "reported_latent_size": paper["latent_size"] if paper else None,
        "reported_capacity": paper["capacity"] if paper else None,
        **told(usage=usage, fid=fid),
        "first_stage": stage,
    }
    found = metrics.read("reconstruction", dataset, stage) if dataset and stage else None
    row |= _measured(found, metrics.read("floor", dataset) if dataset else None)
    if found:
        row["why"] = None
    elif stage:
        row["why"] = "not measured yet"
    else:
        row["why"] = paper["why"] if paper and dataset else "no dataset plays this role in the suite"
    return row


def _unreported(stage: str | None) -> str:
    """What a row is called that the paper does not have; a control's says what was left out."""
    kind = kind_of(stage) if stage else None
    return f"{kind.title} (not in the paper)" if kind and kind.control else "not in the paper"


def _measured(found: dict[str, Any] | None, floor: dict[str, Any] | None) -> dict[str, Any]:
    """The measured columns, all None where nothing was measured."""
    size = found["latent_size"] if found else []
    return {
        "latent_size": None if not size else "Cascade" if len(size) == 1 else "x".join(map(str, size)),
        "capacity": found["codebook_size"] if found else None,
        "sampled_features": found["sampled_features"] if found else None,
        **{
            f"usage_{split}_{kind}": found["usage"][split][kind] if found else None
            for split in ("train", "test")
            for kind in ("seen", "seen10")
        },
        **distance_of(found, floor),
        "psnr": found["psnr"] if found else None,
        "psnr_std": found.get("psnr_std") if found else None,
        "perceptual_name": found["perceptual"]["name"] if found else None,
        "perceptual": found["perceptual"]["value"] if found else None,
        "perceptual_std": found["perceptual"].get("std") if found else None,
    }


def display(tidy: pd.DataFrame) -> pd.DataFrame:
    """Table 1 as it is read: text, in column groups `paper` and `measured here`."""
    return pd.DataFrame(
        {
            ("", "Role"): [ROLE_TITLES[role] for role in tidy["role"]],
            ("", "Model"): list(tidy["model"]),
            ("paper", "Latent size"): [known(x) for x in tidy["reported_latent_size"]],
            ("paper", "K"): [whole(x) for x in tidy["reported_capacity"]],
            ("paper", "Usage"): list(tidy["reported_usage_text"]),
            ("paper", "FID"): list(tidy["reported_fid_text"]),
            (HERE, "Dataset"): [known(x) for x in tidy["dataset"].where(tidy["first_stage"].notna())],
            (HERE, "K"): [whole(x) for x in tidy["capacity"]],
            (HERE, "P"): [whole(x) for x in tidy["sampled_features"]],
            (HERE, "Usage"): [percent(x) for x in tidy["usage_train_seen"]],
            **distance_columns(tidy),
            (HERE, "PSNR (dB)"): spreads(tidy["psnr"], tidy["psnr_std"], 1),
            (HERE, "Usage ≥10 times"): [percent(x) for x in tidy["usage_train_seen10"]],
            (HERE, "Usage, test"): [percent(x) for x in tidy["usage_test_seen"]],
            (HERE, "test, ≥10 times"): [percent(x) for x in tidy["usage_test_seen10"]],
            (HERE, "Latent size"): [known(x) for x in tidy["latent_size"]],
            ("", "Note"): [noted(x) for x in tidy["why"]],
        }
    )


TABLE = Table("table1", "4.2", gather, display)
