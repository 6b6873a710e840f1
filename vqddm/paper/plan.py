"""What a suite holds, without any of its settings: enough to find its files and name its rows.

A rule passes a `Plan` as JSON, so a table depends on which first stages and methods there are and on nothing
else of the parameters.
"""

from collections.abc import Sequence
from typing import Literal

from vqddm.artifacts import UserError
from vqddm.first_stages import FirstStageName, codebook_size, kind_of, sampled_features
from vqddm.methods import METHODS, PIXELS
from vqddm.params import Dataset, DatasetName, EvaluateParams, Params, Roles
from vqddm.registry import Method
from vqddm.repeats import REPEATED, repeat
from vqddm.settings import PositiveInt, Section

Name = str | None  # a part of a path that may be left out
Role = Literal["celebahq", "lsun_church", "imagenet"]
ROLE_TITLES: dict[Role, str] = {"celebahq": "CelebA-HQ", "lsun_church": "LSUN-Church", "imagenet": "ImageNet"}
COMMANDS = {"samples": "sample", "inpainting": "inpaint", "likelihood": "likelihood", "counts": "counts"}


def paper_rows(first_stages: Sequence[str]) -> dict[str, str]:
    """Which first stage stands in which row of the paper (Tables 1 and 2), found from kind, K and P in the names.

    `refit` has the largest K and the smallest P trained at it (paper: 1024, 20k), `refit_larger_p` the
    largest P at that K (100k), `refit_smaller_k` the smallest K (512; the same P if there is one). `vqgan` is
    the VQ-GAN at the largest ReFiT's K (1024), or else the largest; `vqgan_larger` has a larger K (16384). The first
    one of any other kind stands in a row of the kind's name; controls stand in none. Rows come in no order; an unfilled
    one is no key.
    """
    by_kind: dict[str, list[str]] = {}
    for name in (name for name in first_stages if not kind_of(name).control):
        by_kind.setdefault(kind_of(name).name, []).append(name)
    refits, vqgans = by_kind.pop("refit", []), sorted(by_kind.pop("vqgan", []), key=codebook_size)
    found = {kind: names[0] for kind, names in by_kind.items()}
    largest = max(map(codebook_size, refits), default=None)
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
    return found


class PlannedDataset(Section):
    """One dataset of a suite: first stages (Table 1), priors (Table 2) and methods.

    `imported` first stages are official checkpoints. `methods` has the numbers of network evaluations with which each
    one is sampled, rising; the last is Table 2's, and the prior's are those of Figure 5.
    """

    title: str
    source: str
    resolution: PositiveInt
    first_stages: tuple[FirstStageName, ...]
    imported: tuple[FirstStageName, ...] = ()
    priors: tuple[FirstStageName, ...]
    methods: dict[str, tuple[PositiveInt, ...]]

    @property
    def main_prior(self) -> str:
        """The first stage whose prior the figures show, and beside whose prior the baselines stand."""
        return self.priors[0]

    def stages(self, method: str) -> tuple[str, ...]:
        """What a method fills: the codes of first stages, that with which it is shown first, or `pixels`."""
        if METHODS[method].fills == "pixels":
            return (PIXELS,)
        return self.priors if method == "prior" else self.priors[:1]


class Plan(Section):
    """A suite as the tables, figures, claims and the page need it."""

    suite: str
    title: str
    more: str | None = None
    trainings: PositiveInt = 1
    training_spread: float | None = None
    roles: Roles
    datasets: dict[DatasetName, PlannedDataset]

    def role(self, role: Role) -> str | None:
        """The dataset that plays one of the paper's three, or None where the suite has none for it."""
        return getattr(self.roles, role)

    def measured(self, kind: str, dataset: str) -> list[Method]:
        """The methods of which `samples`, `counts`, … are measured on a dataset, in the order of the tables."""
        trained = [METHODS[name] for name in METHODS if name in self.datasets[dataset].methods]
        return [method for method in trained if COMMANDS[kind] in _counted(kind, method).commands]

    def metric(
        self,
        kind: str,
        dataset: Name = None,
        stage: Name = None,
        method: Name = None,
        steps: int | None = None,
        training: int | None = None,
    ) -> str:
        """The path of a metric below the suite's results folder.

        Args:
            kind: what was measured: `samples`, `reconstruction`, `floor`.
            dataset: None for what the suite has once.
            stage: the first stage; where a method is given, the one that it is shown with unless another is meant.
            method: what was sampled or counted, None where it is the first stage itself or the dataset.
            steps: of samples; Table 2's unless others are meant.
            training: the one that is meant, from 1; None for all together. What is measured once is the same for all.
        """
        place = f"{self._place(kind, dataset, stage, method, steps)}.json"
        if self.trainings == 1 or kind not in REPEATED:
            return f"metrics/{place}"
        if training is None:
            return f"over_trainings/{place}"
        return f"metrics/{repeat(str(dataset), training)}/{place.partition('/')[2]}"

    def array(self, kind: str, dataset: str, stage: Name = None, method: Name = None) -> str:
        """The path of pictures below the folder `evaluation`, by the arguments of `metric`: `samples`, `neighbours`."""
        suffix = "npy" if kind == "samples" else "npz"
        return f"{self.suite}/{self._place(kind, dataset, stage, method)}.{suffix}"

    def _place(self, kind: str, dataset: Name, stage: Name, method: Name, steps: int | None = None) -> str:
        if dataset and method:
            about = self.datasets[dataset]
            method = _counted(kind, METHODS[method]).name
            stage = stage or about.stages(method)[0]
            steps = steps or (about.methods[method][-1] if kind == "samples" else None)
        name = "_".join(str(part) for part in (method, kind, steps) if part)
        return "/".join(part for part in (dataset, stage, name) if part)


def _counted(kind: str, method: Method) -> Method:
    """The method itself; of `counts` the prior, where the same network is trained with another transition."""
    return METHODS["prior"] if kind == "counts" and method.train == METHODS["prior"].train else method


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
        more=chosen.more,
        trainings=chosen.trainings,
        training_spread=chosen.training_spread,
        roles=chosen.datasets,
        datasets={
            name: PlannedDataset(
                title=dataset.title,
                source=dataset.data.source,
                resolution=dataset.data.resolution,
                first_stages=dataset.first_stages,
                imported=tuple(dataset.vqgan.pretrained),
                priors=dataset.priors,
                methods={method: _steps(method, dataset, chosen.evaluate) for method in dataset.methods},
            )
            for name, dataset in datasets.items()
        },
    )


def _steps(method: str, dataset: Dataset, evaluate: EvaluateParams) -> tuple[int, ...]:
    """The steps of a method's samples that a suite measures; of the prior, by each sampler, also Figure 5's below T."""
    steps = dataset.steps(method, evaluate)
    if METHODS[method].trained != "prior":
        return steps
    return tuple(sorted({*steps, *(n for n in evaluate.step_sweep if n < steps[-1])}))
