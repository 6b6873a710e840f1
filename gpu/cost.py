"""`vqddm evaluate cost` without LPIPS's published weights: noise stands for them, as for all other weights."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd
import torch
import torchvision

from vqddm.evaluate.cost import write_cost
from vqddm.params import load

LIBRARY = "torch_fidelity.sample_similarity_lpips"
CHANNELS = (64, 128, 256, 512, 512)
NOTE = "LPIPS with noise for weights"


def noise_for_lpips(*_: Any, **__: Any) -> dict[str, torch.Tensor]:
    return {f"lin{number}.model.1.weight": torch.rand(1, count, 1, 1) for number, count in enumerate(CHANNELS)}


def noise_for_vgg(*_: Any, **__: Any) -> torch.nn.Module:
    return torchvision.models.vgg16(weights=None, init_weights=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", default="paper")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dry", action="store_true", help="build the perceptual network and time nothing")
    given = parser.parse_args()
    params = load(given.params).model_copy(update={"suite": given.suite})
    with (
        mock.patch(f"{LIBRARY}.load_state_dict_from_url", noise_for_lpips),
        mock.patch(f"{LIBRARY}.torchvision_load_pretrained_vgg16", noise_for_vgg),
        mock.patch("vqddm.vqgan.perceptual.weights_at_hand", lambda *_: contextlib.nullcontext()),
    ):
        if given.dry:
            from vqddm.vqgan.perceptual import perceptual_distance

            perceptual_distance("lpips_vgg")
            return
        print(write_cost(params=params, out=given.out))
    table = pd.read_csv(given.out)
    rows = table["what"].str.contains("training step") & ~table["what"].str.startswith("prior") & table["hours"].notna()
    table["note"] = table["note"].astype(object).where(~rows, NOTE)
    table[["codebook_size", "batch", "times"]] = table[["codebook_size", "batch", "times"]].astype("Int64")
    table.to_csv(given.out, index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
