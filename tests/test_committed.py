"""What `results/` shows, made anew from its committed metrics: tables, claims and page byte for byte."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vqddm.artifacts import UserError
from vqddm.evaluate.trainings import average_trainings
from vqddm.paper.figures import draw
from vqddm.paper.overview import overview
from vqddm.paper.plan import Plan, plan_from
from vqddm.paper.remake import remake
from vqddm.params import load
from vqddm.repeats import repeat

ROOT = Path(__file__).parents[1]
COMMITTED = ROOT / "results" / "mini"
TRAININGS = ROOT / "results" / "mini3"
FROM_METRICS = (1, 5, 6)  # figures that read no pictures


def planned(suite: str) -> Plan:
    return plan_from(load(ROOT / "params.yaml"), suite)


@pytest.mark.parametrize("suite", ["mini", "mini3", "gpu"])
def test_tables_claims_and_page_are_made_from_the_committed_metrics(suite: str, tmp_path: Path) -> None:
    plan, committed = planned(suite), ROOT / "results" / suite
    for folder in ("metrics", "over_trainings", "figures"):  # the page tells the pictures' sizes
        if (committed / folder).exists():
            shutil.copytree(committed / folder, tmp_path / folder)
    for timeline in committed.glob("timeline.*"):
        shutil.copy(timeline, tmp_path)
    said: list[str] = []
    remake(plan=plan, root=tmp_path, say=said.append)
    assert len(said) == (2 if suite == "gpu" else 1), "what was not measured there is told"
    made = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    shown = {path.relative_to(committed) for path in committed.rglob("*") if path.is_file()}
    assert made <= shown if suite == "gpu" else made == shown  # how it ran lies in results/gpu too
    unlike = {str(path) for path in made if (tmp_path / path).read_bytes() != (committed / path).read_bytes()}
    assert not unlike


def test_a_damaged_metric_is_told_when_tables_are_made_anew(tmp_path: Path) -> None:
    """Also one that no claim reads."""
    shutil.copytree(ROOT / "results/mini/metrics", tmp_path / "metrics")
    damaged = tmp_path / "metrics/faces/refit_k256_p4000/no_residual_samples_100.json"
    damaged.write_text(damaged.read_text()[:200])
    with pytest.raises(UserError, match=r"no_residual_samples_100\.json: not JSON"):
        remake(plan=planned("mini"), root=tmp_path, say=lambda _: None)


def test_what_is_known_of_trainings_is_what_three_of_them_gave() -> None:
    rows = pd.read_csv(TRAININGS / "tables/trainings.csv")
    distances = rows[rows["measure"].str.startswith("FD")]
    assert len(distances) == 28 and (distances["trainings"] == 3).all()
    share = np.sqrt(((distances["between"] / distances["mean"]) ** 2).mean())
    assert planned("mini").training_spread == round(float(share), 3)


def test_the_first_of_three_trainings_is_the_default_run() -> None:
    first = {path.relative_to(COMMITTED): path.read_bytes() for path in (COMMITTED / "metrics").rglob("*.json")}
    assert len(first) == 64
    assert {path: (TRAININGS / path).read_bytes() for path in first} == first


def test_averages_over_trainings_are_those_of_their_metrics(tmp_path: Path) -> None:
    averages = sorted((TRAININGS / "over_trainings").rglob("*.json"))
    assert len(averages) == 51, "all that each further training measured"
    for average in averages:
        dataset, *rest = average.relative_to(TRAININGS / "over_trainings").parts
        metrics = [TRAININGS.joinpath("metrics", repeat(dataset, number), *rest) for number in (1, 2, 3)]
        average_trainings(metrics=metrics, out=tmp_path / "average.json")
        assert (tmp_path / "average.json").read_bytes() == average.read_bytes(), average


def test_where_a_suite_has_no_dataset_nothing_is_called_a_picture() -> None:
    text = (ROOT / "results/gpu/README.md").read_text()  # it has none in two places; the test above makes it anew
    assert text.count("No dataset of this suite is in this place.") == 2
    assert "A grid of generated pictures." not in text and "their reconstructions for each first stage" not in text


def test_the_first_page_of_results_is_made_from_the_committed_suites(tmp_path: Path) -> None:
    overview(root=ROOT / "results", out=tmp_path / "README.md")
    assert (tmp_path / "README.md").read_text() == (ROOT / "results/README.md").read_text()


@pytest.mark.parametrize("suite", ["mini", "mini3"])
@pytest.mark.parametrize("number", FROM_METRICS)
def test_figures_of_metrics_are_drawn_from_the_committed_ones(suite: str, number: int, tmp_path: Path) -> None:
    root = ROOT / "results" / suite
    draw(number, plan=planned(suite), root=root, evaluation=tmp_path / "none", out=tmp_path / "drawn")
    with Image.open(tmp_path / "drawn.png") as drawn, Image.open(root / f"figures/figure{number}.png") as shown:
        np.testing.assert_array_equal(np.asarray(drawn), np.asarray(shown))
