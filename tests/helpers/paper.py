"""A plausible suite for the tests of the paper step: faces and fashion, and every metric of them."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from vqddm.methods import BASELINES, METHODS
from vqddm.paper.claims import judge
from vqddm.paper.plan import Plan
from vqddm.settings import parse

FD = "FD (EfficientNet-Lite0)"
STAGES = ("vqgan_k256", "refit_k256_p20000", "refit_k256_p4000", "refit_k128_p4000")
PRIORS = {"faces": ("refit_k256_p4000", "refit_k128_p4000", "vqgan_k256"), "fashion": ("refit_k256_p4000",)}
T = 100
STEPS = (2, 5, 10, 25, 50, T)
MAIN = f"faces/{PRIORS['faces'][0]}"


def make_plan(church: str | None = "fashion", imagenet: str | None = "fashion") -> Plan:
    """The suite, with priors alone."""
    about = {"resolution": 32, "first_stages": STAGES, "methods": {"prior": STEPS}}
    datasets = {
        "faces": about | {"title": "Faces", "source": "faces", "priors": PRIORS["faces"]},
        "fashion": about | {"title": "Fashion", "source": "fashion", "priors": PRIORS["fashion"]},
    }
    return parse(
        Plan,
        {
            "suite": "mini",
            "title": "two small datasets on a laptop",
            "roles": {"celebahq": "faces", "lsun_church": church, "imagenet": imagenet},
            "datasets": {name: datasets[name] for name in dict.fromkeys(n for n in ("faces", church, imagenet) if n)},
        },
    )


def with_methods(plan: Plan, dataset: str, **methods: tuple[int, ...]) -> Plan:
    """The same suite with baselines on a dataset, each with its sampling steps."""
    planned = plan.model_dump(mode="json")
    planned["datasets"][dataset]["methods"] |= methods
    return parse(Plan, planned)


def add_toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A baseline that the paper step has never heard of, for one test."""
    toy = replace(METHODS["transformer"], name="toy", title="toy", row=None, strided=True, colour="teal")
    for registry in (METHODS, BASELINES):
        monkeypatch.setitem(registry, "toy", toy)


def distance(frechet: float, images: int = 1000) -> dict[str, Any]:
    return {
        "name": FD,
        "frechet": frechet,
        "kid": frechet / 40,
        "kid_std": 0.01,
        "precision": 0.7,
        "recall": 0.5,
        "images": images,
        "reference_images": 4000,
    }


def counts(k: int, paper: bool) -> dict[str, Any]:
    """Sizes as a network would have them; the paper's are the published ones of the notes."""
    layers = [
        ["encoder", "conv_in", 64, 12, 3],
        ["encoder", "down.0.block.0.conv1", 64, 64, 3],
        ["encoder", "down.0.block.0.conv2", 64, 64, 3],
        ["encoder", "down.0.downsample.conv", 64, 64, 3],
        ["encoder", "down.1.block.0.conv1", 128, 64, 3],
        ["encoder", "down.1.block.0.conv2", 128, 128, 3],
        ["encoder", "down.1.block.0.nin_shortcut", 128, 64, 1],
        ["encoder", "down.1.attn.0.q", 128, 128, 1],
        ["encoder", "mid.block_1.conv1", 128, 128, 3],
        ["encoder", "mid.attn_1.q", 128, 128, 1],
        ["encoder", "mid.block_2.conv2", 128, 128, 3],
        ["encoder", "conv_out", 64, 128, 3],
        ["decoder", "conv_in", 128, 64, 3],
        ["decoder", "mid.block_1.conv1", 128, 128, 3],
        ["decoder", "up.0.block.0.conv1", 64, 128, 3],
        ["decoder", "up.1.block.0.conv1", 128, 128, 3],
        ["decoder", "up.1.upsample.conv", 128, 128, 3],
        ["decoder", "conv_out", 12, 64, 3],
    ]
    if paper:
        step, as_paper, parameters = {
            512: (1_094_090_752, 1_043_759_104, 117_455_000),
            1024: (1_110_867_968, 1_060_536_320, 117_586_568),
            16384: (1_614_184_448, 1_563_852_800, 121_500_000),
        }[k]
        sizes = {"parameters": 72_141_699, "encoder_parameters": 29_298_176, "decoder_parameters": 42_449_795}
        sizes |= {"encoder_macs": 69_197_627_392, "decoder_macs": 126_357_602_304}
    else:
        step, as_paper, parameters = 25_000_000 + 8192 * k, 24_000_000 + 8192 * k, 3_600_000 + 128 * k
        sizes = {"parameters": 2_400_000, "encoder_parameters": 1_000_000, "decoder_parameters": 1_300_000}
        sizes |= {"encoder_macs": 90_000_000, "decoder_macs": 150_000_000}
    timesteps = 4000 if paper else T
    return {
        "codebook_size": k,
        "resolution": 256 if paper else 32,
        "autoencoder": sizes | {"layers": layers},
        "prior": {"parameters": parameters, "macs_per_step": step, "macs_per_step_as_paper": as_paper},
        "timesteps": timesteps,
        "macs_per_image": timesteps * step + sizes["decoder_macs"],
    }


def reconstruction(stage: str) -> dict[str, Any]:
    seen, frechet = {
        "vqgan_k256": (0.34375, 31.5),
        "refit_k256_p20000": (1.0, 18.2),
        "refit_k256_p4000": (0.99609375, 21.0),
        "refit_k128_p4000": (1.0, 24.25),
    }[stage]
    return {
        "codebook_size": int(stage.split("_")[1][1:]),
        "sampled_features": int(stage.split("_p")[1]) if "_p" in stage else None,
        "latent_size": [8, 8],
        "images": 1000,
        "usage": {
            "train": {"seen": seen, "seen10": 0.95 * seen},
            "test": {"seen": 0.99 * seen, "seen10": 0.9 * seen},
        },
        "distance": distance(frechet),
        "psnr": 22.75,
        "psnr_std": 0.3,
        "perceptual": {"name": "perceptual distance (EfficientNet-Lite0)", "value": 0.31},
    }


SAMPLES = {"refit_k256_p4000": 40.5, "refit_k128_p4000": 47.0, "vqgan_k256": 66.0}


def make_metrics() -> dict[str, Any]:
    """Every metric of the plausible suite, by its path under `metrics/`."""
    made: dict[str, Any] = {"paper_counts": {str(k): counts(k, paper=True) for k in (512, 1024, 16384)}}
    for dataset, priors in PRIORS.items():
        made[f"{dataset}/floor"] = {"distance": distance(6.5)}
        made[f"{dataset}/speed"] = {
            "device": "x86_64",
            "threads": 2,
            "batch_size": 64,
            "first_stage": priors[0],
            "seconds_per_step": 0.002,
            "seconds_per_step_std": 0.0001,
            "seconds_decode": 0.004,
            "timesteps": T,
            "prior_parameters": 3_632_768,
        }
        for stage in STAGES:
            made[f"{dataset}/{stage}/reconstruction"] = reconstruction(stage)
        for stage in priors:
            made[f"{dataset}/{stage}/prior_samples_{T}"] = samples(T, SAMPLES[stage])
            made[f"{dataset}/{stage}/prior_counts"] = counts(int(stage.split("_")[1][1:]), paper=False)
        made[f"{dataset}/{priors[0]}/prior_likelihood"] = {
            "train": {"bits_per_code": 2.41, "standard_error": 0.02, "first_term": 0.5, "images": 128},
            "test": {"bits_per_code": 2.45, "standard_error": 0.02, "first_term": 0.5, "images": 128},
            "ceiling": 8.0,
            "timesteps": T,
        }
        made[f"{dataset}/{priors[0]}/prior_inpainting"] = inpainting()
    for steps, frechet in ((2, 160.0), (5, 95.0), (10, 66.0), (25, 49.0), (50, 43.0)):
        made[f"faces/refit_k256_p4000/prior_samples_{steps}"] = samples(steps, frechet)
    return made


def mean(value: float, half_width: float) -> dict[str, float]:
    return {"mean": value, "half_width": half_width}


def inpainting() -> dict[str, Any]:
    """Completions nearer to their own picture than chance; a JSON file's masks come in the order of their names."""
    given = {"centre": 0.25, "corner": 0.25, "left": 0.5, "lower": 0.375, "random": 0.3, "right": 0.5, "top": 0.375}
    block = {
        "agreement": mean(0.4, 0.03),
        "chance": mean(0.6, 0.04),
        "agreement_minus_chance": mean(-0.2, 0.05),
        "seam_gap": mean(0.0125, 0.002),
        "seam": 0.06,
        "seam_original": 0.055,
        "frechet": 61.5,
        "frechet_std": 1.5,
        "images": 32,
    }
    masks = {name: copy.deepcopy(block) | {"given_fraction": share} for name, share in given.items()}
    return {"metric": "perceptual distance (EfficientNet-Lite0)", "frechet": FD, "masks": masks}


def samples(steps: int, frechet: float) -> dict[str, Any]:
    return {"steps": steps, "samples": 1000, "temperature": 1.0, "distance": distance(frechet)}


def lay(root: Path, metrics: dict[str, Any]) -> Path:
    for name, value in metrics.items():
        path = root / "metrics" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))
    return root


def row(frame: pd.DataFrame, **wanted: Any) -> pd.Series:
    found = frame
    for column, value in wanted.items():
        found = found[found[column] == value]
    assert len(found) == 1, wanted
    return found.iloc[0]


def verdicts(plan: Plan, root: Path) -> dict[str, str]:
    found = judge(plan, root)
    return dict(zip(found["id"], found["verdict"], strict=True))
