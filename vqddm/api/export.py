"""A trained pair as a folder in the layout of the Hugging Face Hub: safetensors, JSON, a model card, a licence.

The files are a function of the two checkpoints (and of what is given beside them) alone, so an export can be repeated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save
from torch import Tensor

from vqddm.api import vqmodel
from vqddm.api.card import card
from vqddm.api.folders import CONFIG, MODEL_TYPE, PRIOR, STAGE, TRAINED
from vqddm.api.model import Model
from vqddm.artifacts import UserError, clear_halves, read_checkpoint, replacing, sha256, write_json
from vqddm.samplers import load_pair
from vqddm.vqgan.codec import DISCRIMINATOR, FIRST_STAGE
from vqddm.vqgan.model import FirstStage

STAGE_CONFIG = str(Path(STAGE).with_name(CONFIG))
CARD, LICENCE = "README.md", "LICENSE"
OURS = {CONFIG, STAGE, STAGE_CONFIG, PRIOR, CARD, LICENCE}
DTYPES = {"half": torch.float16, "full": torch.float32}


def export(
    folder: Path,
    *,
    out: Path,
    precision: Literal["half", "full"] = "half",
    results: Path | None = None,
    licence: Path | None = None,
) -> str:
    """Write a trained first stage and its prior as a folder that `vqddm.load`, and in part diffusers, can read.

    Args:
        folder: holds `first_stage.safetensors`, a VQ-GAN, and `prior.safetensors`.
        out: folder to write; its name is the model's. An earlier export there is replaced.
        precision: of the numbers: `half` takes half the space and changes them in the fourth digit.
        results: folder of measured metrics to tell in the model card, such as
            `results/mini/metrics/faces/refit_k256_p4000`.
        licence: text file with the licence of the weights; left out: MIT, the project's.

    Raises:
        UserError: the folder or its checkpoints are missing, damaged or do not fit together; the first stage is
            no VQ-GAN; `out` holds something else.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder; give that of a trained pair")
    if missing := [name for name in TRAINED if not (folder / name).exists()]:
        raise UserError(f"{folder}: holds no {' and no '.join(missing)}; give the folder of a trained pair")
    stage_file, prior_file = (folder / name for name in TRAINED)
    model = Model(*load_pair(prior_file, stage_file))
    if not isinstance(model.codec, FirstStage):
        raise UserError(f"{stage_file}: no VQ-GAN, and diffusers knows no other first stage; give a VQ-GAN's folder")
    stage, about_stage = read_checkpoint(stage_file, FIRST_STAGE)
    prior, about_prior = read_checkpoint(prior_file, model.sampler.about["kind"])
    config = {
        "model_type": MODEL_TYPE,
        "resolution": model.resolution,
        "first_stage": about_stage,
        "prior": about_prior,
    }
    texts = {
        CARD: card(out.resolve().name, config, results, licence is None, precision),
        LICENCE: licence_in(licence) if licence else own_licence(),
    }
    autoencoder = {name: tensor for name, tensor in stage.items() if not name.startswith(DISCRIMINATOR)}
    autoencoder = rounded(stage_file, vqmodel.to_vqmodel(autoencoder, model.codec.params), precision)
    prior = rounded(prior_file, prior, precision)
    _clear(out)  # all that could be wrong has been seen
    write_tensors(out / STAGE, autoencoder, about_stage)
    write_tensors(out / PRIOR, prior, about_prior)
    write_json(out / STAGE_CONFIG, {"_class_name": "VQModel", **vqmodel.settings(model.codec)})
    for name, text in texts.items():
        with replacing(out / name) as aside:
            aside.write_text(text, encoding="utf-8")
    # Last, for it makes the folder a model.
    write_json(out / CONFIG, config | {"sha256": {name: sha256(out / name) for name in (STAGE, PRIOR)}})
    size = sum((out / name).stat().st_size for name in OURS)
    return f"{out}: {size / 1e6:.1f} MB; `vqddm sample {out}` tries it"


def rounded(path: Path, tensors: Mapping[str, Tensor], precision: str) -> dict[str, Tensor]:
    """Tensors with floats in this precision; `path` is where they come from.

    Raises:
        UserError: a number is too large for this precision.
    """
    dtype = DTYPES[precision]
    kept = {name: (t.to(dtype) if t.is_floating_point() else t).contiguous() for name, t in tensors.items()}
    if large := [name for name, tensor in kept.items() if not tensor.isfinite().all()]:
        raise UserError(f"{path}: {large[0]} holds numbers too large for {precision} precision; say --precision full")
    return kept


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors as safetensors, what made them in the header."""
    with replacing(path) as aside:
        aside.write_bytes(save(dict(tensors), {"about": json.dumps(about, sort_keys=True)}))


def licence_in(path: Path) -> str:
    """The text of a licence.

    Raises:
        UserError: there is no such file, or it is no text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: no text that can be read ({error}); give a licence's text file") from None


def own_licence() -> str:
    """The text of the project's licence, as it is installed."""
    text = metadata.distribution("vqddm").read_text("licenses/LICENSE")
    assert text, "the installation lacks its licence"
    return text


def _clear(out: Path) -> None:
    """Take an earlier export's `config.json` away, without which the folder is no model.

    Raises:
        UserError: the folder holds something that is no export's.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: a file; name a folder")
    for name in OURS:
        clear_halves(out / name)
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    if foreign := sorted(files - OURS):
        raise UserError(f"{out}: holds {foreign[0]}, which is no part of an export; name an empty or a new folder")
    (out / CONFIG).unlink(missing_ok=True)
