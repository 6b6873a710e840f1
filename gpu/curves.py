"""Figure 13 of what came back (`gpu/collect.sh`): the curves of the trainings that ran, from `results/gpu/curves/`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from vqddm.paper.figures import draw
from vqddm.paper.plan import plan_from
from vqddm.params import load

RESULTS = Path("results/gpu")


def lay_out(stages: tuple[str, ...], kind: str, folder: Path) -> tuple[str, ...]:
    """Copy curves to where trainings write them; the first stages that have one."""
    found = tuple(stage for stage in stages if (RESULTS / f"curves/{stage}_{kind}.csv").exists())
    for stage in found:
        (folder / stage).mkdir(parents=True, exist_ok=True)
        shutil.copy(RESULTS / f"curves/{stage}_{kind}.csv", folder / stage / f"{kind}.csv")
    return found


def main() -> None:
    plan = plan_from(load(Path("params.yaml")), "gpu")
    [(name, dataset)] = plan.datasets.items()
    with tempfile.TemporaryDirectory() as home:
        models = Path(home, "models", name)
        trained = {
            "first_stages": lay_out(dataset.first_stages, "first_stage", models),
            "priors": lay_out(dataset.priors, "prior", models),
        }
        ran = plan.model_copy(update={"datasets": {name: dataset.model_copy(update=trained)}})
        draw(13, plan=ran, root=RESULTS, evaluation=Path(home, "evaluation"), out=RESULTS / "figures/figure13")


if __name__ == "__main__":
    main()
