"""The numbers of README.md and of `docs/explanation/` are those of the committed results."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vqddm.params import load

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs/explanation"
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def printed(suite: str) -> set[str]:
    """The numbers in a suite's tables and claims, as they are written there."""
    results = ROOT / "results" / suite
    files = [*results.glob("tables/*.md"), results / "claims.md"]
    return set(NUMBER.findall("\n".join(path.read_text() for path in files)))


def measured(value: Any) -> Iterator[float]:
    """The numbers in a metric."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from measured(part)
    elif isinstance(value, float):
        yield value


def rounded(suite: str, digits: int) -> set[str]:
    """The numbers in a suite's metrics and their averages over trainings, so many digits behind the point."""
    files = (ROOT / "results" / suite).rglob("*.json")
    return {f"{number:.{digits}f}" for path in files for number in measured(json.loads(path.read_text()))}


def rows(page: Path, heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its head."""
    section = page.read_text().split(f"\n## {heading}\n")[1]
    lines = [line for line in section.split("\n## ")[0].splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize(
    ("page", "heading", "count"),
    [(ROOT / "README.md", "How far the reproduction is", 5), (DOCS / "results.md", "Claim by claim", 22)],
    ids=["README.md", "results.md"],
)
def test_every_measured_number_stands_in_the_committed_results(page: Path, heading: str, count: int) -> None:
    found, known = rows(page, heading), printed("mini3")
    assert len(found) == count
    numbers = [number for row in found for number in NUMBER.findall(row[2])]
    assert len(numbers) >= 10
    assert not [number for number in numbers if number not in known]


def test_readme_and_the_page_on_the_results_agree() -> None:
    full = {row[0]: row for row in rows(DOCS / "results.md", "Claim by claim")}
    for name, paper, here, verdict in rows(ROOT / "README.md", "How far the reproduction is"):
        _, more_paper, more_here, more_verdict = full[name]
        assert set(NUMBER.findall(paper)) <= set(NUMBER.findall(more_paper)), name
        assert set(NUMBER.findall(here)) <= set(NUMBER.findall(more_here)), name
        assert more_verdict.startswith(verdict), name


def test_numbers_in_sentences_on_the_results_were_measured() -> None:
    poor = (DOCS / "results.md").read_text().split("## Where it is poor")[1].split("\n## ")[0]
    numbers = re.findall(r"\d+\.\d{3}\b", poor)
    assert len(numbers) >= 5 and set(numbers) <= rounded("mini3", 3)


def test_numbers_of_the_run_on_one_gpu_were_measured() -> None:
    page = DOCS / "gpu-run.md"
    cells = [cell for row in rows(page, "What came out") for cell in row[1:3]]
    text = page.read_text().split("## What came out")[1].split("\n## ")[0]
    numbers = [number for cell in [*cells, text] for number in re.findall(r"\d+\.\d+ ± \d+\.\d+|\d\.\d{3}\b", cell)]
    assert len(numbers) >= 10
    for number in {part for pair in numbers for part in pair.split(" ± ")}:
        digits = len(number.split(".")[1])
        assert number in rounded("gpu", digits) or number in printed("gpu"), number


def test_sizes_are_those_of_params_yaml_and_of_the_counts() -> None:
    params = load(ROOT / "params.yaml")
    training, evaluate = params.datasets["faces"].prior.training, params.suites["mini"].evaluate
    counts = json.loads((ROOT / "results/mini/metrics/faces/refit_k256_p4000/prior_counts.json").read_text())
    words = " ".join((DOCS / "results.md").read_text().split())
    assert f"A prior with {counts['prior']['parameters'] / 1e6:.2f} M parameters sees" in words
    assert f"{training.steps * training.batch_size:,} code maps ({training.steps:,} steps)" in words
    pixels = params.datasets["faces"].ddpm.training
    assert f"Pixel diffusion sees {pixels.steps * pixels.batch_size:,} pictures" in words
    assert f"{evaluate.draws} independent draws of {evaluate.samples // evaluate.draws} pictures" in words
    claims = (ROOT / "results/mini3/claims.csv").read_text().splitlines()
    assert f"judges all {len(claims) - 1} claims" in words
