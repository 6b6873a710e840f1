"""CONTRIBUTING.md does what it says: its examples are added to a copy of the project, and all of them is built."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from PIL import Image
from tiny import copy_of, snakemake

from vqddm.params import merged

ROOT = Path(__file__).parent.parent
# Files that adding a thing may touch, tests not counted.
AT_MOST = {
    "your own pictures": 1,
    "a source of pictures": 3,
    "a first stage": 3,
    "a baseline": 5,
    "a noise schedule": 2,
    "a figure": 3,
    "a table": 3,
    "a claim": 1,
}


def sections() -> dict[str, list[tuple[str, str, str]]]:
    """The examples of each section: language, file and text."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    found = {}
    for part in re.split(r"^## How to add ", text, flags=re.MULTILINE)[1:]:
        title, body = part.split("\n", 1)
        found[title] = re.findall(r"^```(python|diff|yaml)\n# (\S+)\n(.*?)^```$", body, re.MULTILINE | re.DOTALL)
    return found


def apply(folder: Path, language: str, file: str, text: str) -> None:
    """Do in a copy of the project what an example says."""
    path = folder / file
    if language == "python":
        assert not path.exists(), file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    elif language == "yaml":
        path.write_text(yaml.safe_dump(merged(yaml.safe_load(path.read_text()), yaml.safe_load(text)), sort_keys=False))
    else:
        path.write_text(patched(path.read_text(), text))


def patched(before: str, diff: str) -> str:
    """`before` with lines marked `+` added behind the line before them, and those marked `-` taken away."""
    lines, at = before.splitlines(), 0
    for line in diff.splitlines():
        if line.startswith("+"):
            lines.insert(at, line[1:])
            at += 1
        elif line.startswith("-"):
            at = lines.index(line[1:], at)
            del lines[at]
        else:
            at = lines.index(line[1:], at) + 1
    return "\n".join(lines) + "\n"


def test_every_kind_has_an_example_that_touches_few_files() -> None:
    found = sections()
    for title, most in AT_MOST.items():
        touched = {file for _, file, _ in found[title]}
        assert 1 <= len(touched) <= most, title
    assert "a transition" in found


# As much as a test has time for; it is laid over what the examples say.
SMALL = """
suite: toys
suites:
  toys:
    title: what CONTRIBUTING.md adds
    datasets: {celebahq: stripes}
    evaluate: {seed: 0, features: efficientnet_lite0, reference: 24, reconstructions: 24, samples: 24, draws: 3,
      step_sweep: [2], temperature: 1.0, nll_images: 4, inpaintings: 6, inpainting_encodes: full,
      neighbour_samples: 2, neighbours: 10}
datasets:
  stripes:
    data: {train: 96, test: 32}
    first_stages: [patches_k16]
    priors: [patches_k16]
    vqgan: {autoencoder: {width: 32, z_channels: 8, embed_dim: 8}, training: {steps: 2},
      loss: {discriminator_start: 1, discriminator_width: 8, discriminator_layers: 1}}
    refit: {source: vqgan_k16, training: {steps: 2}}
    prior: {diffusion: {timesteps: 4}, unet: {width: 16}, training: {steps: 4}}
    patches: {training: {steps: 20}}
    frequencies: {training: {steps: 20}}
"""


@pytest.mark.slow
def test_what_the_examples_add_is_built_measured_and_shown(tmp_path: Path) -> None:
    folder = copy_of(ROOT, tmp_path)
    for examples in sections().values():
        for example in examples:
            apply(folder, *example)
    (folder / "tests/tiny.yaml").write_text(SMALL)
    done = snakemake(
        folder, "--cores", "2", "table1", "table2", "likelihood", "inpainting", "floors", "figure14", "claims"
    )
    assert done.returncode == 0, done.stderr[-3000:]
    results = folder / "results/toys"
    table1 = pd.read_csv(results / "tables/table1.csv")
    assert "patches_k16" in set(table1["first_stage"])
    table2 = pd.read_csv(results / "tables/table2.csv")
    measured = table2[table2["distance"].notna()]
    assert "ours on linear patches, K = 16 (not in the paper)" in set(measured["method"])
    assert measured["method"].str.contains("codes drawn one by one").any()
    likelihood = pd.read_csv(results / "tables/likelihood.csv")
    alone = likelihood[likelihood["method"].str.contains("one by one")]
    assert len(alone) == 2 and (alone["bits_per_code"] <= 4.1).all(), "16 codes cost 4 bits before any training"
    completed = pd.read_csv(results / "tables/inpainting.csv")
    assert completed["method"].str.contains("one by one").any()
    assert pd.read_csv(results / "tables/floors.csv")["floor"].notna().all()
    claims = pd.read_csv(results / "claims.csv").set_index("id")
    assert claims.loc["all_used", "measured"] == "Not measured in this suite: a ReFiT"
    with Image.open(results / "figures/figure14.png") as picture:
        assert picture.width > 100


@pytest.mark.slow
def test_the_examples_are_as_clean_as_the_project(tmp_path: Path) -> None:
    folder = copy_of(ROOT, tmp_path)
    for examples in sections().values():
        for example in examples:
            apply(folder, *example)
    for command in (["ruff", "check", "vqddm"], ["ruff", "format", "--check", "vqddm"], ["mypy"]):
        done = subprocess.run([sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
