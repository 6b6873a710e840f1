"""Trainings repeated with other seeds: their names, seeds, jobs, and what is measured of them taken together."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from helpers.paper import MAIN, lay, make_metrics, make_plan, verdicts
from scipy import stats
from tiny import copy_of, snakemake

from vqddm.artifacts import UserError
from vqddm.evaluate.trainings import average_trainings, over_trainings
from vqddm.paper.claims import claims, claims_inputs, judge
from vqddm.paper.claims.evidence import REPRODUCED, UNDECIDED, spreads_are_of
from vqddm.paper.metrics import Metrics
from vqddm.paper.plan import plan_from
from vqddm.paper.so_far import so_far
from vqddm.paper.tables import TABLES
from vqddm.params import load, sources
from vqddm.repeats import repeat, repeated, reseeded

ROOT = Path(__file__).parents[1]
VALUES = (301.0, 310.0, 325.0)


def reconstruction(value: float, std: float | None = 4.0) -> dict[str, Any]:
    distance = {"name": "FD", "frechet": value, "frechet_std": std, "kid": value / 1000, "kid_std": 0.01}
    perceptual = {"name": "LPIPS", "value": value / 900, "std": 0.1}
    return {"codebook_size": 256, "latent_size": [8, 8], "distance": distance, "perceptual": perceptual}


def test_a_repeat_has_the_same_settings_and_other_seeds() -> None:
    params = load(ROOT / "params.yaml")
    one = params.datasets["faces"]
    three = reseeded(one, 3)
    assert repeat("faces", 1) == "faces" and repeat("faces", 3) == "faces_T3"
    assert repeated("faces_T3") == repeated("faces") == "faces" and repeated("faces_t3") == "faces_t3"
    assert reseeded(one, 1) == one
    seeds = [
        (getattr(one, name).training.seed, getattr(three, name).training.seed)
        for name in ("vqgan", "refit", "prior", "vqvae2", "transformer", "absorbing", "no_residual", "ddpm")
    ]
    assert all(after == before + 2000 for before, after in seeds)
    assert three.refit.kmeans_seed == one.refit.kmeans_seed + 2000
    assert three.data == one.data and three.prior.unet == one.prior.unet
    written = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert sources(written, "faces_T2", "prior") == sources(written, "faces", "prior")


def test_numbers_are_means_and_spreads_those_between_trainings() -> None:
    found = over_trainings([reconstruction(value) for value in VALUES])
    distance = found["distance"]
    assert distance["frechet"] == pytest.approx(statistics.fmean(VALUES))
    assert distance["frechet_std"] == pytest.approx(statistics.stdev(VALUES))
    assert distance["frechet_std_within"] == 4.0 and distance["frechet_each"] == list(VALUES)
    assert distance["kid_std"] == pytest.approx(statistics.stdev(VALUES) / 1000)
    assert found["perceptual"]["std"] == pytest.approx(statistics.stdev(VALUES) / 900)
    assert found["codebook_size"] == 256 and found["latent_size"] == [8, 8] and distance["name"] == "FD"
    bits = [{"bits_per_code": x, "standard_error": 0.1, "first_term": None, "images": 9} for x in VALUES]
    together = over_trainings(bits)
    assert together["standard_error"] == pytest.approx(statistics.stdev(VALUES)) and together["first_term"] is None
    assert over_trainings([reconstruction(value, None) for value in VALUES])["distance"]["frechet_std_within"] is None


def test_half_an_interval_is_students() -> None:
    found = over_trainings([{"mean": value, "half_width": 0.2} for value in VALUES])
    low, high = stats.t.interval(0.95, len(VALUES) - 1, statistics.fmean(VALUES), stats.sem(VALUES))
    assert (found["mean"] - found["half_width"], found["mean"] + found["half_width"]) == pytest.approx((low, high))


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        ((300.0, 340.0, 380.0), (310.0, 349.0, 391.0), "reproduced"),  # far apart, but each nearer by ten
        ((310.0, 349.0, 391.0), (300.0, 340.0, 380.0), "not reproduced"),
        ((300.0, 340.0, 380.0), (310.0, 339.0, 405.0), "undecided"),  # one of the three is not
        ((300.0, 301.0, 302.0), (306.0, 305.0, 303.0), "undecided"),  # twice the deviation away, but three are few
    ],
)
def test_what_each_training_compares_is_judged_by_its_interval(
    tmp_path: Path, ours: tuple[float, ...], theirs: tuple[float, ...], verdict: str
) -> None:
    """The interval is SciPy's of a paired t-test, in the verdict and in words."""
    plan, measures = make_plan(church=None, imagenet=None).model_copy(update={"trainings": 3}), make_metrics()
    root = lay(tmp_path, measures)
    for name in (f"{MAIN}/reconstruction", "faces/vqgan_k256/reconstruction"):
        values = ours if name.startswith(MAIN) else theirs
        each = [
            measures[name] | {"distance": measures[name]["distance"] | {"frechet": x, "frechet_std": 4.0}}
            for x in values
        ]
        (root / f"over_trainings/{name}.json").parent.mkdir(parents=True, exist_ok=True)
        (root / f"over_trainings/{name}.json").write_text(json.dumps(over_trainings(each)))
    found = judge(plan, root).set_index("id").loc["reconstruction"]
    low, high = stats.ttest_rel(theirs, ours).confidence_interval(0.95)
    assert found["verdict"] == verdict == ("reproduced" if low > 0 else "not reproduced" if high < 0 else "undecided")
    assert f"the spread: {(low + high) / 2:+.2f} ± {(high - low) / 2:.2f}." in found["measured"]


@pytest.mark.parametrize("change", [{"more": 1}, {"distance": {"name": "FID"}}, {"latent_size": [4, 4]}])
def test_other_measures_are_not_taken_together(tmp_path: Path, change: dict[str, Any]) -> None:
    for name, value in (("one", reconstruction(1.0)), ("two", reconstruction(2.0) | change)):
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
    with pytest.raises(UserError, match=r"two\.json: `.*` is not as in"):
        average_trainings(metrics=[tmp_path / "one.json", tmp_path / "two.json"], out=tmp_path / "out.json")
    with pytest.raises(UserError, match="1 metrics: give those of at least two trainings"):
        average_trainings(metrics=[tmp_path / "one.json"], out=tmp_path / "out.json")
    average_trainings(metrics=[tmp_path / "one.json"] * 3, out=tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text())["trainings"] == 3


def test_tables_figures_and_claims_read_what_was_taken_together(tmp_path: Path) -> None:
    plan = make_plan().model_copy(update={"trainings": 3})
    root = lay(tmp_path, make_metrics())
    assert "not measured" in verdicts(plan, root)["reconstruction"]
    (root / "metrics").rename(root / "over_trainings")
    assert verdicts(plan, root)["reconstruction"] == "reproduced"
    metrics = Metrics(plan, root)
    metrics.read("floor", "faces")
    metrics.read("samples", "faces", method="prior")
    assert [path.split("/")[0] for path in metrics.asked] == ["metrics", "over_trainings"]


def test_claims_say_how_each_training_alone_is_judged(tmp_path: Path) -> None:
    plan = make_plan().model_copy(update={"trainings": 3})
    measures = make_metrics()
    for number in (1, 2, 3):
        for name, value in measures.items():
            dataset, _, rest = name.partition("/")
            changed = json.loads(json.dumps(value))
            if number == 3 and rest == "refit_k256_p4000/reconstruction":
                changed["distance"] |= {"frechet": 900.0, "kid": 0.9}  # worse than the VQ-GAN's
            lay(tmp_path, {f"{repeat(dataset, number)}/{rest}" if rest else name: changed})
            path = tmp_path / "over_trainings" / f"{name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(value))
    found = judge(plan, tmp_path).set_index("id")
    assert found.loc["reconstruction", "verdict"] == "reproduced"
    assert found.loc["reconstruction", "alone"] == "2 reproduced, 1 not reproduced"
    assert found.loc["usage_ratio", "alone"] == "3 reproduced"
    claims(plan, tmp_path, tmp_path / "claims")
    assert "2 reproduced, 1 not reproduced" in (tmp_path / "claims.md").read_text()
    assert {
        "metrics/faces_T2/refit_k256_p4000/reconstruction.json",
        "over_trainings/faces/refit_k256_p4000/reconstruction.json",
    } <= set(claims_inputs(plan))
    one = judge(make_plan(), tmp_path)
    assert set(one["alone"]) == {""}


def test_each_further_training_has_jobs_of_its_own_and_the_rest_is_shared(tmp_path: Path) -> None:
    values = yaml.safe_load((ROOT / "tests/tiny.yaml").read_text())
    for suite in values["suites"].values():
        suite["trainings"] = 2
    asked = tmp_path / "twice.yaml"
    asked.write_text(yaml.safe_dump(values))
    assert plan_from(load(asked), values["suite"]).trainings == 2
    command = [sys.executable, "-m", "snakemake", "-n", "--cores", "1", "--configfile", str(asked)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    outputs = [line for line in done.stdout.splitlines() if line.startswith("    output:")]

    def made(path: str) -> int:
        return sum(path in line for line in outputs)

    for dataset in ("tinyfaces", "tinyfaces_T2"):
        assert made(f"models/{dataset}/refit_k16_p100/prior.safetensors") == 1
        assert made(f"metrics/{dataset}/refit_k16_p100/reconstruction.json") == 1
    assert made("over_trainings/tinyfaces/refit_k16_p100/reconstruction.json") == 1
    assert made("metrics/tinyfaces/floor.json") == 1 and made("metrics/tinyfaces_T2/floor.json") == 0
    assert made("metrics/tinyfaces_T2/speed.json") == 0 and made("figures/figure1.png") == 1


@pytest.mark.slow
def test_a_further_training_really_starts(tmp_path: Path) -> None:
    """What is checked before the first job knows the repeats too; a dry run does not come that far."""
    folder = copy_of(ROOT, tmp_path / "copy")
    path = folder / "tests/tiny.yaml"
    values = yaml.safe_load(path.read_text())
    values["suites"][values["suite"]]["trainings"] = 2
    path.write_text(yaml.safe_dump(values))
    done = snakemake(folder, "--cores", "1", "--", "data/tinyfaces_T2/train.npy")
    assert done.returncode == 0, done.stderr[-2000:]
    assert (folder / "data/tinyfaces_T2/train.npy").exists()


def test_the_table_has_both_spreads_apart(tmp_path: Path) -> None:
    plan, measures = make_plan(), make_metrics()
    root = lay(tmp_path, measures)
    one = TABLES["trainings"].rows(plan, root)
    assert one["between"].isna().all() and (one["trainings"] == 1).all()
    three = plan.model_copy(update={"trainings": 3})
    for name, value in measures.items():
        if name.endswith("reconstruction"):
            value["distance"]["frechet_std"] = 0.3
            together = over_trainings([value] * 3)
            path = root / "over_trainings" / f"{name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(together))
    found = TABLES["trainings"].rows(three, root)
    rows = found[found["what"].str.endswith("reconstructions")]
    assert (rows["between"] == 0).all() and (rows["within"] == 0.3).all() and (rows["trainings"] == 3).all()
    assert set(found["note"].dropna()) == {"not measured yet"}
    shown = TABLES["trainings"].display(found)
    assert set(shown["measured here", "± between trainings"]) == {"0.0", "–"}


def test_a_page_before_all_is_measured_has_what_was_averaged(tmp_path: Path) -> None:
    plan, measures = make_plan().model_copy(update={"trainings": 3}), make_metrics()
    name = "faces/refit_k256_p4000/reconstruction"
    measures[name]["distance"]["frechet_std"] = 0.3
    root = lay(tmp_path, measures)
    average = root / f"over_trainings/{name}.json"
    average.parent.mkdir(parents=True)
    average.write_text(json.dumps(over_trainings([measures[name]] * 3)))
    so_far(plan=plan, root=root, out=root / "so_far", evaluation=tmp_path)
    assert (root / "so_far/over_trainings" / f"{name}.json").read_bytes() == average.read_bytes()
    rows = pd.read_csv(root / "so_far/tables/trainings.csv")
    assert rows["between"].notna().sum() == 1, "the one that was averaged"
    with pytest.raises(UserError, match="write the page into another folder"):
        so_far(plan=plan, root=root, out=root / "so_far" / "..", evaluation=tmp_path)
    assert average.exists() and (root / "metrics").exists()


def test_distances_of_one_training_are_judged_with_what_is_known_of_trainings(tmp_path: Path) -> None:
    """40.5 against 66.0, each ± 0.3, is beyond the draws; where trainings lie 20 % apart it is within, 2 · 15.5."""
    plan, measures = make_plan(), make_metrics()
    for value in measures.values():
        if "distance" in value:
            value["distance"]["frechet_std"] = 0.3
    root = lay(tmp_path, measures)

    def judged(spread: float | None) -> dict[str, str]:
        found = judge(plan.model_copy(update={"training_spread": spread}), root)
        return dict(zip(found["id"], found["verdict"], strict=True))

    before, near, far = judged(None), judged(0.01), judged(0.2)
    assert before["generation_refit"] == near["generation_refit"] == REPRODUCED
    assert far["generation_refit"] == UNDECIDED
    assert far["steps"] == before["steps"] == REPRODUCED  # of one and the same prior
    known = plan.model_copy(update={"training_spread": 0.2})
    floor = Metrics(known, root).read("floor", "faces")
    assert floor is not None and "between" not in floor["distance"]  # held-out pictures are not trained
    assert "20.0%" in spreads_are_of(known) and spreads_are_of(known) != spreads_are_of(plan)


def test_of_several_trainings_only_one_alone_is_judged_so(tmp_path: Path) -> None:
    plan = make_plan().model_copy(update={"training_spread": 0.2, "trainings": 3})
    measures = make_metrics()
    root = lay(tmp_path, measures)
    name = "faces/refit_k256_p4000/reconstruction"
    (root / f"over_trainings/{name}.json").parent.mkdir(parents=True)
    (root / f"over_trainings/{name}.json").write_text(json.dumps(measures[name]))
    together = Metrics(plan, root).read("reconstruction", "faces", "refit_k256_p4000")
    alone = Metrics(plan, root, training=1).read("reconstruction", "faces", "refit_k256_p4000")
    assert together is not None and "between" not in together["distance"]
    assert alone is not None and alone["distance"]["between"] == 0.2
