"""Table 2: generation with and without ReFiT, its size and its cost, reported beside measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from vqddm.paper.plan import Baseline, PaperRow, Plan, paper_rows
from vqddm.paper.recounted import recounted
from vqddm.paper.render import known, short, thousandths
from vqddm.paper.reported import reported, text, value
from vqddm.paper.table1 import distance_columns

BASELINES: dict[str, Baseline] = {
    "vqgan_transformer": "transformer",
    "ddim": "ddpm",
}  # rows of Table 2 that a suite may train


def table2_rows(plan: Plan, root: Path) -> pd.DataFrame:
    """One row for each row of Table 2, for section 4.3's LSUN-Church, and for priors that the paper has not.

    Args:
        plan: the suite; the dataset in the role of CelebA-HQ fills Table 2.
        root: the suite's results folder.

    Returns:
        Columns `reported_*`, `paper_*` (operations worked out from what the paper prints), `counted_*` (networks of
        the same size, counted here in full) and measured ones. Operations are multiply-accumulates.
    """
    main = plan.roles.celebahq
    ours = paper_rows(plan.datasets[main].priors)
    rows = []
    for paper in reported()["table2"]["rows"]:
        baseline = BASELINES.get(paper["id"])
        stage = plan.datasets[main].baseline(baseline) if baseline else ours.get(paper["row"])
        row = _reported(plan, root, paper)
        if baseline == "ddpm":
            row |= _measured_ddim(plan, root, main if stage else None)
        else:
            row |= _measured(plan, root, main if stage else None, stage, baseline)
        rows.append(row | {"why": _why(baseline or paper["row"], stage, row)})
    rows += [
        _absorbing(plan, root, name) for name, dataset in plan.datasets.items() if "absorbing" in dataset.baselines
    ]
    rows += [_extra(plan, root, main, stage) for stage in plan.datasets[main].priors if stage not in ours.values()]
    church = plan.role("lsun_church")
    rows.append(_church(plan, root, church))
    if church and church != main:
        rows += [_extra(plan, root, church, stage) for stage in plan.datasets[church].priors[1:]]
    return pd.DataFrame(rows)


def _reported(plan: Plan, root: Path, paper: dict[str, Any]) -> dict[str, Any]:
    """The paper's own columns, and what its operations come to for each step and each image."""
    flops, steps = value(paper["flops"]), paper["steps"]
    row: dict[str, Any] = {
        "id": paper["id"],
        "method": paper["method"],
        "source": paper["source"],
        "kind": paper["kind"],
        "reported_fid": value(paper["fid"]),
        "reported_fid_text": text(paper["fid"]),
        "reported_parameters": value(paper["parameters"]),
        "reported_parameters_text": text(paper["parameters"]),
        "reported_flops": flops,
        "reported_flops_text": text(paper["flops"]),
    }
    row |= recounted(plan.metrics(root, None, None, "paper_counts") or {}, paper)
    if paper["id"] == "vqgan_transformer":  # the table's footnote: its column holds a whole image
        each = reported()["table2"]["footnote_flops_per_index"]["value"]
        return row | {"paper_counts": "a whole image", "paper_macs_per_step": each, "paper_macs_per_image": flops}
    steps = reported()["settings"]["timesteps"]["value"] if paper["row"] else steps
    per_image = flops * steps if flops and steps else None
    counts = None if flops is None else "a whole image" if steps == 1 else "one step"
    return row | {"paper_counts": counts, "paper_macs_per_step": flops, "paper_macs_per_image": per_image}


def _measured(
    plan: Plan, root: Path, dataset: str | None, stage: str | None, baseline: Baseline | None = None
) -> dict[str, Any]:
    """The measured columns of one prior, or of a baseline on the same codes; None where nothing was measured."""
    found = counts = floor = None
    if dataset and stage:
        samples = f"{baseline}_samples" if baseline else f"samples_{plan.datasets[dataset].timesteps}"
        found = plan.metrics(root, dataset, stage, samples)
        counts = plan.metrics(root, dataset, stage, "transformer_counts" if baseline == "transformer" else "counts")
        floor = plan.metrics(root, dataset, None, "floor")
    return {
        "dataset": dataset,
        "first_stage": stage,
        "samples": found["samples"] if found else None,
        **_distance(found, floor),
        "prior_parameters": counts["prior"]["parameters"] if counts else None,
        "first_stage_parameters": counts["autoencoder"]["parameters"] if counts else None,
        "macs_per_step_as_paper": counts["prior"]["macs_per_step_as_paper"] if counts else None,
        "macs_per_step": counts["prior"]["macs_per_step"] if counts else None,
        "timesteps": counts["timesteps"] if counts else None,
        "macs_per_image": counts["macs_per_image"] if counts else None,
    }


def _measured_ddim(plan: Plan, root: Path, dataset: str | None) -> dict[str, Any]:
    """The measured columns of the pixel diffusion with the most steps measured; it has no first stage."""
    steps = max(plan.datasets[dataset].ddim_steps, default=None) if dataset else None
    empty = _measured(plan, root, None, None)
    if dataset is None or steps is None:
        return empty
    found = plan.metrics(root, dataset, None, f"ddim_samples_{steps}")
    counts = plan.metrics(root, dataset, None, "ddpm_counts")
    floor = plan.metrics(root, dataset, None, "floor")
    row = empty | {"dataset": dataset, "first_stage": f"pixels, {steps} steps", "timesteps": steps}
    if found:
        row |= {"samples": found["samples"]} | _distance(found, floor)
    if counts:
        per_step = counts["macs_per_step"]
        row |= {"prior_parameters": counts["parameters"], "macs_per_step": per_step, "macs_per_image": steps * per_step}
    return row


def _distance(found: dict[str, Any] | None, floor: dict[str, Any] | None) -> dict[str, Any]:
    """The columns of a measured distance and of the floor beside it."""
    distance = found["distance"] if found else {}
    held_out = floor["distance"] if floor and found else {}
    return {
        "distance_name": distance.get("name"),
        "distance": distance.get("frechet"),
        "distance_std": distance.get("frechet_std"),
        "floor": held_out.get("frechet"),
        "floor_std": held_out.get("frechet_std"),
        "kid": distance.get("kid"),
        "kid_std": distance.get("kid_std"),
        "floor_kid": held_out.get("kid"),
        "floor_kid_std": held_out.get("kid_std"),
        "precision": distance.get("precision"),
        "precision_std": distance.get("precision_std"),
        "recall": distance.get("recall"),
        "recall_std": distance.get("recall_std"),
    }


def _why(row: PaperRow | Baseline | None, stage: str | None, measured: dict[str, Any]) -> str | None:
    """Why a row has no measured distance, None where it has one."""
    if row is None:
        return "reported only: not run here"
    if stage is None:
        return "not trained in this suite" if row in BASELINES.values() else "no such prior in this suite"
    return None if measured["distance"] is not None else "not measured yet"


def _extra(plan: Plan, root: Path, dataset: str, stage: str) -> dict[str, Any]:
    """A prior of ours that no row of the paper stands for."""
    return _unreported(f"{dataset}_{stage}", f"{stage} (not in the paper)", _measured(plan, root, dataset, stage))


def _absorbing(plan: Plan, root: Path, dataset: str) -> dict[str, Any]:
    """The same network with the absorbing transition on a dataset."""
    measured = _measured(plan, root, dataset, plan.datasets[dataset].baseline("absorbing"), "absorbing")
    return _unreported(f"{dataset}_absorbing", "ours, absorbing transition (not in the paper)", measured)


def _unreported(id: str, method: str, measured: dict[str, Any]) -> dict[str, Any]:
    dash = text(None)
    row = {"id": id, "method": method, "source": "ours", "kind": "likelihood-based", "reported_fid_text": dash}
    row |= {"reported_parameters_text": dash, "reported_flops_text": dash}
    return row | measured | {"why": None if measured["distance"] is not None else "not measured yet"}


def _church(plan: Plan, root: Path, dataset: str | None) -> dict[str, Any]:
    """Section 4.3's LSUN-Church, which Table 2 leaves out: K = 1024 with ReFiT, FID 16.9."""
    stage = plan.datasets[dataset].main_prior if dataset else None
    paper = next(row for row in reported()["table2"]["rows"] if row["id"] == "vqddm_1024")
    paper = paper | {"id": "lsun_church", "method": "ours on LSUN-Church (K = 1024, section 4.3)"}
    paper |= {"fid": reported()["generation"]["fid"]["lsun_church"]}
    row = _reported(plan, root, paper) | _measured(plan, root, dataset, stage)
    return row | {"why": _why("refit", stage, row)}


def table2_display(tidy: pd.DataFrame) -> pd.DataFrame:
    """Table 2 as it is read: text, in column groups `paper` and `measured here`."""
    here, counted = "measured here", "counted here at the paper's size"
    return pd.DataFrame(
        {
            ("", "Method"): [
                f"{method} {source}".removesuffix(" ours")
                for method, source in zip(tidy["method"], tidy["source"], strict=True)
            ],
            ("paper", "FID"): list(tidy["reported_fid_text"]),
            ("paper", "Params"): list(tidy["reported_parameters_text"]),
            ("paper", "FLOPs"): list(tidy["reported_flops_text"]),
            ("paper", "FLOPs are of"): [known(x) for x in tidy["paper_counts"]],
            (here, "Trained on"): [
                " / ".join(x) if pd.notna(x[1]) else known(None)
                for x in zip(tidy["dataset"], tidy["first_stage"], strict=True)
            ],
            **distance_columns(tidy),
            (here, "KID × 10³"): [thousandths(*x) for x in zip(tidy["kid"], tidy["kid_std"], strict=True)],
            (here, "Params"): [short(x) for x in tidy["prior_parameters"]],
            (here, "MACs per step, as the paper counts"): [short(x) for x in tidy["macs_per_step_as_paper"]],
            (here, "MACs per step, in full"): [short(x) for x in tidy["macs_per_step"]],
            (here, "MACs per image"): [short(x) for x in tidy["macs_per_image"]],
            ("worked out from the paper", "FLOPs per step"): [short(x) for x in tidy["paper_macs_per_step"]],
            ("worked out from the paper", "FLOPs per image"): [short(x) for x in tidy["paper_macs_per_image"]],
            (counted, "Params"): [short(x) for x in tidy["counted_parameters"]],
            (counted, "MACs per step"): [short(x) for x in tidy["counted_macs_per_step"]],
            (counted, "MACs per image"): [short(x) for x in tidy["counted_macs_per_image"]],
            ("", "Kind"): list(tidy["kind"]),
            ("", "Note"): ["" if pd.isna(x) else x for x in tidy["why"]],
        }
    )
