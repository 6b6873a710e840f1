"""`make bench`: the reference formulation is the same diffusion, contests are fair, and what is committed adds up."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from bench import logonehot, pipeline, report, tables
from bench.contests import CONTESTS, LIMITS, growths, plan, works
from bench.records import Contest, Differs, Item, Match, in_words
from bench.run import file_of, measured
from helpers.recipes import CASES, between, brute_posterior, keeps, parts, strides
from scipy.stats import chisquare
from tiny import ENVIRONMENT

from vqddm.prior import diffusion
from vqddm.prior.schedule import NoiseSchedule

ROOT = Path(__file__).parent.parent
COMMITTED = ROOT / "results/bench"
CPU = torch.device("cpu")


def matrices(codes: int, timesteps: int, kind: str) -> list[np.ndarray]:
    """Q_1..Q_T of Eq. 15; index 0 is the identity."""
    keep = keeps(timesteps, kind)
    alphas = [keep[t] / keep[t - 1] for t in range(1, timesteps + 1)]
    return [np.eye(codes)] + [a * np.eye(codes) + (1 - a) / codes for a in alphas]


# ---- the log-one-hot formulation


@pytest.mark.parametrize(("codes", "timesteps", "kind"), CASES)
def test_its_posterior_and_marginal_are_those_of_matrices(codes: int, timesteps: int, kind: str) -> None:
    steps, schedule = matrices(codes, timesteps, kind), NoiseSchedule(timesteps, kind)
    p0 = np.random.default_rng(0).dirichlet(np.ones(codes))
    log_p0 = torch.tensor(p0).log().view(1, codes, 1).expand(1, codes, codes)
    every = torch.arange(codes).view(1, codes)
    log_xt = logonehot.log_onehot(every, codes, torch.float64)
    for s, t in strides(timesteps):
        late, early = parts(schedule, s, t)
        found = logonehot.posterior(log_p0, log_xt, late, early).exp()[0].T
        np.testing.assert_allclose(found, brute_posterior(steps, s, t, p0), rtol=1e-7, atol=1e-12)
        marginal = logonehot.noised(logonehot.log_onehot(every, codes, torch.float64), early).exp()[0].T
        np.testing.assert_allclose(marginal, between(steps, 0, s), rtol=1e-7, atol=1e-12)


def test_its_draws_have_their_distribution() -> None:
    p = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
    drawn = logonehot.draw(p.log().view(1, 4, 1).expand(1, 4, 40_000), torch.Generator().manual_seed(0))
    assert drawn.shape == (1, 40_000)
    assert chisquare(drawn.flatten().bincount(minlength=4), 40_000 * p.numpy()).pvalue > 1e-3


@pytest.mark.parametrize(("codes", "timesteps", "kind"), CASES)
def test_its_loss_and_gradient_are_ours(codes: int, timesteps: int, kind: str) -> None:
    """At every timestep, in float64."""
    generator = torch.Generator().manual_seed(0)
    schedule, t = NoiseSchedule(timesteps, kind), torch.arange(timesteps).repeat(3) + 1
    z0, z_t = torch.randint(codes, (2, len(t), 6), generator=generator)
    late = schedule.interval(t - 1, t, torch.float64)
    early = schedule.interval(0, t - 1, torch.float64)
    ours, theirs = (
        torch.randn(len(t), 6, codes, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
        for _ in range(2)
    )
    one = diffusion.kl_terms(z0, z_t, ours, late, early)
    other = logonehot.kl_terms(z0, z_t, logonehot.columns(theirs), late, early)
    torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-12)
    one.sum().backward()
    other.sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-8, atol=1e-12)


# ---- the table of contests


@pytest.mark.parametrize("contest", [c for c in CONTESTS if c.check is not None], ids=lambda contest: contest.name)
def test_both_sides_agree(contest: Contest) -> None:
    if not contest.installed:
        pytest.skip(f"{contest.package} is not installed: `make bench` installs it")
    assert contest.check is not None and contest.check(CPU)


SHRUNK = {"batch": 2, "positions": 16, "K": 8, "T": 4, "P": 100, "d": 4, "images": 2, "MiB": 1, "side": 16}


@pytest.mark.parametrize(
    "contest", [*CONTESTS, *LIMITS, *(g.contest for g in growths() if not g.contest.sizes)], ids=lambda c: c.name
)
def test_both_sides_run(contest: Contest) -> None:
    if not contest.installed:
        pytest.skip(f"{contest.package} is not installed: `make bench` installs it")
    names = contest.sizes[0] if contest.sizes else ("batch", "positions", "K", "T")
    positions = {"positions": 64} if contest.work == "transformer_sampling" else {}
    match = contest.prepare({name: (SHRUNK | positions)[name] for name in names}, CPU)
    found = match.ours()
    unread = contest.work == "reverse_steps"  # most logits are, so that no limit can be told
    assert (match.bytes > 0 or match.flops > 0) != unread
    if match.quality is not None:
        assert match.quality(found) > 0
    if match.theirs is not None:
        match.theirs()


def test_work_without_a_limit_has_none_told() -> None:
    row = {"note": "", "part": "contests", "flops": 0, "bytes": 0.0}
    assert tables.limits([row], {}).empty


def test_checks_see_a_difference() -> None:
    from bench.diffusion import check_alike, check_drawing, multinomial

    with pytest.raises(Differs, match="unlike"):
        check_drawing(CPU, lambda p, generator: multinomial(p.flip(-1), generator))
    with pytest.raises(Differs):
        check_alike(torch.zeros(1000, dtype=torch.int64), torch.arange(1000) % 2, 2)
    check_alike(torch.zeros(1000, dtype=torch.int64), torch.zeros(1000, dtype=torch.int64), 2)


def test_a_plan_has_every_work_once_for_each_place() -> None:
    whole = plan(2, gpu=True)
    assert len({item.words for item in whole}) == len(whole)
    assert {item.contest.work for item in whole if item.part != "limits"} == set(works())
    assert {(item.device, item.threads) for item in whole} == {("cpu", 1), ("cpu", 2), ("cuda", 1)}
    assert {item.device for item in whole if item.contest.work == "features"} == {"cuda"}  # it chooses by itself
    assert {item.device for item in whole if item.contest.work == "seeding"} == {"cpu"}
    only = plan(1, gpu=False, only=["noising"])
    assert {item.contest.work for item in only if item.part != "limits"} == {"noising"}
    assert {item.threads for item in only} == {1} and len(plan(2, gpu=False, quick=True)) < len(whole) / 2


# ---- a run


def toy(name: str, calls: list[str], fails: bool = False) -> Contest:
    """A contest that tells when it is prepared."""

    def prepare(sizes: dict[str, int], device: torch.device) -> Match:
        calls.append(name)
        if fails:
            raise RuntimeError(f"{name} is too large\nfor this machine")
        return Match(lambda: None, lambda: sum(range(1000)), bytes=1.0)

    return Contest(name, "toy", ({"K": 2},), prepare)


def items(*contests: Contest) -> list[Item]:
    """What measures the limits, and each of these."""
    limits = [Item("limits", contest, SHRUNK, 1, "cpu", 0.001) for contest in LIMITS]
    return limits + [Item("contests", contest, contest.sizes[0], 1, "cpu", 0.001) for contest in contests]


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    calls: list[str] = []

    def killed(words: str) -> None:
        if "first" in words:
            raise KeyboardInterrupt

    first, second = toy("first", calls), toy("second", calls)
    with pytest.raises(KeyboardInterrupt):
        measured(items(first, second), tmp_path, killed)
    before = file_of(items(first)[-1], tmp_path).read_bytes()
    told: list[str] = []
    rows = measured(items(first, second), tmp_path, told.append)
    assert calls == ["first", "second"] and told[0].startswith("3 of 4 are measured already")
    assert file_of(items(first)[-1], tmp_path).read_bytes() == before
    assert [row["work"] for row in rows[2:]] == ["first", "second"] and rows[2]["ratio"] > 1


def test_a_row_that_cannot_be_measured_says_why(tmp_path: Path) -> None:
    calls: list[str] = []
    missing = replace(toy("missing", calls), package="no_such_package_anywhere")

    def differ(device: torch.device) -> str:
        raise Differs("codes differ")

    unlike = replace(toy("unlike", calls), check=differ)
    rows = measured(items(missing, toy("fails", calls, fails=True), unlike, toy("whole", calls)), tmp_path, print)
    notes = [row["note"] for row in rows[2:]]
    assert notes == ["not installed", "RuntimeError: fails is too large", "Differs: codes differ", ""]
    made = report.made(rows, RUN, None)
    assert made["contests"]["ratio"].isna().tolist() == [True, True, True, False]
    report.write(made, tmp_path / "out")
    page = (tmp_path / "out/README.md").read_text()
    assert page == report.page(report.read(tmp_path / "out"))
    assert "not installed" in page and "codes differ" in page and (tmp_path / "out/bench.png").exists()


RUN = {"commit": "abc", "date": "2000-01-01", "torch": "0"}


def contest_row(ratio: float, spread: float, **more: Any) -> dict[str, Any]:
    """A measured contest, `spread` wide on both sides."""
    row = {"work": "w", "reference": "r", "sizes": "K 2", "threads": 1, "kind": "cpu", "device": "a", "commit": "old"}
    return row | {"ratio": ratio, "ratio_q1": ratio - spread, "ratio_q3": ratio + spread} | more


@pytest.mark.parametrize(
    ("ratio", "more", "verdict"),
    [
        (10.0, {}, "the same"),
        (9.5, {}, "the same"),
        (7.0, {}, "slower"),
        (14.0, {}, "faster"),
        (7.0, {"device": "b"}, "another machine"),
        (7.0, {"threads": 2}, "new"),
    ],
)
def test_a_slowdown_is_seen(ratio: float, more: dict[str, Any], verdict: str) -> None:
    before = pd.DataFrame([contest_row(10.0, 1.0)])
    found = tables.history(pd.DataFrame([contest_row(ratio, 0.5, commit="new") | more]), before)
    assert found["verdict"].tolist() == [verdict]
    assert any("**slower**" in line for line in report.history_lines(found)) == (verdict == "slower")
    if verdict not in ("new", "another machine"):
        assert found["change"].iloc[0] == pytest.approx(ratio / 10)


def test_slopes_are_those_of_powers() -> None:
    x = np.array([1.0, 2, 4, 8])
    assert tables.fitted(x, 3 * x**1.5) == pytest.approx((1.5, 0.0), abs=1e-9)
    slope, error = tables.fitted(x, x * np.array([1, 1.1, 0.9, 1]))
    design = np.vstack([np.log(x), np.ones(4)]).T
    expected, covariance = np.polyfit(design[:, 0], np.log(x * [1, 1.1, 0.9, 1]), 1, cov=True)
    assert (slope, error) == pytest.approx((expected[0], math.sqrt(covariance[0, 0])))


def test_its_help_is_told() -> None:
    command = [sys.executable, "-m", "bench", "--help"]
    done = subprocess.run(command, cwd=ROOT / "tests", env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert "--only" in done.stdout and "reverse_steps" in done.stdout


def test_the_jobs_of_two_runs_stand_side_by_side() -> None:
    before = {"prior/one": 40.0, "refit/faces_refit_k8_p9_rebuild": 3.0, "mini/evaluate/old": 5.0}
    after = {"prior/one": 20.0, "refit/faces_rebuilt_k8_p9": 1.5, "vqgan/new": 7.0}
    frames = [
        pd.DataFrame({"job": list(run), "step": [job.split("/")[-2] for job in run], "cpu_seconds": list(run.values())})
        for run in (before, after)
    ]
    found = pipeline.side_by_side(*frames)
    assert list(found["job"]) == ["vqgan/new", "refit/faces_rebuilt_k8_p9", "prior/one", "mini/evaluate/old"]
    assert list(found["times"].dropna()) == [2.0, 2.0]
    page = pipeline.page(found.assign(commit_before="early", commit_after="late", date="today"))
    assert "| refit | 1 | 0.05 | 0.03 | 2.00 |" in page and "| all | 2 | 0.72 | 0.36 | 2.00 |" in page
    assert "\n2 more jobs are not counted" in page


# ---- what is committed


@pytest.fixture(scope="module")
def committed() -> dict[str, pd.DataFrame]:
    """The committed tables."""
    return report.read(COMMITTED)


def test_the_committed_page_is_that_of_the_tables(committed: dict[str, pd.DataFrame]) -> None:
    assert (COMMITTED / "README.md").read_text() == report.page(committed)
    assert (COMMITTED / "bench.png").stat().st_size > 10_000


def test_the_committed_tables_agree(committed: dict[str, pd.DataFrame]) -> None:
    contests, growth, limits, history = (committed[name] for name in ("contests", "growth", "limits", "history"))
    for table in committed.values():
        assert table["commit"].nunique() == 1 and set(table["commit"]) == set(contests["commit"])
    for row in contests.dropna(subset=["ratio"]).to_dict("records"):
        assert row["ours_q1"] <= row["ours_ms"] <= row["ours_q3"] and row["ratio_q1"] <= row["ratio"] <= row["ratio_q3"]
        assert (
            row["reference_q1"] / row["ours_q3"] * 0.99 <= row["ratio"] <= row["reference_q3"] / row["ours_q1"] * 1.01
        )
    key = ["work", "reference", "sizes", "threads", "kind"]
    pd.testing.assert_frame_equal(
        history[[*key, *tables.RATIO]], contests.dropna(subset=["ratio"])[[*key, *tables.RATIO]].reset_index(drop=True)
    )
    again = tables.slopes(growth)
    pd.testing.assert_frame_equal(again, committed["slopes"], check_dtype=False, rtol=0.02, atol=0.02)
    np.testing.assert_allclose(limits["share"], limits["rate"] / limits["limit_rate"], rtol=2e-3)
    np.testing.assert_allclose(limits["rate"], limits["amount"] / limits["ours_ms"] * 1e3, rtol=2e-3)


def test_the_committed_run_was_a_whole_one(committed: dict[str, pd.DataFrame]) -> None:
    """Every row of today's table of contests; points of growth likewise."""
    contests, growth = committed["contests"], committed["growth"]
    there = set(zip(contests["work"], contests["reference"], contests["sizes"], contests["threads"], strict=True))
    wanted = {
        (contest.work, contest.reference, in_words(sizes), threads)
        for contest, threads in product(CONTESTS, (1, 2))
        for sizes in contest.sizes
    }
    assert wanted <= there
    points = set(zip(growth["work"], growth["axis"], growth["value"], strict=True))
    assert {(g.contest.work, g.axis, value) for g in growths() for value in g.values} == points


def test_the_committed_page_of_the_pipeline_is_that_of_its_table() -> None:
    found = pd.read_csv(COMMITTED / "pipeline.csv")
    assert (COMMITTED / "pipeline.md").read_text() == pipeline.page(found)
    assert (found["times"].dropna() == (found["before"] / found["after"]).dropna().round(3)).all()
    assert "(pipeline.md)" in (COMMITTED / "README.md").read_text()
