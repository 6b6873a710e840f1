"""What a suite holds, without any of its settings: enough to find its files and name its rows.

A rule passes a `Plan` as JSON, so a table depends on which first stages and priors there are and on nothing
else of the parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from vqddm.artifacts import UserError, read_json
from vqddm.methods import METHODS, PIXELS
from vqddm.params import DatasetName, FirstStageName, Params, Roles, codebook_size, sampled_features
from vqddm.settings import PositiveInt, Section

Role = Literal["celebahq", "lsun_church", "imagenet"]
Baseline = Literal["transformer", "absorbing", "ddpm"]
PaperRow = Literal["vqvae2", "dvae", "vqgan_larger", "vqgan", "refit_larger_p", "refit", "refit_smaller_k"]


def paper_rows(first_stages: Sequence[str]) -> dict[PaperRow, str]:
    """Which first stage stands in which row of the paper (Tables 1 and 2), found from K and P in the names.

    `refit` has the largest K and the smallest P trained at it (paper: 1024, 20k), `refit_larger_p` the
    largest P at that K (100k), `refit_smaller_k` the smallest K (512; the same P if there is one). `vqgan` is
    the VQ-GAN at the largest ReFiT's K (1024), or else the largest; `vqgan_larger` has a larger K (16384). `vqvae2` and
    `dvae` are the first of their kind.

    Returns:
        Rows in the paper's order; a row that no first stage fills is not a key.
    """
    refits = [name for name in first_stages if name.startswith("refit")]
    vqgans = sorted((name for name in first_stages if name.startswith("vqgan")), key=codebook_size)
    found: dict[PaperRow, str] = {}
    largest = max((codebook_size(name) for name in refits), default=None)
    if vqgans:
        found["vqgan"] = next((name for name in vqgans if codebook_size(name) == largest), vqgans[-1])
        if codebook_size(vqgans[-1]) > codebook_size(found["vqgan"]):
            found["vqgan_larger"] = vqgans[-1]
    if largest is not None:
        at_largest = sorted((name for name in refits if codebook_size(name) == largest), key=sampled_features)
        found["refit"] = at_largest[0]
        if len(at_largest) > 1:
            found["refit_larger_p"] = at_largest[-1]
        common_p = sampled_features(found["refit"])
        smallest = min(refits, key=lambda name: (codebook_size(name), sampled_features(name) != common_p, name))
        if codebook_size(smallest) < largest:
            found["refit_smaller_k"] = smallest
    others: tuple[PaperRow, ...] = ("vqvae2", "dvae")
    for row in others:
        if first := next((name for name in first_stages if name.startswith(row)), None):
            found[row] = first
    order: tuple[PaperRow, ...] = (*others, "vqgan_larger", "vqgan", "refit_larger_p", "refit", "refit_smaller_k")
    return {row: found[row] for row in order if row in found}


class PlannedDataset(Section):
    """One dataset of a suite: first stages (Table 1), priors (Table 2) and sampling steps (Figure 5)."""

    title: str
    source: str
    resolution: PositiveInt
    first_stages: tuple[FirstStageName, ...]
    priors: tuple[FirstStageName, ...]
    timesteps: PositiveInt
    step_sweep: tuple[PositiveInt, ...]
    methods: dict[str, tuple[PositiveInt, ...]] = Field(default_factory=dict)
    baselines: tuple[Baseline, ...] = ()
    ddim_steps: tuple[PositiveInt, ...] = ()

    def stages(self, method: str) -> tuple[str, ...]:
        """What a method fills on this dataset: the codes of first stages, or `pixels`."""
        if METHODS[method].fills == "pixels":
            return (PIXELS,)
        return self.priors if method == "prior" else self.priors[:1]

    @property
    def main_prior(self) -> str:
        """The first stage whose prior the figures show."""
        return self.priors[0]

    def baseline(self, name: Baseline) -> str | None:
        """The first stage beside whose prior a baseline stands, None where it is not trained."""
        return self.main_prior if name in self.baselines else None

    @property
    def steps(self) -> list[int]:
        """The sampling steps of Figure 5, rising, with T as the last."""
        return sorted({*(n for n in self.step_sweep if n < self.timesteps), self.timesteps})


class Plan(Section):
    """A suite as the tables, figures, claims and the page need it."""

    suite: str
    title: str
    roles: Roles
    datasets: dict[DatasetName, PlannedDataset]

    def role(self, role: Role) -> str | None:
        """The dataset that plays one of the paper's three, or None where the suite has none for it."""
        name: str | None = getattr(self.roles, role)
        return name

    def metrics_path(self, root: Path, dataset: str | None, first_stage: str | None, name: str) -> Path:
        """Where a metric lies under the suite's results folder `root`.

        It is a first stage's, a dataset's (`first_stage` None) or the suite's (both None).
        """
        parts = [part for part in (dataset, first_stage) if part is not None]
        return root.joinpath("metrics", *parts, f"{name}.json")

    def metrics(self, root: Path, dataset: str | None, first_stage: str | None, name: str) -> dict[str, Any] | None:
        """One measured metric file under the suite's results folder, or None where it was not measured.

        Raises:
            UserError: the file is there but damaged.
        """
        path = self.metrics_path(root, dataset, first_stage, name)
        if not path.exists():
            return None
        value = read_json(path)
        if not isinstance(value, dict):
            raise UserError(f"{path}: expected a JSON object; delete it and build it again")
        return value


def plan_from(params: Params, suite: str) -> Plan:
    """The plan of one suite of `params.yaml`.

    Raises:
        UserError: there is no such suite.
    """
    if suite not in params.suites:
        raise UserError(f"suite: '{suite}' is not one of {sorted(params.suites)}; choose one with --config suite=…")
    chosen = params.suites[suite]
    datasets = {name: params.datasets[name] for name in chosen.dataset_names}
    return Plan(
        suite=suite,
        title=chosen.title,
        roles=chosen.datasets,
        datasets={
            name: PlannedDataset(
                title=dataset.title,
                source=dataset.data.source,
                resolution=dataset.data.resolution,
                first_stages=dataset.first_stages,
                priors=dataset.priors,
                timesteps=dataset.prior.diffusion.timesteps,
                step_sweep=chosen.evaluate.step_sweep,
                methods={name: dataset.steps(name, chosen.evaluate) for name in dataset.methods},
                baselines=dataset.baselines,
                ddim_steps=tuple(sorted(chosen.evaluate.ddim_steps)) if "ddpm" in dataset.baselines else (),
            )
            for name, dataset in datasets.items()
        },
    )
