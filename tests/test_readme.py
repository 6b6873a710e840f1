"""The README's numbers are those of the committed results, and its picture is there."""

from __future__ import annotations

import json
import re

import pytest

from vqddm.params import load


@pytest.fixture
def readme(root):
    return (root / "README.md").read_text()


def test_every_measured_number_stands_in_the_committed_results(root, readme):
    results = root / "results/mini"
    tables = [*results.glob("tables/*.md"), results / "claims.md"]
    known = set(re.findall(r"\d+(?:\.\d+)?", "\n".join(path.read_text() for path in tables)))
    rows = readme.split("## How far the reproduction is")[1].split("\n\nWhat is not there")[0]
    measured = [row.split("|")[3] for row in rows.splitlines() if row.startswith("| ") and "---" not in row][1:]
    numbers = [number for cell in measured for number in re.findall(r"\d+(?:\.\d+)?", cell)]
    assert len(numbers) >= 10
    assert not [number for number in numbers if number not in known]


def test_its_files_exist(root, readme):
    for link in re.findall(r"\]\(([^)#]+)\)", readme):
        assert (root / link).exists(), link
    for name in re.findall(r"`(vqddm/[\w/.]+)`", readme):
        assert (root / name).exists(), name


def test_its_make_targets_exist(root, readme):
    targets = set(re.findall(r"^([a-z.-]+):", (root / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z.-]+)", readme, re.MULTILINE))
    assert {"reproduce", "test", "unlock"} <= named <= targets


def test_its_sizes_are_those_of_params_yaml_and_of_the_counts(root, readme):
    params = load(root / "params.yaml")
    training, evaluate = params.datasets["faces"].prior.training, params.suites["mini"].evaluate
    counts = json.loads((root / "results/mini/metrics/faces/refit_k256_p4000/prior_counts.json").read_text())
    words = " ".join(readme.split())
    assert f"a prior with {counts['prior']['parameters'] / 1e6:.2f} M parameters sees" in words
    assert f"{training.steps * training.batch_size:,} code maps ({training.steps:,} steps)" in words
    assert f"{evaluate.draws} independent draws of {evaluate.samples // evaluate.draws} pictures" in words
    claims = (root / "results/mini/claims.csv").read_text().splitlines()
    assert f"judges all {len(claims) - 1} claims" in words
