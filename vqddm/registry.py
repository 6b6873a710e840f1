"""Records: what can be added to the project is described once, where it is defined, and found by name.

Records are light: they import neither torch nor the code that they describe, so that Snakemake, the schema and the
tables can go over them. That code is named as `module:function` and imported when it is called (`imported`); that it is
there is known when the record is made.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
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
        UserError: two bear one name; and at `registry[name]`, with the names that there are.
    """

    def __init__(self, kind: str, records: Iterable[R]) -> None:
        listed = list(records)
        super().__init__({record.name: record for record in listed})
        self.kind = kind
        if len(self) < len(listed):
            names = [str(record.name) for record in listed]
            twice = sorted({name for name in names if names.count(name) > 1})
            raise UserError(f"two records of a {kind} are called {', '.join(twice)}")

    def __missing__(self, name: Any) -> R:
        raise UserError(f"'{name}' is no {self.kind}; there are {', '.join(map(str, self))}")


def modules_with(file: str) -> list[str]:
    """The modules of `vqddm` whose file bears this name, such as `method.py`."""
    package = Path(__file__).parent
    found = (path.relative_to(package.parent).with_suffix("") for path in sorted(package.rglob(file)))
    return [".".join(path.parts) for path in found]


def records(kind: type[R], file: str) -> list[R]:
    """The records of a type in all modules of `vqddm` whose file bears this name.

    Raises:
        UserError: one of these modules cannot be imported.
    """
    values = [value for module in modules_with(file) for value in vars(_module_of_records(module)).values()]
    return list({id(value): value for value in values if isinstance(value, kind)}.values())


def record_in(module: str, name: str) -> Any:
    """The record, or the records, that a module calls `name`.

    Raises:
        UserError: there is none, or the module cannot be imported.
    """
    found = _module_of_records(module)
    if not hasattr(found, name):
        raise UserError(f"{module}: has no {name}")
    return getattr(found, name)


def _module_of_records(module: str) -> ModuleType:
    try:
        return import_module(module)
    except Exception as error:  # whatever its author wrote
        words = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        raise UserError(words if words.startswith("vqddm.") else f"{module}: {words}") from error


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


def must_be_there(reference: str) -> None:
    """Refuse a `module:name` that the code does not define.

    Raises:
        UserError: it names what there is not.
    """
    module, _, name = reference.partition(":")
    file = Path(__file__).parent.parent.joinpath(*module.split(".")).with_suffix(".py")
    if not file.exists():
        raise UserError(f"`{reference}`: there is no module {module}")
    if not name or not re.search(rf"^(def|class) {re.escape(name)}\b", file.read_text("utf-8"), re.MULTILINE):
        raise UserError(f"`{reference}`: {module} defines no {name or 'such thing'}")


@dataclass(frozen=True)
class FirstStageKind:
    """A kind of first stage: how it is named, trained and loaded.

    Args:
        name: the kind's; its first stages are called `vqgan_k256`, and so is its section of a dataset.
        title: in tables and legends.
        settings: the type of its section.
        section_of: the kind whose section it takes instead of one of its own, with the same `settings`.
        fine_tunes: the kind whose first stage of the same numbers it begins with (`refit`), empty where it begins anew.
        control: it is of ours, to show what one part of a method does alone: no row or claim of the paper takes it.
        numbers: letters of the numbers in its names: `k` is the capacity K, `p` the number P of sampled features.
        model: `module:class` of the network, made from (autoencoder, codebook size).
        train: `module:function` that trains it, None where rules of its own do (`refit`).
        command: the command that trains it, behind `vqddm`.
        sections: options of that command, each with the section of the dataset that it is given as JSON.
        maps: code maps that an image has; priors need one.
        error: of pixels, that its training calls `reconstruction`.
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
    error: Literal["absolute", "squared"] = "absolute"
    required: bool = False
    section_of: str = ""
    fine_tunes: str = ""
    control: bool = False

    @property
    def section(self) -> str:
        """The section of a dataset that holds its settings."""
        return self.section_of or self.name

    def __post_init__(self) -> None:
        for reference in (self.model, *([self.train] if self.train else [])):
            must_be_there(reference)

    @property
    def pattern(self) -> str:
        """A regular expression of its first stages' names, without groups."""
        return self.name + "".join(f"_{letter}[0-9]+" for letter in self.numbers)


FILLS = ("codes", "pixels")
# The kinds of work that a method's commands are for, and whether each method must have one.
WORK = {"train": True, "sample": True, "inpaint": False, "likelihood": False, "counts": False, "speed": False}


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
        inherits: the method whose section its own is laid over, so that it says only in what it differs.
        of: the method whose checkpoint it samples in another way; it has no section and no training of its own.
        sampler: that way, a `samplers.Process`; empty where the method has but one.
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
    inherits: str = ""
    of: str = ""
    sampler: str = ""
    check: Callable[[Any], None] = lambda settings: None
    place: int = 100
    row: str | None = None
    colour: str = "orange"

    @property
    def trained(self) -> str:
        """The method whose section, training and checkpoint it has."""
        return self.of or self.name

    def __post_init__(self) -> None:
        for reference in (self.train, self.load):
            must_be_there(reference)
        if self.fills not in FILLS:
            raise UserError(f"method '{self.name}' fills '{self.fills}'; it must be one of {', '.join(FILLS)}")
        if unknown := sorted(self.commands.keys() - WORK.keys()):
            raise UserError(f"method '{self.name}': '{unknown[0]}' is no kind of work; there are {', '.join(WORK)}")
        if bool(self.of) != bool(self.sampler):
            raise UserError(f"method '{self.name}': `of` and `sampler` go together; give both or none")
        needed = {work for work, always in WORK.items() if always} - ({"train"} if self.of else set())
        if missing := [work for work in WORK if work in needed - self.commands.keys()]:
            raise UserError(f"method '{self.name}' has no command for '{missing[0]}'")
