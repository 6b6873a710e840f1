"""The whole paper: `snakemake --cores all`. One artefact: `snakemake --cores all table1`."""

from snakemake.utils import min_version

from vqddm.asked import check_targets, look_when_jobs_end, one_sentence

min_version("9.0")

with one_sentence():

    include: "workflow/rules/common.smk"  # reads and checks all settings
    include: "workflow/rules/data.smk"
    include: "workflow/rules/vqgan.smk"
    include: "workflow/rules/refit.smk"
    include: "workflow/rules/prior.smk"
    include: "workflow/rules/evaluate.smk"
    include: "workflow/rules/paper.smk"


# For Snakemake's own report; the rules take what was checked.
configfile: "params.yaml"


report: "workflow/report.rst"


onstart:
    with one_sentence():
        guard_checkpoints(workflow)
        require_originals(list(workflow.dag.needrun_jobs()), DATASETS)
        look_when_jobs_end(workflow.scheduler)
        if workflow.executor_plugin.name == "slurm":
            check_slurm(SITE)
            tell_orphans()


rule all:
    default_target: True
    input:
        # Data and checkpoints are asked for too: with only the committed results at hand,
        # the page alone would leave nothing to do.
        [f"data/{dataset}/train.npy" for dataset in DATASETS],
        [
            f"models/{dataset}/{first_stage}/first_stage.safetensors"
            for dataset, about in DATASETS.items()
            for first_stage in about.first_stages
        ],
        [
            f"models/{dataset}/{stage}/{METHODS[method].trained}.safetensors"
            for dataset, about in DATASETS.items()
            for method in about.methods
            for stage in about.stages(method)
        ],
        f"{RESULTS}/index.html",
        "results/README.md",


with one_sentence():
    check_targets(workflow)
