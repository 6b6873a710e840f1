"""Claims about the prior: generation, steps, speed, size and likelihood (section 4.3)."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from vqddm.paper.evidence import (
    NOT_REPRODUCED,
    NOT_TESTABLE,
    REPRODUCED,
    Evidence,
    Judgement,
    at_most,
    lower,
    on_every_dataset,
)
from vqddm.paper.plan import PaperRow, paper_rows
from vqddm.paper.render import with_spread
from vqddm.paper.reported import reported
from vqddm.params import codebook_size

UNCOUNTED = Judgement(NOT_TESTABLE, "The paper's networks were not counted: metrics/paper_counts.json is missing.")
FASTER = 10  # the lower end of the paper's 10 to 100 times
PAPER_PART = 4  # the paper times 1000 of its 4000 steps
OVERFITTED = 1.05  # times the training code maps' bits
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


def _still_comparable(row: str) -> float:
    """What the paper calls comparable: its own FID over that of another row of Table 2."""
    fid = {row["id"]: row["fid"]["value"] for row in reported()["table2"]["rows"]}
    return float(fid["vqddm_1024"] / fid[row])


def quality(evidence: Evidence) -> Judgement:
    """Samples against those of the transformer and of pixel diffusion, wherever they are trained."""

    def check(evidence: Evidence, dataset: str) -> tuple[bool, str] | None:
        found = evidence.read(dataset, *evidence.shown_prior(dataset))
        others = {
            ("transformer", "vqgan_transformer"): evidence.transformer_samples(dataset),
            ("DDIM", "ddim"): evidence.ddim_samples(dataset),
        }
        if not found or not any(others.values()):
            return None
        judged = {
            name: at_most(found["distance"], other["distance"], _still_comparable(row))
            for (name, row), other in others.items()
            if other
        }
        words = "; ".join(f"against the {name}: {said}" for name, (_, said) in judged.items())
        return all(holds for holds, _ in judged.values()), words + evidence.floor(dataset)

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


def _times_faster(found: dict[str, Any], steps: int, pixel_steps: int) -> float:
    """Seconds of a picture by so many steps of pixel diffusion over ours with `steps` steps and the decoder."""
    own = steps * found["seconds_per_step"] + found["seconds_decode"]
    return float(pixel_steps * found["ddpm"]["seconds_per_step"] / own)


def speed(evidence: Evidence) -> Judgement:
    """Seconds of an image with all T steps against pixel diffusion's on the same machine; they vary between runs."""

    def check(evidence: Evidence, dataset: str) -> tuple[bool, str] | None:
        steps = evidence.plan.datasets[dataset].ddim_steps
        found = evidence.read(dataset, None, "speed") if steps else None
        if not found or "ddpm" not in found:
            return None
        pixels = {"DDPM": found["ddpm"]["timesteps"], "DDIM": max(steps)}
        whole, part = found["timesteps"], max(1, found["timesteps"] // PAPER_PART)
        times = {n: [_times_faster(found, n, other) for other in pixels.values()] for n in (whole, part)}
        told = {n: [f"{t:.2g}" if t < 100 else f"{t:.0f}" for t in ratios] for n, ratios in times.items()}
        words = [f"{t} times faster than {m}, {n} steps" for t, (m, n) in zip(told[whole], pixels.items(), strict=True)]
        return min(times[whole]) >= FASTER, (
            f"{whole} steps and decoder are {', '.join(words)}; {part} steps, the paper's share (1000 of its 4000), "
            f"would be {' and '.join(told[part])} times"
        )

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
        ours, theirs = (one["prior"]["parameters"] for one in counts if one)
        holds, words = at_most(found["distance"], other["distance"], _still_comparable("vqgan_transformer"))
        sizes = f"{ours / 1e6:.2f} M parameters, the transformer {theirs / 1e6:.2f} M"
        reason = "" if ours < theirs else ", so ours is not the smaller one"
        return holds and ours < theirs, f"{sizes}{reason}; {words}"

    found = on_every_dataset(evidence, check, "a transformer on the same codes")
    return Judgement(found.verdict, f"{found.measured} VQ-VAE-2's own prior is not trained here.")


def overfitting(evidence: Evidence) -> Judgement:
    """Bits per code of test against training code maps."""

    def check(evidence: Evidence, dataset: str) -> tuple[bool | None, str] | None:
        found = evidence.read(dataset, evidence.plan.datasets[dataset].main_prior, "likelihood")
        if not found:
            return None
        train, test = found["train"], found["test"]
        shown = [with_spread(one["bits_per_code"], one["standard_error"], 3) for one in (train, test)]
        more = test["bits_per_code"] / train["bits_per_code"] - 1
        words = (
            f"{shown[0]} bits per code in training, {shown[1]} in test ({more:+.1%}), ceiling {found['ceiling']:.2f}"
        )
        if train["standard_error"] is None or test["standard_error"] is None:
            return None, f"{words}, of one code map: no spread, not counted"
        room = OVERFITTED * train["bits_per_code"] - test["bits_per_code"]
        spread = 2 * math.hypot(OVERFITTED * train["standard_error"], test["standard_error"])
        return room > spread, f"{words}; {'beyond' if abs(room) > spread else 'within'} the spread of the limit"

    return on_every_dataset(evidence, check, "the likelihood of a prior")
