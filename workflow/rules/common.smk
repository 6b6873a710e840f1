"""What all rules share: the validated parameters, their sections as JSON, code files, places, resources."""

import sys
from functools import cache
from operator import attrgetter
from pathlib import Path
from shlex import quote

from vqddm.asked import written_for
from vqddm.data.sources import SOURCES
from vqddm.data.weights import WEIGHTS
from vqddm.first_stages import (
    FIRST_STAGES,
    NAMES,
    begins_with,
    codebook_size,
    kind_of,
    sampled_features,
)
from vqddm.ledger.guard import forget_shards, guard_checkpoints, require_originals
from vqddm.ledger.imports import CodeFiles
from vqddm.methods import METHODS, PIXELS
from vqddm.paper.plan import plan_from
from vqddm.params import (
    PAPER,
    PAPER_NETWORKS,
    paper_networks,
    placed,
    resolve,
    sources,
    with_presets,
)
from vqddm.repeats import repeat
from vqddm.settings import SPLITS, to_json
from vqddm.slurm import check_slurm, load_site, tell_orphans

# A rule's shell finds the `vqddm` of the environment that runs Snakemake. Braces in a path are no wildcards.
plain = lambda path: str(path).replace("{", "{{").replace("}", "}}")
TOOLS = quote(plain(Path(sys.executable).parent))
shell.prefix(f'set -euo pipefail; export PATH={TOOLS}:"$PATH"; ')

VALUES, _ = WRITTEN = written_for(workflow)
PARAMS = resolve(VALUES, places=placed(WRITTEN))
SITE = load_site(Path("slurm/site.yaml"))

SUITE = PARAMS.suites[PARAMS.suite]
PLAN = plan_from(PARAMS, PARAMS.suite)
DATASETS = SUITE.trained(PARAMS.datasets)
ALL_DATASETS = {**PARAMS.datasets, **DATASETS}

# Places. What depends on a dataset alone lies under its name; what depends on a suite's `evaluate`, under the suite's.
DATA = "data/{dataset}"
MODEL = "models/{dataset}/{first_stage}"
EVALUATION = f"evaluation/{PARAMS.suite}/{{dataset}}"
RESULTS = f"results/{PARAMS.suite}"
METRICS = f"{RESULTS}/metrics"
ENV = plain(Path(workflow.basedir, "workflow/envs/vqddm.yaml"))

NONE = "(?!)"  # a wildcard constraint that nothing fits


wildcard_constraints:
    dataset="|".join(ALL_DATASETS),
    first_stage=NAMES,
    stage=f"{NAMES}|{PIXELS}",  # what a method fills
    method="|".join(METHODS),
    k=r"\d+",
    p=r"\d+",
    steps=r"\d+",


# Where a job's output goes, and its time and memory; the names of jobs that depend on the suite begin with it.
logs = "logs/{}.log".format
benchmarks = "benchmarks/{}.tsv".format
of_suite = f"{PARAMS.suite}/{{}}".format


CODE = CodeFiles(Path(workflow.basedir))


@cache
def code(*entries):
    """The code files behind these modules of `vqddm`: a step is made again when one of them changes."""
    return CODE.behind(*(f"vqddm.{entry.removeprefix('vqddm.')}" for entry in entries))


def reads(*keys):
    """Say which keys of params.yaml a rule's parameter comes from: `dvc.yaml` is written from them.

    Each is a function of the wildcards that gives keys, or a key, which may name wildcards.
    """

    def mark(function):
        function.keys = keys
        return function

    return mark


# A name that may be a function of the wildcards, as such a function.
of_wildcards = lambda name: name if callable(name) else lambda wildcards: name


def keys_of(section):
    """The keys of a dataset's section, in its preset and its own."""
    named = of_wildcards(section)
    return lambda wildcards: sources(VALUES, wildcards.dataset, named(wildcards))


def in_dataset(wildcards, section):
    """A section of the wildcards' dataset, such as `vqgan.autoencoder`."""
    return attrgetter(section)(ALL_DATASETS[wildcards.dataset])


def json_of(wildcards, section):
    """The same as sorted JSON: what Snakemake and DVC both compare."""
    return to_json(
        in_dataset(wildcards, section).model_dump(mode="json", exclude_unset=True)
    )


def section(name):
    """A dataset's section of params.yaml as sorted JSON."""
    named = of_wildcards(name)
    return reads(keys_of(named))(lambda wildcards: json_of(wildcards, named(wildcards)))


def sections(named):
    """Options of a command that are sections, as JSON, quoted: `named` gives a section for each option."""

    @reads(
        lambda wildcards: [
            key
            for name in named(wildcards).values()
            for key in sources(VALUES, wildcards.dataset, name)
        ]
    )
    def options(wildcards):
        return " ".join(
            f"--{option} {quote(json_of(wildcards, name))}"
            for option, name in named(wildcards).items()
        )

    return options


def evaluation(name):
    """A value of the suite's section `evaluate`."""
    return reads(f"suites.{PARAMS.suite}.evaluate.{name}")(
        lambda wildcards: getattr(SUITE.evaluate, name)
    )


def at_most(name, split="train"):
    """A number of images of the suite's section `evaluate`, at most all that a dataset's split has.

    Both may be functions of the wildcards.
    """
    names, splits = of_wildcards(name), of_wildcards(split)
    wanted = lambda wildcards: getattr(SUITE.evaluate, names(wildcards))
    has = lambda wildcards: in_dataset(wildcards, f"data.{splits(wildcards)}")

    def key(wildcards):
        if has(wildcards) < wanted(wildcards):
            return sources(VALUES, wildcards.dataset, f"data.{splits(wildcards)}")
        return [f"suites.{PARAMS.suite}.evaluate.{names(wildcards)}"]

    return reads(key)(lambda wildcards: min(wanted(wildcards), has(wildcards)))


@reads(
    f"suites.{PARAMS.suite}.title",
    lambda wildcards: (
        [f"suites.{PARAMS.suite}.trainings"] if SUITE.trainings > 1 else []
    ),
    lambda wildcards: [
        f"suites.{PARAMS.suite}.{name}"
        for name in ("more", "training_spread")
        if getattr(SUITE, name) is not None
    ],
    f"suites.{PARAMS.suite}.datasets",
    f"suites.{PARAMS.suite}.evaluate.step_sweep",
    f"suites.{PARAMS.suite}.evaluate.ddim_steps",
    lambda wildcards: [
        key
        for dataset in SUITE.dataset_names
        for part in (
            *("title", "data.source", "data.resolution", "first_stages", "priors"),
            *("baselines", "vqgan.autoencoder", *DATASETS[dataset].methods),
        )
        for key in sources(VALUES, dataset, part)
    ],
)
def plan(wildcards):
    """The suite's plan as sorted JSON."""
    return to_json(PLAN.model_dump(mode="json"))


# Resources. Locally they say nothing; `--profile slurm` asks the cluster for them (vqddm/slurm.py).
JOB_MINUTES = max(1, round(60 * SITE.hours))
# The Snakemake inside a cluster's job must not try again there: its time may be over.
RETRIES = SITE.tries - 1 if workflow.is_main_process else 0


# So much memory, and as much again in each further try: a job that ran out of it gets more.
growing = lambda megabytes: lambda wildcards, attempt: megabytes * attempt


def on_cpu(minutes, megabytes=16000):
    """What a job without a GPU asks for."""
    return {
        **SITE.resources("partition"),
        "mem_mb": growing(megabytes),
        "runtime": min(minutes, JOB_MINUTES),
    }


def on_gpu(minutes=JOB_MINUTES, megabytes=16000):
    """What a job with one GPU asks for; `--resources on_gpu=1` lets such jobs take turns on a machine without Slurm."""
    return {
        **SITE.resources("gpu_partition", gpus=1),
        "on_gpu": 1,
        "mem_mb": growing(megabytes),
        "runtime": minutes,
    }


def training_on(name):
    """What a training asks for: as many of the site's GPUs as the batch of a dataset's section can be shared by."""
    named = of_wildcards(name)

    def asked(resource):
        def value(wildcards):
            given = in_dataset(wildcards, named(wildcards))
            nodes, gpus = SITE.share(given.training.batch_size)
            return SITE.resources("gpu_partition", gpus=gpus, nodes=nodes)[resource]

        return value

    shared = ("gres", "cpus_per_task", "processes", "nodes")
    return {**on_gpu(), **{resource: asked(resource) for resource in shared}}


# The fetched weights of published networks.
weights = lambda *names: [
    f"data/weights/checkpoints/{WEIGHTS[name].file}" for name in names
]
FEATURE_WEIGHTS = weights("inception") if SUITE.evaluate.features == "inception" else []


def perceptual_weights(section):
    """What the perceptual loss of a dataset's section needs to be fetched; one without such a loss needs nothing."""
    named = of_wildcards(section)

    def files(wildcards):
        loss = getattr(in_dataset(wildcards, named(wildcards)), "loss", None)
        lpips = getattr(loss, "perceptual", None) == "lpips_vgg"
        return weights("lpips", "vgg16") if lpips else []

    return files


def held_out(path):
    """The validation examples whose loss a training's curve shows too; none where the dataset has none."""
    return lambda wildcards: (
        path.format(**wildcards) if in_dataset(wildcards, "data.validation") else []
    )


validation_option = lambda wildcards, input: (
    f"--validation {quote(input.validation)}" if input.validation else ""
)


# Where work that can be shared keeps its batches below state/. `--set-scatter samples=8` has each sampling's batches
# drawn by eight jobs; so it is with the encoding of code maps and with the features of pictures.
SAMPLING = of_suite("{dataset}/{stage}_{method}_samples_{steps}")
ENCODING = "{dataset}/{first_stage}_codes"
EXTRACTION = of_suite("{dataset}/features_{split}")


scattergather:
    samples=1,
    codes=1,
    features=1,


# Files there that say that one shard of the work, or all of it, is done.
shard_of = "state/{}/{{scatteritem}}.done".format
all_of = "state/{}/all.done".format


def shards(name, place):
    """The shards that a work waits for; none where there is but one, for then it does all itself."""

    def waited_for(wildcards):
        patterns = getattr(gather, name)(shard_of(place), allow_missing=True)
        done, *found = [path.format(**wildcards) for path in (all_of(place), *patterns)]
        found = found if len(found) > 1 else []
        forget_shards(workflow, done, found)
        return found

    return waited_for
