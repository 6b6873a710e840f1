"""ReFiT: the rebuilt codebook put in place, decoder and discriminator fine-tuned (sections 3.2 and 4.1)."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vqddm.artifacts import fingerprint, read_array
from vqddm.data.arrays import load_split
from vqddm.refit.settings import RefitParams
from vqddm.training import Training, trains
from vqddm.vqgan.codec import FIRST_STAGE
from vqddm.vqgan.model import FirstStage, load_discriminator, load_first_stage
from vqddm.vqgan.train import FirstStageRecipe


def with_codebook(model: FirstStage, centres: Tensor) -> FirstStage:
    """A first stage with the weights of `model` and the codebook `centres` (K, d); encoder side frozen.

    What stays trainable is the decoder, post_quant_conv and the codebook (the second term of Eq. 14).
    """
    rebuilt = FirstStage(model.params, len(centres))
    weights = model.state_dict() | {"quantize.embedding.weight": centres}
    rebuilt.load_state_dict(weights)
    rebuilt.encoder.requires_grad_(False)
    rebuilt.quant_conv.requires_grad_(False)
    return rebuilt


@trains
def finetune(*, source: Path, centres: Path, data: Path, params: RefitParams) -> Training:
    """Fine-tune decoder and discriminator on a rebuilt codebook.

    Args:
        centres: the rebuilt codebook, float32 (K, d) `.npy`.
    """
    original, about = load_first_stage(source)
    codebook = torch.from_numpy(np.array(read_array(centres, "float32", 2)))
    identity = {
        "codebook_size": len(codebook),
        "autoencoder": about["autoencoder"],
        "made_by": {"step": "refit", "params": params.model_dump(mode="json"), "source": about["made_by"]},
        "inputs": {f.name: fingerprint(f) for f in (source, centres, data)},
    }

    def make(device: torch.device) -> FirstStageRecipe:
        return FirstStageRecipe(
            with_codebook(original, codebook),
            load_discriminator(source, params.loss.discriminator_width, params.loss.discriminator_layers),
            params.loss,
            params.optimizer,
            steps=params.training.steps,
            learning_rate=params.decoder_learning_rate,
            discriminator_learning_rate=params.discriminator_learning_rate,
            device=device,
        )

    return Training(make, load_split(data), params.training, {"kind": FIRST_STAGE, **identity}, identity)
