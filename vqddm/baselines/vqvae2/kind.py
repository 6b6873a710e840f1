"""VQ-VAE-2 as a kind of first stage."""

from vqddm.baselines.vqvae2.settings import VQVAE2Params
from vqddm.registry import FirstStageKind

VQVAE2 = FirstStageKind(
    name="vqvae2",
    title="VQ-VAE-2",
    settings=VQVAE2Params,
    model="vqddm.baselines.vqvae2.model:VQVAE2",
    train="vqddm.baselines.vqvae2.train:train_vqvae2",
    command="baselines train-vqvae2",
    sections={"params": "vqvae2", "autoencoder": "vqgan.autoencoder"},
    maps=2,
    error="squared",
)
