"""Claims about the prior: generation, steps, size, likelihood and inpainting (sections 4.3 and 4.4)."""

from __future__ import annotations

import pandas as pd

from vqddm.paper.evidence import (
    NOT_REPRODUCED,
    NOT_TESTABLE,
    REPRODUCED,
    Evidence,
    Judgement,
    lower,
    on_every_dataset,
)
from vqddm.paper.plan import PaperRow, paper_rows
from vqddm.paper.reported import reported
from vqddm.params import codebook_size

UNCOUNTED = Judgement(NOT_TESTABLE, "The paper's networks were not counted: metrics/paper_counts.json is missing.")
FASTER = 10  # the lower end of the paper's 10 to 100 times
PAPER_MASKS = ("lower", "corner", "centre")
PRIOR_ROWS = {512: "vqddm_512", 1024: "vqddm_1024"}


def _lower_samples(evidence: Evidence, dataset: str, better: PaperRow, worse: PaperRow) -> tuple[bool, str] | None:
    rows = paper_rows(evidence.plan.datasets[dataset].priors)
    if worse == "vqgan" and len({codebook_size(rows[row]) for row in (better, worse) if row in rows}) > 1:
        return None  # the claim is about one K
    first, second = evidence.samples(dataset, better), evidence.samples(dataset, worse)
    if not first or not second:
        return None
    holds, words = lower(first["distance"], second["distance"])
    return holds, words + evidence.floor(dataset)


def generation_refit(evidence: Evidence) -> Judgement:
    """Samples with ReFiT against samples without."""
    return on_every_dataset(
        evidence, lambda e, d: _lower_samples(e, d, "refit", "vqgan"), "a prior with and one without ReFiT"
    )


def larger_k(evidence: Evidence) -> Judgement:
    """Samples at the larger K against samples at the smaller."""
    return on_every_dataset(evidence, lambda e, d: _lower_samples(e, d, "refit", "refit_smaller_k"), "priors at two K")


def quality(evidence: Evidence) -> Judgement:
    """Samples against those of the transformer and of pixel diffusion, wherever they are trained."""

    def check(evidence: Evidence, dataset: str) -> tuple[bool, str] | None:
        found = evidence.read(dataset, *evidence.shown_prior(dataset))
        others = {"transformer": evidence.transformer_samples(dataset), "DDIM": evidence.ddim_samples(dataset)}
        trained = {name: one for name, one in others.items() if one}
        if not found or not trained:
            return None
        worse, words = False, []
        for name, other in trained.items():
            beaten, said = lower(other["distance"], found["distance"])
            worse |= beaten
            words.append(f"{name} {said}")
        return not worse, "; ".join(words) + evidence.floor(dataset)

    return on_every_dataset(evidence, check, "a transformer or a pixel diffusion of the same data")


def steps(evidence: Evidence) -> Judgement:
    """Rank correlation of sampling steps and distance on the main dataset, and its two ends."""
    main = evidence.plan.roles.celebahq
    dataset = evidence.plan.datasets[main]
    read = {n: evidence.read(main, dataset.main_prior, f"samples_{n}") for n in dataset.steps}
    sweep = {n: found["distance"] for n, found in read.items() if found}
    if len(sweep) < 3 or dataset.timesteps not in sweep:
        return Judgement(NOT_TESTABLE, "Not measured in this suite: samples at three numbers of steps and at T.")
    ranks = pd.Series(list(sweep)).rank()
    correlation = ranks.corr(pd.Series([found["frechet"] for found in sweep.values()]).rank())
    holds, words = lower(sweep[dataset.timesteps], sweep[min(sweep)])
    words = f"{dataset.title}, {min(sweep)} to {dataset.timesteps} steps: rank correlation {correlation:.2f}; {words}"
    verdict = REPRODUCED if holds and correlation <= -0.9 else NOT_REPRODUCED
    return Judgement(verdict, words + evidence.floor(main) + ".")


def speed(evidence: Evidence) -> Judgement:
    """Seconds of an image with all T steps against pixel diffusion's on the same machine; they vary between runs."""

    def check(evidence: Evidence, dataset: str) -> tuple[bool, str] | None:
        steps = evidence.plan.datasets[dataset].ddim_steps
        found = evidence.read(dataset, None, "speed") if steps else None
        if not found or "ddpm" not in found:
            return None
        own = found["timesteps"] * found["seconds_per_step"] + found["seconds_decode"]
        pixels = {f"DDPM, {found['ddpm']['timesteps']} steps": found["ddpm"]["timesteps"]}
        pixels[f"DDIM, {max(steps)} steps"] = max(steps)
        times = {name: n * found["ddpm"]["seconds_per_step"] / own for name, n in pixels.items()}
        words = ", ".join(f"{ratio:.2g} times faster than {name}" for name, ratio in times.items())
        return min(times.values()) >= FASTER, f"{found['timesteps']} steps and decoder are {words}"

    return on_every_dataset(evidence, check, "a pixel diffusion timed on the same machine")


def network_parameters(evidence: Evidence) -> Judgement:
    """Parameters of the prior at the paper's sizes."""
    counts = evidence.read(None, None, "paper_counts")
    if counts is None:
        return UNCOUNTED
    paper = reported()["text"]["parameters"]["value"]
    counted = {k: counts[str(k)]["prior"]["parameters"] for k in PRIOR_ROWS}
    words = ", ".join(f"K = {k}: {n / 1e6:.2f} M" for k, n in counted.items())
    holds = all(abs(n / paper - 1) <= 0.01 for n in counted.values())
    return Judgement(REPRODUCED if holds else NOT_REPRODUCED, f"{words} (counted, not measured by training).")


def network_operations(evidence: Evidence) -> Judgement:
    """Multiply-accumulates of one step at the paper's sizes, as the paper counted them."""
    counts = evidence.read(None, None, "paper_counts")
    if counts is None:
        return UNCOUNTED
    rows = {row["id"]: row for row in reported()["table2"]["rows"]}
    holds, words = True, []
    for k, row in PRIOR_ROWS.items():
        found = counts[str(k)]
        as_paper, full = found["prior"]["macs_per_step_as_paper"], found["prior"]["macs_per_step"]
        holds &= f"{as_paper / 1e9:.2f} G" == rows[row]["flops"]["text"]
        whole = found["macs_per_image"] / 1e12
        words.append(f"K = {k}: {as_paper / 1e9:.2f} G as counted, {full / 1e9:.2f} G in full, {whole:.2f} T an image")
    return Judgement(REPRODUCED if holds else NOT_REPRODUCED, f"{'; '.join(words)}.")


def few_parameters(evidence: Evidence) -> Judgement:
    """Samples against the transformer's on the same codes, and how many parameters each has."""

    def check(evidence: Evidence, dataset: str) -> tuple[bool, str] | None:
        found, other = evidence.read(dataset, *evidence.shown_prior(dataset)), evidence.transformer_samples(dataset)
        stage = evidence.plan.datasets[dataset].main_prior
        counts = [evidence.read(dataset, stage, name) for name in ("counts", "transformer_counts")]
        if not found or not other or not counts[0] or not counts[1]:
            return None
        worse, words = lower(other["distance"], found["distance"])
        sizes = [f"{one['prior']['parameters'] / 1e6:.2f} M" for one in counts if one]
        return not worse, f"the transformer ({sizes[1]}, ours {sizes[0]}): {words}"

    found = on_every_dataset(evidence, check, "a transformer on the same codes")
    return Judgement(found.verdict, f"{found.measured} VQ-VAE-2's own prior is not trained here.")


def overfitting(evidence: Evidence) -> Judgement:
    """Bits per code of test against training code maps."""

    def check(evidence: Evidence, dataset: str) -> tuple[bool, str] | None:
        found = evidence.read(dataset, evidence.plan.datasets[dataset].main_prior, "likelihood")
        if not found:
            return None
        train, test = found["train"]["bits_per_code"], found["test"]["bits_per_code"]
        errors = [found[split]["standard_error"] for split in ("train", "test")]
        shown = [f"{x:.3f}" + ("" if e is None else f" ± {e:.3f}") for x, e in zip((train, test), errors, strict=True)]
        words = f"{shown[0]} bits per code in training, {shown[1]} in test ({test / train - 1:+.1%})"
        return test <= 1.05 * train, f"{words}, ceiling {found['ceiling']:.2f}"

    return on_every_dataset(evidence, check, "the likelihood of a prior")


def inpainting_any_side(evidence: Evidence) -> Judgement:
    """Agreement of the filled region with its own original against other images, for every mask."""

    def check(evidence: Evidence, dataset: str) -> tuple[bool, str] | None:
        found = evidence.read(dataset, evidence.plan.datasets[dataset].main_prior, "inpainting")
        if not found or not found["masks"]:
            return None
        masks = found["masks"]
        closer = all(mask["agreement"] < mask["chance"] for mask in masks.values())
        words = ", ".join(f"{name} {mask['agreement']:.3f} / {mask['chance']:.3f}" for name, mask in masks.items())
        return closer, f"distance to own / to other images in the filled region: {words}"

    return on_every_dataset(evidence, check, "completions")


def inpainting_transformer(evidence: Evidence) -> Judgement:
    """Paired differences to the transformer's completions of the same pictures from the masks of section 4.4."""

    def check(evidence: Evidence, dataset: str) -> tuple[bool, str] | None:
        stage = evidence.plan.datasets[dataset].baseline("transformer")
        found = evidence.read(dataset, stage, "transformer_inpainting") if stage else None
        if not found:
            return None
        minus = {name: mask["minus"]["agreement"] for name, mask in found["masks"].items() if name in PAPER_MASKS}
        words = ", ".join(f"{name} {low:+.3f} to {high:+.3f}" for name, (low, high) in minus.items())
        return all(low > 0 for low, _ in minus.values()), (
            f"distance to the own picture in the filled region, transformer less diffusion (95 %): {words}"
        )

    return on_every_dataset(evidence, check, "a transformer on the same codes")
