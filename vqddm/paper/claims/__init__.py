"""The paper's claims, each judged by a fixed rule from measured numbers.

A claim is reproduced only where the numbers show it beyond their spread, and undecided within it. The spread is that of
trainings where a suite repeats them, else that of the evaluation (draws, pictures, code maps). A claim that the suite
cannot speak to is said to be not measured, never counted either way.
Only the rule about speed reads timings, which differ from run to run.
"""

from collections import Counter
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
ALONE = "Each training alone"
CLAIMS: Registry[Claim] = Registry("claim", [claim for module in MODULES for claim in record_in(module, "CLAIMS")])


def judged_of(plan: Plan) -> list[Claim]:
    """The paper's claims; behind them, where the suite trains controls, what these are asked."""
    return [*CLAIMS.values(), *(controls.CLAIMS if controls.has_controls(plan) else ())]


def claims_inputs(plan: Plan) -> list[str]:
    """The metric files that the claims read, relative to the suite's results folder."""
    asked: dict[str, None] = {}
    for metrics in (Metrics(plan), *_each_training(plan, None)):
        for claim in judged_of(plan):
            claim.judge(metrics)
        for dataset in plan.datasets:
            metrics.read("floor", dataset)  # told only beside distances that were measured
        asked |= dict.fromkeys(metrics.asked)
    return list(asked)


def _each_training(plan: Plan, root: Path | None) -> list[Metrics]:
    """The metrics of each of several trainings alone; none where there is one."""
    return [Metrics(plan, root, number) for number in range(1, plan.trainings + 1) if plan.trainings > 1]


def judge(plan: Plan, root: Path) -> pd.DataFrame:
    """One row for each claim: `id`, `claim`, `place`, `measured`, `verdict`, `alone`, `rule`, `evidence` (files read).

    `alone` is how often each verdict came out where every training is judged alone, by the spread of its own draws;
    empty where there is one training.

    Args:
        root: the suite's results folder; what was not measured there makes a claim not testable.

    Raises:
        UserError: a metric file is damaged.
    """
    rows = []
    for claim in judged_of(plan):
        metrics = Metrics(plan, root)
        found = claim.judge(metrics)
        alone = Counter(claim.judge(one).verdict for one in _each_training(plan, root))
        rows.append(
            {
                "id": claim.name,
                "claim": claim.says,
                "place": claim.place,
                "measured": found.measured,
                "verdict": found.verdict,
                "alone": ", ".join(f"{count} {verdict}" for verdict, count in alone.most_common()),
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
    columns = ["claim", "place", "measured", "verdict", *(["alone"] if plan.trainings > 1 else []), "rule"]
    shown = found[columns].rename(columns={**{name: name.capitalize() for name in columns}, "alone": ALONE})
    write_texts(out, csv=full(found), md=f"{spreads_are_of(plan)}\n\n{markdown(shown)}")
