"""The typed form of `params.yaml`: every number that a result depends on, and nothing about machines.

Snakemake validates the file with `Params` when it starts and passes single sections on to the steps as
sorted JSON; a step parses its section with the same classes. `vqddm schema` prints the JSON schema.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from vqddm.artifacts import UserError

FIRST_STAGE = re.compile(r"(?:vqgan|vqvae2|dvae)_k(?P<k>\d+)|refit_k(?P<rk>\d+)_p(?P<p>\d+)")

LARGEST_CODEBOOK = 2**16  # codes are stored as uint16
FEWEST = 8  # images of a distance: precision needs a third neighbour, KID two subsets that differ
PositiveInt = Annotated[int, Field(gt=0)]
Source = Literal["faces", "fashion", "folder", "celebahq", "lsun_church", "imagenet"]
FirstStageName = Annotated[str, Field(pattern=r"^((vqgan|vqvae2|dvae)_k\d+|refit_k\d+_p\d+)$")]
DatasetName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*(_[a-z0-9-]+)*$")]


def _yaml_no(value: Any) -> Any:
    """DVC writes YAML 1.2, where `no` is a word; to YAML 1.1, which Snakemake reads, it is False."""
    return "no" if value is False else value


class Section(BaseModel):
    """A part of `params.yaml`. Unknown keys are errors; values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TrainingParams(Section):
    """What the training loop itself needs to know (`vqddm/training.py`)."""

    steps: PositiveInt = Field(description="number of optimiser steps")
    batch_size: PositiveInt = Field(description="images per step, over all processes together")
    precision: Annotated[Literal["no", "bf16", "fp16"], BeforeValidator(_yaml_no)] = Field(
        description="mixed precision, as accelerate names it"
    )
    seed: int = Field(ge=0, description="seed of initialisation, data order and noise")


class DataParams(Section):
    """One dataset: where its pictures come from and how they are split."""

    source: Source
    path: str | None = Field(
        default=None,
        description="folder, zip or LMDB of pictures; only `folder` needs it: the paper's three datasets lie in "
        "data/originals/<source> without it, and `fashion` is fetched",
    )
    resolution: PositiveInt = Field(description="height and width in pixels")
    train: PositiveInt = Field(description="number of training images")
    test: PositiveInt = Field(description="number of test images, disjoint from the training images")
    seed: int = Field(ge=0, description="seed of the drawing (`faces`) and of the split")

    @property
    def place(self) -> Path | None:
        """Where the original pictures lie, if they are not drawn or fetched."""
        if self.path:
            return Path(self.path).expanduser()
        return None if self.source in ("faces", "fashion") else Path("data/originals") / self.source

    @model_validator(mode="after")
    def _folder_has_path(self) -> Self:
        if self.source == "folder" and not self.path:
            raise ValueError("source `folder` needs `path`")
        return self


class AutoencoderParams(Section):
    """Encoder and decoder of the VQ-GAN (Table 3)."""

    resolution: PositiveInt = Field(description="height and width of the images in pixels")
    patch: PositiveInt = Field(description="pixels folded into channels before the first convolution; paper: 1")
    width: PositiveInt = Field(description="channels at the first level")
    multipliers: tuple[PositiveInt, ...] = Field(min_length=1, description="channel multiplier of each level")
    blocks: PositiveInt = Field(description="residual blocks per encoder level; the decoder has one more")
    attention: tuple[PositiveInt, ...] = Field(description="feature map sizes with self-attention")
    z_channels: PositiveInt = Field(description="channels at the end of the encoder")
    embed_dim: PositiveInt = Field(description="dimension d of a code")

    @property
    def downsampling(self) -> int:
        """The compression ratio f: image size / latent size."""
        return self.patch * 2 ** (len(self.multipliers) - 1)

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.resolution % self.downsampling:
            raise ValueError(f"resolution {self.resolution} is not a multiple of f = {self.downsampling}")
        if self.width % 32:
            raise ValueError(f"width {self.width} must be a multiple of 32, the groups of GroupNorm")
        return self


class AdversarialParams(Section):
    """Weights of the first stage's loss (Eq. 14 and VQ-GAN's perceptual and adversarial terms)."""

    commitment: float = Field(ge=0, description="beta of Eq. 14")
    perceptual: Literal["efficientnet_lite0", "lpips_vgg"]
    perceptual_weight: float = Field(ge=0)
    discriminator_width: PositiveInt
    discriminator_layers: PositiveInt
    discriminator_start: int = Field(ge=0, description="step from which the discriminator takes part")
    discriminator_weight: float = Field(ge=0, description="factor on the adaptive weight")


class VQGANParams(Section):
    """The VQ-GAN: trained from scratch, or an official checkpoint."""

    pretrained: dict[FirstStageName, str] = Field(
        default={},
        description="official checkpoints (Lightning's .ckpt) that stand for training: first stage to file",
    )
    autoencoder: AutoencoderParams
    loss: AdversarialParams
    learning_rate: float = Field(gt=0, description="Adam's learning rate (for the whole batch)")
    training: TrainingParams


class RefitParams(Section):
    """ReFiT (section 3.2): codebook rebuilt from k-means centres, decoder fine-tuned."""

    source: str = Field(pattern=r"^vqgan_k\d+$", description="the VQ-GAN whose codebook is rebuilt")
    chain_length: PositiveInt = Field(description="Markov chain length m of AFK-MC2")
    lloyd_iterations: PositiveInt = Field(description="at most this many Lloyd iterations")
    kmeans_seed: int = Field(ge=0)
    loss: AdversarialParams
    decoder_learning_rate: float = Field(gt=0)
    discriminator_learning_rate: float = Field(gt=0)
    training: TrainingParams


class VQVAE2Params(Section):
    """VQ-VAE-2's two levels of codes (Table 1), with encoder and decoder of the dataset's VQ-GAN."""

    commitment: float = Field(ge=0, description="beta of Eq. 14")
    learning_rate: float = Field(gt=0, description="Adam's learning rate")
    training: TrainingParams


class DVAEParams(Section):
    """DALL-E's discrete VAE (Table 1), with encoder and decoder of the dataset's VQ-GAN."""

    kl_weight: float = Field(ge=0, description="weight of the KL to uniform codes, in nats per code")
    learning_rate: float = Field(gt=0, description="Adam's learning rate")
    training: TrainingParams


class DiffusionParams(Section):
    """The noise schedule and parameterisation of the discrete diffusion (section 3.1)."""

    timesteps: PositiveInt = Field(ge=2, description="T")
    schedule: Literal["cosine", "sqrt_cosine"] = Field(
        description="`cosine` is Eq. 19 as printed, `sqrt_cosine` the square root that public code uses"
    )
    transition: Literal["uniform", "absorbing"] = Field(
        default="uniform", description="`uniform` is Eq. 15; `absorbing` turns codes into a mask instead"
    )
    residual: bool = Field(description="Eq. 23: add the one-hot of Z_t to the logits; `uniform` only")

    @model_validator(mode="after")
    def _a_mask_is_no_code(self) -> Self:
        if self.transition == "absorbing" and self.residual:
            raise ValueError("the absorbing transition has no residual: a mask is none of the codes")
        return self


class UNetParams(Section):
    """The prior's network: the small U-Net of the multinomial-diffusion line."""

    width: PositiveInt
    multipliers: tuple[PositiveInt, ...] = Field(min_length=1)
    groups: PositiveInt = Field(description="groups of GroupNorm")
    heads: PositiveInt = Field(description="heads of the linear attention")
    head_dim: PositiveInt = Field(description="channels per head")


class PriorParams(Section):
    """The discrete diffusion prior over code maps."""

    diffusion: DiffusionParams
    unet: UNetParams
    learning_rate: float = Field(gt=0, description="Adam's learning rate at the start of the cosine annealing")
    warmup_steps: int = Field(ge=0, description="steps over which the learning rate first rises; the paper names none")
    gradient_clip: float | None = Field(gt=0, description="largest norm of the gradient; null: the paper names none")
    importance_sampling: bool = Field(description="draw t with q(t) proportional to sqrt(E[L_t^2])")
    ema_decay: float = Field(ge=0, lt=1, description="exponential moving average of the weights; 0 turns it off")
    training: TrainingParams


class TransformerParams(Section):
    """The autoregressive prior over the same code maps, which the paper compares with (Table 2, Figure 8)."""

    layers: PositiveInt
    width: PositiveInt
    heads: PositiveInt
    window: PositiveInt = Field(description="side of the code map seen at once; it slides over a larger map")
    top_k: PositiveInt | None = Field(description="draw from the likeliest codes only; null: from all")
    learning_rate: float = Field(gt=0, description="AdamW's learning rate at the start of the cosine annealing")
    warmup_steps: int = Field(ge=0, description="steps over which the learning rate first rises")
    gradient_clip: float | None = Field(gt=0, description="largest norm of the gradient")
    training: TrainingParams


class DDPMParams(Section):
    """Pixel diffusion, which the paper compares with (Table 2, Figures 5 and 6): DDPM's U-Net, sampled by DDIM."""

    timesteps: PositiveInt = Field(ge=2, description="T; DDPM: 1000, with its linear variances")
    patch: PositiveInt = Field(description="pixels folded into channels before the first convolution; DDPM: 1")
    widths: tuple[PositiveInt, ...] = Field(min_length=1, description="channels of each level, each half the last")
    blocks: PositiveInt = Field(description="residual blocks of a level on the way down; one more on the way up")
    attention: tuple[PositiveInt, ...] = Field(description="feature map sizes with self-attention")
    groups: PositiveInt = Field(description="groups of GroupNorm")
    learning_rate: float = Field(gt=0, description="Adam's learning rate after the warm-up")
    warmup_steps: int = Field(ge=0, description="steps over which the learning rate first rises")
    gradient_clip: float | None = Field(gt=0, description="largest norm of the gradient")
    ema_decay: float = Field(gt=0, lt=1, description="exponential moving average of the weights, which is kept")
    training: TrainingParams

    @model_validator(mode="after")
    def _groups_divide(self) -> Self:
        if any(width % self.groups for width in self.widths):
            raise ValueError(f"widths {list(self.widths)} must be multiples of groups {self.groups}")
        return self


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


S = TypeVar("S", bound=BaseModel)


def parse(section: type[S], values: str | dict[str, Any], where: str = "params") -> S:
    """Validate `values` (JSON text or a mapping) as `section`.

    Raises:
        UserError: names every wrong key or value and what is allowed there.
    """
    try:
        if isinstance(values, str):
            return section.model_validate_json(values)
        return section.model_validate(values)
    except ValidationError as error:
        lines = [f"{where}: {len(error.errors())} wrong setting(s)"]
        for problem in error.errors():
            key = ".".join(str(part) for part in problem["loc"]) or "(whole)"
            hint = ""
            if problem["type"] == "extra_forbidden":
                allowed = _fields_at(section, problem["loc"][:-1])
                hint = f"; allowed here: {', '.join(allowed)}" if allowed else ""
            given = "" if isinstance(problem["input"], dict) else f" (given: {problem['input']!r})"
            lines.append(f"  {key}: {problem['msg']}{given}{hint}")
        raise UserError("\n".join(lines)) from None


def _fields_at(section: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The keys that `section` allows at `location`, or an empty list where they are free."""
    current: Any = section
    for part in location:
        if isinstance(current, type) and issubclass(current, BaseModel) and part in current.model_fields:
            current = current.model_fields[str(part)].annotation
        else:  # a mapping of free names (datasets, suites): the value type is its last argument
            current = getattr(current, "__args__", (None,))[-1]
    if isinstance(current, type) and issubclass(current, BaseModel):
        return list(current.model_fields)
    return []


def to_json(section: Any) -> str:
    """Sorted, compact JSON: Snakemake's and DVC's common idea of what a result depends on."""
    return json.dumps(section, sort_keys=True, separators=(",", ":"))


def schema() -> dict[str, Any]:
    """The JSON schema of `params.yaml`, made from the typed parameters."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Params.model_json_schema()}


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
