"""The same measure of several trainings as one: means, and the spread between trainings in place of that of draws."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from vqddm.artifacts import UserError, read_json, write_json
from vqddm.repeats import half_interval

# What tells the spread of a number, by its name or by how it ends, and where the number itself then stands.
SPREADS = {"std": "value", "standard_error": "bits_per_code", "half_width": "mean"}


def average_trainings(*, metrics: list[Path], out: Path) -> None:
    """Take the same metric of several trainings together.

    Args:
        metrics: one file for each training, at least two.

    Raises:
        UserError: they are fewer than two, or do not hold the same measures.
    """
    if len(metrics) < 2:
        raise UserError(f"{len(metrics)} metrics: give those of at least two trainings, each by a --metrics")
    found = [read_json(path) for path in metrics]
    for path, other in zip(metrics[1:], found[1:], strict=True):
        if difference := _differing(found[0], other, ""):
            raise UserError(f"{path}: `{difference}` is not as in {metrics[0]}; delete both and build them again")
    write_json(out, {"trainings": len(found), **over_trainings(found)})


def over_trainings(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means of all numbers that differ. A spread becomes that between the trainings.

    A number's standard deviation is named as the number with `_std` behind it, or as `SPREADS` has it; what stood there
    for each training, such as the spread of its draws, stays as a mean under the same name with `_within` behind it.
    The numbers themselves stay under theirs with `_each` behind it, so that two measures can be compared training by
    training.
    """
    together: dict[str, Any] = {}
    for name, value in found[0].items():
        values = [one[name] for one in found]
        number = SPREADS.get(name, name.removesuffix("_std"))
        if isinstance(value, dict):
            together[name] = over_trainings(values)
        elif number != name and number in found[0]:
            together[f"{number}_each"] = [one[number] for one in found]
            apart = half_interval if name == "half_width" else stdev
            together[name] = apart(together[f"{number}_each"])
            together[f"{name}_within"] = None if None in values else fmean(values)
        elif isinstance(value, bool | str | list | None) or all(other == value for other in values):
            together[name] = value
        else:
            together[name] = fmean(values)
    return together


def _differing(one: Any, other: Any, inside: str) -> str | None:
    """Where two metrics are not alike in their names and what they say in words, None where they are."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in sorted(one.keys() | other.keys()):
            where = f"{inside}.{name}".strip(".")
            if name not in one or name not in other:
                return where
            if found := _differing(one[name], other[name], where):
                return found
        return None
    numbers = [isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other)]
    return None if all(numbers) or one == other else inside
