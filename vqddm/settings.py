"""What all sections of `params.yaml` share: validation, one sentence for each wrong value, sorted JSON."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

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
