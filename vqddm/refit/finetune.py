"""ReFiT's second half: encoder frozen, decoder, codebook and discriminator fine-tuned (sections 3.2 and 4.1).

With the rebuilt codebook that is ReFiT; from the VQ-GAN itself, with its old codebook, it is a control.
"""

from pathlib import Path

import torch

from vqddm.artifacts import fingerprint
from vqddm.data.arrays import load_split
from vqddm.refit.settings import RefitParams
from vqddm.training import Training, trains
from vqddm.vqgan.codec import FIRST_STAGE
from vqddm.vqgan.model import FirstStage, load_discriminator, load_first_stage
from vqddm.vqgan.train import FirstStageRecipe


def freeze_encoder(model: FirstStage) -> FirstStage:
    """Let nothing but the decoder, post_quant_conv and the codebook (the second term of Eq. 14) be trained."""
    model.requires_grad_(True)
    model.encoder.requires_grad_(False)
    model.quant_conv.requires_grad_(False)
    return model


@trains
def finetune(*, source: Path, data: Path, params: RefitParams) -> Training:
    """Fine-tune decoder, codebook and discriminator of a first stage.

    Args:
        source: the VQ-GAN to go on with: that with the rebuilt codebook, or as it was trained.
    """
    model, about = load_first_stage(source)
    identity = {
        "codebook_size": about["codebook_size"],
        "autoencoder": about["autoencoder"],
        "made_by": {"step": "finetune", "params": params.model_dump(mode="json"), "source": about["made_by"]},
        "inputs": {f.name: fingerprint(f) for f in (source, data)},
    }

    def make(device: torch.device) -> FirstStageRecipe:
        return FirstStageRecipe(
            freeze_encoder(model),
            load_discriminator(source, params.loss.discriminator_width, params.loss.discriminator_layers),
            params.loss,
            params.optimizer,
            steps=params.training.steps,
            learning_rate=params.decoder_learning_rate,
            discriminator_learning_rate=params.discriminator_learning_rate,
            device=device,
        )

    images = load_split(data, model.params.resolution)
    return Training(make, images, load_split, params.training, {"kind": FIRST_STAGE, **identity}, identity)
