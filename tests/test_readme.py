"""The numbers of README.md and of `docs/explanation/` are those of the committed results."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.scripts import module_at

from vqddm.params import load
from vqddm.repeats import half_interval, repeat

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
    [(ROOT / "README.md", "How far the reproduction is", 5), (DOCS / "results.md", "Claim by claim", 26)],
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


def distance(training: str, metric: str) -> float:
    """A Fréchet distance of one of the three trainings, such as `faces_T2`, or of all: `over_trainings/faces`."""
    folder = "over_trainings" if training.startswith("over") else "metrics"
    path = ROOT / "results/mini3" / folder / training.removeprefix("over_trainings/") / f"{metric}.json"
    found: float = json.loads(path.read_text())["distance"]["frechet"]
    return found


def test_what_the_page_says_of_three_trainings_was_measured() -> None:
    words = " ".join((DOCS / "results.md").read_text().split())
    faces, fashion = ([f"{dataset}{number}" for number in ("", "_T2", "_T3")] for dataset in ("faces", "fashion"))

    def farther(trainings: list[str], one: str, other: str) -> str:
        first, second, third = (f"{distance(at, one) - distance(at, other):.0f}" for at in trainings)
        return f"{first}, {second} and {third}"

    ours, control = "refit_k256_p4000/reconstruction", "finetuned_k256/reconstruction"
    nearer = [farther(trainings, control, ours) for trainings in (faces, fashion)]
    assert f"by {nearer[0]} on faces and {nearer[1]} on fashion" in words
    samples = "refit_k256_p4000/prior_samples_100"
    for stage, what in {
        "vqgan_k256": "the VQ-GAN's own codes",
        "finetuned_k256": "those on the control's codes",
        "refit_k128_p4000": "those on half the codes",
    }.items():
        assert f"{what}, by {farther(faces, samples, f'{stage}/prior_samples_100')}" in words

    sweep = [distance("over_trainings/faces", f"refit_k256_p4000/prior_samples_{n}") for n in (2, 5, 10, 25, 50, 100)]
    assert f"({', '.join(f'{value:.0f}' for value in sweep)})" in words
    for dataset, stage, said in (
        ("faces", "finetuned_k256", "fine-tuning alone gains {} of it"),
        ("fashion", "rebuilt_k256_p4000", "rebuilding alone gains {}"),
        ("fashion", "finetuned_k256", "fine-tuning alone {}."),
    ):
        plain, half, both = (
            distance(f"over_trainings/{dataset}", f"{name}/reconstruction")
            for name in ("vqgan_k256", stage, "refit_k256_p4000")
        )
        assert said.format(f"{100 * (plain - half) / (plain - both):.0f} %") in words


def test_how_far_trainings_lie_apart_is_said_as_their_table_has_it() -> None:
    words = " ".join((DOCS / "results.md").read_text().split())
    rows = pd.read_csv(ROOT / "results/mini3/tables/trainings.csv")
    rows = rows[rows["measure"].str.startswith("FD")]

    def shares(kind: str) -> list[str]:
        some = rows[rows["what"].str.contains(kind)]
        return [f"{100 * ((some[spread] / some['mean']) ** 2).mean() ** 0.5:.1f} %" for spread in ("between", "within")]

    (of_reconstructions, draws), (of_samples, more_draws) = shares("reconstructions"), shares("samples")
    assert f"moves by {shares('')[0]} of itself" in words
    assert f"{of_reconstructions} for reconstructions and {of_samples} for samples" in words
    assert f"move it by {draws} and {more_draws}" in words


def test_how_often_each_method_was_tried_is_said_as_the_search_has_it() -> None:
    words = " ".join((DOCS / "results.md").read_text().split())
    tried = pd.read_csv(ROOT / "docs/search.csv")
    tried = tried[tried["trial"] != "prior_other_seed"]  # the same settings as another
    counts = tried.groupby(["dataset", "what"]).size()
    told = {"prior": "eleven", **dict.fromkeys(("absorbing", "transformer", "ddpm"), "ten")}
    told |= {"refit_k256_p4000": "eight", "vqvae2_k256": "five", "dvae_k256": "five"}
    number = {"five": 5, "eight": 8, "ten": 10, "eleven": 11}
    assert {what: number[word] for what, word in told.items()} == {
        what: counts.xs(what, level="what").max() for what in told
    }
    assert (
        "eleven settings of the prior were tried and ten each of the absorbing transition, the transformer and" in words
    )
    assert "of the VQ-GAN with its ReFiT eight on each dataset, of VQ-VAE-2 and the discrete VAE five" in words


@pytest.mark.parametrize(
    ("heading", "measures"), [("What came out", "gpu/metrics"), ("The fourth run", "gpu/fourth_run/metrics")]
)
def test_numbers_of_the_runs_on_one_gpu_were_measured(heading: str, measures: str) -> None:
    page = DOCS / "gpu-run.md"
    cells = [cell for row in rows(page, heading) for cell in row[1:]]
    text = page.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    numbers = [number for cell in [*cells, text] for number in re.findall(r"\d+\.\d+ ± \d+\.\d+|\d\.\d{3}\b", cell)]
    assert len(numbers) >= 6
    for number in {part for pair in numbers for part in pair.split(" ± ")}:
        digits = len(number.split(".")[1])
        assert number in rounded(measures, digits), number


def test_the_table_of_samplers_is_what_the_trainings_gave() -> None:
    table = rows(DOCS / "results.md", "Another sampler")
    assert [int(row[0]) for row in table] == [2, 5, 10, 25, 50, 100]
    for steps, *cells in table:
        both = [over_trainings(f"faces/refit_k256_p4000/{name}_samples_{steps}") for name in ("prior", "renoise")]
        distances = [f"{one['frechet']:.1f} ± {one['frechet_std']:.1f}" for one in both]
        assert cells == [*distances, *(f"{one['recall']:.3f}" for one in both)], steps
        if int(steps) >= 5:
            assert both[1]["recall"] < both[0]["recall"], "mean recall is lower"
        if int(steps) >= 10:
            assert all(map(float.__lt__, both[1]["frechet_each"], both[0]["frechet_each"])), "nearer in each training"
    ours, paper = (over_trainings(f"fashion/refit_k256_p4000/{name}_samples_100") for name in ("renoise", "prior"))
    assert all(map(float.__lt__, ours["frechet_each"], paper["frechet_each"]))
    told = [f"{one['frechet']:.2f} ± {one['frechet_std']:.2f}" for one in (ours, paper)]
    words = " ".join((DOCS / "results.md").read_text().split())
    assert f"({told[0]} where the paper's way has {told[1]})" in words
    assert f"beyond the spread ({ours['recall']:.3f} against {paper['recall']:.3f})" in words


MASKS = {"lower part": "lower"}  # in the tables' words
NEARER = {"lower", "corner", "centre", "random", "right"}  # than the transformer's


def test_the_table_of_completions_is_what_the_trainings_gave() -> None:
    methods = ("prior", "renoise", "transformer")
    section = (DOCS / "results.md").read_text().split("## Completions by the other sampler\n")[1].split("\n## ")[0]
    gained = []
    for words, *cells in rows(DOCS / "results.md", "Completions by the other sampler"):
        mask = MASKS.get(words, words)
        for dataset, told in (("faces", cells[:3]), ("fashion", cells[3:])):
            stage = f"{dataset}/refit_k256_p4000"
            means = [completions(f"over_trainings/{stage}", method)[mask] for method in methods]
            pairs = [(one["agreement"]["mean"], one["agreement"]["half_width"]) for one in means]
            assert told == [f"{mean:.3f} ± {half:.3f}" for mean, half in pairs], (words, dataset)
            less = means[1]["minus"]["agreement"]
            assert less["mean"] + less["half_width"] < 0, "beyond the interval"
            gained.append(1 - pairs[1][0] / pairs[0][0])
            folders = [f"metrics/{stage.replace(dataset, repeat(dataset, number))}" for number in (1, 2, 3)]
            each = {method: [completions(folder, method)[mask] for folder in folders] for method in methods}
            own = {method: np.array([one["agreement"]["mean"] for one in found]) for method, found in each.items()}
            whole = {method: np.array([one["frechet"] for one in found]) for method, found in each.items()}
            beside = own["renoise"] - own["transformer"]
            assert (whole["renoise"] < whole["prior"]).all(), "in each training"
            if mask in ("centre", "corner"):
                assert (whole["renoise"] < whole["transformer"]).all()
            if mask in ("left", "top"):
                assert (whole["renoise"] > whole["transformer"]).all()
            if mask in NEARER:
                assert (beside < 0).all(), "nearer than the transformer in each training"
            if (mask, dataset) == ("random", "faces"):
                assert f"by {-beside.mean():.3f} ± {half_interval(beside.tolist()):.3f}, within the interval" in section
    assert len(gained) == 14
    assert f"by {100 * min(gained):.0f} to {100 * max(gained):.0f} %" in " ".join(section.split())


def test_what_the_page_says_of_variety_is_in_the_table() -> None:
    words, found = " ".join((DOCS / "results.md").read_text().split()), pd.read_csv(ROOT / "results/variety.csv")
    assert len(found) == 2 * 3 * 7 and f"{module_at(ROOT / 'search/variety.py').PICTURES} validation pictures" in words
    share = 100 * found["between"] / found["own"]
    for method, told, far in (
        ("renoise", "they are ", " as far"),
        ("prior", "the paper's sampler ", ""),
        ("transformer", "the transformer ", ""),
    ):
        of_it = share[found["method"] == method]
        assert f"{told}{of_it.min():.0f} to {of_it.max():.0f} %{far}, on average {of_it.mean():.0f} %" in words


def completions(folder: str, method: str) -> dict[str, Any]:
    """What was measured of each mask."""
    found: dict[str, Any] = json.loads((ROOT / f"results/mini3/{folder}/{method}_inpainting.json").read_text())["masks"]
    return found


def over_trainings(metric: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / f"results/mini3/over_trainings/{metric}.json").read_text())["distance"]
    return found


OTHERS = (1, 2)  # runs on other machines


def section_on_machines() -> tuple[str, dict[str, list[str]]]:
    """Its words, and its table by the first column: the committed run's cell, then that of each other run."""
    section = (DOCS / "results.md").read_text().split("## On other machines\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return " ".join(section.split()), {first: rest for first, *rest in rows}


def apart(distances: pd.DataFrame) -> str:
    """How far from the committed ones, in the root mean square of `share`."""
    return f"{100 * (distances['share'] ** 2).mean() ** 0.5:.1f} %"


def test_what_the_page_says_of_other_machines_is_in_the_table() -> None:
    words, told = section_on_machines()
    found = pd.read_csv(ROOT / "results/machines.csv")
    same = found[~found["what"].str.contains("transformer")]
    distances = same[same["measure"].str.startswith("FD")]
    claims = found[(found["measure"] == "verdict") & ~found["what"].str.startswith("control")]
    bits = same[same["measure"].str.startswith("bits") & (same["what"] == "VQ-DDM on ReFiT, K = 256, P = 4 000")]
    for run in OTHERS:
        known = distances[distances[f"share_{run}"].notna()].rename(columns={f"share_{run}": "share"})
        reconstructions = known["what"].str.contains("reconstructions")
        assert told["distances, apart by"][run] == apart(known)
        assert told["of these reconstructions"][run] == apart(known[reconstructions])
        assert told["samples"][run] == apart(known[~reconstructions])
        assert told["at most"][run] == f"{100 * known['share'].abs().max():.1f} %"
        assert told["higher than the committed"][run] == f"{(known['share'] < 0).sum()} of {len(known)}"
        for dataset, one in bits.set_index("dataset").iterrows():
            row = told[f"bits per code, {dataset}"]
            assert [row[0], row[run]] == [f"{float(one[name]):.3f}" for name in ("committed", f"other_{run}")]
        agreed = (claims["committed"] == claims[f"other_{run}"]).sum()
        assert told["verdicts on the paper's claims that are the same"][run] == f"{agreed} of {len(claims)}"
    twice = distances[distances["other_1"] == distances["other_2"]]["what"]
    assert f"in all {twice.str.contains('reconstructions').sum()} distances of reconstructions" in words
    assert distances["what"].str.contains("reconstructions").sum() == twice.str.contains("reconstructions").sum()
    others = twice[~twice.str.contains("reconstructions")]
    assert len(others) == 2 and all("pixel" in name or "absorbing" in name for name in others)
    jobs = pd.read_csv(ROOT / "results/mini/timeline.csv")
    seconds, renoised = (jobs[jobs["job"].str.contains(name)]["cpu_seconds"].sum() for name in ("", "renoise"))
    assert told["CPU minutes of its jobs"][0] == f"{seconds / 60:.0f}"
    assert f"Of the committed run's minutes the other sampler has {renoised / 60:.1f}." in words


def test_the_committed_run_is_the_one_beside_which_the_others_stand() -> None:
    """`search/machines.py` writes the committed table anew, but for what only the other runs know."""
    machines = module_at(ROOT / "search/machines.py")
    found = machines.side_by_side(ROOT / "results/mini", [ROOT / "results/mini"])
    assert (found["committed"] == found["other_1"]).all()
    known = {tuple(name): here for *name, here in found[[*machines.NAMED, "committed"]].itertuples(index=False)}
    table = pd.read_csv(ROOT / "results/machines.csv", keep_default_na=False)
    assert [name for name in table if name.startswith("other")] == [f"other_{run}" for run in OTHERS]
    for *name, committed in table[[*machines.NAMED, "committed"]].itertuples(index=False):
        here = known[tuple(name)]
        assert committed == here if name[2] == "verdict" else float(committed) == pytest.approx(float(here)), name


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
