"""What a suite costs: the amounts by hand, the extrapolation on the tiny suite's own networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from vqddm.evaluate.cost import items, write_cost
from vqddm.params import Params, load, with_presets
from vqddm.settings import parse

STEP = "prior, one step of an image"


def tiny(root: Path, **loss: Any) -> Params:
    """The tiny suite with one ReFiT and its prior."""
    values = with_presets(yaml.safe_load((root / "tests/tiny.yaml").read_text()))
    dataset = values["datasets"]["tinyfaces"]
    dataset |= {"first_stages": ["vqgan_k16", "refit_k16_p100"], "priors": ["refit_k16_p100"]}
    dataset["vqgan"]["loss"] = dataset["vqgan"]["loss"] | loss
    return parse(Params, values)


def test_the_papers_amounts_by_hand(root: Path) -> None:
    params = load(root / "params.yaml")
    evaluate = params.suites["paper"].evaluate
    found = {(i.what, i.codebook_size): i for i in items("x", params.datasets["celebahq"], evaluate, True, None)}
    assert ("VQ-GAN, training step", 1024) not in found, "CelebA-HQ's VQ-GAN is the official one"
    assert found["ReFiT, training step", 512].times == 100_000
    prior = found["prior, training step", 512]
    assert (prior.times, prior.batch) == (1_000_000, 180)
    assert found[STEP, 512].times == 50_000 * 4000, "likelihoods and completions are the main prior's"
    assert found["decode an image", 512].times == 50_000
    assert found["encode an image", 512].times == 27_000 + 2900
    church = {(i.what, i.codebook_size): i for i in items("x", params.datasets["lsun_church"], evaluate, False, None)}
    assert church["VQ-GAN, training step", 1024].times == 500_000
    completed = 64 * (3 + 3 + 1)  # from Figure 8's masks, Figure 11's and a random one
    assert church[STEP, 1024].times == (50_000 + completed + 2 * 1000) * 4000
    assert church["decode an image", 1024].times == 50_000 + completed


def test_the_step_sweep_is_the_main_priors(root: Path) -> None:
    params = load(root / "params.yaml")
    evaluate = params.suites["paper"].evaluate
    found = [i for i in items("x", params.datasets["celebahq"], evaluate, True, None) if i.what == STEP]
    sweep = 2 + 5 + 10 + 25 + 50 + 100 + 200 + 500 + 1000 + 2000 + 4000
    assert found[0].times == 50_000 * sweep + (64 * 7 + 2000) * 4000
    assert [i.times for i in found[1:]] == [50_000 * 4000] * 2


@pytest.mark.slow
def test_hours_are_times_of_what_each_takes(root: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # LPIPS has no weights there
    params = tiny(root, perceptual="lpips_vgg")
    said = write_cost(params=params, out=tmp_path / "cost.csv", threads=1)
    table = pd.read_csv(tmp_path / "cost.csv", keep_default_na=False)
    rows, total = table.iloc[:-1], table.iloc[-1]
    untimed = rows[rows.what == "VQ-GAN, training step"].iloc[0]
    assert "LPIPS" in untimed.note and untimed.hours == ""
    timed = rows[rows.note == ""].astype({"times": int, "seconds_each": float, "hours": float, "memory_gib": float})
    assert len(timed) == 6
    assert (timed.seconds_each > 0).all() and timed.memory_gib.between(0.1, 8).all()
    assert timed.hours.to_numpy() == pytest.approx(timed.times * timed.seconds_each / 3600, rel=2e-3)
    assert float(total.hours) == pytest.approx(timed.hours.sum(), rel=2e-3)
    each = timed[timed.codebook_size == "16"].groupby("what").seconds_each.first()
    quoted = float(rows[rows.what == "an image at 1000 steps, decoded"].seconds_each.iloc[0])
    assert quoted == pytest.approx(1000 * each[STEP] + each["decode an image"], rel=2e-3)
    assert "all that was timed" in said
