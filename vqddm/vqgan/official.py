"""Official VQ-GAN checkpoints, by the names that they use (Lightning's `state_dict`)."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqddm.artifacts import UserError, sha256, write_checkpoint
from vqddm.params import VQGANParams
from vqddm.vqgan.model import DISCRIMINATOR, Discriminator, FirstStage

INSIDE_TRANSFORMER = "first_stage_model."
OFFICIAL_DISCRIMINATOR = "loss.discriminator."


class Opaque:
    """Stands in for any Python object of a foreign pickle: keeps nothing, does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


def import_official(
    checkpoint: Path, params: VQGANParams, codebook_size: int, out: Path, trust_pickle: bool = False
) -> None:
    """Write an official checkpoint's first stage and discriminator as one of this project's checkpoints.

    A checkpoint without a discriminator (the CelebA-HQ one lies inside a transformer's) gets a fresh, seeded one, which
    ReFiT then trains.

    Args:
        checkpoint: Lightning's `.ckpt`, of a first stage or of a transformer that holds one.
        params: the dataset's section `vqgan`: the networks that the tensors must fit.
        codebook_size: K.
        out: the checkpoint to write.
        trust_pickle: unpickle it without restrictions, which lets it run any code.

    Raises:
        UserError: missing or damaged, or tensors that are missing or of the wrong shape; each is named.
    """
    state = read_tensors(checkpoint, trust_pickle)
    if any(name.startswith(INSIDE_TRANSFORMER) for name in state):
        state = {k.removeprefix(INSIDE_TRANSFORMER): v for k, v in state.items() if k.startswith(INSIDE_TRANSFORMER)}
    torch.manual_seed(params.training.seed)
    discriminator = Discriminator(params.loss.discriminator_width, params.loss.discriminator_layers)
    with torch.device("meta"):
        first_stage = FirstStage(params.autoencoder, codebook_size)
    tensors = _fitting(first_stage.state_dict(), state, "", checkpoint)
    beside = {name: v for name, v in state.items() if name.startswith(OFFICIAL_DISCRIMINATOR)}
    own = discriminator.state_dict()
    found = _fitting(own, beside, OFFICIAL_DISCRIMINATOR, checkpoint) if beside else own
    tensors |= {DISCRIMINATOR + name: tensor for name, tensor in found.items()}
    about = {
        "kind": "first stage",
        "codebook_size": codebook_size,
        "autoencoder": params.autoencoder.model_dump(mode="json"),
        "made_by": {"step": "import", "discriminator": "official" if beside else "fresh"},
        "inputs": {checkpoint.name: sha256(checkpoint)},
    }
    write_checkpoint(out, tensors, about)


def read_tensors(checkpoint: Path, trust_pickle: bool) -> dict[str, Tensor]:
    """The tensors of a Lightning checkpoint's `state_dict`.

    Python objects beside them (old checkpoints hold Lightning's own) are passed over without running their code.

    Raises:
        UserError: missing, damaged or not such a checkpoint.
    """
    if not checkpoint.exists():
        raise UserError(f"{checkpoint}: no such file; give an official checkpoint (.ckpt)")
    try:
        if trust_pickle:
            content = torch.load(checkpoint, map_location="cpu", weights_only=False)
        else:
            foreign = torch.serialization.get_unsafe_globals_in_checkpoint(checkpoint)
            with torch.serialization.safe_globals([(type(name, (Opaque,), {}), name) for name in foreign]):
                content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        why = next((line.strip() for line in str(error).splitlines() if "Trying to" in line), "a foreign pickle")
        raise UserError(
            f"{checkpoint}: cannot be read without running code that it holds ({why}); "
            "if you trust where it comes from, give --trust-pickle"
        ) from None
    except Exception as error:  # torch raises nearly every kind on damaged files
        raise UserError(f"{checkpoint}: not a whole checkpoint ({error}); fetch it again") from None
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping):
        raise UserError(f"{checkpoint}: holds no `state_dict`; give an official VQ-GAN checkpoint")
    return {str(name): value for name, value in state.items() if isinstance(value, Tensor)}


def _fitting(
    wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], prefix: str, checkpoint: Path
) -> dict[str, Tensor]:
    """The tensors that `wanted` names, from those that bear `prefix` before the names."""
    wrong = [f"{prefix}{name}: missing" for name in wanted if prefix + name not in state]
    wrong += [
        f"{prefix}{name}: {tuple(state[prefix + name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if prefix + name in state and state[prefix + name].shape != tensor.shape
    ]
    if wrong:
        more = f"\n  … and {len(wrong) - 20} more" if len(wrong) > 20 else ""
        raise UserError(
            f"{checkpoint}: {len(wrong)} of {len(wanted)} tensors do not fit the first stage of params.yaml:\n  "
            + "\n  ".join(wrong[:20])
            + more
        )
    return {name: state[prefix + name].to(tensor.dtype) for name, tensor in wanted.items()}
