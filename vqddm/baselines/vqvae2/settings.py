"""The section `vqvae2` of `params.yaml`."""

from __future__ import annotations

from pydantic import Field

from vqddm.settings import Section, TrainingParams


class VQVAE2Params(Section):
    """VQ-VAE-2's two levels of codes (Table 1), with encoder and decoder of the dataset's VQ-GAN."""

    commitment: float = Field(ge=0, description="beta of Eq. 14")
    learning_rate: float = Field(gt=0, description="Adam's learning rate")
    training: TrainingParams
