"""The paper's claims, each judged by a fixed rule from measured numbers.

A claim is reproduced only where the numbers show it beyond their spread, and undecided within it. The spread is that of
trainings where a suite repeats them, else that of the evaluation (draws, pictures, code maps). A claim that the suite
cannot speak to is said to be not measured, never counted either way.
Only the rule about speed reads timings, which differ from run to run.
"""

from pathlib import Path

import pandas as pd

from vqddm.paper.claims import controls
from vqddm.paper.claims.evidence import Claim, spreads_are_of
from vqddm.paper.metrics import Metrics
from vqddm.paper.plan import Plan
from vqddm.paper.render import full, markdown, write_texts
from vqddm.registry import Registry, record_in

MODULES = (
    "vqddm.paper.claims.codebook",
    "vqddm.paper.claims.generation",
    "vqddm.paper.claims.inpainting",
)
CLAIMS: Registry[Claim] = Registry("claim", [claim for module in MODULES for claim in record_in(module, "CLAIMS")])


def judged_of(plan: Plan) -> list[Claim]:
    """The paper's claims; behind them, where the suite trains controls, what these are asked."""
    return [*CLAIMS.values(), *(controls.CLAIMS if controls.has_controls(plan) else ())]


def claims_inputs(plan: Plan) -> list[str]:
    """The metric files that the claims read, relative to the suite's results folder."""
    metrics = Metrics(plan)
    for claim in judged_of(plan):
        claim.judge(metrics)
    for dataset in plan.datasets:
        metrics.read("floor", dataset)  # told only beside distances that were measured
    return list(metrics.asked)


def judge(plan: Plan, root: Path) -> pd.DataFrame:
    """One row for each claim: `id`, `claim`, `place`, `measured`, `verdict`, `rule`, `evidence` (files read).

    Args:
        root: the suite's results folder; what was not measured there makes a claim not testable.

    Raises:
        UserError: a metric file is damaged.
    """
    rows = []
    for claim in judged_of(plan):
        metrics = Metrics(plan, root)
        found = claim.judge(metrics)
        rows.append(
            {
                "id": claim.name,
                "claim": claim.says,
                "place": claim.place,
                "measured": found.measured,
                "verdict": found.verdict,
                "rule": claim.rule,
                "evidence": "; ".join(metrics.found),
            }
        )
    return pd.DataFrame(rows)


def claims(plan: Plan, root: Path, out: Path) -> None:
    """Judge every claim and write `out`.csv, and `out`.md with a sentence on what their spread is.

    Args:
        out: path without suffix.
    """
    found = judge(plan, root)
    shown = found[["claim", "place", "measured", "verdict", "rule"]].rename(columns=str.capitalize)
    write_texts(out, csv=full(found), md=f"{spreads_are_of(plan.trainings)}\n\n{markdown(shown)}")
