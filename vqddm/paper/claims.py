"""The paper's claims, each judged by a fixed rule from measured numbers.

A claim holds only where the numbers show it beyond their spread, which is that of the evaluation (draws, pictures, code
maps) and not of trainings. A claim that the suite cannot speak to is said to be not testable, never counted either way.
Only the rule about speed reads timings, which differ from run to run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from vqddm.artifacts import replacing
from vqddm.paper.codebook_claims import (
    EQUIVALENT,
    capacity,
    fewer_codes,
    larger_p,
    reconstruction,
    usage_near_full,
    usage_ratio,
    usage_second_best,
)
from vqddm.paper.evidence import ONE_TRAINING, RULE_MASKS, Evidence, Judgement
from vqddm.paper.inpainting_claims import inpainting_any_side, inpainting_transformer
from vqddm.paper.plan import Plan
from vqddm.paper.prior_claims import (
    few_parameters,
    generation_refit,
    larger_k,
    network_operations,
    network_parameters,
    overfitting,
    quality,
    speed,
    steps,
)
from vqddm.paper.render import markdown


@dataclass(frozen=True)
class Claim:
    """One claim: what the paper says and where, the rule of its verdict, and the function that applies it."""

    id: str
    says: str
    place: str
    rule: str
    judge: Callable[[Evidence], Judgement]


BEYOND = "the Fréchet distance is lower beyond the spread of its draws, on every dataset"
COMPARABLE = "13.2/10.2 times the transformer's, as Table 2 has it"

CLAIMS = (
    Claim("usage_ratio", "ReFiT raises a VQ-GAN's codebook usage nearly three times (31.85% to 97.07% on CelebA-HQ)",
          "section 4.2, Table 1", "usage by the training images rises at least twofold at the same K on every dataset",
          usage_ratio),
    Claim("usage_second_best", "Codebook usage, compared to other methods, nearly 3x higher than the second best",
          "section 4.2", "usage by the training images is at least twice that of the second best method, on every "
          "dataset with other codebooks than VQ-GAN's (the paper's own Table 1 has about 65% for VQ-VAE-2 on "
          "CelebA-HQ, of which its 97.07% are 1.5 times: that contradicts its 3x)", usage_second_best),
    Claim("usage_near_full", "With ReFiT nearly every code is used (93% to 100%)", "Table 1",
          "every ReFiT's training images use at least 90% of its codes", usage_near_full),
    Claim("reconstruction", "ReFiT lowers the distance of reconstructions (10.18 to 5.59 on CelebA-HQ)", "Table 1",
          f"ReFiT against the VQ-GAN of the same K: {BEYOND}", reconstruction),
    Claim("fewer_codes", "Halving the codebook costs little (about 0.1 on CelebA-HQ, about 1 on ImageNet)",
          "section 4.2", "the smaller K costs less than half of what ReFiT gains over VQ-GAN, beyond the spread, "
          "on every dataset", fewer_codes),
    Claim("larger_p", "Sampling more features P improves reconstructions (5.99 to 4.98 on ImageNet)", "section 4.2",
          f"larger P against smaller P at the same K: {BEYOND}", larger_p),
    Claim("capacity", "Equivalent reconstruction with a codebook 32 times smaller", "section 4.2",
          f"the smallest ReFiT's distance is at most {EQUIVALENT} times that of a VQ-GAN with at least 32 times its "
          "codes, beyond the spread of its draws", capacity),
    Claim("generation_refit", "ReFiT improves generation significantly (FID 22.6 to 13.2)", "section 4.3, Table 2",
          f"samples with ReFiT against without, at the same K: {BEYOND}", generation_refit),
    Claim("larger_k", "A larger codebook generates better (K = 512: 18.8, K = 1024: 13.2)", "section 4.3, Table 2",
          f"samples at the larger K against the smaller: {BEYOND}", larger_k),
    Claim("quality", "Generation comparable with top-tier methods (FID 13.2 on CelebA-HQ, 16.9 on LSUN-Church)",
          "abstract, section 4.3", f"the samples' distance is at most {COMPARABLE}, and 13.2/10.9 times DDIM's, "
          "trained on the same data, beyond the spread of the draws, on every dataset", quality),
    Claim("steps", "More sampling steps give better images", "Figure 5",
          "rank correlation of steps and distance at most -0.9, and T steps better than the fewest beyond the spread",
          steps),
    Claim("speed", "10 to 100 times faster than pixel diffusion (10 h against 1000 h and 100 h for 50k images)",
          "sections 1 and 4.3", "a picture with all T steps takes at most a tenth of the seconds of DDPM with all "
          "its steps, and of DDIM with the most steps measured, in one run on one machine (the paper's 10 h are 1000 "
          "of its 4000 steps)", speed),
    Claim("network_parameters", "The prior has 117 M parameters", "appendix, Table 2",
          "counted at the paper's sizes, K = 512 and 1024: within 1% of 117 M", network_parameters),
    Claim("network_operations", "It takes 1.06 G FLOPs at K = 1024 and 1.04 G at K = 512", "Table 2",
          "multiply-accumulates of one step without transposed convolutions, to two decimals of a G",
          network_operations),
    Claim("few_parameters", "120 M parameters do better than VQ-VAE-2's 10 B and as well as VQ-GAN's 1 B", "section 1",
          f"with fewer parameters than a transformer on the same codes, the samples' distance is at most {COMPARABLE}, "
          "beyond the spread of the draws, on every dataset; the sizes at the paper's scale are counted in Table 2",
          few_parameters),
    Claim("overfitting", "Train and test likelihood are close: no overfitting (1.258 and 1.286)", "section 4.3",
          "the test code maps cost at most 5% more bits than the training ones, beyond twice the standard errors, on "
          "every dataset", overfitting),
    Claim("inpainting_any_side", "Consistent completions from arbitrary given parts, without further training",
          "section 4.4", "for every mask the filled region agrees with its own original better than with another "
          "image: 95 % interval of the paired difference below 0, on every dataset", inpainting_any_side),
    Claim("inpainting_transformer", "Completions much better than an autoregressive transformer's", "section 4.4",
          f"for the masks {', '.join(RULE_MASKS)} the filled region is nearer to its own picture than in the "
          "transformer's completion: 95 % interval of the paired difference above 0, on every dataset",
          inpainting_transformer),
)  # fmt: skip


def judge(plan: Plan, root: Path) -> pd.DataFrame:
    """One row for each claim: `id`, `claim`, `place`, `measured`, `verdict`, `rule`, `evidence` (files read).

    Args:
        plan: the suite.
        root: the suite's results folder; what was not measured there makes a claim not testable.

    Raises:
        UserError: a metric file is damaged.
    """
    rows = []
    for claim in CLAIMS:
        evidence = Evidence(plan, root)
        found = claim.judge(evidence)
        rows.append(
            {
                "id": claim.id,
                "claim": claim.says,
                "place": claim.place,
                "measured": found.measured,
                "verdict": found.verdict,
                "rule": claim.rule,
                "evidence": "; ".join(dict.fromkeys(evidence.files)),
            }
        )
    return pd.DataFrame(rows)


def claims(plan: Plan, root: Path, out: Path) -> None:
    """Judge every claim and write `out`.csv, and `out`.md with a sentence on what their spread is.

    Args:
        plan: the suite.
        root: the suite's results folder.
        out: path without suffix.
    """
    found = judge(plan, root)
    shown = found[["claim", "place", "measured", "verdict", "rule"]].rename(columns=str.capitalize)
    texts = {".csv": found.to_csv(index=False, lineterminator="\n"), ".md": f"{ONE_TRAINING}\n\n{markdown(shown)}"}
    for suffix, content in texts.items():
        with replacing(out.with_name(out.name + suffix)) as aside:
            aside.write_text(content, encoding="utf-8")
