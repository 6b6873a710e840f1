"""What the command line needs until the functions themselves bear the options' names and defaults. To be deleted."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from vqddm.artifacts import UserError, write_json
from vqddm.baselines.ddpm.settings import DDPMParams
from vqddm.baselines.dvae.settings import DVAEParams
from vqddm.baselines.transformer.settings import TransformerParams
from vqddm.baselines.vqvae2.settings import VQVAE2Params
from vqddm.paper.plan import Plan
from vqddm.prior.settings import PriorParams
from vqddm.registry import imported
from vqddm.vqgan.settings import AutoencoderParams, VQGANParams

REFERENCES = {
    "vqddm.baselines.dvae.train:train_dvae": "vqddm.interim:train_dvae",
    "vqddm.baselines.vqvae2.train:train_vqvae2": "vqddm.interim:train_vqvae2",
    "vqddm.refit.codes:encode": "vqddm.interim:encode",
    "vqddm.evaluate.networks:write_counts": "vqddm.interim:write_counts",
    "vqddm.evaluate.networks:write_transformer_counts": "vqddm.interim:write_transformer_counts",
    "vqddm.evaluate.networks:write_ddpm_counts": "vqddm.interim:write_ddpm_counts",
    "vqddm.paper.tables:table": "vqddm.interim:table",
    "vqddm.paper.figures:figure": "vqddm.interim:figure",
}
RENAMED = {"refit rebuild": {"count": "features"}, "evaluate speed": {"first_stage_name": "name"}}
DEFAULTS: dict[str, dict[str, Any]] = {
    "": {
        "seed": 0,
        "save_seconds": 60.0,
        "network": "efficientnet_lite0",
        "draws": 1,
        "temperature": 1.0,
        "eta": 0.0,
        "image": 0,
        "neighbours": 10,
        "encode": "masked",
        "models": Path("models"),
        "say": print,
    },
    "prior sample": {"count": 64},
    "prior inpaint": {"count": 8},
    "baselines sample-transformer": {"count": 64},
    "baselines inpaint-transformer": {"count": 8},
    "baselines sample-ddpm": {"count": 64},
    "evaluate neighbours": {"count": 8},
}


def mended(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with the names and defaults of the command line."""
    renamed, defaults = RENAMED.get(name, {}), {**DEFAULTS[""], **DEFAULTS.get(name, {})}
    signature = inspect.signature(function, eval_str=True)
    parameters = []
    for parameter in signature.parameters.values():
        default = parameter.default
        if default is parameter.empty:
            none = None if type(None) in getattr(parameter.annotation, "__args__", ()) else parameter.empty
            default = defaults.get(parameter.name, none)
        new = renamed.get(parameter.name, parameter.name)
        parameters.append(parameter.replace(name=new, default=default, kind=parameter.KEYWORD_ONLY))
    back = {new: old for old, new in renamed.items()}

    @wraps(function)
    def call(**options: Any) -> Any:
        given = {p.name: p.default for p in parameters if p.default is not p.empty} | options
        return function(**{back.get(key, key): value for key, value in given.items()})

    for old, new in renamed.items():
        call.__doc__ = (call.__doc__ or "").replace(f"{old}:", f"{new}:")
    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return call


def train_vqvae2(
    data: Path,
    autoencoder: AutoencoderParams,
    params: VQVAE2Params,
    codebook_size: int,
    state: Path,
    out: Path,
    curve: Path,
    save_seconds: float = 60.0,
    threads: int | None = None,
) -> None:
    """Train a VQ-VAE-2."""
    train = imported("vqddm.baselines.codebooks:train_codebook")
    train(data, autoencoder, params, codebook_size, state, out, curve, save_seconds, threads)


def train_dvae(
    data: Path,
    autoencoder: AutoencoderParams,
    params: DVAEParams,
    codebook_size: int,
    state: Path,
    out: Path,
    curve: Path,
    save_seconds: float = 60.0,
    threads: int | None = None,
) -> None:
    """Train a discrete VAE with Gumbel-softmax."""
    train = imported("vqddm.baselines.codebooks:train_codebook")
    train(data, autoencoder, params, codebook_size, state, out, curve, save_seconds, threads)


def encode(first_stage: Path, data: list[Path], out: list[Path], threads: int | None = None) -> None:
    """Write the code maps of prepared splits."""
    import torch

    from vqddm.baselines.codebooks import load_codec
    from vqddm.refit.codes import encode_splits
    from vqddm.training import limit_threads

    limit_threads(threads)
    model, _ = load_codec(first_stage, "cuda" if torch.cuda.is_available() else "cpu")
    encode_splits(model, data, out)


def write_counts(vqgan: VQGANParams, prior: PriorParams, codebook_size: int, out: Path) -> None:
    """Count parameters and multiply-accumulates of a dataset's networks."""
    from vqddm.evaluate.networks import write_counts

    write_counts(vqgan.autoencoder, codebook_size, prior.unet, prior.diffusion, out)


def write_transformer_counts(vqgan: VQGANParams, transformer: TransformerParams, codebook_size: int, out: Path) -> None:
    """Count parameters and multiply-accumulates of a dataset's transformer."""
    from vqddm.evaluate.networks import write_transformer_counts

    write_transformer_counts(vqgan.autoencoder, codebook_size, transformer, out)


def write_ddpm_counts(ddpm: DDPMParams, resolution: int, out: Path) -> None:
    """Count parameters and multiply-accumulates of a dataset's pixel diffusion."""
    from vqddm.evaluate.networks import count_ddpm

    write_json(out, count_ddpm(resolution, ddpm))


def table(name: str, plan: Plan, root: Path, out: Path) -> None:
    """Write one table as CSV, Markdown and LaTeX."""
    from vqddm.paper.tables import TABLES

    if name not in TABLES:
        raise UserError(f"'{name}' is no table; there are {', '.join(TABLES)}")
    TABLES[name](plan, root, out)


def figure(number: int, plan: Plan, root: Path, out: Path, models: Path = Path("models")) -> None:
    """Draw one figure as PNG and PDF."""
    from vqddm.paper.figures import FIGURES

    if number not in FIGURES:
        raise UserError(f"there is no figure {number}; there are 1 to {max(FIGURES)}")
    FIGURES[number].draw(plan, root, models, out)
