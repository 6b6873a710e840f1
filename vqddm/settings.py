"""What all sections of `params.yaml` share: validation, one sentence for each wrong value, sorted JSON."""

import contextlib
import difflib
import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from vqddm.artifacts import UserError

SPLITS = ("train", "test", "validation")  # of a dataset, in the order in which they are taken from its pictures
LARGEST = 2**63 - 1  # whole numbers that torch, numpy and JSON all take
PositiveInt = Annotated[int, Field(gt=0, le=LARGEST)]
Seed = Annotated[int, Field(ge=0, le=LARGEST)]
Decay = Annotated[float, Field(ge=0, lt=1)]
# A name that becomes a folder, a part of a DVC key and a word in a shell.
NAME = r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,99}$"
Name = Annotated[str, Field(pattern=NAME)]


def _yaml_no(value: Any) -> Any:
    """DVC writes YAML 1.2, where `no` is a word; to YAML 1.1, which Snakemake reads, it is False."""
    return "no" if value is False else value


def _as_meant(value: Any) -> Any:
    """What YAML and JSON have for a tuple, and a whole number written as 1.0e+5."""
    if isinstance(value, list):
        return tuple(map(_as_meant, value))
    if isinstance(value, Mapping):
        return {key: _as_meant(part) for key, part in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST else value


class Section(BaseModel):
    """A part of `params.yaml`. Unknown keys are errors; values do not change after loading.

    Nothing is taken for what it is not: text for a number, a truth value for a number, a number for text.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _lists_and_whole_numbers(cls, values: Any) -> Any:
        return _as_meant(values)


class TrainingParams(Section):
    """What the training loop itself needs to know (`vqddm/training.py`)."""

    steps: PositiveInt = Field(description="number of optimiser steps")
    batch_size: PositiveInt = Field(description="images per step, over all processes together")
    precision: Annotated[Literal["no", "bf16", "fp16"], BeforeValidator(_yaml_no)] = Field(
        description="mixed precision, as accelerate names it"
    )
    seed: Seed = Field(description="seed of initialisation, data order and noise")


class OptimizerParams(Section):
    """Adam, its learning rate over a training, and the average of the weights that come of it."""

    betas: tuple[Decay, Decay] = Field(description="Adam's decays of the gradient's first and second moment")
    schedule: Literal["constant", "cosine"] = Field(
        description="of the learning rate after the warm-up: always the same, or a cosine that ends at 0"
    )
    warmup_steps: int = Field(ge=0, le=LARGEST, description="steps over which the learning rate rises linearly")
    ema_decay: Decay = Field(description="of the weights' exponential moving average, which is kept; 0: none")


def fixed_rate(betas: tuple[float, float]) -> OptimizerParams:
    """Adam at one learning rate, without averages: what is meant where nothing is said."""
    return OptimizerParams(betas=betas, schedule="constant", warmup_steps=0, ema_decay=0.0)


class TrainedParams(Section):
    """Settings of something that is trained on a dataset."""

    training: TrainingParams

    def fits(self, section: str, resolution: int, side: int) -> None:
        """Check them against a dataset.

        Args:
            section: the name under which `params.yaml` has them, for the message.
            resolution: height and width of the images in pixels.
            side: height and width of the code maps.

        Raises:
            ValueError: they cannot be trained on these.
        """


S = TypeVar("S", bound=BaseModel)


class Place(Protocol):
    """Where a value is written (`str` of it), and how, if it is a scalar (`yaml_file.Place`)."""

    @property
    def text(self) -> str | None: ...


# What pydantic calls otherwise than a writer of YAML would.
WORDS = {
    "a valid tuple": "a list",
    "a valid dictionary": "keys with values",
    "a valid boolean": "true or false",
    "Extra inputs are not permitted": "there is no such setting",
}
Places = Callable[[Sequence[int | str]], Place | None]


def parse(
    section: type[S], values: str | Mapping[str, Any], where: str = "params", places: Places = lambda keys: None
) -> S:
    """Validate `values` (JSON text or a mapping) as `section`.

    Args:
        section: its type.
        values: what was given.
        where: the file or option, for the message.
        places: where in it each key stands, if that is known.

    Raises:
        UserError: names every wrong key or value and what is allowed there.
    """
    if isinstance(values, str):
        refuse_doubles(values, where)
    try:
        if isinstance(values, str):
            return section.model_validate_json(values)
        return section.model_validate(values)
    except ValidationError as error:
        raise UserError(explained(section, error.errors(), where, places=places)) from None


def refuse_doubles(text: str, where: str) -> None:
    """Refuse JSON in which a key stands twice: whoever reads it would take the last without a word.

    Raises:
        UserError: names the first such key.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(found := dict(pairs)) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in found if names.count(name) > 1)
            raise UserError(f"{where}: the key `{twice}` stands twice; keep one of them")
        return found

    with contextlib.suppress(ValueError, RecursionError):  # no JSON: for those who read it to tell
        json.loads(text, object_pairs_hook=once)


def invisible(text: str) -> str | None:
    """The first character in a text that looks like a space, or like nothing, and is another one; None: none is."""
    for letter in text:
        if letter == "\x85" or (letter != " " and unicodedata.category(letter) in ("Zs", "Zl", "Zp", "Cf")):
            return f"U+{ord(letter):04X} ({unicodedata.name(letter, 'NEXT LINE').lower()})"
    return None


def explained(
    section: type[BaseModel],
    problems: Sequence[ErrorDetails],
    where: str,
    above: Sequence[str] = (),
    places: Places = lambda keys: None,
) -> str:
    """Wrong settings in words, a line each: place, key, what is wrong, what was given, what is allowed there.

    `where` is the file; `above` stands before each key.
    """
    lines: list[str] = []
    names: dict[str, int] = {}  # the line of each name that is none; the others only say where it also stands
    for problem in problems:
        if problem["type"] == "too_short" and any(_inside(other, problem) for other in problems):
            continue  # the list is too short only because what is wrong in it was left out
        keys = [*above, *(part for part in problem["loc"] if part != "[key]")]
        message = problem["msg"].removeprefix("Value error, ")
        for theirs, ours in WORDS.items():
            message = message.replace(theirs, ours)
        # What does not go together is found above the key that it names.
        own = re.match(r"([\w.-]+): ", message) if problem["type"] == "value_error" else None
        place = places([*keys, *own[1].split(".")] if own else keys)
        what = f"{message}{_given(problem, place)}{_allowed(section, problem)}"
        told = ": ".join(filter(None, [str(place or ""), ".".join(map(str, keys))]))
        if problem["type"] == "string_pattern_mismatch" and (first := names.setdefault(what, len(lines))) < len(lines):
            lines[first] += f"; also {told}"
        else:
            lines.append(f"  {told}: {what}" if told else f"  {what}")
    return "\n".join([f"{where}: {len(lines)} wrong setting(s)", *lines])


def _inside(problem: ErrorDetails, outer: ErrorDetails) -> bool:
    """Whether a problem is one of a value that lies in another one's list."""
    return len(problem["loc"]) > len(outer["loc"]) and problem["loc"][: len(outer["loc"])] == outer["loc"]


def nearest(name: str, names: Iterable[str]) -> str:
    """` (did you mean …?)` where one of `names` is like `name`, else nothing."""
    near = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean `{near[0]}`?)" if near else ""


def _given(problem: ErrorDetails, place: Place | None) -> str:
    """What was given instead, and what YAML made of it if that is a surprise."""
    kind, value, text = problem["type"], problem["input"], place.text if place else None
    if kind in ("missing", "extra_forbidden") and isinstance(value, dict | list | tuple):
        return ""
    if value is None:
        return " (given: nothing)"
    if isinstance(value, dict | list | tuple):
        return "" if isinstance(value, dict) else f" (given: {list(value)})"
    if kind == "string_type":
        text = text or str(value)
        what = "a truth value" if isinstance(value, bool) else "a number"
        return f'; `{text}` is {what} in YAML; write "{text}" in quotes if text is meant'
    if kind in ("int_type", "float_type") and isinstance(value, bool):
        return f"; `{text or str(value).lower()}` is a truth value in YAML"
    if isinstance(value, str) and (letter := invisible(value)):
        return f" (given: {value!r}); the character {letter} stands in it, which nobody sees: take it out"
    if kind in ("int_type", "float_type", "bool_type") and isinstance(value, str):
        return f"; `{text or repr(value)}` is text in YAML{_rewritten(kind, value)}"
    if kind == "bool_type":
        return f"; {value!r} is a number in YAML; write true or false"
    return f" (given: {value!r})"


def _rewritten(kind: str, text: str) -> str:
    """How a text that looks like a number or a truth value is written as one."""
    if kind == "bool_type":
        return "; write true or false"
    parts = re.fullmatch(r"([-+]?\d+)(\.\d*)?[eE]([-+]?)(\d+)", text.strip())
    if parts:
        whole, fraction, sign, power = parts.groups()
        if abs(float(text)) > LARGEST and kind == "int_type":
            return f"; at most {LARGEST:.0e} is meant"
        if not math.isfinite(float(text)):
            return "; no such number can be computed with"
        return f"; write {whole}{fraction or '.0'}e{sign or '+'}{power}"
    try:
        number = int(text, 0)
    except ValueError:
        try:
            number = int(text)
        except ValueError:
            return "; write it without quotes" if re.fullmatch(r"[-+]?\d*\.?\d+", text.strip()) else ""
    return f"; write {number}"


def _allowed(section: type[BaseModel], problem: ErrorDetails) -> str:
    """What is allowed in the place of a key or a name that is not."""
    if problem["type"] == "extra_forbidden":
        allowed, key = _fields_at(section, problem["loc"][:-1]), str(problem["loc"][-1])
        return f"{nearest(key, allowed)}; allowed here: {', '.join(allowed)}" if allowed else ""
    if problem["type"] == "string_pattern_mismatch":
        pattern, given = problem["ctx"]["pattern"], problem["input"]
        for name in (re.sub(r"[^A-Za-z0-9_-]+", "_", given).strip("_-")[:100], given.replace("-", "_")):
            for changed in (name, name.lower()):
                if changed != given and re.search(pattern, changed):
                    return f"; `{changed}` would do"
    return ""


def _fields_at(section: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """The keys that `section` allows at `location`, or an empty list where they are free."""
    current: Any = section
    for part in location:
        if _is_section(current) and part in current.model_fields:
            current = current.model_fields[str(part)].annotation
        else:  # a mapping of free names (datasets, suites): the value type is its last argument
            current = getattr(current, "__args__", (None,))[-1]
        if type(None) in getattr(current, "__args__", ()):  # an optional section
            current = next(filter(_is_section, current.__args__), None)
    return list(current.model_fields) if _is_section(current) else []


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def to_json(section: Any) -> str:
    """Sorted, compact JSON: Snakemake's and DVC's common idea of what a result depends on."""
    return json.dumps(section, sort_keys=True, separators=(",", ":"))
