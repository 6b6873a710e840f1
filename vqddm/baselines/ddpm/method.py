"""Pixel diffusion as a method."""

from vqddm.baselines.ddpm.settings import DDPMParams
from vqddm.registry import Method

DDPM = Method(
    name="ddpm",
    title="pixel diffusion",
    settings=DDPMParams,
    fills="pixels",
    train="vqddm.baselines.ddpm.train:train_ddpm",
    load="vqddm.baselines.ddpm.sampler:load_ddpm",
    commands={
        "train": "baselines train-ddpm",
        "sample": "baselines sample-ddpm --ddpm",
        "counts": "evaluate ddpm-counts --ddpm",
        "speed": "--ddpm",
    },
    steps=lambda ddpm, codes, evaluate: tuple(sorted(evaluate.ddim_steps)),
    place=3,
    row="ddim",
    colour="green",
)
