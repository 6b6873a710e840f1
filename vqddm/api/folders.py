"""Where trained models lie: by name beside this package, in an exported folder, or in one that a training filled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from vqddm.api.vqmodel import from_vqmodel
from vqddm.artifacts import UserError, expanded, read_checkpoint, read_json, reading, sha256
from vqddm.compute import load_state
from vqddm.samplers import CodeSampler, fills_codes, load_pair, load_sampler
from vqddm.vqgan.codec import FIRST_STAGE, Codec
from vqddm.vqgan.model import FirstStage
from vqddm.vqgan.settings import AutoencoderParams

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"  # in the package, so that an installation has them
TRAINED = ("first_stage.safetensors", "prior.safetensors")
# An exported folder. The first stage's is what diffusers reads.
CONFIG = "config.json"
MODEL_TYPE = "vqddm"
STAGE = "first_stage/diffusion_pytorch_model.safetensors"
PRIOR = "prior/model.safetensors"


def names() -> list[str]:
    """The models that come with this package."""
    return sorted(path.parent.name for path in CHECKPOINTS.glob(f"*/{CONFIG}"))


def at_hand(root: Path = Path("models")) -> list[str]:
    """What `find` finds without being told where: the models that come with this package, then folders below `root`."""
    trained = {path.parent for path in root.rglob(TRAINED[1]) if (path.parent / TRAINED[0]).exists()}
    exported = {path.parents[1] for path in root.rglob(PRIOR) if (path.parents[1] / CONFIG).exists()}
    return [*names(), *sorted(map(str, trained | exported))]


def find(name: str | Path) -> Path:
    """The folder of a model: of that name, else at that path.

    Raises:
        UserError: there is neither; says which names there are.
    """
    if name in names():
        return CHECKPOINTS / name
    folder = expanded(name)
    if not folder.is_dir():
        known = ", ".join(names()) or "none in this installation"
        raise UserError(f"{name}: neither a folder nor a model that comes with vqddm (there are: {known})")
    return folder


def pair(folder: Path) -> tuple[Path, Path]:
    """The files of a model's first stage and prior, in an exported folder or in one that a training filled.

    Raises:
        UserError: it is neither, or its `config.json` is another program's.
    """
    if (folder / CONFIG).exists():
        _config(folder)
        return folder / STAGE, folder / PRIOR
    if missing := [name for name in TRAINED if not (folder / name).exists()]:
        raise UserError(f"{folder}: holds no {' and no '.join(missing)}, nor the {CONFIG} of an exported model")
    return folder / TRAINED[0], folder / TRAINED[1]


def read(folder: Path, device: str) -> tuple[CodeSampler, Codec]:
    """The prior and the first stage of an exported folder, or of one that a training filled.

    Raises:
        UserError: it is neither, or what is in it is damaged or does not fit together.
    """
    stage, prior = pair(folder)
    return _exported(folder, device) if (folder / CONFIG).exists() else load_pair(prior, stage, device)


def _config(folder: Path) -> dict[str, Any]:
    """What the `config.json` of an exported folder says.

    Raises:
        UserError: another program wrote it, or it is damaged.
    """
    config = read_json(folder / CONFIG)
    if not isinstance(config, dict) or config.get("model_type") != MODEL_TYPE:
        raise UserError(f"{folder / CONFIG}: describes no model that `vqddm export` wrote")
    return config


def _exported(folder: Path, device: str) -> tuple[CodeSampler, Codec]:
    sums = _config(folder)["sha256"]
    if not isinstance(sums, dict):
        raise UserError(f"{folder / CONFIG}: `sha256` names no files; export the model again, or fetch it again")
    for name in (STAGE, PRIOR):
        path = folder / name
        if not path.is_file() or sha256(path) != sums.get(name):
            what = "is not what was exported" if path.exists() else "is missing"
            raise UserError(f"{path}: {what}; export the model again, or fetch it again")
    sampler = load_sampler(folder / PRIOR, device)
    assert fills_codes(sampler)  # `export` writes no other
    return sampler, _first_stage(folder / STAGE, device)


def _first_stage(path: Path, device: str) -> FirstStage:
    """A VQ-GAN whose tensors bear diffusers' names."""
    tensors, about = read_checkpoint(path, FIRST_STAGE)
    with reading(path, "its header describes no network of this version"):
        params = AutoencoderParams.model_validate(about["autoencoder"])
        model = FirstStage(params, about["codebook_size"])
        own = from_vqmodel(tensors, params, model.codebook_size)
    load_state(model, own, path)
    return model.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)
