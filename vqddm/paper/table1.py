"""Table 1: codebook usage and reconstruction, reported beside measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from vqddm.paper.plan import Plan, Role, paper_rows
from vqddm.paper.render import known, percent, thousandths, whole, with_spread
from vqddm.paper.reported import reported, text, value

ROLE_TITLES: dict[Role, str] = {
    "celebahq": "CelebA-HQ",
    "lsun_church": "LSUN-Church",
    "imagenet": "ImageNet",
}


def table1_rows(plan: Plan, root: Path) -> pd.DataFrame:
    """One row for each role and row of Table 1, and for each first stage that the paper has no row for.

    Args:
        plan: the suite.
        root: the suite's results folder.

    Returns:
        Columns `reported_*` (the paper's) and measured ones; usages are fractions, `why` says why a row has no
        measured number.
    """
    rows: list[dict[str, Any]] = []
    shown: set[str] = set()
    for role in ("celebahq", "imagenet", "lsun_church"):
        name = plan.role(role)
        if role != "lsun_church":
            rows += _role_rows(plan, root, role, name)
            shown |= {name} if name else set()
        elif name and name not in shown:
            rows += [_row(plan, root, role, name, None, stage) for stage in plan.datasets[name].first_stages]
    return pd.DataFrame(rows)


def _role_rows(plan: Plan, root: Path, role: Role, dataset: str | None) -> list[dict[str, Any]]:
    """The paper's rows for one role, then first stages of ours that stand in none of them."""
    stages = plan.datasets[dataset].first_stages if dataset else ()
    ours = paper_rows(stages)
    rows = []
    for paper in reported()["table1"]["rows"]:
        stage = ours.get(paper["row"])
        if stage or paper["usage"][role] or paper["fid"][role]:
            rows.append(_row(plan, root, role, dataset, paper, stage))
    others = [stage for stage in stages if stage not in ours.values()]
    return rows + [_row(plan, root, role, dataset, None, stage) for stage in others]


def _row(
    plan: Plan, root: Path, role: Role, dataset: str | None, paper: dict[str, Any] | None, stage: str | None
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "role": role,
        "dataset": dataset,
        "id": paper["id"] if paper else stage,
        "model": paper["model"] if paper else "not in the paper",
        "reported_latent_size": paper["latent_size"] if paper else None,
        "reported_capacity": paper["capacity"] if paper else None,
        "reported_usage": value(paper["usage"].get(role)) if paper else None,
        "reported_usage_text": text(paper["usage"].get(role)) if paper else text(None),
        "reported_fid": value(paper["fid"].get(role)) if paper else None,
        "reported_fid_text": text(paper["fid"].get(role)) if paper else text(None),
        "first_stage": stage,
    }
    found = plan.metrics(root, dataset, stage, "reconstruction") if dataset and stage else None
    floor = plan.metrics(root, dataset, None, "floor") if dataset else None
    row |= _measured(found, floor if found else None)
    if found:
        row["why"] = None
    elif stage:
        row["why"] = "not measured yet"
    else:
        row["why"] = paper["why"] if paper and dataset else "no dataset plays this role in the suite"
    return row


def _measured(found: dict[str, Any] | None, floor: dict[str, Any] | None) -> dict[str, Any]:
    """The measured columns, all None where nothing was measured."""
    distance = found["distance"] if found else {}
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
        "distance_name": distance.get("name"),
        "distance": distance.get("frechet"),
        "distance_std": distance.get("frechet_std"),
        "floor": floor["distance"]["frechet"] if floor else None,
        "floor_std": floor["distance"].get("frechet_std") if floor else None,
        "kid": distance.get("kid"),
        "kid_std": distance.get("kid_std"),
        "floor_kid": floor["distance"]["kid"] if floor else None,
        "floor_kid_std": floor["distance"].get("kid_std") if floor else None,
        "images": distance.get("images"),
        "psnr": found["psnr"] if found else None,
        "psnr_std": found.get("psnr_std") if found else None,
        "perceptual_name": found["perceptual"]["name"] if found else None,
        "perceptual": found["perceptual"]["value"] if found else None,
        "perceptual_std": found["perceptual"].get("std") if found else None,
    }


def distance_columns(tidy: pd.DataFrame) -> dict[tuple[str, str], list[str]]:
    """A displayed column for each name that a measured distance has: never one column for two measures.

    Expects the columns `distance_name`, `distance`, `distance_std`, `floor` and `floor_std`.
    """
    names = sorted(tidy["distance_name"].dropna().unique())
    shown: dict[tuple[str, str], list[str]] = {}
    for name in names:
        mine, floor = tidy["distance_name"] == name, "floor" if len(names) == 1 else f"{name}: floor"
        pairs = zip(tidy["distance"].where(mine), tidy["distance_std"], strict=True)
        shown["measured here", name] = [with_spread(*pair) for pair in pairs]
        floors = zip(tidy["floor"].where(mine), tidy["floor_std"], strict=True)
        shown["measured here", floor] = [with_spread(*pair) for pair in floors]
    return shown


def table1_display(tidy: pd.DataFrame) -> pd.DataFrame:
    """Table 1 as it is read: text, in column groups `paper` and `measured here`."""
    here = "measured here"
    return pd.DataFrame(
        {
            ("", "Role"): [ROLE_TITLES[role] for role in tidy["role"]],
            ("", "Model"): list(tidy["model"]),
            ("paper", "Latent size"): [known(x) for x in tidy["reported_latent_size"]],
            ("paper", "K"): [whole(x) for x in tidy["reported_capacity"]],
            ("paper", "Usage"): list(tidy["reported_usage_text"]),
            ("paper", "FID"): list(tidy["reported_fid_text"]),
            (here, "Dataset"): [known(x) for x in tidy["dataset"].where(tidy["first_stage"].notna())],
            (here, "K"): [whole(x) for x in tidy["capacity"]],
            (here, "P"): [whole(x) for x in tidy["sampled_features"]],
            (here, "Usage"): [percent(x) for x in tidy["usage_train_seen"]],
            **distance_columns(tidy),
            (here, "KID × 10³"): [thousandths(*x) for x in zip(tidy["kid"], tidy["kid_std"], strict=True)],
            (here, "PSNR (dB)"): [with_spread(*x, 1) for x in zip(tidy["psnr"], tidy["psnr_std"], strict=True)],
            (here, "Usage ≥10 times"): [percent(x) for x in tidy["usage_train_seen10"]],
            (here, "Usage, test"): [percent(x) for x in tidy["usage_test_seen"]],
            (here, "test, ≥10 times"): [percent(x) for x in tidy["usage_test_seen10"]],
            (here, "Latent size"): [known(x) for x in tidy["latent_size"]],
            ("", "Note"): ["" if pd.isna(x) else x for x in tidy["why"]],
        }
    )
