"""The model card of an exported folder: what it is, how to use it, what made it, what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vqddm.artifacts import UserError, read_json
from vqddm.vqgan.settings import AutoencoderParams

CARD = """\
---
license: {licence}
library_name: vqddm
pipeline_tag: unconditional-image-generation
tags: [vq-gan, discrete-diffusion, vector-quantisation, diffusers]
---

# {name}

A VQ-DDM, after *Global Context with Discrete Diffusion in Vector Quantised Modelling for Image Generation* (Hu et al.):
a VQ-GAN turns pictures of {side} x {side} pixels into maps of {maps} codes out of {codes}, and a discrete diffusion
over such maps draws them in up to {steps} steps. {precision}

## Use

With the Python package `vqddm` installed; FOLDER is where these files lie:

```sh
vqddm sample FOLDER -n 16 -o samples.png
```

```python
import vqddm

model = vqddm.load("FOLDER")
drawn = model.sample(16, seed=0)
drawn.sheet().save("samples.png")
codes = model.encode(drawn)
```

The first stage alone is also a `VQModel` of diffusers:

```python
import torch
from diffusers import VQModel
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

first_stage = VQModel.from_pretrained("FOLDER", subfolder="first_stage")
pictures = torch.rand(1, 3, {side}, {side}) * 2 - 1  # from -1 to 1
with torch.no_grad():
    again = pixel_shuffle(first_stage(pixel_unshuffle(pictures, {patch})).sample, {patch})
```

## What made it

{made}

`config.json` has all settings, seeds and checksums of what went in.

## What was measured

{measured}

## Licence

{terms}
"""
PRECISIONS = {
    "half": "The numbers are kept in half precision and computed with in float32.",
    "full": "The numbers are kept in float32.",
}
STEPS = {
    "vqgan": "a VQ-GAN trained from scratch",
    "import": "an imported official VQ-GAN",
    "rebuild": "its codebook rebuilt by k-means of features (ReFiT's first half)",
    "finetune": "decoder and codebook fine-tuned, encoder frozen (ReFiT's second half)",
}


def card(name: str, config: Mapping[str, Any], results: Path | None, own_licence: bool, precision: str) -> str:
    """The text of `README.md`.

    Args:
        name: of the model.
        config: its `config.json`.
        results: folder of measured metrics, if there is one.
        own_licence: the weights are under the project's.
        precision: `half` or `full`.

    Raises:
        UserError: the folder of metrics holds none of this model.
    """
    stage, prior = config["first_stage"], config["prior"]
    height, width = prior["latent_size"]
    steps = prior.get("params", {}).get("diffusion", {}).get("timesteps", height * width)
    rows = ["| | |", "| --- | --- |", *(f"| {what} | {value} |" for what, value in _metrics(results, steps))]
    of_full = " (before the numbers were rounded)" if precision == "half" else ""
    return CARD.format(
        licence="mit" if own_licence else "other",
        name=name,
        side=config["resolution"],
        maps=f"{height} x {width}",
        codes=stage["codebook_size"],
        steps=steps,
        precision=PRECISIONS[precision],
        patch=AutoencoderParams.model_validate(stage["autoencoder"]).patch,
        made="\n".join(f"- {line}" for line in _made(stage, prior)),
        measured="\n".join([f"By the project's own pipeline{of_full}; distances are to training pictures.", "", *rows])
        if results
        else "Nothing.",
        terms="MIT, see `LICENSE`." if own_licence else "See `LICENSE`.",
    )


def _made(stage: Mapping[str, Any], prior: Mapping[str, Any]) -> Iterator[str]:
    """A line for each training, the first one first."""
    steps = []
    step: Mapping[str, Any] | None = stage["made_by"]
    while step:
        steps.append(step)
        step = step.get("source")
    for each in reversed(steps):
        trained = f", {each['features']:,} of them" if "features" in each else _training(each.get("params", {}))
        yield f"First stage: {STEPS.get(each['step'], each['step'])}{trained}"
    yield f"Prior{_training(prior.get('params', {}))}"
    for what, about in (("First stage", stage), ("Prior", prior)):
        made = about.get("made_with", {})
        yield f"{what} by revision {made.get('revision', 'unknown')}, torch {made.get('torch', 'unknown')}"


def _training(params: Mapping[str, Any]) -> str:
    training = params.get("training")
    if not training:
        return ""
    return f", {training['steps']:,} steps of {training['batch_size']}, seed {training['seed']}"


def _metrics(results: Path | None, steps: int) -> Iterator[tuple[str, str]]:
    """What a folder such as `results/mini/metrics/faces/refit_k256_p4000` tells, in words."""
    if results is None:
        return
    files = {
        name: results / f"{name}.json" for name in ("reconstruction", f"prior_samples_{steps}", "prior_likelihood")
    }
    there = {name: read_json(path) for name, path in files.items() if path.exists()}
    if not there:
        raise UserError(f"{results}: holds none of {', '.join(path.name for path in files.values())}")
    if found := there.get("reconstruction"):
        yield _distance("reconstructions", found["distance"])
        yield "reconstructions, PSNR", f"{found['psnr']:.2f} dB"
        yield "codes in use on the training pictures", f"{found['usage']['train']['seen']:.2%}"
    if found := there.get(f"prior_samples_{steps}"):
        yield _distance(f"samples of {found['steps']} steps", found["distance"])
    if found := there.get("prior_likelihood"):
        yield "bits per code, at most", f"{found['test']['bits_per_code']:.3f} of {found['ceiling']:.2f}"


def _distance(what: str, found: Mapping[str, Any]) -> tuple[str, str]:
    spread = f" ± {found['frechet_std']:.2f}" if found.get("frechet_std") is not None else ""
    return f"{what}, {found['name']}", f"{found['frechet']:.2f}{spread}, {found['images']:,} pictures a draw"
