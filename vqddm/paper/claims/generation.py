"""Claims about the prior: generation, steps, speed, size and likelihood (section 4.3)."""

from typing import Any

import pandas as pd

from vqddm.methods import METHODS
from vqddm.paper.claims.evidence import (
    BEYOND,
    NOT_TESTABLE,
    Claim,
    Held,
    Judgement,
    at_most,
    floor,
    lower,
    lower_row,
    on_every_dataset,
    weighed,
)
from vqddm.paper.metrics import Metrics
from vqddm.paper.names import sampler, timed_runs
from vqddm.paper.render import with_spread
from vqddm.paper.reported import reported

UNCOUNTED = Judgement(NOT_TESTABLE, "The paper's networks were not counted: metrics/paper_counts.json is missing.")
FASTER = 10  # the lower end of the paper's 10 to 100 times
PAPER_PART = 4  # the paper times 1000 of its 4000 steps
OVERFITTED = 1.05  # times the training code maps' bits
PRIOR_ROWS = {512: "vqddm_512", 1024: "vqddm_1024"}
COMPARABLE = "13.2/10.2 times the transformer's, as Table 2 has it"


def _comparable(ours: dict[str, Any], other: dict[str, Any], row: str) -> tuple[Held, str]:
    """Whether our samples are as near as the paper calls comparable: its own FID over that of a row of Table 2."""
    fid = {row["id"]: row["fid"]["value"] for row in reported()["table2"]["rows"]}
    return at_most(ours["distance"], other["distance"], fid["vqddm_1024"] / fid[row])


def _quality(metrics: Metrics, dataset: str) -> tuple[Held, str] | None:
    """Samples against those of the paper's other methods, wherever they are trained."""
    found = metrics.read("samples", dataset, method="prior")
    rows = {name: method.row for name, method in METHODS.items() if method.row}
    others = {name: metrics.read("samples", dataset, method=name) for name in rows}
    judged = {
        sampler(METHODS[name]): _comparable(found, other, rows[name])
        for name, other in others.items()
        if found and other
    }
    if not found or not judged:
        return None
    words = "; ".join(f"against the {name}: {said}" for name, (_, said) in judged.items())
    return Held.all_of(held for held, _ in judged.values()), words + floor(metrics, dataset, found["distance"])


def _steps(metrics: Metrics) -> Judgement:
    """Rank correlation of sampling steps and distance on the main dataset, and its two ends."""
    main = metrics.plan.roles.celebahq
    dataset = metrics.plan.datasets[main]
    wanted = dataset.methods["prior"]
    read = {n: metrics.read("samples", main, method="prior", steps=n) for n in wanted}
    sweep = {n: found["distance"] for n, found in read.items() if found}
    if len(sweep) < 3 or wanted[-1] not in sweep:
        return Judgement(NOT_TESTABLE, "Not measured in this suite: samples at three numbers of steps and at T.")
    ranks = pd.Series(list(sweep)).rank()
    correlation = ranks.corr(pd.Series([found["frechet"] for found in sweep.values()]).rank())
    held, words = lower(sweep[wanted[-1]], sweep[min(sweep)], one_training=True)
    words = f"{dataset.title}, {min(sweep)} to {wanted[-1]} steps: rank correlation {correlation:.2f}; {words}"
    held = Held.all_of([held, Held.known(correlation <= -0.9)])
    return Judgement(held.value, words + floor(metrics, main, sweep[wanted[-1]]) + ".")


def _speed(metrics: Metrics, dataset: str) -> tuple[Held, str] | None:
    """Seconds of an image with all T steps against pixel diffusion's on the same machine; they vary between runs."""
    steps = metrics.plan.datasets[dataset].methods.get("ddpm", ())
    found = metrics.read("speed", dataset) if steps else None
    if not found or "ddpm" not in found:
        return None
    pixels = timed_runs(METHODS["ddpm"], found["ddpm"], steps[-1:])
    whole, part = found["timesteps"], max(1, found["timesteps"] // PAPER_PART)
    times = {
        n: [
            other * found["ddpm"]["seconds_per_step"] / (n * found["seconds_per_step"] + found["seconds_decode"])
            for _, other in pixels
        ]
        for n in (whole, part)
    }
    told = {n: [f"{t:.2g}" if t < 100 else f"{t:.0f}" for t in ratios] for n, ratios in times.items()}
    words = [f"{t} times faster than {name}, {n} steps" for t, (name, n) in zip(told[whole], pixels, strict=True)]
    return Held.known(min(times[whole]) >= FASTER), (
        f"{whole} steps and decoder are {', '.join(words)}; {part} steps, the paper's share (1000 of its 4000), "
        f"would be {' and '.join(told[part])} times"
    )


def _network_parameters(metrics: Metrics) -> Judgement:
    """Parameters of the prior at the paper's sizes."""
    if (counts := metrics.read("paper_counts")) is None:
        return UNCOUNTED
    paper = reported()["text"]["parameters"]["value"]
    counted = {k: counts[str(k)]["prior"]["parameters"] for k in PRIOR_ROWS}
    words = ", ".join(f"K = {k}: {n / 1e6:.2f} M" for k, n in counted.items())
    holds = all(abs(n / paper - 1) <= 0.01 for n in counted.values())
    return Judgement(Held.known(holds).value, f"{words} (counted, not measured by training).")


def _network_operations(metrics: Metrics) -> Judgement:
    """Multiply-accumulates of one step at the paper's sizes, as the paper counted them."""
    if (counts := metrics.read("paper_counts")) is None:
        return UNCOUNTED
    rows = {row["id"]: row for row in reported()["table2"]["rows"]}
    holds, words = True, []
    for k, row in PRIOR_ROWS.items():
        found = counts[str(k)]
        as_paper, full = found["prior"]["macs_per_step_as_paper"], found["prior"]["macs_per_step"]
        holds &= f"{as_paper / 1e9:.2f} G" == rows[row]["flops"]["text"]
        whole = found["macs_per_image"] / 1e12
        words.append(f"K = {k}: {as_paper / 1e9:.2f} G as counted, {full / 1e9:.2f} G in full, {whole:.2f} T an image")
    return Judgement(Held.known(holds).value, f"{'; '.join(words)}.")


def _few_parameters(metrics: Metrics, dataset: str) -> tuple[Held, str] | None:
    """Samples against the transformer's on the same codes, and how many parameters each has."""
    methods = ("prior", "transformer")
    found, other = (metrics.read("samples", dataset, method=name) for name in methods)
    counts = [metrics.read("counts", dataset, method=name) for name in methods]
    if not found or not other or not all(counts):
        return None
    ours, theirs = (one["prior"]["parameters"] for one in counts if one)
    held, words = _comparable(found, other, "vqgan_transformer")
    sizes = f"{ours / 1e6:.2f} M parameters, the transformer {theirs / 1e6:.2f} M"
    reason = "" if ours < theirs else ", so ours is not the smaller one"
    return Held.all_of([held, Held.known(ours < theirs)]), f"{sizes}{reason}; {words}"


def _overfitting(metrics: Metrics, dataset: str) -> tuple[Held, str] | None:
    """Bits per code of test against training code maps."""
    found = metrics.read("likelihood", dataset, method="prior")
    if not found:
        return None
    train, test = found["train"], found["test"]
    shown = [with_spread(one["bits_per_code"], one["standard_error"], 3) for one in (train, test)]
    more = test["bits_per_code"] / train["bits_per_code"] - 1
    words = f"{shown[0]} bits per code in training, {shown[1]} in test ({more:+.1%}), ceiling {found['ceiling']:.2f}"
    if train["standard_error"] is None or test["standard_error"] is None:
        return Held.UNCOUNTED, f"{words}, of one code map: no spread, not counted"
    held, where = weighed([(OVERFITTED, train), (-1, test)], "bits_per_code", "standard_error", 3)
    return held, f"{words}; room to the limit {where}"


CLAIMS = (
    Claim("generation_refit", "ReFiT improves generation significantly (FID 22.6 to 13.2)", "section 4.3, Table 2",
          f"samples with ReFiT against without, at the same K: {BEYOND}",
          on_every_dataset(lower_row("samples", "refit", "vqgan"), "a prior with and one without ReFiT")),
    Claim("larger_k", "A larger codebook generates better (K = 512: 18.8, K = 1024: 13.2)", "section 4.3, Table 2",
          f"samples at the larger K against the smaller: {BEYOND}",
          on_every_dataset(lower_row("samples", "refit", "refit_smaller_k", same_k=False), "priors at two K")),
    Claim("quality", "Generation comparable with top-tier methods (FID 13.2 on CelebA-HQ, 16.9 on LSUN-Church)",
          "abstract, section 4.3", f"the samples' distance is at most {COMPARABLE}, and 13.2/10.9 times DDIM's, "
          "trained on the same data, beyond the spread, on every dataset",
          on_every_dataset(_quality, "a transformer or a pixel diffusion of the same data")),
    Claim("steps", "More sampling steps give better images", "Figure 5",
          "rank correlation of steps and distance at most -0.9, and T steps better than the fewest beyond the spread",
          _steps),
    Claim("speed", "10 to 100 times faster than pixel diffusion (10 h against 1000 h and 100 h for 50k images)",
          "sections 1 and 4.3", "a picture with all T steps takes at most a tenth of the seconds of DDPM with all "
          "its steps, and of DDIM with the most steps measured, in one run on one machine (the paper's 10 h are 1000 "
          "of its 4000 steps)", on_every_dataset(_speed, "a pixel diffusion timed on the same machine")),
    Claim("network_parameters", "The prior has 117 M parameters", "appendix, Table 2",
          "counted at the paper's sizes, K = 512 and 1024: within 1% of 117 M", _network_parameters),
    Claim("network_operations", "It takes 1.06 G FLOPs at K = 1024 and 1.04 G at K = 512", "Table 2",
          "multiply-accumulates of one step without transposed convolutions, to two decimals of a G",
          _network_operations),
    Claim("few_parameters", "120 M parameters do better than VQ-VAE-2's 10 B and as well as VQ-GAN's 1 B", "section 1",
          f"with fewer parameters than a transformer on the same codes, the samples' distance is at most {COMPARABLE}, "
          "beyond the spread, on every dataset; the sizes at the paper's scale are counted in Table 2",
          on_every_dataset(_few_parameters, "a transformer on the same codes",
                           " VQ-VAE-2's own prior is not trained here.")),
    Claim("overfitting", "Train and test likelihood are close: no overfitting (1.258 and 1.286)", "section 4.3",
          "the test code maps cost at most 5% more bits than the training ones, beyond the spread, on every dataset",
          on_every_dataset(_overfitting, "the likelihood of a prior")),
)  # fmt: skip
