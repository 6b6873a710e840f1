"""Step `paper`: every table, figure and claim, and the page that shows them.

Each artefact has a target of its own: `snakemake --cores all table1`, `… figure5`, `… claims`.
"""

from vqddm.paper.figures import inputs as figure_inputs
from vqddm.paper.reported import captions

TABLES = ["table1", "table2", "table3", "likelihood", "speed", "inpainting"]
FIGURES = range(1, 13)
CAPTIONS = {name: about["caption"] for name, about in captions().items()}
PAPER_CODE = code("paper")


FLOORS = [f"{METRICS}/{dataset}/floor.json" for dataset in SUITE.dataset_names]
COUNTS = metrics("counts", ["priors"]) + [f"{METRICS}/paper_counts.json"]
SAMPLES = [
    f"{METRICS}/{dataset}/{first_stage}/samples_{timesteps(dataset)}.json"
    for dataset in SUITE.dataset_names
    for first_stage in PARAMS.datasets[dataset].priors
]
MAIN = SUITE.datasets.celebahq
SWEEP = [
    f"{METRICS}/{MAIN}/{main_prior_of(MAIN)}/samples_{steps}.json"
    for steps in PLAN.datasets[MAIN].steps
]
LIKELIHOODS = [
    f"{METRICS}/{dataset}/{main_prior_of(dataset)}/likelihood.json"
    for dataset in SUITE.dataset_names
]
SPEEDS = [f"{METRICS}/{dataset}/speed.json" for dataset in SUITE.dataset_names]
INPAINTINGS = [
    f"{METRICS}/{dataset}/{main_prior_of(dataset)}/inpainting.json"
    for dataset in SUITE.dataset_names
]
TRANSFORMERS = baseline_metrics("transformer", "samples", "counts")
TRANSFORMER_INPAINTINGS = baseline_metrics("transformer", "inpainting")
BASELINE_LIKELIHOODS = baseline_metrics("transformer", "likelihood") + baseline_metrics(
    "absorbing", "likelihood"
)
DDIM = ddim_metrics("ddim_samples_{steps}") + [
    f"{METRICS}/{dataset}/ddpm_counts.json" for dataset, _ in with_baseline("ddpm")
]
BASELINES = TRANSFORMERS + baseline_metrics("absorbing", "samples") + DDIM
TABLE_INPUTS = {
    "table1": metrics("reconstruction") + FLOORS,
    "table2": SAMPLES + BASELINES + COUNTS + FLOORS,
    "table3": COUNTS,
    "likelihood": LIKELIHOODS + BASELINE_LIKELIHOODS,
    "speed": SPEEDS + COUNTS,
    "inpainting": INPAINTINGS + TRANSFORMER_INPAINTINGS,
}


rule table:
    input:
        PAPER_CODE,
        metrics=lambda wildcards: TABLE_INPUTS[wildcards.table],
    output:
        multiext(f"{RESULTS}/tables/{{table}}", ".md", ".tex"),
        csv=report(
            f"{RESULTS}/tables/{{table}}.csv",
            caption="../captions/table.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
    log:
        f"{LOGS}/paper/{{table}}.log",
    benchmark:
        f"{BENCHMARKS}/paper/{{table}}.tsv"
    wildcard_constraints:
        table="|".join(TABLES),
    localrule: True
    conda:
        "../envs/vqddm.yaml"
    threads: 1
    params:
        plan=plan,
        caption=lambda wildcards: CAPTIONS[wildcards.table],
        root=lambda wildcards, output: Path(output.csv).parents[1],
        stem=lambda wildcards, output: Path(output.csv).with_suffix(""),
    shell:
        "vqddm paper table {wildcards.table} --plan {params.plan:q} --root {params.root}"
        " --out {params.stem} > {log} 2>&1"


rule figure:
    input:
        code(
            "paper/figures",
            "paper/plan.py",
            "paper/recounted.py",
            "paper/render.py",
            "paper/reported.py",
        ),
        "vqddm/paper/reported.yaml",
        "vqddm/paper/captions.yaml",
        made=lambda wildcards: figure_inputs(PLAN, int(wildcards.number)),
    output:
        pdf=f"{RESULTS}/figures/figure{{number}}.pdf",
        png=report(
            f"{RESULTS}/figures/figure{{number}}.png",
            caption="../captions/figure.rst",
            category="Figures",
            labels={"figure": "{number}"},
        ),
    log:
        f"{LOGS}/paper/figure{{number}}.log",
    benchmark:
        f"{BENCHMARKS}/paper/figure{{number}}.tsv"
    wildcard_constraints:
        number=r"\d+",
    localrule: True
    conda:
        "../envs/vqddm.yaml"
    threads: 1
    params:
        plan=plan,
        caption=lambda wildcards: CAPTIONS[f"figure{wildcards.number}"],
        root=lambda wildcards, output: Path(output.png).parents[1],
        stem=lambda wildcards, output: Path(output.png).with_suffix(""),
    shell:
        "vqddm paper figure {wildcards.number} --plan {params.plan:q} --root {params.root}"
        " --out {params.stem} > {log} 2>&1"


rule judge_claims:
    input:
        PAPER_CODE,
        metrics=metrics("reconstruction")
        + SAMPLES
        + SWEEP
        + COUNTS
        + FLOORS
        + LIKELIHOODS
        + INPAINTINGS
        + TRANSFORMER_INPAINTINGS
        + BASELINES
        + SPEEDS,
    output:
        md=f"{RESULTS}/claims.md",
        csv=report(
            f"{RESULTS}/claims.csv",
            caption="../captions/claims.rst",
            category="Claims",
        ),
    log:
        f"{LOGS}/paper/claims.log",
    benchmark:
        f"{BENCHMARKS}/paper/claims.tsv"
    localrule: True
    conda:
        "../envs/vqddm.yaml"
    threads: 1
    params:
        plan=plan,
        root=lambda wildcards, output: Path(output.csv).parent,
        stem=lambda wildcards, output: Path(output.csv).with_suffix(""),
    shell:
        "vqddm paper claims --plan {params.plan:q} --root {params.root}"
        " --out {params.stem} > {log} 2>&1"


rule page:
    input:
        PAPER_CODE,
        f"{RESULTS}/claims.csv",
        tables=expand(
            f"{RESULTS}/tables/{{table}}.{{kind}}",
            table=TABLES,
            kind=["csv", "md", "tex"],
        ),
        figures=expand(
            f"{RESULTS}/figures/figure{{number}}.{{kind}}",
            number=FIGURES,
            kind=["png", "pdf"],
        ),
    output:
        f"{RESULTS}/index.html",
    log:
        f"{LOGS}/paper/page.log",
    benchmark:
        f"{BENCHMARKS}/paper/page.tsv"
    localrule: True
    conda:
        "../envs/vqddm.yaml"
    threads: 1
    params:
        plan=plan,
        root=lambda wildcards, output: Path(output[0]).parent,
    shell:
        "vqddm paper page --plan {params.plan:q} --root {params.root} --out {output} > {log} 2>&1"


rule so_far:
    # No input and no output: it shows what is there and makes nothing.
    log:
        f"{LOGS}/paper/so_far.log",
    localrule: True
    conda:
        "../envs/vqddm.yaml"
    threads: 1
    params:
        plan=plan,
        root=RESULTS,
    shell:
        "vqddm paper so-far --plan {params.plan:q} --root {params.root} --out {params.root}/so_far 2>&1 | tee {log}"


# One target for each artefact.
for name in TABLES:

    rule:
        name:
            name
        input:
            f"{RESULTS}/tables/{name}.csv",


for number in FIGURES:

    rule:
        name:
            f"figure{number}"
        input:
            f"{RESULTS}/figures/figure{number}.png",


rule claims:
    input:
        rules.judge_claims.output,
