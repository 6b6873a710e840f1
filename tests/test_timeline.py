"""The timeline of a run, from benchmark files as Snakemake writes them."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from snakemake import benchmark as benchmark_of

from vqddm.artifacts import UserError
from vqddm.paper.timeline import lanes, last_read, read_jobs, timeline

HEAD = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time"


def benchmark(path: Path, end: float, seconds: float, cpu: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{HEAD}\n{seconds}\t0:00:47\t63.29\t217\t39\t46\t0.7\t31.9\t54.3\t{cpu}\n")
    os.utime(path, (end, end))


def test_jobs_are_put_in_the_order_of_their_starts(tmp_path: Path) -> None:
    place = tmp_path / "benchmarks"
    benchmark(place / "vqgan/faces_vqgan_k256.tsv", 1100.0, 80.0, "75.5")
    benchmark(place / "data/faces.tsv", 1010.0, 10.0, "9.0")
    benchmark(place / "mini/evaluate/faces_floor.tsv", 1030.5, 20.0, "-")
    benchmark(place / "other/evaluate/faces_floor.tsv", 1900.0, 20.0, "1")
    jobs = read_jobs(place, "mini")
    assert jobs["job"].tolist() == ["data/faces", "mini/evaluate/faces_floor", "vqgan/faces_vqgan_k256"]
    assert jobs["start"].tolist() == pytest.approx([0, 10.5, 20])
    assert jobs["step"].tolist() == ["data", "evaluate", "vqgan"]
    assert jobs["cpu_seconds"].tolist()[::2] == [9.0, 80.0], "the last reading was after 75.5 s"
    assert jobs["cpu_seconds"].isna().sum() == 1
    assert lanes(jobs) == [0, 0, 1]
    timeline(benchmarks=place, suite="mini", out=tmp_path / "timeline")
    assert len(pd.read_csv(tmp_path / "timeline.csv")) == 3
    assert {path.suffix for path in tmp_path.glob("timeline.*")} == {".csv", ".png", ".pdf"}


def test_what_a_job_took_after_the_last_reading_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """When Snakemake reads is its own affair; here it is counted through with its timer."""
    assert (benchmark_of.BENCHMARK_INTERVAL, benchmark_of.BENCHMARK_INTERVAL_SHORT) == (30, 0.5)
    timer = benchmark_of.ScheduledPeriodicTimer(benchmark_of.BENCHMARK_INTERVAL)
    waits: list[float] = []
    monkeypatch.setattr(timer, "work", lambda: None)

    def ticks(wait: float, action: object) -> SimpleNamespace:
        waits.append(wait)
        return SimpleNamespace(start=lambda: None)

    monkeypatch.setattr(benchmark_of, "DaemonTimer", ticks)
    timer.start()
    for _ in range(34):
        timer._action()
    readings = np.concatenate([[0], np.cumsum(waits)])
    for seconds in (16.0, 44.9, 46.0, 76.0, 100.0):
        before = readings[readings <= seconds].max()
        assert last_read(seconds) == pytest.approx(before, abs=0.5), seconds


def test_a_suite_may_be_called_as_a_step_is(tmp_path: Path) -> None:
    """The suite `paper` is: its jobs lie in a folder more than those of the step."""
    benchmark(tmp_path / "paper/overview.tsv", 1000.0, 1.0, "1")
    benchmark(tmp_path / "paper/evaluate/cost.tsv", 1002.0, 1.0, "1")
    benchmark(tmp_path / "mini/paper/page.tsv", 1004.0, 1.0, "1")
    jobs = read_jobs(tmp_path, "paper")
    assert jobs[["job", "step"]].values.tolist() == [["paper/overview", "paper"], ["paper/evaluate/cost", "evaluate"]]
    assert read_jobs(tmp_path, "mini")["job"].tolist() == ["paper/overview", "mini/paper/page"]


def test_a_job_of_no_time_took_none(tmp_path: Path) -> None:
    benchmark(tmp_path / "data/faces.tsv", 1000.0, 0.0, "0.0")
    assert read_jobs(tmp_path, "mini")["cpu_seconds"].tolist() == [0.0]


def test_what_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no benchmark of the suite mini"):
        read_jobs(tmp_path, "mini")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/faces.tsv").write_text("nothing")
    with pytest.raises(UserError, match=r"faces\.tsv: not a benchmark"):
        read_jobs(tmp_path, "mini")
