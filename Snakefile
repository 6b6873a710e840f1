"""The whole paper: `snakemake --cores all`. One artefact: `snakemake --cores all table1`."""

from snakemake.utils import min_version

min_version("9.0")


configfile: "params.yaml"


report: "workflow/report.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/vqgan.smk"
include: "workflow/rules/refit.smk"
include: "workflow/rules/prior.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/baselines.smk"
include: "workflow/rules/paper.smk"


onstart:
    try:
        guard_checkpoints(workflow)
        require_originals(workflow.dag.needrun_jobs())
        if workflow.executor_plugin.name == "slurm":
            check_slurm(SITE)
            tell_orphans()
    except UserError as error:
        sys.exit(f"vqddm: {error}")


rule all:
    default_target: True
    input:
        # Data and checkpoints are asked for too: with only the committed results at hand,
        # the page alone would leave nothing to do.
        [f"data/{dataset}/train.npy" for dataset in SUITE.dataset_names],
        [
            f"models/{dataset}/{first_stage}/first_stage.safetensors"
            for dataset in SUITE.dataset_names
            for first_stage in PARAMS.datasets[dataset].first_stages
        ],
        [
            f"models/{dataset}/{first_stage}/prior.safetensors"
            for dataset in SUITE.dataset_names
            for first_stage in PARAMS.datasets[dataset].priors
        ],
        f"{RESULTS}/index.html",
