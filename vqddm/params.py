"""The whole of `params.yaml`: presets, datasets and suites, merged and validated.

Snakemake validates the file when it starts (`resolved`) and passes single sections on to the steps as sorted JSON; a
step parses its section with the same class, which lies in the step's own `settings.py`. `vqddm schema` prints the JSON
schema.
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, create_model, model_validator

from vqddm.artifacts import UserError
from vqddm.data.settings import DataParams
from vqddm.first_stages import (
    FIRST_STAGES,
    NAMES,
    FirstStageName,
    begins_with,
    codebook_size,
    kind_of,
    sampled_features,
)
from vqddm.methods import BASELINES, METHODS, PIXELS
from vqddm.registry import choice
from vqddm.repeats import repeat, repeated, reseeded
from vqddm.settings import Name, Places, PositiveInt, Section, Seed, TrainedParams, explained, nearest, parse
from vqddm.yaml_file import Place, Written, in_words, merged, read_entries, read_file, shown_path

LARGEST_CODEBOOK = 2**16  # codes are stored as uint16
FEWEST = 8  # images of a distance: precision needs a third neighbour, KID two subsets that differ
# What lies in `data/` and in the folders of datasets and suites under other names.
RESERVED = f"downloads|originals|weights|{PIXELS}|{NAMES}"
# What lies in `results/` and `benchmarks/` beside the folders of suites.
RESERVED_OF_SUITES = "bench|reliability|data|vqgan|refit|prior|evaluate"


def _free(name: str) -> str:
    if re.fullmatch(RESERVED, name):
        raise ValueError(f"'{name}' means something else in paths, so no dataset can be called that")
    return name


def _free_for_a_suite(name: str) -> str:
    if re.fullmatch(RESERVED_OF_SUITES, name):
        raise ValueError(f"'{name}' means something else in paths, so no suite can be called that")
    return name


def _one_line(title: str) -> str:
    if odd := [letter for letter in title if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")]:
        raise ValueError(f"a title is one line of text; take {odd[0]!a} out")
    return title


Title = Annotated[str, AfterValidator(_one_line)]
SuiteName = Annotated[Name, AfterValidator(_free_for_a_suite)]
DatasetName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*(_[a-z0-9-]+)*$", max_length=100), AfterValidator(_free)]
# The kinds of first stages that have a section of their own, by its name.
SECTIONS = {kind.section: kind for kind in FIRST_STAGES.values() if kind.section == kind.name}
# The methods that have one.
TRAINED = {name: method for name, method in METHODS.items() if not method.of}
# A section that says only in what it differs from another one of its dataset.
INHERITS = {
    **{method.name: method.inherits for method in METHODS.values() if method.inherits},
    "refit.loss": "vqgan.loss",
    "refit.optimizer": "vqgan.optimizer",
}
PAPER = "paper256"  # the preset with the paper's own networks
PAPER_NETWORKS = ("vqgan.autoencoder", "prior.unet", "prior.diffusion", "transformer", "ddpm")


class EvaluateParams(Section):
    """Sizes of a suite's evaluation."""

    seed: Seed
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
    nll_images: PositiveInt = Field(description="images whose NLL is summed over all terms, of train and of test each")
    inpaintings: int = Field(ge=2, description="test images completed for each mask, at most all")
    inpainting_encodes: str = Field(
        pattern="^(masked|full)$",
        description="the image that gives the known codes: the masked one, as in the paper, or the full one",
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


class DatasetLists(Section):
    """What is trained on a dataset; `Dataset` adds a section for each kind of first stage and each method."""

    if TYPE_CHECKING:

        def __getattr__(self, section: str) -> Any: ...

    title: Title = Field(description="name in tables and captions")
    first_stages: tuple[FirstStageName, ...] = Field(description="rows of Table 1", min_length=1)
    priors: tuple[FirstStageName, ...] = Field(
        description="first stages that get a prior (rows of Table 2); the first is the one that figures show",
        min_length=1,
    )
    baselines: tuple[choice(BASELINES), ...] = Field(  # type: ignore[valid-type]
        default=(),
        description="what its first prior is compared with, trained on the same codes or pictures, and other samplers",
    )
    data: DataParams

    @property
    def downsampling(self) -> int:
        """The compression ratio f of its code maps."""
        return self.vqgan.autoencoder.downsampling

    @property
    def side(self) -> int:
        """Height and width of its code maps."""
        return self.data.resolution // self.downsampling

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that are measured on it: its prior, and its baselines in the order of the tables."""
        return tuple(name for name in METHODS if name == "prior" or name in self.baselines)

    def stages(self, method: str) -> tuple[str, ...]:
        """What a method is trained on: first stages whose codes it fills, or `pixels`."""
        on_codes = self.priors if method == "prior" else self.priors[:1]
        return on_codes if METHODS[method].fills == "codes" else (PIXELS,)

    def steps(self, method: str, evaluate: EvaluateParams) -> tuple[int, ...]:
        """The numbers of sampling steps of a method's samples that a suite measures, rising; the last is Table 2's."""
        return METHODS[method].steps(getattr(self, METHODS[method].trained), self.side**2, evaluate)

    @model_validator(mode="after")
    def _first_stages_are_possible(self) -> Self:
        for key in ("first_stages", "priors", "baselines"):
            if twice := [name for name, times in Counter(getattr(self, key)).items() if times > 1]:
                raise ValueError(f"{key}: {twice[0]} stands twice")
        for name in self.first_stages:
            most = LARGEST_CODEBOOK // kind_of(name).maps  # those of the second map are counted on from the first's
            if not 1 < codebook_size(name) <= most:
                raise ValueError(f"first_stages: {name} must have from 2 to {most} codes")
            if "p" in kind_of(name).numbers and sampled_features(name) < codebook_size(name):
                raise ValueError(f"first_stages: {name} samples fewer features than it has codes")
        for name in self.priors:
            if name not in self.first_stages:
                raise ValueError(f"priors: {name} is not among first_stages {list(self.first_stages)}")
            if kind_of(name).maps != 1:
                raise ValueError(f"priors: {name} gives {kind_of(name).maps} code maps; a prior is trained on one")
        return self

    @model_validator(mode="after")
    def _sections_are_there_and_fit(self) -> Self:
        kinds = {kind_of(name).section: name for name in self.first_stages}
        methods = {METHODS[name].trained: f"baselines: {name}" for name in self.baselines}
        for section, needed_by in {**kinds, **methods}.items():
            if getattr(self, section) is None:
                raise ValueError(f"{needed_by} needs the settings `{section}`")
        for name in sorted((*SECTIONS, *TRAINED), key="vqgan".__ne__):  # vqgan first: the others fill its codes
            section = getattr(self, name)
            if not isinstance(section, TrainedParams) or (name in BASELINES and name not in self.baselines):
                continue
            if section.training.batch_size > self.data.train:
                raise ValueError(
                    f"{name}: a batch of {section.training.batch_size} is more than the {self.data.train} images"
                )
            section.fits(name, self.data.resolution, self.side)
            if name in TRAINED:
                TRAINED[name].check(section)
        return self

    @model_validator(mode="after")
    def _first_stages_go_together(self) -> Self:
        vqgan, refit = self.vqgan, self.refit
        begun_with = (begins_with(name) for name in self.first_stages if kind_of(name).fine_tunes)
        vqgans = {name for name in (*self.first_stages, *begun_with, refit.source) if kind_of(name).name == "vqgan"}
        if vqgan.pretrained and set(vqgan.pretrained) != vqgans:
            raise ValueError(
                f"vqgan.pretrained must name a file for each of {', '.join(sorted(vqgans))}, or be left out"
            )
        pictured = ("discriminator_width", "discriminator_layers")
        if any(getattr(vqgan.loss, key) != getattr(refit.loss, key) for key in pictured):
            raise ValueError("refit.loss must have the discriminator of vqgan.loss, which it goes on training")
        return self


def _section(settings: type[Section], required: bool) -> Any:
    about = (settings.__doc__ or "").splitlines()[0]
    return (settings, Field(description=about)) if required else (settings | None, Field(None, description=about))


if TYPE_CHECKING:

    class Dataset(DatasetLists): ...

else:
    Dataset = create_model(
        "Dataset",
        __base__=DatasetLists,
        __module__=__name__,
        __doc__="A dataset with all its settings, and which first stages and priors are trained on it.",
        **{name: _section(kind.settings, kind.required) for name, kind in SECTIONS.items()},
        **{method.name: _section(method.settings, method.name == "prior") for method in TRAINED.values()},
    )


class Roles(Section):
    """Which dataset plays each of the paper's three."""

    celebahq: DatasetName
    lsun_church: DatasetName | None = None
    imagenet: DatasetName | None = None


class Suite(Section):
    """A list of datasets and the sizes of its evaluation."""

    title: Title
    datasets: Roles
    more: str | None = Field(default=None, description="a page about its run, from the project's folder; linked on top")
    trainings: PositiveInt = Field(default=1, description="how often all is trained, each time with other seeds")
    training_spread: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="standard deviation between trainings that is known of Fréchet distances, as a share of them; "
        "with it distances of one training each are judged",
    )
    evaluate: EvaluateParams

    @property
    def dataset_names(self) -> list[str]:
        """The suite's datasets, each once, in the paper's order."""
        roles = self.datasets
        return list(dict.fromkeys(d for d in (roles.celebahq, roles.lsun_church, roles.imagenet) if d))

    def trained(self, datasets: Mapping[str, Dataset]) -> dict[str, Dataset]:
        """Its datasets out of all, and behind them their repeats for the further trainings."""
        own = {name: datasets[name] for name in self.dataset_names}
        further = range(2, self.trainings + 1)
        return own | {repeat(name, n): reseeded(about, n) for n in further for name, about in own.items()}


class Params(Section):
    """The whole of `params.yaml`, presets merged into the datasets."""

    suite: str = Field(description="the suite that is built unless `--config suite=…` names another")
    suites: dict[SuiteName, Suite]
    datasets: dict[DatasetName, Dataset]

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        if self.suite not in self.suites:
            raise ValueError(
                f"suite: '{self.suite}'{nearest(self.suite, self.suites)} is not one of {', '.join(self.suites)}"
            )
        for name, suite in self.suites.items():
            for dataset in suite.dataset_names:
                if dataset not in self.datasets:
                    raise ValueError(
                        f"suites.{name}.datasets: '{dataset}'{nearest(dataset, self.datasets)} is not one of "
                        f"{', '.join(self.datasets)}"
                    )
                _check_sizes(name, suite.evaluate, dataset, self.datasets[dataset])
        return self


def _check_sizes(suite: str, evaluate: EvaluateParams, name: str, dataset: Any) -> None:
    """Refuse an evaluation that asks a dataset for more images or steps than it has."""
    limit = min(dataset.data.train, dataset.data.test)
    if evaluate.nll_images > limit:
        raise ValueError(
            f"suites.{suite}.evaluate.nll_images: {evaluate.nll_images}, but {name} has {limit} images in a split; "
            f"raise datasets.{name}.data, or give the suite an `evaluate` of its own with fewer"
        )
    if limit < FEWEST * evaluate.draws:
        raise ValueError(
            f"datasets.{name}.data: each of {evaluate.draws} draws needs at least {FEWEST} images of each split"
        )
    if evaluate.neighbours > dataset.data.train:
        raise ValueError(f"suites.{suite}.evaluate.neighbours: more than the training images of {name}")
    if max(evaluate.step_sweep, default=0) > dataset.prior.diffusion.timesteps:
        raise ValueError(f"suites.{suite}.evaluate.step_sweep: more than the timesteps of {name}")
    if "ddpm" in dataset.baselines and not 0 < max(evaluate.ddim_steps, default=0) <= dataset.ddpm.timesteps:
        raise ValueError(
            f"suites.{suite}.evaluate.ddim_steps: {name} trains a ddpm; give 1 to {dataset.ddpm.timesteps} steps"
        )


def _nowhere(keys: Sequence[int | str]) -> Place | None:
    return None


def with_presets(values: Mapping[str, Any], places: Places = _nowhere) -> dict[str, Any]:
    """`params.yaml` as it is written with every preset merged into the datasets that name it.

    Raises:
        UserError: a dataset names a preset that there is not.
    """
    presets, named = values.get("presets") or {}, values.get("datasets")
    if not isinstance(named, Mapping):
        return {key: value for key, value in values.items() if key != "presets"}
    datasets = {}
    for name, own in named.items():
        if isinstance(own, Mapping):
            preset = own.get("preset")
            if preset is not None and not (isinstance(preset, str) and preset in presets):
                keys = ("datasets", name, "preset")
                raise UserError(
                    f"{f'{place}: ' if (place := places(keys)) else ''}{in_words(keys)}: '{preset}' is no preset"
                    f"{nearest(str(preset), presets)}; there are {', '.join(presets) or 'none'}"
                )
            own = _inherited(merged(presets.get(preset, {}), {k: v for k, v in own.items() if k != "preset"}))
        datasets[name] = own
    return {**{key: value for key, value in values.items() if key != "presets"}, "datasets": datasets}


def _inherited(dataset: dict[str, Any]) -> dict[str, Any]:
    for section, base in INHERITS.items():
        own, of_base = _at(dataset, section), _at(dataset, base)
        if isinstance(own, Mapping) and isinstance(of_base, Mapping):
            *above, last = section.split(".")
            change: dict[str, Any] = {last: merged(of_base, own)}
            for part in reversed(above):
                change = {part: change}
            dataset = merged(dataset, change)
    return dataset


def _at(values: Any, key: str) -> Any:
    """The value at a key such as `vqgan.loss`, None where there is none."""
    for part in key.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def sources(values: Mapping[str, Any], dataset: str, section: str) -> list[str]:
    """The keys of `params.yaml`, as it is written, from which a dataset's section comes: what DVC is to watch.

    Args:
        values: `params.yaml` as it is written.
        dataset: of params.yaml, or a repeat of one.
        section: such as `prior`, `data.resolution` or `vqgan.autoencoder`.
    """
    dataset = repeated(dataset)
    preset = _at(values, f"datasets.{dataset}.preset")
    places = (f"presets.{preset}", f"datasets.{dataset}")
    found = [f"{place}.{section}" for place in places if _at(values, f"{place}.{section}") is not None]
    for inheriting, base in INHERITS.items():
        if inheriting == section or inheriting.startswith(f"{section}."):
            found += sources(values, dataset, base)
    return list(dict.fromkeys(found))


def paper_networks(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the paper's own networks in `params.yaml` as it is written, by the last part of their keys.

    Raises:
        UserError: its presets lack one.
    """
    found = {name: _at(values, f"presets.{PAPER}.{name}") for name in PAPER_NETWORKS}
    if missing := [name for name, settings in found.items() if settings is None]:
        what = "which every suite counts as the paper's own networks; put the preset back as the project has it"
        raise UserError(f"presets.{PAPER} lacks {', '.join(missing)}, {what}")
    return {name.split(".")[-1]: settings for name, settings in found.items()}


class Presets(Section):
    """The part of `params.yaml` that is gone once it is merged."""

    presets: dict[Name, dict[str, Any]]


def resolve(values: Mapping[str, Any], where: str = "params.yaml", places: Places = _nowhere) -> Params:
    """Merge the presets of `params.yaml` and validate the whole.

    Raises:
        UserError: names every wrong key or value and what is allowed there.
    """
    known = ("suite", "suites", "presets", "datasets")
    if unknown := [key for key in values if key not in known]:
        place, key = places(unknown[:1]) or where, unknown[0]
        raise UserError(f"{place}: {key}: there is no such setting{nearest(key, known)}; there are {', '.join(known)}")
    presets = parse(Presets, {"presets": values.get("presets") or {}}, where, places).presets
    for name, preset in presets.items():
        _check_preset(name, preset, where, places)
    loaded = parse(Params, with_presets(values, places), where, places)
    try:
        paper_networks(values)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    return loaded


def _check_preset(name: str, preset: dict[str, Any], where: str, places: Places) -> None:
    """Name what is wrong in a preset as the preset's own; what it leaves to datasets may be missing."""
    try:
        Dataset.model_validate(_inherited(preset))
    except ValidationError as error:
        if wrong := [problem for problem in error.errors() if problem["type"] != "missing"]:
            raise UserError(explained(Dataset, wrong, where, ("presets", name), places)) from None


def placed(written: Written) -> Places:
    """Where a setting comes from: a dataset itself, its preset, the section that it inherits, or what is around it."""

    def find(keys: Sequence[int | str]) -> Place | None:
        for length in range(len(keys), 0, -1):
            for candidate in _origins(written.values, tuple(keys[:length])):
                if candidate in written.places:
                    return written.places[candidate]
        return None

    return find


def _origins(values: Mapping[str, Any], keys: tuple[int | str, ...]) -> Iterable[tuple[int | str, ...]]:
    """The keys that a setting may have in the file, after presets and inheritance."""
    sections = [keys[2:]]
    for inheriting, base in INHERITS.items():
        above = tuple(inheriting.split("."))
        if keys[2:][: len(above)] == above:
            sections.append((*base.split("."), *keys[2 + len(above) :]))
    for section in sections:
        yield (*keys[:2], *section)
        if keys[:1] == ("datasets",) and (preset := _at(values, f"datasets.{in_words(keys[1:2])}.preset")):
            yield ("presets", preset, *section)


def schema() -> dict[str, Any]:
    """The JSON schema of `params.yaml` as it is written, made from the typed parameters.

    What a preset or another section may say instead is not required there.
    """
    found = Params.model_json_schema()
    definitions = found["$defs"]
    for name, definition in definitions.items():
        if name not in ("EvaluateParams", "Roles", "Suite"):
            definition.pop("required", None)
    dataset = {"$ref": "#/$defs/Dataset"}
    text = {"description": "the preset whose settings it takes", "type": "string"}
    definitions["Dataset"]["properties"] = {"preset": text, **definitions["Dataset"]["properties"]}
    presets = {"additionalProperties": dataset, "description": "settings that datasets share", "type": "object"}
    found["properties"] = {**found["properties"], "presets": presets}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def write_schema(out: Path | None = None) -> str | None:
    """Print the JSON schema of params.yaml, made from the typed parameters.

    Args:
        out: file to write instead of printing.
    """
    text = json.dumps(schema(), indent=2)
    if out is None:
        return text
    out.write_text(text + "\n")
    return None


def read(files: Iterable[Path] = (Path("params.yaml"),), entries: Iterable[str] = ()) -> Written:
    """Settings as they are written in files, later ones laid over earlier ones, and over them `key=value` entries.

    Raises:
        UserError: a file is missing, no YAML, or says what its writer cannot have meant.
    """
    whole = Written({}, {})
    for file in files:
        whole = whole.under(read_file(shown_path(file)))
    return whole.under(read_entries(entries))


def load(path: Path) -> Params:
    """Read and validate a whole `params.yaml`.

    Raises:
        UserError: missing, not YAML, or with wrong settings.
    """
    written = read([path])
    return resolve(written.values, where=str(path), places=placed(written))


def check(path: Path = Path("params.yaml"), *, resolved: bool = False, dataset: str | None = None) -> str:
    """Validate a params.yaml.

    Args:
        path: the file.
        resolved: print everything that the steps get, after presets and defaults.
        dataset: print this dataset alone.
    """
    import yaml

    loaded = load(path)
    if dataset is not None and dataset not in loaded.datasets:
        hint = nearest(dataset, loaded.datasets)
        raise UserError(f"{path}: '{dataset}' is no dataset{hint}; there are {', '.join(loaded.datasets)}")
    if not resolved and dataset is None:
        return f"{path}: valid; suites {', '.join(loaded.suites)}; datasets {', '.join(loaded.datasets)}"
    whole = loaded if dataset is None else loaded.datasets[dataset]
    return yaml.safe_dump(whole.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110).rstrip()
