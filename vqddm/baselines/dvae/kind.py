"""The discrete VAE as a kind of first stage."""

from vqddm.baselines.dvae.settings import DVAEParams
from vqddm.registry import FirstStageKind

DVAE = FirstStageKind(
    name="dvae",
    title="DALL-E's dVAE",
    settings=DVAEParams,
    model="vqddm.baselines.dvae.model:DVAE",
    train="vqddm.baselines.dvae.train:train_dvae",
    command="baselines train-dvae",
    sections={"params": "dvae", "autoencoder": "vqgan.autoencoder"},
)
