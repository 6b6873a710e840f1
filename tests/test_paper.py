"""Tables, claims and the page: held against numbers typed here from the paper, and against flipped metrics."""

from __future__ import annotations

import copy
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.paper import (
    FD,
    MAIN,
    PRIORS,
    STAGES,
    T,
    distance,
    lay,
    make_metrics,
    make_plan,
    mean,
    reconstruction,
    row,
    verdicts,
)

from vqddm.artifacts import UserError
from vqddm.paper.claims import claims, judge
from vqddm.paper.figures import FIGURES
from vqddm.paper.metrics import Metrics
from vqddm.paper.page import is_numeric, page
from vqddm.paper.plan import Plan, paper_rows, plan_from
from vqddm.paper.render import escape, read_table, short
from vqddm.paper.reported import SECTIONS, captions
from vqddm.paper.so_far import so_far
from vqddm.paper.tables import TABLES
from vqddm.params import load
from vqddm.settings import parse

ROOT = Path(__file__).parents[1]


@pytest.fixture
def plan() -> Plan:
    return make_plan()


@pytest.fixture
def metrics() -> dict[str, Any]:
    return make_metrics()


def build(plan: Plan, root: Path) -> None:
    """Everything that the page is made of but the figures."""
    for name, table in TABLES.items():
        table(plan, root, root / "tables" / name)
    claims(plan, root, root / "claims")


# --- the plan -------------------------------------------------------------------------------------------------


def test_paper_rows_are_found_by_value_not_by_place() -> None:
    found = {
        "vqgan": "vqgan_k256",
        "refit_larger_p": "refit_k256_p20000",
        "refit": "refit_k256_p4000",
        "refit_smaller_k": "refit_k128_p4000",
    }
    for order in (STAGES, STAGES[::-1], STAGES[2:] + STAGES[:2]):
        assert paper_rows(order) == found
    assert paper_rows(("vqgan_k16384", "vqgan_k1024", "refit_k512_p20000", "refit_k1024_p20000")) == {
        "vqgan_larger": "vqgan_k16384",
        "vqgan": "vqgan_k1024",
        "refit": "refit_k1024_p20000",
        "refit_smaller_k": "refit_k512_p20000",
    }
    # 9 < 1024 as numbers, not as text
    assert paper_rows(("vqgan_k9", "refit_k9_p50", "refit_k1024_p60"))["refit"] == "refit_k1024_p60"


def test_every_suite_of_params_has_a_plan_that_survives_json() -> None:
    params = load(ROOT / "params.yaml")
    for suite in params.suites:
        made = plan_from(params, suite)
        assert parse(Plan, made.model_dump_json()) == made
        main = made.role("celebahq")
        assert main is not None
        assert made.datasets[main].methods["prior"][-1] == params.datasets[main].prior.diffusion.timesteps
    with pytest.raises(UserError, match="nowhere"):
        plan_from(params, "nowhere")


def test_a_missing_metric_is_none_and_a_damaged_one_an_error(plan: Plan, tmp_path: Path) -> None:
    metrics = Metrics(plan, tmp_path)
    assert metrics.read("reconstruction", "faces", "vqgan_k256") is None
    wrong = (
        '{"distance": null}',
        '{"distance": {"frechet": "9"}}',
        '{"psnr": {}}',
        '{"usage": {"train": {"seen": []}}}',
    )
    for text in ("{", "[1]", "null", *wrong, '{"psnr": NaN}', '{"perceptual": {"name": 3}}', '{"psnr": true}'):
        path = tmp_path / plan.metric("reconstruction", "faces", "vqgan_k256")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        with pytest.raises(UserError, match=r"reconstruction\.json"):
            metrics.read("reconstruction", "faces", "vqgan_k256")
    path.write_text('{"distance": {"frechet": 1}}')
    found = metrics.read("reconstruction", "faces", "vqgan_k256")
    with pytest.raises(UserError, match=r"reconstruction\.json: lacks `psnr`"):
        found["psnr"]


def test_paper_imports_no_model() -> None:
    """Every module of a model imports torch."""
    code = "import sys, vqddm.paper.so_far; print({'torch', 'accelerate', 'diffusers', 'sklearn'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout.strip() == "set()"


# --- the tables -----------------------------------------------------------------------------------------------


def test_table1_holds_the_paper_and_the_measured(plan: Plan, metrics: dict[str, Any], tmp_path: Path) -> None:
    found = TABLES["table1"].rows(plan, lay(tmp_path, metrics))
    paper = [  # typed from Table 1: role, id, usage, FID
        ("celebahq", "vqvae2", 0.65, None),
        ("imagenet", "vqvae2", None, 10),
        ("imagenet", "dalle", None, 32.01),
        ("imagenet", "vqgan_16384", 0.0596, 4.98),
        ("celebahq", "vqgan_1024", 0.3185, 10.18),
        ("imagenet", "vqgan_1024", 0.3367, 7.94),
        ("celebahq", "refit_1024_100k", None, None),
        ("imagenet", "refit_1024_100k", 1.0, 4.98),
        ("celebahq", "refit_1024_20k", 0.9707, 5.59),
        ("imagenet", "refit_1024_20k", 1.0, 5.99),
        ("celebahq", "refit_512_20k", 0.9306, 5.64),
        ("imagenet", "refit_512_20k", 1.0, 6.95),
    ]
    assert len(found) == len(paper)
    for role, name, usage, fid in paper:
        cells = row(found, role=role, id=name)
        for cell, wanted in ((cells["reported_usage"], usage), (cells["reported_fid"], fid)):
            assert math.isnan(cell) if wanted is None else cell == wanted, (role, name)
    mine = row(found, role="celebahq", id="refit_512_20k")
    assert (mine["first_stage"], mine["usage_train_seen"]) == ("refit_k128_p4000", 1.0)
    assert (mine["distance"], mine["distance_name"], mine["floor"]) == (24.25, FD, 6.5)
    assert pd.isna(row(found, role="imagenet", id="dalle")["distance"])
    assert "not in this suite" in row(found, role="imagenet", id="dalle")["why"]


def test_table2_holds_the_paper_and_both_ways_to_count(plan: Plan, metrics: dict[str, Any], tmp_path: Path) -> None:
    found = TABLES["table2"].rows(plan, lay(tmp_path, metrics)).set_index("id")
    paper = {  # typed from Table 2: FID, parameters in M, operations in G
        "glow": (60.9, 220, 540),
        "nvae": (40.3, 1260, 185),
        "vqddm_1024_without_refit": (22.6, 117, 1.06),
        "vaebm": (20.4, 127, 8.22),
        "vqddm_512": (18.8, 117, 1.04),
        "dcvae": (15.8, None, None),
        "vqddm_1024": (13.2, 117, 1.06),
        "ddim": (10.9, 114, 124),
        "vqgan_transformer": (10.2, 802, 102),
        "pggan": (8.0, 46.1, 14.1),
    }
    for name, (fid, millions, giga) in paper.items():
        assert found.at[name, "reported_fid"] == fid
        for column, wanted, unit in (("parameters", millions, 1e6), ("flops", giga, 1e9)):
            cell = found.at[name, f"reported_{column}"]
            assert math.isnan(cell) if wanted is None else cell == pytest.approx(wanted * unit, rel=1e-12)
    assert set(found.index) == {*paper, "lsun_church"}
    assert found.at["lsun_church", "reported_fid"] == 16.9
    assert found.at["lsun_church", "dataset"] == "fashion"
    rows = {"vqddm_1024": 40.5, "vqddm_512": 47.0, "vqddm_1024_without_refit": 66.0}
    assert {name: found.at[name, "distance"] for name in rows} == rows
    assert found.at["vqddm_1024", "paper_macs_per_image"] == 4000 * 1.06e9  # as printed: its steps alone
    assert found.at["vqddm_1024", "counted_macs_per_image"] == 4000 * 1_110_867_968 + 126_357_602_304
    assert found.at["vqddm_1024", "macs_per_image"] == 100 * (25_000_000 + 8192 * 256) + 150_000_000
    assert found.at["vqgan_transformer", "paper_macs_per_step"] == 0.399e9  # the footnote
    assert math.isnan(found.at["vaebm", "paper_macs_per_image"])  # its steps are not in the paper


def test_no_other_distance_stands_in_a_column_of_fid(plan: Plan, metrics: dict[str, Any], tmp_path: Path) -> None:
    lay(tmp_path, metrics)
    for name in ("table1", "table2"):
        tidy = TABLES[name].rows(plan, tmp_path)
        shown = TABLES[name].display(tidy)
        reported = set(shown["paper", "FID"]) - {"–"}
        measured = set(shown["measured here", FD]) - {"–"}
        assert len(reported) >= 7 and len(measured) >= 3
        assert measured == {f"{x:.2f}" for x in tidy["distance"].dropna()}
        assert not measured & reported
        assert ("measured here", "FID") not in shown.columns


def test_two_measures_get_two_columns(plan: Plan, metrics: dict[str, Any], tmp_path: Path) -> None:
    for stage in STAGES:
        metrics[f"fashion/{stage}/reconstruction"]["distance"]["name"] = "FID"
    shown = TABLES["table1"].display(TABLES["table1"].rows(plan, lay(tmp_path, metrics)))
    mine = shown["measured here"]
    assert all((fd == "–") or (fid == "–") for fd, fid in zip(mine[FD], mine["FID"], strict=True))
    assert set(mine["FID"]) - {"–"} and set(mine[FD]) - {"–"}


def test_table3_reads_the_layers_and_runs_the_decoder_downward(
    plan: Plan, metrics: dict[str, Any], tmp_path: Path
) -> None:
    shown = TABLES["table3"].display(TABLES["table3"].rows(plan, lay(tmp_path, metrics)))
    decoder = shown[shown["", "Part"] == "decoder"]
    assert list(decoder["", "Stage"]) == ["conv_in", "mid", "up.1", "up.0", "conv_out", "whole"]
    encoder = shown[shown["", "Part"] == "encoder"].set_index(("", "Stage"))["read off the model", "in this suite"]
    assert encoder["conv_in"] == "conv 3×3, 12 → 64"
    assert encoder["down.0"] == "1 residual block, 64 → 64; downsampling"
    assert encoder["down.1"] == "1 residual block, 64 → 128; 1 attention"
    assert encoder["mid"] == "2 residual blocks, 128 → 128; 1 attention"
    assert list(shown["paper", "Table 3"][:2]) == ["Conv2D", "4×{ResDown}"]


def test_likelihood_and_speed(plan: Plan, metrics: dict[str, Any], tmp_path: Path) -> None:
    lay(tmp_path, metrics)
    found = TABLES["likelihood"].rows(plan, tmp_path)
    paper = {("celebahq", "train"): 1.258, ("celebahq", "test"): 1.286}
    paper |= {("lsun_church", "train"): 1.803, ("lsun_church", "test"): 1.756}
    assert {(r.role, r.split): r.reported_nll for r in found.itertuples()} == paper
    assert list(found["bits_per_code"]) == [2.41, 2.45] * 2 and set(found["ceiling"]) == {8.0}
    speed = TABLES["speed"].rows(plan, tmp_path)
    reported = speed[speed["source"] == "paper"]
    assert list(zip(reported["steps"], reported["hours"], strict=True)) == [(1000, 1000), (100, 100), (1000, 10)]
    ours = row(speed, dataset="faces", steps=100)
    assert ours["hours"] == pytest.approx(50_000 * (100 * 0.002 + 0.004) / 3600)
    shown = TABLES["speed"].display(speed)
    assert set(shown["one image", "ms per step"][speed["dataset"].notna()]) == {"2.000 ± 0.100"}
    assert set(shown["one image", "ms to decode"][speed["dataset"].notna()]) == {"4.000"}
    first = TABLES["table1"].display(TABLES["table1"].rows(plan, tmp_path))
    assert "22.8 ± 0.3" in set(first["measured here", "PSNR (dB)"])


def test_files_of_a_table(plan: Plan, metrics: dict[str, Any], tmp_path: Path) -> None:
    build(plan, lay(tmp_path, metrics))
    for name, table in TABLES.items():
        stem = tmp_path / "tables" / name
        again = read_table(stem.with_suffix(".csv"))
        whole = table.rows(plan, tmp_path)
        for column in whole.select_dtypes("number"):
            np.testing.assert_array_equal(again[column], whole[column])
        shown = table.display(whole)
        pd.testing.assert_frame_equal(table.display(again), shown)
        tex = stem.with_suffix(".tex").read_text()
        assert all(rule in tex for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
        assert tex.count(r"\\") == len(shown) + 2  # rows, and the two lines of the head
        assert not re.search(r"(?<!\\)[_%#]", tex.split(r"\midrule")[1]), name
        lines = stem.with_suffix(".md").read_text().splitlines()
        assert len(lines) == len(shown) + 2 and {line.count("|") for line in lines} == {shown.shape[1] + 1}


def test_without_metrics_the_tables_hold_the_reported_alone(plan: Plan, tmp_path: Path) -> None:
    build(plan, tmp_path)
    for name in ("table1", "table2"):
        tidy = read_table(tmp_path / "tables" / f"{name}.csv")
        assert tidy["reported_fid"].notna().sum() >= 9
        assert tidy["distance"].isna().all() and tidy["why"].notna().all()
    assert "1.258" in (tmp_path / "tables" / "likelihood.md").read_text()
    assert set(read_table(tmp_path / "claims.csv")["verdict"]) == {"not measured in this suite"}


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0"), (999, "999"), (1000, "1.00 k"), (117_586_568, "118 M"), (999_999, "1.00 M"), (4.5698e12, "4.57 T")],
)
def test_short_counts(count: float, shown: str) -> None:
    assert short(count) == shown


def test_latex_survives_anything() -> None:
    assert escape("a_b & 50% ~x \\ {y}") == r"a\_b \& 50\% \textasciitilde{}x \textbackslash{} \{y\}"


# --- the claims -----------------------------------------------------------------------------------------------

OPEN = {"usage_second_best", "capacity", "quality", "speed", "few_parameters", "inpainting_transformer"}


def test_claims_of_a_suite_that_agrees(plan: Plan, metrics: dict[str, Any], tmp_path: Path) -> None:
    found = verdicts(plan, lay(tmp_path, metrics))
    assert {name for name, verdict in found.items() if verdict == "not measured in this suite"} == OPEN
    assert {found[name] for name in set(found) - OPEN} == {"reproduced"}


def _usage(m: dict[str, Any]) -> None:
    m["fashion/vqgan_k256/reconstruction"]["usage"]["train"]["seen"] = 0.51  # 0.996 / 0.51 < 2


def _unused(m: dict[str, Any]) -> None:
    m["faces/refit_k128_p4000/reconstruction"]["usage"]["train"]["seen"] = 0.89


def _swap(first: str, second: str) -> Any:
    def flip(m: dict[str, Any]) -> None:
        m[first]["distance"], m[second]["distance"] = m[second]["distance"], m[first]["distance"]

    return flip


def _within_noise(m: dict[str, Any]) -> None:
    for name in ("vqgan_k256", "refit_k256_p4000"):
        m[f"faces/{name}/prior_samples_{T}"]["distance"]["kid_std"] = 1.0  # KIDs differ by 0.64


def _dear(m: dict[str, Any]) -> None:
    m["faces/refit_k128_p4000/reconstruction"]["distance"] |= {
        "frechet": 29.0,
        "kid": 0.725,
    }  # costs 8 of a gain of 10.5


def _dear_within(m: dict[str, Any]) -> None:
    for stage in STAGES:  # costs 3.25 of a gain of 10.5, each ± 1.5
        m[f"faces/{stage}/reconstruction"]["distance"]["frechet_std"] = 1.5


def _kink(m: dict[str, Any]) -> None:
    m[f"{MAIN}/prior_samples_5"]["distance"]["frechet"] = 41.0


def _within_draws(m: dict[str, Any]) -> None:
    for name in ("vqgan_k256", "refit_k256_p4000"):
        m[f"faces/{name}/prior_samples_{T}"]["distance"]["frechet_std"] = (
            9.1  # 66.0 and 40.5 differ by 25.5 < 2 x 12.87
        )


def _overfit(m: dict[str, Any]) -> None:
    m["fashion/refit_k256_p4000/prior_likelihood"]["test"]["bits_per_code"] = 2.6


def _overfit_within(m: dict[str, Any]) -> None:
    for split in ("train", "test"):  # 0.08 below the limit
        m[f"{MAIN}/prior_likelihood"][split]["standard_error"] = 0.05


def _chance(m: dict[str, Any]) -> None:
    m[f"{MAIN}/prior_inpainting"]["masks"]["top"]["agreement_minus_chance"] = mean(0.01, 0.005)


def _chance_within(m: dict[str, Any]) -> None:
    m[f"{MAIN}/prior_inpainting"]["masks"]["random"]["agreement_minus_chance"] = mean(-0.2, 0.21)


def _parameters(m: dict[str, Any]) -> None:
    m["paper_counts"]["1024"]["prior"]["parameters"] = 119_000_000


def _operations(m: dict[str, Any]) -> None:
    m["paper_counts"]["512"]["prior"]["macs_per_step_as_paper"] = 1_060_000_000


RECONSTRUCTIONS = [f"faces/{stage}/reconstruction" for stage in STAGES]


@pytest.mark.parametrize(
    ("claim", "flip"),
    [
        ("usage_ratio", _usage),
        ("usage_near_full", _unused),
        ("reconstruction", _swap(RECONSTRUCTIONS[0], RECONSTRUCTIONS[2])),
        ("fewer_codes", _dear),
        ("fewer_codes", _dear_within),
        ("larger_p", _swap(RECONSTRUCTIONS[1], RECONSTRUCTIONS[2])),
        ("generation_refit", _swap(f"faces/vqgan_k256/prior_samples_{T}", f"{MAIN}/prior_samples_{T}")),
        ("generation_refit", _within_noise),
        ("generation_refit", _within_draws),
        ("larger_k", _swap(f"faces/refit_k128_p4000/prior_samples_{T}", f"{MAIN}/prior_samples_{T}")),
        ("steps", _kink),
        ("overfitting", _overfit),
        ("overfitting", _overfit_within),
        ("inpainting_any_side", _chance),
        ("inpainting_any_side", _chance_within),
        ("network_parameters", _parameters),
        ("network_operations", _operations),
    ],
)
def test_a_verdict_turns_with_its_metric(
    plan: Plan, metrics: dict[str, Any], tmp_path: Path, claim: str, flip: Any
) -> None:
    """Within the spread nothing is decided."""
    changed = copy.deepcopy(metrics)
    flip(changed)
    before = verdicts(plan, lay(tmp_path / "before", metrics))[claim]
    turned = "undecided" if "_within" in flip.__name__ else "not reproduced"
    assert (before, verdicts(plan, lay(tmp_path / "after", changed))[claim]) == ("reproduced", turned)


def test_evidence_is_what_was_read_and_timings_are_not(plan: Plan, metrics: dict[str, Any], tmp_path: Path) -> None:
    found = judge(plan, lay(tmp_path, metrics))
    files = {file for cell in found["evidence"] for file in cell.split("; ") if file}
    assert files and all((tmp_path / file).is_file() for file in files)
    assert not any("speed" in file for file in files)
    metrics["faces/speed"]["seconds_per_step"] = 9.0
    pd.testing.assert_frame_equal(judge(plan, lay(tmp_path, metrics)), found)


def with_stage(stage: str) -> Plan:
    base = make_plan().model_dump(mode="json")
    base["datasets"]["faces"]["first_stages"] = [*STAGES, stage]
    return parse(Plan, base)


@pytest.mark.parametrize(
    ("large", "deviation", "verdict", "words"),
    [
        (24.0, 0.2, "reproduced", "1.01 times where 1.05 is the limit, beyond the spread"),
        (30.0, 0.2, "reproduced", "0.81 times"),
        (24.0, 2.0, "undecided", "within the spread"),  # wide deviations are no evidence of the same quality
        (22.0, 0.2, "not reproduced", "1.10 times where 1.05 is the limit, beyond the spread"),
    ],
)
def test_capacity_wants_the_same_quality_and_not_a_wide_spread(
    metrics: dict[str, Any], tmp_path: Path, large: float, deviation: float, verdict: str, words: str
) -> None:
    metrics["faces/vqgan_k4096/reconstruction"] = reconstruction("vqgan_k256") | {
        "codebook_size": 4096,
        "distance": distance(large) | {"frechet_std": deviation},
    }
    metrics["faces/refit_k128_p4000/reconstruction"]["distance"]["frechet_std"] = deviation
    found = judge(with_stage("vqgan_k4096"), lay(tmp_path, metrics)).set_index("id").loc["capacity"]
    assert found["verdict"] == verdict and words in found["measured"]


@pytest.mark.parametrize(
    ("usage", "verdict", "times"),
    [(0.56, "not reproduced", "1.78 times"), (0.4, "reproduced", "2.49 times"), (0.2, "reproduced", "2.90 times")],
)
def test_the_second_best_usage_is_that_of_any_method(
    metrics: dict[str, Any], tmp_path: Path, usage: float, verdict: str, times: str
) -> None:
    other = reconstruction("vqgan_k256")
    other["usage"]["train"]["seen"] = usage
    metrics["faces/vqvae2_k256/reconstruction"] = other
    found = judge(with_stage("vqvae2_k256"), lay(tmp_path, metrics)).set_index("id")
    judged = found.loc["usage_second_best"]
    assert judged["verdict"] == verdict and times in judged["measured"]
    assert "Fashion: no other codebook than VQ-GAN's is trained, not counted" in judged["measured"]
    assert "about 65% for VQ-VAE-2" in judged["rule"]
    assert found.loc["usage_ratio", "verdict"] == "reproduced"  # it is about the VQ-GAN alone


def test_a_likelihood_of_one_code_map_is_not_counted(plan: Plan, metrics: dict[str, Any], tmp_path: Path) -> None:
    for dataset in PRIORS:
        for split in ("train", "test"):
            metrics[f"{dataset}/refit_k256_p4000/prior_likelihood"][split]["standard_error"] = None
    found = judge(plan, lay(tmp_path, metrics)).set_index("id").loc["overfitting"]
    assert found["verdict"] == "not measured in this suite" and "one code map" in found["measured"]


def test_distances_of_other_networks_are_not_compared(plan: Plan, metrics: dict[str, Any], tmp_path: Path) -> None:
    metrics["faces/vqgan_k256/reconstruction"]["distance"]["name"] = "FID"
    with pytest.raises(UserError, match="cannot be compared"):
        judge(plan, lay(tmp_path, metrics))


def test_what_a_spread_is_stands_above_the_claims(plan: Plan, metrics: dict[str, Any], tmp_path: Path) -> None:
    build(plan, lay(tmp_path, metrics))
    text = (tmp_path / "claims.md").read_text()
    assert text.startswith("One training stands behind each number")
    assert list(read_table(tmp_path / "claims.csv").columns)[:2] == ["id", "claim"]
    page(plan, tmp_path, tmp_path / "index.html")
    html = (tmp_path / "index.html").read_text()
    assert 0 < html.index("One training stands behind each number") < html.index('class="claims"')


# --- the page -------------------------------------------------------------------------------------------------


class Links(HTMLParser):
    """What a page points to, what it loads, and its headings."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.ids: set[str] = set()
        self.alts: list[str] = []
        self.lang = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "a":
            self.links.append(found["href"])
        elif tag in ("img", "script", "iframe", "source", "link"):
            self.loads.append(found.get("src") or found.get("href") or "")
        if tag == "img":
            self.alts.append(found.get("alt", ""))
        if tag == "html":
            self.lang = found.get("lang", "")
        self.ids |= {found["id"]} if "id" in found else set()


def paint(root: Path) -> None:
    from PIL import Image

    (root / "figures").mkdir()
    for number in FIGURES:
        Image.new("RGB", (30, 20), "white").save(root / "figures" / f"figure{number}.png")
        (root / "figures" / f"figure{number}.pdf").write_bytes(b"%PDF-1.4")


def test_the_page_holds_everything_and_needs_no_network(plan: Plan, metrics: dict[str, Any], tmp_path: Path) -> None:
    build(plan, lay(tmp_path, metrics))
    paint(tmp_path)
    page(plan, tmp_path, tmp_path / "index.html")
    text = (tmp_path / "index.html").read_text()
    found = Links(text)
    assert found.lang == "en"
    assert {f"figures/figure{n}.png" for n in FIGURES} <= set(found.loads)
    assert len(found.alts) == len(FIGURES) and all(found.alts)
    wanted = {f"figure{n}" for n in FIGURES} | set(TABLES)
    assert wanted | {"claims", "about"} <= found.ids
    for link in found.links:
        if link.startswith("#"):
            assert link[1:] in found.ids, link
        else:
            assert (tmp_path / link).is_file(), link
    assert {f"tables/{name}.{kind}" for name in TABLES for kind in ("csv", "md", "tex")} <= set(found.links)
    assert not re.search(r"https?://|url\(|@import|//cdn", text)
    assert all(not load or load.startswith(("figures/", "data:")) for load in found.loads)
    assert text.index('id="claims"') < text.index('id="about"') < text.index('id="table1"')
    assert text.index('id="table1"') < text.index('id="table2"') < text.index('id="figure8"')
    assert text.index('id="figure8"') < text.index('id="inpainting"') < text.index('id="table3"')
    for shown in ("31.85%", "34.38%", "13.2", "40.50", "prefers-color-scheme", "drawn avatars", "is not FID"):
        assert shown in text
    assert text.count("Reproduced if:") == len(judge(plan, tmp_path))


def test_every_record_has_a_caption_and_a_section_of_the_page() -> None:
    """One without would be left out without notice."""
    sections = {name: table.section for name, table in TABLES.items()}
    sections |= {f"figure{number}": figure.section for number, figure in FIGURES.items()}
    assert set(captions()) == set(sections) and set(sections.values()) == set(SECTIONS)
    assert all(captions()[f"figure{number}"]["alt"] for number in FIGURES)


def test_the_page_before_anything_was_measured(plan: Plan, tmp_path: Path) -> None:
    build(plan, tmp_path)
    page(plan, tmp_path, tmp_path / "index.html")
    text = (tmp_path / "index.html").read_text()
    assert "Nothing of this suite was measured" in text and "97.07%" in text
    assert text.count("Not made yet.") == len(FIGURES)
    assert all((tmp_path / link).is_file() for link in Links(text).links if not link.startswith("#"))


def test_the_page_escapes_what_the_files_hold(plan: Plan, metrics: dict[str, Any], tmp_path: Path) -> None:
    metrics["faces/speed"]["device"] = "<script>alert(1)</script>"
    build(plan, lay(tmp_path, metrics))
    page(plan, tmp_path, tmp_path / "index.html")
    text = (tmp_path / "index.html").read_text()
    assert text.count("<script") == 1 and "&lt;script&gt;" in text  # the one that sorts and filters tables


def test_the_same_metrics_give_the_same_bytes(plan: Plan, metrics: dict[str, Any], tmp_path: Path) -> None:
    made = []
    for name in ("a", "b"):
        root = lay(tmp_path / name, metrics)
        build(plan, root)
        page(plan, root, root / "index.html")
        made.append({str(f.relative_to(root)): f.read_bytes() for f in root.rglob("*") if f.is_file()})
    assert made[0] == made[1] and len(made[0]) > 18


def test_a_page_before_all_is_measured_links_to_the_documentation(tmp_path: Path) -> None:
    suite = plan_from(load(ROOT / "params.yaml"), "mini")
    root = tmp_path / "results/mini"
    so_far(plan=suite, root=root, out=root / "so_far", evaluation=tmp_path, say=lambda _: None)
    link = re.search(r"\]\((\S+results\.md)\)", (root / "so_far/README.md").read_text())
    assert link and (root / "so_far" / link[1]).resolve() == (tmp_path / "docs/explanation/results.md").resolve()


def test_a_floor_of_other_draws_says_so(plan: Plan, metrics: dict[str, Any], tmp_path: Path) -> None:
    """A Fréchet distance of fewer pictures is larger, so it is not to be taken for a bound."""
    for images, words in ((1000, ""), (500, " (draws of 500)")):
        metrics["faces/floor"]["distance"]["images"] = images
        root = lay(tmp_path / str(images), metrics)
        build(plan, root)
        shown = (root / "tables/table1.md").read_text()
        assert f"| 6.50{words} |" in shown and ("draws of" in shown) == bool(words)
        told = [said for said in pd.read_csv(root / "claims.csv")["measured"] if "floor 6.50" in said]
        assert told and all(f"floor 6.50{words}" in said for said in told)
        assert ("draws of" in "".join(told)) == bool(words)


def test_before_anything_is_measured_the_page_shows_what_the_paper_reports(tmp_path: Path) -> None:
    suite = plan_from(load(ROOT / "params.yaml"), "paper")
    said: list[str] = []
    for name in ("notes.txt", "figures/notes.txt", "claims.txt", "tables/mine.xlsx", "figures/figure1.png"):
        (tmp_path / "so_far" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "so_far" / name).write_text("of before")
    for _ in range(2):
        so_far(
            plan=suite, root=tmp_path / "results/paper", out=tmp_path / "so_far", evaluation=tmp_path, say=said.append
        )
    assert "figure 12" in said[-1]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/README.md").write_text("my notes")
    with pytest.raises(UserError, match=r"README\.md: belongs to something else"):
        so_far(plan=suite, root=tmp_path / "results/paper", out=tmp_path / "elsewhere", evaluation=tmp_path)
    left = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    kept = {"so_far/notes.txt", "so_far/figures/notes.txt", "so_far/claims.txt", "so_far/tables/mine.xlsx"}
    assert kept <= left and "so_far/figures/figure1.png" not in left
    page = (tmp_path / "so_far/index.html").read_text()
    assert "Nothing of this suite was measured here yet" in page
    assert "31.85%" in page
    assert "0 reproduced" in page


@pytest.mark.parametrize(
    ("cells", "numeric"),
    [
        (["97.07%", "~65%", "–"], True),
        (["0.02", "about 1000", "around 10"], True),
        (["2.04 ± 0.11", "-7.8 ± 6.4", "1.06 G", "550 k"], True),
        (["8.02 ± 0.08 (draws of 500)", "–"], True),
        (["16x16", "32x32"], False),
        (["2 residual blocks", "–"], False),
        (["", ""], False),
    ],
)
def test_columns_of_numbers_are_known(cells: list[str], numeric: bool) -> None:
    assert is_numeric(pd.Series(cells)) is numeric


def test_a_forge_shows_the_same_in_place(plan: Plan, metrics: dict[str, Any], tmp_path: Path) -> None:
    """README.md has each claim, table and picture, and no link that leads nowhere."""
    build(plan, lay(tmp_path, metrics))
    page(plan, tmp_path, tmp_path / "index.html")
    text = (tmp_path / "README.md").read_text()
    found = judge(plan, tmp_path)
    assert all(
        claim in text and measured in text for claim, measured in zip(found["claim"], found["measured"], strict=True)
    )
    assert all((tmp_path / "tables" / f"{name}.md").read_text().strip() in text for name in TABLES)
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 3 * len(TABLES)
    assert all((tmp_path / link).exists() for link in links)
    assert text.count("Not made yet.") == len(FIGURES) - 1  # none was drawn; that at a glance is left out
