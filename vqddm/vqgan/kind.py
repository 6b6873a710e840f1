"""The VQ-GAN as a kind of first stage."""

from vqddm.registry import FirstStageKind
from vqddm.vqgan.settings import VQGANParams

VQGAN = FirstStageKind(
    name="vqgan",
    title="VQ-GAN",
    settings=VQGANParams,
    model="vqddm.vqgan.model:FirstStage",
    train="vqddm.vqgan.train:train_vqgan",
    command="vqgan train",
    sections={"params": "vqgan"},
    required=True,
)
