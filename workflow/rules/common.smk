"""What all rules share: the validated parameters, their sections as JSON, code files, resources and targets."""

import sys
from operator import attrgetter
from pathlib import Path

from vqddm.artifacts import UserError
from vqddm.ledger.guard import guard_checkpoints
from vqddm.paper.plan import plan_from
from vqddm.params import Params, codebook_size, sampled_features
from vqddm.settings import to_json
from vqddm.vqgan.weights import WEIGHTS
from vqddm.slurm import check_slurm, load_site, tell_orphans
from vqddm.settings import parse as parse_section  # Snakemake runs this file beside a `parse` of its own

# A rule's shell finds the `vqddm` of the environment that runs Snakemake, activated or not.
shell.prefix(f'set -euo pipefail; export PATH="{Path(sys.executable).parent}:$PATH"; ')

try:
    PARAMS = parse_section(Params, config, where="params.yaml")
    SITE = load_site(Path("slurm/site.yaml"))
except UserError as error:
    sys.exit(f"vqddm: {error}")

SUITE = PARAMS.suites[PARAMS.suite]
PLAN = plan_from(PARAMS, PARAMS.suite)
RESULTS = f"results/{PARAMS.suite}"
METRICS = f"{RESULTS}/metrics"
MODEL = "models/{dataset}/{first_stage}"
LOGS = f"logs/{PARAMS.suite}"
BENCHMARKS = f"benchmarks/{PARAMS.suite}"
CODE = {".py", ".yaml", ".j2"}


wildcard_constraints:
    dataset="|".join(PARAMS.datasets),
    first_stage=r"(vqgan|vqvae2|dvae)_k\d+|refit_k\d+_p\d+",
    k=r"\d+",
    p=r"\d+",
    steps=r"\d+",
    baseline="transformer|absorbing",


# Resources. Locally they say nothing; `--profile slurm` asks the cluster for them (vqddm/slurm.py).
ON_CPU = SITE.resources("partition")
# `--resources on_gpu=1` lets one job at a time have the GPU of a machine without Slurm.
ON_GPU = {**SITE.resources("gpu_partition", gpus=1), "on_gpu": 1}
JOB_MINUTES = max(1, round(60 * SITE.hours))
# The Snakemake inside a cluster's job must not try again there: its time may be over.
RETRIES = SITE.tries - 1 if workflow.is_main_process else 0


def growing(megabytes):
    """So much memory, and as much again in each further try: a job that ran out of it gets more."""
    return lambda wildcards, attempt: megabytes * attempt


def reads(*keys, when=lambda wildcards: True):
    """Say which keys of params.yaml a rule's parameter comes from: `dvc.yaml` is written from them.

    A key may name wildcards, as in `datasets.{dataset}.prior`. Marks add up.
    """

    def mark(function):
        function.keys = [*getattr(function, "keys", []), (keys, when)]
        return function

    return mark


def section(name):
    """A dataset's section of params.yaml as sorted JSON: what Snakemake and DVC both compare.

    The name may lead into a section, as in `baselines.transformer`.
    """

    @reads(f"datasets.{{dataset}}.{name}")
    def value(wildcards):
        given = attrgetter(name)(PARAMS.datasets[wildcards.dataset])
        return to_json(given.model_dump(mode="json", exclude_unset=True))

    return value


def evaluation(name):
    """A value of the suite's section `evaluate`."""

    @reads(f"suites.{PARAMS.suite}.evaluate.{name}")
    def value(wildcards):
        return getattr(SUITE.evaluate, name)

    return value


def readers(wildcards):
    """Processes that prepare a dataset: several where it is read from files, which may be a million."""
    source = PARAMS.datasets[wildcards.dataset].data.source
    return 1 if source in ("faces", "fashion") else 8


@reads(
    f"suites.{PARAMS.suite}.title",
    f"suites.{PARAMS.suite}.datasets",
    f"suites.{PARAMS.suite}.evaluate.step_sweep",
    f"suites.{PARAMS.suite}.evaluate.ddim_steps",
    *(
        f"datasets.{dataset}.{key}"
        for dataset in SUITE.dataset_names
        for key in (
            "title",
            "data.source",
            "data.resolution",
            "first_stages",
            "priors",
            "prior.diffusion.timesteps",
            *(f"baselines.{name}" for name in PARAMS.datasets[dataset].baselines.names),
        )
    ),
)
def plan(wildcards):
    """The suite's plan as sorted JSON."""
    return to_json(PLAN.model_dump(mode="json"))


def training_on(name):
    """Resources of a training: as many of the site's GPUs as the batch of a dataset's section can be shared by."""

    def asked(resource):
        def value(wildcards):
            given = attrgetter(name)(PARAMS.datasets[wildcards.dataset])
            nodes, gpus = SITE.share(given.training.batch_size)
            return SITE.resources("gpu_partition", gpus=gpus, nodes=nodes)[resource]

        return value

    shared = ("gres", "cpus_per_task", "processes", "nodes")
    return {**ON_GPU, **{resource: asked(resource) for resource in shared}}


def code(*places):
    """The code files of these folders and modules of `vqddm/`: a step is made again when they change."""
    root = Path(workflow.basedir) / "vqddm"
    files = []
    for place in places:
        found = root / place
        files += (
            sorted(f for f in found.rglob("*") if f.suffix in CODE)
            if found.is_dir()
            else [found]
        )
    return [str(f.relative_to(workflow.basedir)) for f in files]


def weights(*names):
    """The fetched weights of published networks."""
    return [f"data/weights/checkpoints/{WEIGHTS[name].file}" for name in names]


WEIGHT_NAMES = {about.file: name for name, about in WEIGHTS.items()}
FEATURE_WEIGHTS = weights("inception") if SUITE.evaluate.features == "inception" else []


def perceptual_weights(section):
    """What the perceptual loss of a dataset's `vqgan` or `refit` needs to be fetched."""

    def files(wildcards):
        loss = getattr(PARAMS.datasets[wildcards.dataset], section).loss
        return weights("lpips", "vgg16") if loss.perceptual == "lpips_vgg" else []

    return files


def main_prior_of(dataset):
    """The first stage whose prior the figures show for a dataset."""
    return PARAMS.datasets[dataset].priors[0]


def timesteps(dataset):
    """T of a dataset's diffusion."""
    return PARAMS.datasets[dataset].prior.diffusion.timesteps


@reads("datasets.{dataset}.baselines.absorbing.diffusion.timesteps")
def absorbing_timesteps(wildcards):
    """T of a dataset's absorbing prior."""
    return PARAMS.datasets[wildcards.dataset].baselines.absorbing.diffusion.timesteps


@reads("datasets.{dataset}.data.resolution")
def resolution(wildcards):
    """Height and width of a dataset's images."""
    return PARAMS.datasets[wildcards.dataset].data.resolution


def at_most(name, split="train"):
    """A number of images of the suite's section `evaluate`, at most all that a dataset's split has."""

    def has(wildcards):
        return getattr(PARAMS.datasets[wildcards.dataset].data, split)

    def is_clipped(wildcards):
        return has(wildcards) < getattr(SUITE.evaluate, name)

    @reads(
        f"suites.{PARAMS.suite}.evaluate.{name}",
        when=lambda wildcards: not is_clipped(wildcards),
    )
    @reads(f"datasets.{{dataset}}.data.{split}", when=is_clipped)
    def value(wildcards):
        return min(has(wildcards), getattr(SUITE.evaluate, name))

    return value


REFERENCES, TESTS = at_most("reference"), at_most("samples", "test")


def feature_count(wildcards):
    """How many images' features are measured."""
    return (REFERENCES if wildcards.split == "train" else TESTS)(wildcards)


feature_count.keys = [
    (keys, lambda wildcards, s=split, w=when: wildcards.split == s and w(wildcards))
    for split, count in (("train", REFERENCES), ("test", TESTS))
    for keys, when in count.keys
]


def require_originals(jobs):
    """Stop where pictures or official checkpoints that the jobs need are not there; all are named, pictures first."""
    from vqddm.data.pictures import ORIGINALS, require_original

    wanted = {"prepare_data": set(), "import_vqgan": set()}
    for job in jobs:
        if job.rule.name in wanted:
            wanted[job.rule.name].add(
                (job.wildcards.dataset, job.params.get("checkpoint"))
            )
    absent = []
    for dataset, _ in sorted(wanted["prepare_data"]):
        data = PARAMS.datasets[dataset].data
        if data.source in ORIGINALS:
            try:
                require_original(data.source, data.place)
            except UserError as error:
                absent.append(str(error))
    absent += [
        f"{checkpoint}: the official VQ-GAN of {dataset} is not here (nothing was started); fetch it from "
        "github.com/CompVis/taming-transformers (section Overview of pretrained models), or take "
        "`pretrained` out of the dataset's `vqgan` in params.yaml to train one"
        for dataset, checkpoint in sorted(wanted["import_vqgan"])
        if not Path(checkpoint).exists()
    ]
    if absent:
        raise UserError("\nvqddm: ".join(absent))


def sampled_features_option(first_stage):
    """`--sampled-features P` for a ReFiT, nothing for a VQ-GAN."""
    return (
        f"--sampled-features {sampled_features(first_stage)}"
        if first_stage.startswith("refit")
        else ""
    )


@reads("datasets.{dataset}.vqgan.pretrained")
def pretrained(wildcards):
    """The official checkpoint that stands for training a VQ-GAN."""
    return PARAMS.datasets[wildcards.dataset].vqgan.pretrained[f"vqgan_k{wildcards.k}"]


def refit_source(wildcards):
    """The VQ-GAN whose codebook is rebuilt, as `refit.source` names it."""
    source = PARAMS.datasets[wildcards.dataset].refit.source
    return f"models/{wildcards.dataset}/{source}/first_stage.safetensors"


def metrics(name, kinds=("first_stages",)):
    """The metrics `name` of all first stages or priors of the suite."""
    return [
        f"{METRICS}/{dataset}/{first_stage}/{name}.json"
        for dataset in SUITE.dataset_names
        for kind in kinds
        for first_stage in getattr(PARAMS.datasets[dataset], kind)
    ]


def with_baseline(name):
    """The suite's datasets on which a baseline is trained, each with the first stage that it shares with the prior."""
    return [
        (dataset, main_prior_of(dataset))
        for dataset in SUITE.dataset_names
        if name in PLAN.datasets[dataset].baselines
    ]


def baseline_metrics(name, *kinds):
    """The metrics of a baseline over code maps on all datasets that have it."""
    return [
        f"{METRICS}/{dataset}/{first_stage}/{name}_{kind}.json"
        for dataset, first_stage in with_baseline(name)
        for kind in kinds
    ]


def ddim_metrics(name):
    """The metrics of the pixel diffusion on all datasets that have it, for each number of steps or once."""
    return [
        f"{METRICS}/{dataset}/{name.format(steps=steps)}.json"
        for dataset, _ in with_baseline("ddpm")
        for steps in PLAN.datasets[dataset].ddim_steps
    ]


def ddpm_of(wildcards):
    """The pixel diffusion of a dataset, if it has one."""
    trained = "ddpm" in PLAN.datasets[wildcards.dataset].baselines
    return [f"models/{wildcards.dataset}/ddpm.safetensors"] if trained else []


def transformer_of(wildcards):
    """The transformer of a dataset, if it has one."""
    return [
        f"models/{dataset}/{first_stage}/transformer.safetensors"
        for dataset, first_stage in with_baseline("transformer")
        if dataset == wildcards.dataset
    ]
