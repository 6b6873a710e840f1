"""The typed form of `params.yaml`: every number that a result depends on, and nothing about machines.

Snakemake validates the file with `Params` when it starts and passes single sections on to the steps as
sorted JSON; a step parses its section with the same classes. `vqddm schema` prints the JSON schema.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from vqddm.artifacts import UserError
from vqddm.baselines.ddpm.settings import DDPMParams
from vqddm.baselines.dvae.settings import DVAEParams
from vqddm.baselines.transformer.settings import TransformerParams
from vqddm.baselines.vqvae2.settings import VQVAE2Params
from vqddm.data.settings import DataParams
from vqddm.prior.settings import PriorParams
from vqddm.refit.settings import RefitParams
from vqddm.settings import PositiveInt, Section, parse
from vqddm.vqgan.settings import VQGANParams

FIRST_STAGE = re.compile(r"(?:vqgan|vqvae2|dvae)_k(?P<k>\d+)|refit_k(?P<rk>\d+)_p(?P<p>\d+)")

LARGEST_CODEBOOK = 2**16  # codes are stored as uint16
FEWEST = 8  # images of a distance: precision needs a third neighbour, KID two subsets that differ
FirstStageName = Annotated[str, Field(pattern=r"^((vqgan|vqvae2|dvae)_k\d+|refit_k\d+_p\d+)$")]
DatasetName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*(_[a-z0-9-]+)*$")]


class BaselinesParams(Section):
    """What the paper compares with, trained on the same data; each may be left out."""

    transformer: TransformerParams | None = None
    absorbing: PriorParams | None = Field(default=None, description="the prior with the absorbing transition instead")
    ddpm: DDPMParams | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Those that are trained."""
        return tuple(name for name in BaselinesParams.model_fields if getattr(self, name) is not None)


class EvaluateParams(Section):
    """Sizes of a suite's evaluation."""

    seed: int = Field(ge=0)
    features: Literal["efficientnet_lite0", "inception"] = Field(description="network of the Fréchet distance")
    reconstructions: int = Field(ge=FEWEST, description="training images reconstructed for Table 1, at most all")
    reference: int = Field(ge=FEWEST, description="training images that samples are measured against, at most all")
    samples: int = Field(ge=FEWEST, description="images sampled for each measured distance, of all draws together")
    draws: PositiveInt = Field(description="equal parts that are measured apart: a distance is their mean and spread")
    step_sweep: tuple[PositiveInt, ...] = Field(description="sampling steps of Figure 5, besides T")
    ddim_steps: tuple[PositiveInt, ...] = Field(
        default=(), description="sampling steps of a trained `ddpm`; the most are Table 2's"
    )
    temperature: float = Field(gt=0, description="temperature of the p(z0) logits while sampling")
    nll_images: PositiveInt = Field(description="images whose exact NLL is summed, of train and of test")
    inpaintings: int = Field(ge=2, description="test images completed for each mask, at most all")
    inpainting_encodes: Literal["masked", "full"] = Field(
        description="the image that gives the known codes: the masked one, as in the paper, or the full one"
    )
    neighbour_samples: PositiveInt = Field(description="samples whose training neighbours are shown")
    neighbours: PositiveInt = Field(description="training neighbours shown for each (Figure 12)")

    @model_validator(mode="after")
    def _reference_is_enough(self) -> Self:
        if self.reconstructions > self.reference:
            raise ValueError("reconstructions are compared with their originals among others: reference is smaller")
        if min(self.samples, self.reconstructions) < FEWEST * self.draws:
            raise ValueError(f"each of {self.draws} draws needs {FEWEST} samples and {FEWEST} reconstructions")
        if self.neighbour_samples > self.samples:
            raise ValueError(f"neighbour_samples: {self.neighbour_samples} are more than the {self.samples} samples")
        if self.inpaintings < 2 * self.draws:
            raise ValueError(f"each of {self.draws} draws needs 2 inpaintings, for the spread of its pictures")
        return self


class Dataset(Section):
    """A dataset with all its settings, and which first stages and priors are trained on it."""

    title: str = Field(description="name in tables and captions")
    first_stages: tuple[FirstStageName, ...] = Field(description="rows of Table 1", min_length=1)
    priors: tuple[FirstStageName, ...] = Field(
        description="first stages that get a prior (rows of Table 2); the first is the one that figures show",
        min_length=1,
    )
    data: DataParams
    vqgan: VQGANParams
    refit: RefitParams
    prior: PriorParams
    vqvae2: VQVAE2Params | None = Field(default=None, description="for first stages named vqvae2_k<K>")
    dvae: DVAEParams | None = Field(default=None, description="for first stages named dvae_k<K>")
    baselines: BaselinesParams = BaselinesParams()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in self.priors:
            if name not in self.first_stages:
                raise ValueError(f"priors: {name} is not among first_stages {list(self.first_stages)}")
            if name.startswith(("vqvae2", "dvae")):
                raise ValueError(f"priors: {name} is for Table 1 only; priors are trained on a VQ-GAN or a ReFiT")
        for name in self.first_stages:
            if not 1 < codebook_size(name) <= LARGEST_CODEBOOK:
                raise ValueError(f"first_stages: {name} must have from 2 to {LARGEST_CODEBOOK} codes")
            kind = name.split("_")[0]
            if kind in ("vqvae2", "dvae") and getattr(self, kind) is None:
                raise ValueError(f"first_stages: {name} needs the settings `{kind}`")
            if name.startswith("refit") and sampled_features(name) < codebook_size(name):
                raise ValueError(f"first_stages: {name} samples fewer features than it has codes")
        vqgans = {name for name in (*self.first_stages, self.refit.source) if name.startswith("vqgan_")}
        if self.vqgan.pretrained and set(self.vqgan.pretrained) != vqgans:
            raise ValueError(
                f"vqgan.pretrained must name a file for each of {', '.join(sorted(vqgans))}, or be left out"
            )
        trained = [getattr(self.baselines, name) for name in self.baselines.names]
        trained += [step for step in (self.vqvae2, self.dvae) if step]
        for step in (self.vqgan, self.refit, self.prior, *trained):
            if step.training.batch_size > self.data.train:
                raise ValueError(f"a batch of {step.training.batch_size} is more than the {self.data.train} images")
        pictured = ("discriminator_width", "discriminator_layers")
        if any(getattr(self.vqgan.loss, key) != getattr(self.refit.loss, key) for key in pictured):
            raise ValueError("refit.loss must have the discriminator of vqgan.loss, which it goes on training")
        side = self.data.resolution // self.vqgan.autoencoder.downsampling
        absorbing, transformer = self.baselines.absorbing, self.baselines.transformer
        for name, prior, transition in (
            ("prior", self.prior, "uniform"),
            ("baselines.absorbing", absorbing, "absorbing"),
        ):
            if prior and prior.diffusion.transition != transition:
                raise ValueError(f"{name}.diffusion.transition must be {transition}")
            if prior and side % 2 ** (len(prior.unet.multipliers) - 1):
                raise ValueError(
                    f"code maps of {side} x {side} cannot be halved by all levels of {name}.unet.multipliers"
                )
        if transformer and transformer.window > side:
            raise ValueError(f"baselines.transformer.window is more than the {side} x {side} codes of a map")
        if ddpm := self.baselines.ddpm:
            halved = ddpm.patch * 2 ** (len(ddpm.widths) - 1)
            if self.data.resolution % halved:
                raise ValueError(f"baselines.ddpm: {self.data.resolution} pixels are not a multiple of {halved}")
        if self.vqvae2 and side % 2:
            raise ValueError(f"vqvae2: code maps of {side} x {side} cannot be halved for the top level")
        if self.data.resolution != self.vqgan.autoencoder.resolution:
            raise ValueError("data.resolution and vqgan.autoencoder.resolution differ")
        return self


class Roles(Section):
    """Which dataset plays each of the paper's three."""

    celebahq: DatasetName
    lsun_church: DatasetName | None = None
    imagenet: DatasetName | None = None


class Suite(Section):
    """A list of datasets and the sizes of its evaluation."""

    title: str
    datasets: Roles
    evaluate: EvaluateParams

    @property
    def dataset_names(self) -> list[str]:
        """The suite's datasets, each once, in the paper's order."""
        roles = self.datasets
        return list(dict.fromkeys(d for d in (roles.celebahq, roles.lsun_church, roles.imagenet) if d))


class Params(Section):
    """The whole of `params.yaml`."""

    suite: str = Field(description="the suite that is built unless `--config suite=…` names another")
    suites: dict[str, Suite]
    datasets: dict[DatasetName, Dataset]

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        if self.suite not in self.suites:
            raise ValueError(f"suite: '{self.suite}' is not one of {sorted(self.suites)}")
        for name, suite in self.suites.items():
            for dataset in suite.dataset_names:
                if dataset not in self.datasets:
                    raise ValueError(f"suites.{name}.datasets: '{dataset}' is not one of {sorted(self.datasets)}")
                _check_sizes(name, suite.evaluate, dataset, self.datasets[dataset])
        return self


def _check_sizes(suite: str, evaluate: EvaluateParams, name: str, dataset: Dataset) -> None:
    """Refuse an evaluation that asks a dataset for more images or steps than it has."""
    limit = min(dataset.data.train, dataset.data.test)
    if evaluate.nll_images > limit:
        raise ValueError(f"suites.{suite}.evaluate.nll_images: {evaluate.nll_images}, but {name} has {limit}")
    if limit < FEWEST * evaluate.draws:
        raise ValueError(
            f"datasets.{name}.data: each of {evaluate.draws} draws needs at least {FEWEST} images of each split"
        )
    if evaluate.neighbours > dataset.data.train:
        raise ValueError(f"suites.{suite}.evaluate.neighbours: more than the training images of {name}")
    if max(evaluate.step_sweep, default=0) > dataset.prior.diffusion.timesteps:
        raise ValueError(f"suites.{suite}.evaluate.step_sweep: more than the timesteps of {name}")
    if (ddpm := dataset.baselines.ddpm) and not 0 < max(evaluate.ddim_steps, default=0) <= ddpm.timesteps:
        raise ValueError(f"suites.{suite}.evaluate.ddim_steps: {name} trains a ddpm; give 1 to {ddpm.timesteps} steps")


def codebook_size(first_stage: str) -> int:
    """The capacity K in a first stage's name, e.g. 256 for `refit_k256_p4000`."""
    match = FIRST_STAGE.fullmatch(first_stage)
    if match is None:
        raise UserError(
            f"'{first_stage}' is no first stage: expected vqgan_k<K>, refit_k<K>_p<P>, vqvae2_k<K> or dvae_k<K>"
        )
    return int(match["k"] or match["rk"])


def sampled_features(first_stage: str) -> int:
    """The number P of sampled features in a ReFiT's name, e.g. 4000 for `refit_k256_p4000`."""
    match = FIRST_STAGE.fullmatch(first_stage)
    if match is None or match["p"] is None:
        raise UserError(f"'{first_stage}' is no ReFiT: expected refit_k<K>_p<P>")
    return int(match["p"])


def schema() -> dict[str, Any]:
    """The JSON schema of `params.yaml`, made from the typed parameters."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Params.model_json_schema()}


def write_schema(out: Path | None = None) -> str | None:
    """Print the JSON schema of params.yaml, made from the typed parameters.

    Args:
        out: file to write instead of printing.

    Returns:
        what is to be printed.
    """
    text = json.dumps(schema(), indent=2)
    if out is None:
        return text
    out.write_text(text + "\n")
    return None


def load(path: Path) -> Params:
    """Read and validate a whole `params.yaml`.

    Raises:
        UserError: missing, not YAML, or with wrong settings.
    """
    import yaml

    try:
        values = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML ({error})") from None
    return parse(Params, values, where=str(path))


def check(path: Path = Path("params.yaml"), *, resolved: bool = False, dataset: str | None = None) -> str:
    """Validate a params.yaml.

    Args:
        path: the file.
        resolved: print everything that the steps get, after presets and defaults.
        dataset: print this dataset alone.

    Returns:
        what is to be printed.
    """
    import yaml

    loaded = load(path)
    if dataset is not None and dataset not in loaded.datasets:
        raise UserError(f"{path}: '{dataset}' is no dataset; there are {', '.join(loaded.datasets)}")
    if not resolved and dataset is None:
        return f"{path}: valid; suites {', '.join(loaded.suites)}; datasets {', '.join(loaded.datasets)}"
    whole = loaded if dataset is None else loaded.datasets[dataset]
    return yaml.safe_dump(whole.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110).rstrip()
