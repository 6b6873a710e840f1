"""The numbers that the paper gives in its text only, as tables: likelihood and speed (section 4.3)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from vqddm.paper.plan import Baseline, Plan
from vqddm.paper.render import DASH, fixed, known, whole, with_spread
from vqddm.paper.reported import reported, text, value
from vqddm.paper.table1 import ROLE_TITLES

INCOMPARABLE = "other unit or estimator: not comparable"
SECONDS_PER_HOUR = 3600
LIKELIHOOD_METHODS: dict[Baseline, str] = {
    "transformer": "transformer, exact",
    "absorbing": "VQ-DDM, absorbing transition",
}


def likelihood_rows(plan: Plan, root: Path) -> pd.DataFrame:
    """Bits per code of each role's main prior and split, with error and ceiling, beside the paper's NLL.

    Args:
        plan: the suite.
        root: the suite's results folder.
    """
    rows: list[dict[str, Any]] = []
    shown: set[str] = set()
    for role in ROLE_TITLES:
        name = plan.role(role)
        paper = reported()["likelihood"].get(role)
        if name in shown:
            name = None  # a dataset that plays two roles is measured once
        stage = plan.datasets[name].main_prior if name else None
        found = plan.metrics(root, name, stage, "likelihood") if name else None
        if found or paper:
            rows += _likelihood_of(role, name, stage, "VQ-DDM", found, paper)
        if name and name not in shown:
            for baseline, method in LIKELIHOOD_METHODS.items():
                if baseline in plan.datasets[name].baselines:
                    found = plan.metrics(root, name, stage, f"{baseline}_likelihood")
                    rows += _likelihood_of(role, name, stage, method, found, None)
        shown |= {name} if name else set()
    return pd.DataFrame(rows)


def _likelihood_of(
    role: str,
    dataset: str | None,
    stage: str | None,
    method: str,
    found: dict[str, Any] | None,
    paper: dict[str, Any] | None,
) -> list[dict[str, Any]]:
    return [
        {
            "role": role,
            "dataset": dataset,
            "first_stage": stage,
            "method": method,
            "split": split,
            "reported_nll": value(paper[split]) if paper else None,
            "reported_nll_text": text(paper[split]) if paper else text(None),
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


def likelihood_display(tidy: pd.DataFrame) -> pd.DataFrame:
    """The likelihoods as they are read."""
    here = "measured here"
    pairs = zip(tidy["bits_per_code"], tidy["standard_error"], strict=True)
    return pd.DataFrame(
        {
            ("", "Role"): [ROLE_TITLES[role] for role in tidy["role"]],
            ("", "Split"): list(tidy["split"]),
            ("paper", "NLL"): list(tidy["reported_nll_text"]),
            (here, "Method"): list(tidy["method"]),
            (here, "Codes of"): [
                f"{d} / {s}" if pd.notna(s) else DASH for d, s in zip(tidy["dataset"], tidy["first_stage"], strict=True)
            ],
            (here, "Bits per code"): [fixed(x, 3) if pd.isna(e) else f"{x:.3f} ± {e:.3f}" for x, e in pairs],
            (here, "of which L_1"): [fixed(x, 3) for x in tidy["first_term"]],
            (here, "Ceiling"): [fixed(x, 2) for x in tidy["ceiling"]],
            (here, "Code maps"): [whole(x) for x in tidy["images"]],
            ("", "Note"): ["" if pd.isna(x) else x for x in tidy["note"]],
        }
    )


def speed_rows(plan: Plan, root: Path) -> pd.DataFrame:
    """Hours for 50k images: the paper's three, then ours at each number of sampling steps.

    Args:
        plan: the suite.
        root: the suite's results folder.

    Returns:
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
    for name, dataset in plan.datasets.items():
        found = plan.metrics(root, name, None, "speed")
        if found is None:
            rows.append({"source": "measured", "method": "VQ-DDM", "dataset": name, "note": "not measured yet"})
        else:
            rows += [_speed_of(name, found, "VQ-DDM", found, steps, paper["images"]) for steps in dataset.steps]
            if transformer := found.get("transformer"):
                method = "VQ-GAN + transformer"
                rows.append(_speed_of(name, found, method, transformer, transformer["steps"], paper["images"]))
            if ddpm := found.get("ddpm"):
                pixels = ddpm | {"seconds_decode": 0.0, "seconds_decode_std": None}
                rows += [
                    _speed_of(name, found, method, pixels, steps, paper["images"])
                    for method, steps in [("DDPM", ddpm["timesteps"]), *(("DDIM", n) for n in dataset.ddim_steps)]
                ]
    columns = ["source", "method", "dataset", "first_stage", "device", "threads", "batch_size", "steps"]
    columns += ["seconds_per_step", "seconds_per_step_std", "seconds_decode", "seconds_decode_std"]
    columns += ["seconds_per_image", "hours", "hours_text", "note"]
    return pd.DataFrame(rows, columns=columns)


def _speed_of(
    dataset: str, found: dict[str, Any], method: str, timed: dict[str, Any], steps: int, images: int
) -> dict[str, Any]:
    decoding = timed if "seconds_decode" in timed else found  # pixels are not decoded
    decode = decoding["seconds_decode"]
    per_image = steps * timed["seconds_per_step"] + decode
    return {
        "source": "measured",
        "method": method,
        "dataset": dataset,
        **{key: found[key] for key in ("first_stage", "device", "threads", "batch_size")},
        "seconds_decode": decode,
        "seconds_decode_std": decoding.get("seconds_decode_std"),
        "seconds_per_step": timed["seconds_per_step"],
        "seconds_per_step_std": timed.get("seconds_per_step_std"),
        "steps": steps,
        "seconds_per_image": per_image,
        "hours": per_image * images / SECONDS_PER_HOUR,
    }


def speed_display(tidy: pd.DataFrame) -> pd.DataFrame:
    """The timings as they are read."""

    def milliseconds(key: str) -> list[str]:
        pairs = zip(1000 * tidy[key], 1000 * tidy[f"{key}_std"].astype(float), strict=True)
        return [with_spread(mean, spread, 3) for mean, spread in pairs]

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
            ("", "Note"): ["" if pd.isna(x) else x for x in tidy["note"]],
        }
    )
