"""The search for recipes, in a folder of its own with the tiny suite's settings."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml

from vqddm.evaluate.measure import psnr, usage
from vqddm.first_stages import kind_of
from vqddm.vqgan.codec import decode_codes, encode_images, load_codec

ROOT = Path(__file__).parents[1]
PLAIN = {"vqgan": {"training": {"steps": 6}}, "refit": {"training": {"steps": 4}}}
ASKED = {
    "suite": "tiny",
    "datasets": ["tinyfaces"],
    "vqgan": "vqgan_k16",
    "refit": "refit_k16_p100",
    "base": PLAIN,
    "trials": {"plain": {}, "averaged": {"vqgan": {"optimizer": {"ema_decay": 0.5}}}},
    "chosen": {"tinyfaces": "averaged"},
}


def laid(folder: Path, asked: dict[str, Any]) -> Path:
    """The script beside these trials, in a project with the tiny suite's params.yaml."""
    (folder / "search").mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "search/search.py", folder / "search/search.py")
    (folder / "search/trials.yaml").write_text(yaml.safe_dump(asked, sort_keys=False))
    values = yaml.safe_load((ROOT / "tests/tiny.yaml").read_text())
    values["datasets"]["tinyfaces"]["data"]["validation"] = 30
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    return folder


def searched(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "search/search.py", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)


def module_in(folder: Path) -> ModuleType:
    """The copy of the script in a folder, as a module."""
    spec = importlib.util.spec_from_file_location("search_copy", folder / "search/search.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_projects_own_trials_are_valid_and_few() -> None:
    spec = importlib.util.spec_from_file_location("search_script", ROOT / "search/search.py")
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    search = script.planned()
    assert (kind_of(search.vqgan).name, kind_of(search.refit).name) == ("vqgan", "refit")
    for dataset in {trial.dataset for trial in search.trials}:
        of_it = [trial for trial in search.trials if trial.dataset == dataset]
        assert len(of_it) <= 10
        assert all(trial.settings["data"]["validation"] >= 1050 for trial in of_it)
        assert all(trial.settings["refit"]["source"] == search.vqgan for trial in of_it)


def test_a_trial_is_the_base_with_its_changes(tmp_path: Path) -> None:
    plain, averaged = module_in(laid(tmp_path, ASKED)).planned().trials
    assert plain.settings["vqgan"]["training"]["steps"] == averaged.settings["vqgan"]["training"]["steps"] == 6
    decays = [trial.settings["vqgan"]["optimizer"]["ema_decay"] for trial in (plain, averaged)]
    assert decays == [0.8, 0.5]
    assert averaged.settings["refit"]["optimizer"]["ema_decay"] == 0.5, "ReFiT inherits the optimiser"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"base": {"vqgan": {"loss": {"squred_weight": 1}}}}, "squred_weight.*allowed here"),
        ({"chosen": {"tinyfaces": "nobody"}}, "chosen: .*nobody.* is no trial"),
    ],
)
def test_a_wrong_trial_ends_with_one_sentence(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    from vqddm.artifacts import UserError

    with pytest.raises(UserError, match=words):
        module_in(laid(tmp_path, ASKED | change)).planned()


@pytest.mark.slow
def test_trials_are_measured_on_validation_pictures_and_never_made_twice(tmp_path: Path) -> None:
    broken = {"vqgan": {"learning_rate": 1.0e30, "optimizer": {"warmup_steps": 0}}}
    folder = laid(tmp_path, ASKED | {"trials": ASKED["trials"] | {"broken": broken}})  # type: ignore[operator]
    done = searched(folder, "--jobs", "2")
    assert done.returncode == 0, done.stderr[-2000:]
    with (folder / "docs/search.csv").open() as file:
        rows = {row["trial"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["plain", "averaged", "broken"]
    assert [name for name, row in rows.items() if row["chosen"] == "True"] == ["averaged"]
    assert "not finite" in rows["broken"]["failed"] or "NaN" in rows["broken"]["failed"]
    words = (folder / "docs/search.md").read_text()
    assert "**averaged**" in words and "| plain |" in words and "failed:" in words
    check_numbers(folder, rows["plain"])
    results = list((folder / "search/state").rglob("result.json"))
    before = {path: path.stat().st_mtime_ns for path in results}
    assert len(before) == 3
    again = searched(folder, "--jobs", "2")
    assert again.returncode == 0 and {path: path.stat().st_mtime_ns for path in results} == before


def check_numbers(folder: Path, row: dict[str, str]) -> None:
    """PSNR and usage of the VQ-GAN by hand, from its checkpoint and the validation pictures; test pictures gone."""
    state, data = folder / "search/state/tinyfaces/plain", folder / "search/state/data/tinyfaces"
    pictures = np.load(data / "validation.npy")
    model, _ = load_codec(state / "vqgan.safetensors")
    codes = encode_images(model, pictures)
    assert float(row["vqgan_usage"]) == pytest.approx(usage(codes, 16), abs=1e-4)
    shown = pictures[:24]
    expected = psnr(shown, decode_codes(model, codes[:24])).mean()
    assert float(row["vqgan_psnr"]) == pytest.approx(expected, abs=1e-3)
    assert json.loads((state / "settings.json").read_text())["vqgan"]["training"]["steps"] == 6
