"""Which finished files each figure reads, and how they are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from vqddm.artifacts import UserError, read_json
from vqddm.paper.plan import PaperRow, Plan, Role, paper_rows
from vqddm.params import codebook_size, sampled_features


def read_arrays(path: Path, *names: str) -> dict[str, np.ndarray]:
    """These arrays of one `.npz`.

    Raises:
        UserError: the file is missing, damaged, cut short or lacks an array.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; build it with `snakemake --cores all {path}`") from None
    except KeyError as error:
        raise UserError(f"{path}: lacks an array ({error.args[0]}); delete it and build it again") from None
    except (ValueError, EOFError, OSError, BadZipFile) as error:
        raise UserError(f"{path}: not a whole .npz file ({error}); delete it and build it again") from None


def first_stage_label(name: str) -> str:
    """`VQ-GAN, K = 1024` or `ReFiT, K = 512, P = 20 000`."""
    size = f"K = {codebook_size(name)}"
    if name.startswith("vqgan"):
        return f"VQ-GAN, {size}"
    return f"ReFiT, {size}, P = {sampled_features(name):,}".replace(",", " ").replace("  ", ", ")


@dataclass(frozen=True)
class Files:
    """Where the figures' files lie: one place for what they read and for what a rule must make first."""

    plan: Plan
    results: Path
    models: Path

    def metric(self, dataset: str | None, first_stage: str | None, name: str) -> Path:
        """A measured metric of a first stage, of a dataset (`first_stage` None) or of the suite (both None)."""
        return self.plan.metrics_path(self.results, dataset, first_stage, name)

    @property
    def paper_counts(self) -> Path:
        """Counts of networks of the paper's size."""
        return self.metric(None, None, "paper_counts")

    def of_prior(self, role: Role, name: str) -> Path:
        """A file of the prior that the figures show for a role of the paper, which must not be None."""
        dataset = self.dataset(role)
        return self.models / dataset / self.plan.datasets[dataset].main_prior / name

    def of_transformer(self, role: Role, name: str) -> Path | None:
        """A file of the transformer on the same codes, None where it is not trained."""
        trained = self.plan.datasets[self.dataset(role)].baseline("transformer")
        return self.of_prior(role, f"transformer_{name}") if trained else None

    def inpaintings(self, role: Role) -> list[Path]:
        """Completions of the role's shown prior, and of the transformer where it is trained."""
        other = self.of_transformer(role, "inpainting.npz")
        return [self.of_prior(role, "inpainting.npz"), *([other] if other else [])]

    def dataset(self, role: Role) -> str:
        """The dataset that plays `role`.

        Raises:
            UserError: the suite has none.
        """
        name = self.plan.role(role)
        if name is None:
            raise UserError(f"suite {self.plan.suite}: no dataset plays {role}; name one in params.yaml")
        return name

    def samples(self, role: Role) -> tuple[Path, Path]:
        """Samples of the role's shown prior at all T steps, and their measured distance."""
        dataset = self.dataset(role)
        about = self.plan.datasets[dataset]
        name = f"samples_{about.timesteps}"
        return self.of_prior(role, f"{name}.npy"), self.metric(dataset, about.main_prior, name)

    def sweep(self, role: Role) -> dict[int, Path]:
        """Measured distances of the role's shown prior, for each number of sampling steps."""
        dataset = self.dataset(role)
        about = self.plan.datasets[dataset]
        return {n: self.metric(dataset, about.main_prior, f"samples_{n}") for n in about.steps}

    def reconstructions(self, role: Role, rows: Sequence[PaperRow]) -> dict[str, Path]:
        """Reconstructed test pictures of the role's first stages in these rows of the paper, by name."""
        dataset = self.dataset(role)
        found = paper_rows(self.plan.datasets[dataset].first_stages)
        names = [found[row] for row in rows if row in found]
        return {name: self.models / dataset / name / "reconstructions.npz" for name in names}

    def priors(self) -> list[tuple[str, str]]:
        """(dataset, first stage) of every prior of the two datasets that the paper generates."""
        chosen = dict.fromkeys(d for d in (self.plan.role("celebahq"), self.plan.role("lsun_church")) if d)
        return [(dataset, name) for dataset in chosen for name in self.plan.datasets[dataset].priors]

    def ddim(self, role: Role) -> dict[int, Path]:
        """Measured distances of the role's pixel diffusion, for each number of steps; empty where it is not trained."""
        dataset = self.dataset(role)
        steps = self.plan.datasets[dataset].ddim_steps
        return {n: self.metric(dataset, None, f"ddim_samples_{n}") for n in steps}

    def operations(self) -> list[Path]:
        """Counts and distances of all priors and baselines, and counts at the paper's size (Figure 1)."""
        found = [self.paper_counts]
        for dataset, name in self.priors():
            steps = self.plan.datasets[dataset].timesteps
            found += [self.metric(dataset, name, "counts"), self.metric(dataset, name, f"samples_{steps}")]
        for dataset in dict.fromkeys(dataset for dataset, _ in self.priors()):
            about = self.plan.datasets[dataset]
            if stage := about.baseline("transformer"):
                found += [self.metric(dataset, stage, f"transformer_{kind}") for kind in ("counts", "samples")]
            if stage := about.baseline("absorbing"):
                found.append(self.metric(dataset, stage, "absorbing_samples"))
            if about.ddim_steps:
                names = ("ddpm_counts", f"ddim_samples_{max(about.ddim_steps)}")
                found += [self.metric(dataset, None, name) for name in names]
        return found


def measured_distance(path: Path) -> dict[str, Any]:
    """The distance in one metric file: `name`, `frechet`, ….

    Raises:
        UserError: the file is missing or holds no distance.
    """
    value = read_json(path)
    if "distance" not in value:
        raise UserError(f"{path}: holds no distance; delete it and build it again")
    found: dict[str, Any] = value["distance"]
    return found
