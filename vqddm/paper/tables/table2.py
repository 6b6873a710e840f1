"""Table 2: generation with and without ReFiT, its size and its cost, reported beside measured."""

from typing import Any

import pandas as pd

from vqddm.methods import BASELINES, METHODS
from vqddm.paper.counts import macs_per_image, network_of, recounted
from vqddm.paper.metrics import Metrics
from vqddm.paper.names import first_stage_label
from vqddm.paper.plan import paper_rows
from vqddm.paper.render import known, noted, short
from vqddm.paper.reported import reported, told
from vqddm.paper.tables.distances import HERE, distance_columns, distance_of
from vqddm.paper.tables.record import Table


def gather(metrics: Metrics) -> pd.DataFrame:
    """One row for each row of Table 2, for section 4.3's LSUN-Church, and for what of ours the paper has not.

    The dataset in the role of CelebA-HQ fills Table 2.

    Columns `reported_*`, `paper_*` (operations worked out from what the paper prints), `counted_*` (networks of the
    same size, counted here in full) and measured ones. Operations are multiply-accumulates.
    """
    plan = metrics.plan
    main, church = plan.roles.celebahq, plan.role("lsun_church")
    ours = paper_rows(plan.datasets[main].priors)
    rows = [_paper_row(metrics, main, paper, ours) for paper in reported()["table2"]["rows"]]
    for method in BASELINES.values():
        if method.row is None:
            named = method.title.replace("VQ-DDM", "ours")  # as the paper's table calls it
            rows += [
                _unreported(metrics, dataset, method.name, named)
                for dataset, about in plan.datasets.items()
                if method.name in about.methods
            ]
    shown = {ours.get(paper["row"]) for paper in reported()["table2"]["rows"]}
    rows += [_unreported(metrics, main, s, _on(s), s) for s in plan.datasets[main].priors if s not in shown]
    rows.append(_church(metrics, church))
    if church and church != main:
        rows += [_unreported(metrics, church, s, _on(s), s) for s in plan.datasets[church].priors[1:]]
    return pd.DataFrame(rows)


def _paper_row(metrics: Metrics, dataset: str, paper: dict[str, Any], ours: dict[str, str]) -> dict[str, Any]:
    """A row of the paper, with what a method of this suite measured, or the prior on the first stage of that row."""
    method = next((method.name for method in METHODS.values() if method.row == paper["id"]), None)
    stage = ours.get(paper["row"])
    trained = method in metrics.plan.datasets[dataset].methods if method else stage
    row = _reported(metrics, paper) | _measured(metrics, dataset if trained else None, method or "prior", stage)
    if trained:
        why = None if row["distance"] is not None else "not measured yet"
    elif method:
        why = "not trained in this suite"
    else:
        why = "no such prior in this suite" if paper["row"] else "reported only: not run here"
    return row | {"why": why}


def _reported(metrics: Metrics, paper: dict[str, Any]) -> dict[str, Any]:
    """The paper's own columns, and what its operations come to for each step and each image."""
    row: dict[str, Any] = {
        "id": paper["id"],
        "method": paper["method"],
        "source": paper["source"],
        "kind": paper["kind"],
        **told(fid=paper["fid"], parameters=paper["parameters"], flops=paper["flops"]),
    }
    row |= recounted(metrics.read("paper_counts") or {}, paper)
    flops, steps = row["reported_flops"], paper["steps"]
    if paper["id"] == "vqgan_transformer":  # the table's footnote: its column holds a whole image
        each = reported()["table2"]["footnote_flops_per_index"]["value"]
        return row | {"paper_counts": "a whole image", "paper_macs_per_step": each, "paper_macs_per_image": flops}
    steps = reported()["settings"]["timesteps"]["value"] if paper["row"] else steps
    per_image = flops * steps if flops and steps else None
    counts = None if flops is None else "a whole image" if steps == 1 else "one step"
    return row | {"paper_counts": counts, "paper_macs_per_step": flops, "paper_macs_per_image": per_image}


def _measured(metrics: Metrics, dataset: str | None, method: str, stage: str | None = None) -> dict[str, Any]:
    """The measured columns of a method on a dataset, all None where it is not trained (`dataset` None)."""
    found = counts = floor = place = steps = None
    if dataset:
        about = metrics.plan.datasets[dataset]
        found = metrics.read("samples", dataset, stage, method)
        counts = metrics.read("counts", dataset, stage, method)
        floor = metrics.read("floor", dataset)
        place = stage or about.main_prior
        if METHODS[method].fills == "pixels":
            steps = about.methods[method][-1]
            place = f"pixels, {steps} steps"
    network = network_of(counts or {})
    distance = found["distance"] if found else {}
    of_samples = [f"{name}{part}" for name in ("precision", "recall") for part in ("", "_std")]
    return {
        "dataset": dataset,
        "first_stage": place,
        "samples": found["samples"] if found else None,
        **distance_of(found, floor),
        **{name: distance.get(name) for name in of_samples},
        "prior_parameters": network.get("parameters"),
        "first_stage_parameters": (counts or {}).get("autoencoder", {}).get("parameters"),
        "macs_per_step_as_paper": network.get("macs_per_step_as_paper"),
        "macs_per_step": network.get("macs_per_step"),
        "timesteps": steps or (counts["timesteps"] if counts else None),
        "macs_per_image": macs_per_image(counts, steps or 0) if counts else None,
    }


def _on(first_stage: str) -> str:
    """The prior on one more first stage, as a row names it."""
    return f"ours on {first_stage_label(first_stage)}"


def _unreported(metrics: Metrics, dataset: str, id: str, named: str, stage: str | None = None) -> dict[str, Any]:
    """What the paper has no row for: a prior on one more first stage, or the method that `id` names."""
    row = {"id": f"{dataset}_{id}", "method": f"{named} (not in the paper)", "source": "ours"}
    row |= {"kind": "likelihood-based"} | told(fid=None, parameters=None, flops=None)
    measured = _measured(metrics, dataset, "prior" if stage else id, stage)
    return row | measured | {"why": None if measured["distance"] is not None else "not measured yet"}


def _church(metrics: Metrics, dataset: str | None) -> dict[str, Any]:
    """Section 4.3's LSUN-Church, which Table 2 leaves out: K = 1024 with ReFiT, FID 16.9."""
    paper = next(row for row in reported()["table2"]["rows"] if row["id"] == "vqddm_1024")
    paper = paper | {"id": "lsun_church", "method": "ours on LSUN-Church (K = 1024, section 4.3)"}
    paper |= {"fid": reported()["generation"]["fid"]["lsun_church"]}
    shown = {paper["row"]: metrics.plan.datasets[dataset].main_prior} if dataset else {}
    return _paper_row(metrics, dataset or metrics.plan.roles.celebahq, paper, shown)


def display(tidy: pd.DataFrame) -> pd.DataFrame:
    """Table 2 as it is read: text, in column groups `paper` and `measured here`."""
    worked_out, counted = "worked out from the paper", "counted here at the paper's size"
    named = zip(tidy["method"], tidy["source"], strict=True)
    trained = zip(tidy["dataset"], tidy["first_stage"], strict=True)
    return pd.DataFrame(
        {
            ("", "Method"): [f"{method} {source}".removesuffix(" ours") for method, source in named],
            ("paper", "FID"): list(tidy["reported_fid_text"]),
            ("paper", "Params"): list(tidy["reported_parameters_text"]),
            ("paper", "FLOPs"): list(tidy["reported_flops_text"]),
            ("paper", "FLOPs are of"): [known(x) for x in tidy["paper_counts"]],
            (HERE, "Trained on"): [" / ".join(x) if pd.notna(x[1]) else known(None) for x in trained],
            **distance_columns(tidy),
            **{
                (group, name): [short(x) for x in tidy[column]]
                for group, name, column in (
                    (HERE, "Params", "prior_parameters"),
                    (HERE, "MACs per step, as the paper counts", "macs_per_step_as_paper"),
                    (HERE, "MACs per step, in full", "macs_per_step"),
                    (HERE, "MACs per image", "macs_per_image"),
                    (worked_out, "FLOPs per step", "paper_macs_per_step"),
                    (worked_out, "FLOPs per image", "paper_macs_per_image"),
                    (counted, "Params", "counted_parameters"),
                    (counted, "MACs per step", "counted_macs_per_step"),
                    (counted, "MACs per image", "counted_macs_per_image"),
                )
            },
            ("", "Kind"): list(tidy["kind"]),
            ("", "Note"): [noted(x) for x in tidy["why"]],
        }
    )


TABLE = Table("table2", "4.3", gather, display)
