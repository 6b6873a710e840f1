"""A suite's measured numbers, read by name; who reads them is asked which they were."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vqddm.artifacts import UserError, read_json
from vqddm.methods import METHODS
from vqddm.paper.plan import Name, Plan

NUMBER, MAYBE = (int, float), (int, float, type(None))
TYPES: dict[str, type | tuple[type, ...]] = {  # of what tables, figures and claims read; other keys are not judged
    **dict.fromkeys(("distance", "usage", "perceptual", "train", "test", "masks", "autoencoder", "prior"), dict),
    **dict.fromkeys(("agreement", "chance", "seam_gap", "minus", "transformer", "ddpm", "absorbing"), dict),
    **dict.fromkeys(("frechet", "precision", "recall", "images", "samples", "psnr", "seen", "seen10", "value"), NUMBER),
    **dict.fromkeys(("bits_per_code", "ceiling", "mean", "half_width", "given_fraction", "codebook_size"), NUMBER),
    **dict.fromkeys(("parameters", "macs_per_step", "macs_per_image", "seconds_per_step", "seconds_decode"), NUMBER),
    **dict.fromkeys(("frechet_std", "kid", "kid_std", "precision_std", "recall_std", "psnr_std", "std"), MAYBE),
    **dict.fromkeys(("standard_error", "first_term", "timesteps", "steps", "macs_per_step_as_paper"), MAYBE),
    **dict.fromkeys(("seconds_per_step_std", "seconds_decode_std", "sampled_features"), MAYBE),
    **dict.fromkeys(("name", "metric", "device", "first_stage"), str),
    **dict.fromkeys(("layers", "latent_size", "frechet_each", "psnr_each", "bits_per_code_each"), list),
}


def read_metric(path: Path) -> dict[str, Any]:
    """One metric file; what is missing in it is named when it is asked for.

    Raises:
        UserError: the file is missing, damaged, or holds something else than a metric does.
    """
    value = read_json(path)
    if wrong := _misfit(value, ""):
        raise UserError(f"{path}: {wrong}; delete it and build it again")
    found: dict[str, Any] = value
    return found


def _misfit(value: Any, inside: str) -> str | None:
    """What in a JSON value is of another type than expected, in a few words; `inside` are the keys above it."""
    if not isinstance(value, dict):
        return None if inside else "expected a JSON object"
    for key, inner in value.items():
        where = f"{inside}.{key}".strip(".")
        name_of_all = where == "frechet"  # of all masks' distances
        named = inside == "masks" or key.isdigit()  # masks by their names, networks by their capacities
        expected = str if name_of_all else dict if named else TYPES.get(key, object)
        if not isinstance(inner, expected) or (isinstance(inner, bool) and expected is not object):
            return f"`{where}` is {json.dumps(inner)[:60]}"
        if wrong := _misfit(inner, where):
            return wrong
    return None


@dataclass
class Metrics:
    """The metrics below a results folder; None: nothing is measured. `asked` is each path, and whether it was there.

    `training` is one of several, whose numbers are then read alone.
    """

    plan: Plan
    root: Path | None = None
    training: int | None = None
    asked: dict[str, bool] = field(default_factory=dict)

    def read(
        self, kind: str, dataset: Name = None, stage: Name = None, method: Name = None, steps: int | None = None
    ) -> dict[str, Any] | None:
        """One metric, by the arguments of `Plan.metric`; None where it was not measured.

        Where it is of one training and the suite knows how far trainings lie apart, `distance` has that as `between`.

        Raises:
            UserError: the file is there but damaged.
        """
        if dataset and method and METHODS[method] not in self.plan.measured(kind, dataset):
            return None
        name = self.plan.metric(kind, dataset, stage, method, steps, self.training)
        self.asked[name] = self.root is not None and (self.root / name).exists()
        if self.root is None or not self.asked[name]:
            return None
        found = read_metric(self.root / name)
        of_one = self.plan.trainings == 1 or self.training is not None
        if of_one and self.plan.training_spread and "distance" in found and kind != "floor":
            found["distance"]["between"] = self.plan.training_spread
        return found

    @property
    def found(self) -> list[str]:
        """The files that were read, in the order of the first asking."""
        return [name for name, there in self.asked.items() if there]
