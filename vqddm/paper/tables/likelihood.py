"""Likelihood, which the paper gives in its text only (section 4.3)."""

from typing import Any

import pandas as pd

from vqddm.methods import METHODS
from vqddm.paper.metrics import Metrics
from vqddm.paper.names import short_title
from vqddm.paper.plan import ROLE_TITLES
from vqddm.paper.render import DASH, fixed, noted, spreads, whole
from vqddm.paper.reported import reported, told
from vqddm.paper.tables.record import Table
from vqddm.registry import Method

INCOMPARABLE = "other unit or estimator: not comparable"


def gather(metrics: Metrics) -> pd.DataFrame:
    """Bits per code of each dataset's main prior and baselines, by split, with error and ceiling.

    Each role's prior stands beside the paper's NLL; a dataset that plays two roles is measured once.
    """
    rows: list[dict[str, Any]] = []
    shown: set[str] = set()
    for role in ROLE_TITLES:
        paper, dataset = reported()["likelihood"].get(role), metrics.plan.role(role)
        if dataset is None or dataset in shown:
            nowhere = {"role": role, "dataset": None, "first_stage": None}
            rows += _splits(nowhere, METHODS["prior"], None, paper) if paper else []
            continue
        shown.add(dataset)
        stage = metrics.plan.datasets[dataset].main_prior
        place = {"role": role, "dataset": dataset, "first_stage": stage}
        for method in metrics.plan.measured("likelihood", dataset):
            found = metrics.read("likelihood", dataset, method=method.name)
            beside = paper if method.name == "prior" else None
            if found or beside or method.name != "prior":
                rows += _splits(place, method, found, beside)
    return pd.DataFrame(rows)


def _splits(
    place: dict[str, Any], method: Method, found: dict[str, Any] | None, paper: dict[str, Any] | None
) -> list[dict[str, Any]]:
    """A row for each split. What takes a step for each code has an exact likelihood; a diffusion has a bound."""
    return [
        {
            **place,
            "method": short_title(method) + ("" if method.strided else ", exact"),
            "split": split,
            **told(nll=paper[split] if paper else None),
            "bits_per_code": found[split]["bits_per_code"] if found else None,
            "standard_error": found[split]["standard_error"] if found else None,
            "first_term": found[split].get("first_term") if found else None,
            "images": found[split]["images"] if found else None,
            "ceiling": found["ceiling"] if found else None,
            "timesteps": found.get("timesteps") if found else None,
            "note": INCOMPARABLE if found and paper else None if found else "not measured yet",
        }
        for split in ("train", "test")
    ]


def display(tidy: pd.DataFrame) -> pd.DataFrame:
    """The likelihoods as they are read."""
    here = "measured here"
    return pd.DataFrame(
        {
            ("", "Role"): [ROLE_TITLES[role] for role in tidy["role"]],
            ("", "Split"): list(tidy["split"]),
            ("paper", "NLL"): list(tidy["reported_nll_text"]),
            (here, "Method"): list(tidy["method"]),
            (here, "Codes of"): [
                f"{d} / {s}" if pd.notna(s) else DASH for d, s in zip(tidy["dataset"], tidy["first_stage"], strict=True)
            ],
            (here, "Bits per code"): spreads(tidy["bits_per_code"], tidy["standard_error"], 3),
            (here, "of which L_1"): [fixed(x, 3) for x in tidy["first_term"]],
            (here, "Ceiling"): [fixed(x, 2) for x in tidy["ceiling"]],
            (here, "Code maps"): [whole(x) for x in tidy["images"]],
            ("", "Note"): [noted(x) for x in tidy["note"]],
        }
    )


TABLE = Table("likelihood", "4.3", gather, display)
