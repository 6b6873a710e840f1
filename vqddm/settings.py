"""What all sections of `params.yaml` share: validation, one sentence for each wrong value, sorted JSON."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from vqddm.artifacts import UserError

PositiveInt = Annotated[int, Field(gt=0)]


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


def parse(section: type[S], values: str | Mapping[str, Any], where: str = "params") -> S:
    """Validate `values` (JSON text or a mapping) as `section`.

    Raises:
        UserError: names every wrong key or value and what is allowed there.
    """
    try:
        if isinstance(values, str):
            return section.model_validate_json(values)
        return section.model_validate(values)
    except ValidationError as error:
        raise UserError(explained(section, error.errors(), where)) from None


def explained(section: type[BaseModel], problems: Sequence[ErrorDetails], where: str, above: str = "") -> str:
    """Wrong settings in words, a line each: key, what is wrong, what was given, what is allowed there.

    `where` is the file; `above` stands before each key.
    """
    lines = [f"{where}: {len(problems)} wrong setting(s)"]
    for problem in problems:
        key = above + ".".join(str(part) for part in problem["loc"]) or "(whole)"
        hint = ""
        if problem["type"] == "extra_forbidden":
            allowed = _fields_at(section, problem["loc"][:-1])
            hint = f"; allowed here: {', '.join(allowed)}" if allowed else ""
        given = "" if isinstance(problem["input"], dict) else f" (given: {problem['input']!r})"
        lines.append(f"  {key}: {problem['msg']}{given}{hint}")
    return "\n".join(lines)


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
