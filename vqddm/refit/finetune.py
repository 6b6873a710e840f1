"""ReFiT: the rebuilt codebook put in place, decoder and discriminator fine-tuned (sections 3.2 and 4.1)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vqddm.artifacts import fingerprint, read_array
from vqddm.refit.settings import RefitParams
from vqddm.training import join_processes, limit_threads
from vqddm.vqgan.model import FirstStage, load_discriminator, load_first_stage
from vqddm.vqgan.train import FirstStageRecipe, train_first_stage


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


def finetune(
    source: Path,
    centres: Path,
    data: Path,
    params: RefitParams,
    state: Path,
    out: Path,
    curve: Path,
    save_seconds: float = 60.0,
    threads: int | None = None,
) -> None:
    """Fine-tune a first stage whose codebook was rebuilt.

    Args:
        source: checkpoint of the trained VQ-GAN.
        centres: the rebuilt codebook, float32 (K, d) `.npy`.
        data: `train.npy` of the dataset.
        params: the dataset's section `refit`.
        state: folder of the resumable state.
        out: the checkpoint to write.
        curve: the CSV of the losses to write.
        save_seconds: the state is saved about this often.
        threads: CPU threads.
    """
    limit_threads(threads)
    join_processes()
    torch.manual_seed(params.training.seed)
    original, about = load_first_stage(source)
    codebook = torch.from_numpy(np.array(read_array(centres)))
    model = with_codebook(original, codebook)
    discriminator = load_discriminator(source, params.loss.discriminator_width, params.loss.discriminator_layers)
    trained = [p for p in model.parameters() if p.requires_grad]
    recipe = FirstStageRecipe(
        model,
        discriminator,
        params.loss,
        trained,
        params.decoder_learning_rate,
        params.discriminator_learning_rate,
    )
    identity = {
        "codebook_size": len(codebook),
        "autoencoder": about["autoencoder"],
        "made_by": {"step": "refit", "params": params.model_dump(mode="json"), "source": about["made_by"]},
        "inputs": {f.name: fingerprint(f) for f in (source, centres, data)},
    }
    train_first_stage(recipe, data, params.training, identity, state, out, curve, save_seconds)
