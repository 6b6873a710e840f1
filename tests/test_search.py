"""The search for recipes, in a folder of its own with the tiny suite's settings."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from helpers.scripts import module_at

from vqddm.evaluate.measure import psnr, usage
from vqddm.params import load
from vqddm.vqgan.codec import decode_codes, encode_images, load_codec

ROOT = Path(__file__).parents[1]
SCRIPT = "search/search.py"
PLAIN = {"vqgan": {"training": {"steps": 6}}, "refit": {"training": {"steps": 4}}}
ASKED = {
    "suite": "tiny",
    "datasets": ["tinyfaces"],
    "first_stages": ["vqgan_k16", "refit_k16_p100"],
    "base": PLAIN,
    "trials": {"plain": {}, "averaged": {"vqgan": {"optimizer": {"ema_decay": 0.5}}}},
    "chosen": {"tinyfaces": ["averaged"]},
}


def laid(folder: Path, asked: dict[str, Any]) -> Path:
    """The script beside these trials, in a project with the tiny suite's params.yaml."""
    (folder / "search").mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / SCRIPT, folder / SCRIPT)
    (folder / "search/trials.yaml").write_text(yaml.safe_dump(asked, sort_keys=False))
    values = yaml.safe_load((ROOT / "tests/tiny.yaml").read_text())
    values["datasets"]["tinyfaces"]["data"]["validation"] = 30
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    return folder


def searched(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPT, *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)


def test_the_projects_own_trials_are_valid_and_few() -> None:
    script = module_at(ROOT / SCRIPT)
    trials, _ = script.planned()
    named = {(trial.name, method) for trial in trials for method in trial.methods}
    for choices in yaml.safe_load((ROOT / "search/trials.yaml").read_text())["open"].values():
        assert len(choices) > 1
        assert {tuple(training) for trainings in choices.values() for training in trainings} <= named
    tried = Counter((trial.dataset, trial.first_stages, trial.methods) for trial in trials)
    assert max(tried.values()) <= 10
    for trial in trials:
        assert trial.resolved.data.validation >= trial.evaluate.reconstructions
        assert trial.methods or trial.settings["evaluate"] == script.measuring(trial.evaluate)


def test_the_committed_rows_are_of_the_trials_as_they_are() -> None:
    """A setting that a trial leaves to params.yaml would change under it."""
    csv.field_size_limit(10**6)
    with (ROOT / "docs/search.csv").open() as file:
        rows = list(csv.DictReader(file))
    settings = {
        (trial.dataset, trial.name): json.dumps(trial.settings) for trial in module_at(ROOT / SCRIPT).planned()[0]
    }
    assert {(row["dataset"], row["trial"]) for row in rows} == set(settings)
    for row in rows:
        assert json.loads(row["settings"]) == json.loads(settings[row["dataset"], row["trial"]]), row["trial"]


def test_what_is_chosen_is_marked_and_is_what_params_yaml_has() -> None:
    """Of the methods all but the number of steps."""
    csv.field_size_limit(10**6)
    trials, chosen = module_at(ROOT / SCRIPT).planned()
    wanted = {(dataset, name) for dataset, names in chosen.items() for name in names}
    with (ROOT / "docs/search.csv").open() as file:
        marked = {(row["dataset"], row["trial"]) for row in csv.DictReader(file) if row["chosen"] == "True"}
    assert marked == wanted
    parts = re.split(r"^## (faces|fashion) ", (ROOT / "docs/search.md").read_text(), flags=re.MULTILINE)[1:]
    bold = {
        (dataset, n)
        for dataset, text in zip(parts[::2], parts[1::2], strict=True)
        for n in re.findall(r"^\| \*\*(\w+)\*\* ", text, re.M)
    }
    assert bold == wanted
    datasets = load(ROOT / "params.yaml").datasets
    for trial in (trial for trial in trials if (trial.dataset, trial.name) in wanted):
        for method in trial.methods:
            tried, taken = (getattr(of, method) for of in (trial.resolved, datasets[trial.dataset]))
            steps = tried.training.model_copy(update={"steps": taken.training.steps})
            assert tried.model_copy(update={"training": steps}) == taken, (trial.name, method)


def test_what_the_paper_leaves_open_stands_side_by_side(tmp_path: Path) -> None:
    script = module_at(laid(tmp_path, ASKED) / SCRIPT)
    values = ((5.5, 300.0), (5.7, 310.0), (4.0, 290.0))
    rows = [{"trial": f"t{i}", "what": "prior", "bits": bits, "distance": far} for i, (bits, far) in enumerate(values)]
    open_ = {"step": {"a": [["t0", "prior"], ["t1", "prior"]], "b": [["t2", "prior"]], "c": [["t3", "prior"]]}}
    *_, a, b, c, _ = script.left_open(open_, rows).split("\n")
    assert a == "| step | a | 5.600 (5.500, 5.700) | 305 (300, 310) | 2 |"
    assert (b, c) == ("|  | b | 4.000 | 290 | 1 |", "|  | c |  |  | 0 |")
    assert script.left_open({}, rows) == ""


def test_a_trial_is_the_base_with_its_changes(tmp_path: Path) -> None:
    plain, averaged = module_at(laid(tmp_path, ASKED) / SCRIPT).planned()[0]
    assert plain.settings["vqgan"]["training"]["steps"] == averaged.settings["vqgan"]["training"]["steps"] == 6
    decays = [trial.settings["vqgan"]["optimizer"]["ema_decay"] for trial in (plain, averaged)]
    assert decays == [0.8, 0.5]
    assert averaged.settings["refit"]["optimizer"]["ema_decay"] == 0.5, "ReFiT inherits the optimiser"


def test_what_a_result_depends_on_is_what_its_first_stages_take(tmp_path: Path) -> None:
    script = module_at(laid(tmp_path, ASKED | {"first_stages": ["vqvae2_k16"]}) / SCRIPT)
    plain = script.planned()[0][0]
    assert plain.settings.keys() == {"first_stages", "evaluate", "data", "vqvae2", "vqgan.autoencoder"}
    resolved = plain.resolved
    assert script.sections_of("dvae_k16", resolved) == {"dvae", "vqgan.autoencoder"}
    assert script.sections_of("finetuned_k16", resolved) == script.sections_of("refit_k16_p100", resolved)
    assert [
        script.made_from(name, resolved) for name in ("refit_k8_p9", "rebuilt_k8_p9", "finetuned_k8", "dvae_k8")
    ] == [*("rebuilt_k8_p9", "vqgan_k16", "vqgan_k8", None)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"base": {"vqgan": {"loss": {"squred_weight": 1}}}}, "squred_weight.*allowed here"),
        ({"chosen": {"tinyfaces": ["nobody"]}}, "chosen: nobody is no trial"),
    ],
)
def test_a_wrong_trial_ends_with_one_sentence(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    from vqddm.artifacts import UserError

    with pytest.raises(UserError, match=words):
        module_at(laid(tmp_path, ASKED | change) / SCRIPT).planned()


@pytest.mark.slow
def test_a_trial_whose_source_gave_nothing_ends_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ASKED | {"trials": {**ASKED["trials"], "filling": {"methods": ["prior"]}}}
    asked["codes_of"] = {"tinyfaces": ["plain", "vqgan_k16"]}
    search = module_at(laid(tmp_path, asked) / SCRIPT)
    monkeypatch.chdir(tmp_path)
    trials, _ = search.planned()
    last = [trial for trial in trials if trial.source]
    with pytest.raises(search.UserError, match=f"{last[0].name}: a trial that it goes on from gave no result"):
        search.work_off(last, 1)


@pytest.mark.slow
def test_a_trial_that_died_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search = module_at(laid(tmp_path, ASKED) / SCRIPT)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(search, "write_tables", lambda: None)
    monkeypatch.setattr(search.sys, "executable", "false")
    trials, _ = search.planned()
    with pytest.raises(search.UserError, match=r"2 of the trials died; see .*plain\.log, .*averaged\.log"):
        search.work_off(trials, 1)


def test_what_was_tried_elsewhere_is_not_lost(tmp_path: Path) -> None:
    """In a fresh clone the committed tables are there, what they were made from is not."""
    laid(tmp_path, ASKED)
    (tmp_path / "docs").mkdir()
    table = tmp_path / "docs/search.csv"
    table.write_text("dataset,trial,distance\ntinyfaces,plain,1.5\n")
    done = searched(tmp_path, "--tables")
    assert done.returncode == 0 and "no results here of 1 trials in them, such as tinyfaces/plain" in done.stdout
    assert table.read_text().endswith("tinyfaces,plain,1.5\n") and not (tmp_path / "docs/search.md").exists()


def test_trials_are_measured_on_validation_pictures_and_never_made_twice(tmp_path: Path) -> None:
    broken = {"vqgan": {"learning_rate": 1.0e30, "optimizer": {"warmup_steps": 0}}}
    others = {"broken": broken, "cascade": {"first_stages": ["vqvae2_k16"]}, "codes": {"methods": ["transformer"]}}
    about = {"trials": ASKED["trials"] | others, "codes_of": {"tinyfaces": ["plain", "refit_k16_p100"]}}  # type: ignore[operator]
    folder = laid(tmp_path, ASKED | about | {"samples": {"samples": 16, "draws": 1, "neighbour_samples": 2}})
    done = searched(folder, "--jobs", "2")
    assert done.returncode == 0, done.stderr[-2000:]
    with (folder / "docs/search.csv").open() as file:
        rows = {(row["trial"], row["what"]): row for row in csv.DictReader(file)}
    both = ("vqgan_k16", "refit_k16_p100")
    assert list(rows) == [
        *((trial, name) for trial in ("plain", "averaged") for name in both),
        *(("broken", both[0]), ("cascade", "vqvae2_k16"), ("codes", "transformer")),
    ]
    assert [name for name, row in rows.items() if row["chosen"] == "True"] == [("averaged", name) for name in both]
    assert "not finite" in rows["broken", both[0]]["failed"]
    words = (folder / "docs/search.md").read_text()
    assert "**averaged**" in words and "| plain | vqgan_k16 |" in words and "failed:" in words
    assert float(rows["plain", both[1]]["cpu_minutes"]) > float(rows["plain", both[0]]["cpu_minutes"]) > 0
    check_numbers(folder, rows["plain", both[0]])
    filled = rows["codes", "transformer"]
    assert 0 < float(filled["bits"]) < 10 and float(filled["distance"]) > 0 and not filled["psnr"]
    results = list((folder / "search/state").rglob("result.json"))
    before = {path: path.stat().st_mtime_ns for path in results}
    assert len(before) == 5
    again = searched(folder, "--jobs", "2")
    assert again.returncode == 0 and {path: path.stat().st_mtime_ns for path in results} == before


def check_numbers(folder: Path, row: dict[str, str]) -> None:
    """PSNR and usage of the VQ-GAN by hand, from its checkpoint and the validation pictures; test pictures gone."""
    state, data = folder / "search/state/tinyfaces/plain", folder / "search/state/data/tinyfaces"
    pictures = np.load(data / "validation.npy")
    model, _ = load_codec(state / "vqgan_k16.safetensors")
    codes = encode_images(model, pictures)
    assert float(row["usage"]) == pytest.approx(usage(codes, 16), abs=1e-4)
    shown = pictures[:24]
    expected = psnr(shown, decode_codes(model, codes[:24])).mean()
    assert float(row["psnr"]) == pytest.approx(expected, abs=1e-3)
    assert json.loads((state / "settings.json").read_text())["vqgan"]["training"]["steps"] == 6
