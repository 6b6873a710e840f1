"""Records: what can be added to the project is described once, where it is defined, and found by name.

Records are light: they import neither torch nor the code that they describe, so that Snakemake, the schema and the
tables can go over them. That code is named as `module:function` and imported when it is called (`imported`).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeVar

from pydantic import AfterValidator, WithJsonSchema

from vqddm.artifacts import UserError
from vqddm.settings import Section


class Named(Protocol):
    """A record with a name of its own."""

    @property
    def name(self) -> Any: ...


R = TypeVar("R", bound=Named)


class Registry(dict[Any, R]):
    """Records of one kind by name, in the order in which they are shown.

    Args:
        kind: what each of them is, for messages: `noise schedule`.
        records: their names must differ.

    Raises:
        UserError: at `registry[name]`, with the names that there are.
    """

    def __init__(self, kind: str, records: Iterable[R]) -> None:
        listed = list(records)
        super().__init__({record.name: record for record in listed})
        self.kind = kind
        assert len(self) == len(listed), f"two records of kind {kind} bear one name"

    def __missing__(self, name: Any) -> R:
        raise UserError(f"'{name}' is no {self.kind}; there are {', '.join(map(str, self))}")


def modules_with(file: str) -> list[str]:
    """The modules of `vqddm` whose file bears this name, such as `method.py`."""
    package = Path(__file__).parent
    found = (path.relative_to(package.parent).with_suffix("") for path in sorted(package.rglob(file)))
    return [".".join(path.parts) for path in found]


def records(kind: type[R], file: str) -> list[R]:
    """The records of a type in all modules of `vqddm` whose file bears this name."""
    values = [value for module in modules_with(file) for value in vars(import_module(module)).values()]
    return list({id(value): value for value in values if isinstance(value, kind)}.values())


def choice(registry: Registry[Any]) -> Any:
    """The type of a setting that names a record of `registry`: text, validated, with all names in the JSON schema."""

    def known(name: str) -> str:
        if name not in registry:
            raise ValueError(f"'{name}' is no {registry.kind}; there are {', '.join(registry)}")
        return name

    return Annotated[str, AfterValidator(known), WithJsonSchema({"enum": list(registry), "type": "string"})]


def imported(reference: str) -> Callable[..., Any]:
    """The function or class that `module:name` means."""
    module, name = reference.split(":")
    return getattr(import_module(module), name)


@dataclass(frozen=True)
class FirstStageKind:
    """A kind of first stage: how it is named, trained and loaded.

    Args:
        name: the kind's; its first stages are called `vqgan_k256`, and so is its section of a dataset.
        title: in tables and legends.
        settings: the type of its section.
        numbers: letters of the numbers in its names: `k` is the capacity K, `p` the number P of sampled features.
        model: `module:class` of the network, made from (autoencoder, codebook size).
        train: `module:function` that trains it, None where rules of its own do (`refit`).
        command: the command that trains it, behind `vqddm`.
        sections: options of that command, each with the section of the dataset that it is given as JSON.
        maps: code maps that an image has; priors need one.
        required: each dataset must have its section.
    """

    name: str
    title: str
    settings: type[Section]
    model: str
    train: str | None
    command: str = ""
    sections: Mapping[str, str] = field(default_factory=dict)
    numbers: str = "k"
    maps: int = 1
    required: bool = False

    @property
    def pattern(self) -> str:
        """A regular expression of its first stages' names, without groups."""
        return self.name + "".join(f"_{letter}[0-9]+" for letter in self.numbers)


@dataclass(frozen=True)
class Method:
    """What fills code maps or pixels: the prior, and what it is compared with.

    Args:
        name: of its section of a dataset, its files (`transformer.safetensors`) and measures
            (`transformer_likelihood.json`).
        title: in tables and legends.
        settings: the type of that section.
        fills: `codes` of a first stage, or `pixels`, which need none.
        train: `module:function` that trains it.
        load: `module:function` that reads its checkpoint for sampling.
        commands: what stands behind `vqddm` for each kind of work, up to the option that takes its checkpoint: `train`,
            `sample`, and those of `inpaint`, `likelihood` and `counts` that are measured; for `speed` the option with
            which `evaluate speed` takes it.
        steps: from its settings, the codes of a map and the suite's `evaluate`: the numbers of network evaluations with
            which it is sampled, rising; the last one is Table 2's.
        strided: its samples take any number of steps, so the command is told one.
        check: raises ValueError where the settings are those of another method.
        place: where it stands among the others in tables.
        row: the row of the paper's Table 2 that it fills, None where the paper has none.
        colour: in figures.
    """

    name: str
    title: str
    settings: type[Section]
    fills: Literal["codes", "pixels"]
    train: str
    load: str
    commands: Mapping[str, str]
    steps: Callable[[Any, int, Any], tuple[int, ...]]
    strided: bool = True
    check: Callable[[Any], None] = lambda settings: None
    place: int = 100
    row: str | None = None
    colour: str = "orange"
