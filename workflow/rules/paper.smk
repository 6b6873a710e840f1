"""Step `paper`: each table, figure and claim, with a target of its own (`table1`, `claims`), and the page of all."""

from vqddm.paper.claims import claims_inputs
from vqddm.paper.figures import FIGURES, inputs as figure_inputs
from vqddm.paper.reported import captions
from vqddm.paper.tables import TABLES
from vqddm.registry import modules_with

CAPTIONS = {name: about["caption"] for name, about in captions().items()}
# Titles, colours, rows and remarks of what is shown.
RECORDS = [
    *("methods", "first_stages", "data.sources"),
    *modules_with("method.py"),
    *modules_with("kind.py"),
]


# Paths under the suite's results folder as rules name them.
measured = lambda paths: [f"{RESULTS}/{path}" for path in paths]


rule table:
    input:
        code("paper.tables", *RECORDS),
        metrics=lambda wildcards: measured(TABLES[wildcards.table].inputs(PLAN)),
    output:
        multiext(f"{RESULTS}/tables/{{table}}", ".md", ".tex"),
        csv=report(
            f"{RESULTS}/tables/{{table}}.csv",
            caption="../captions/table.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
    log:
        logs(of_suite("paper/{table}")),
    benchmark:
        benchmarks(of_suite("paper/{table}"))
    wildcard_constraints:
        table="|".join(TABLES),
    localrule: True
    conda:
        ENV
    params:
        plan=plan,
        caption=lambda wildcards: CAPTIONS[wildcards.table],
        root=lambda wildcards, output: Path(output.csv).parents[1],
        stem=lambda wildcards, output: Path(output.csv).with_suffix(""),
    shell:
        "vqddm paper table {wildcards.table:q} --plan {params.plan:q} --root {params.root:q}"
        " --out {params.stem:q} > {log:q} 2>&1"


rule figure:
    input:
        code("paper.figures", *RECORDS),
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
        logs(of_suite("paper/figure{number}")),
    benchmark:
        benchmarks(of_suite("paper/figure{number}"))
    wildcard_constraints:
        number="|".join(map(str, FIGURES)),
    localrule: True
    conda:
        ENV
    params:
        plan=plan,
        caption=lambda wildcards: CAPTIONS[f"figure{wildcards.number}"],
        root=lambda wildcards, output: Path(output.png).parents[1],
        stem=lambda wildcards, output: Path(output.png).with_suffix(""),
    shell:
        "vqddm paper figure {wildcards.number:q} --plan {params.plan:q} --root {params.root:q}"
        " --out {params.stem:q} > {log:q} 2>&1"


rule judge_claims:
    input:
        code("paper.claims", *RECORDS),
        metrics=measured(claims_inputs(PLAN)),
    output:
        md=f"{RESULTS}/claims.md",
        csv=report(
            f"{RESULTS}/claims.csv",
            caption="../captions/claims.rst",
            category="Claims",
        ),
    log:
        logs(of_suite("paper/claims")),
    benchmark:
        benchmarks(of_suite("paper/claims"))
    localrule: True
    conda:
        ENV
    params:
        plan=plan,
        root=lambda wildcards, output: Path(output.csv).parent,
        stem=lambda wildcards, output: Path(output.csv).with_suffix(""),
    shell:
        "vqddm paper claims --plan {params.plan:q} --root {params.root:q}"
        " --out {params.stem:q} > {log:q} 2>&1"


rule page:
    input:
        code("paper.page", *RECORDS),
        f"{RESULTS}/claims.csv",
        rules.film_sampling.output,
        f"{RESULTS}/timeline.png",
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
        page=f"{RESULTS}/index.html",
        readme=f"{RESULTS}/README.md",
    log:
        logs(of_suite("paper/page")),
    benchmark:
        benchmarks(of_suite("paper/page"))
    localrule: True
    conda:
        ENV
    params:
        plan=plan,
        root=lambda wildcards, output: Path(output[0]).parent,
    shell:
        "vqddm paper page --plan {params.plan:q} --root {params.root:q} --out {output.page:q} > {log:q} 2>&1"


rule overview:
    # Of all suites that have results; this one's page is what it waits for.
    input:
        code("paper.overview"),
        f"{RESULTS}/claims.csv",
        f"{RESULTS}/README.md",
    output:
        "results/README.md",
    log:
        logs("paper/overview"),
    benchmark:
        benchmarks("paper/overview")
    localrule: True
    conda:
        ENV
    shell:
        "vqddm paper overview --root results --out {output:q} > {log:q} 2>&1"


rule timeline:
    # After all else but the page. It tells when each job ran that has a benchmark file here.
    input:
        code("paper.timeline"),
        f"{RESULTS}/claims.csv",
        expand(f"{RESULTS}/tables/{{table}}.csv", table=TABLES),
        expand(f"{RESULTS}/figures/figure{{number}}.png", number=FIGURES),
    output:
        multiext(f"{RESULTS}/timeline", ".csv", ".png", ".pdf"),
    log:
        logs(of_suite("paper/timeline")),
    localrule: True
    conda:
        ENV
    params:
        suite=PARAMS.suite,
        stem=lambda wildcards, output: Path(output[0]).with_suffix(""),
    shell:
        "vqddm paper timeline --suite {params.suite:q} --out {params.stem:q} > {log:q} 2>&1"


rule remake:
    # No input and no output: from committed metrics alone, also where pictures are missing.
    log:
        logs(of_suite("paper/remake")),
    localrule: True
    conda:
        ENV
    params:
        plan=plan,
        root=RESULTS,
    shell:
        "vqddm paper remake --plan {params.plan:q} --root {params.root:q} 2>&1 | tee {log:q}"
        " && vqddm paper overview --root results --out results/README.md 2>&1 | tee -a {log:q}"


rule so_far:
    # No input and no output: it shows what is there and makes nothing.
    log:
        logs(of_suite("paper/so_far")),
    localrule: True
    conda:
        ENV
    params:
        plan=plan,
        root=RESULTS,
    shell:
        "vqddm paper so-far --plan {params.plan:q} --root {params.root:q} --out {params.root:q}/so_far 2>&1 | tee {log:q}"


# One target for each artefact.
for name, file in [
    *((name, f"tables/{name}.csv") for name in TABLES),
    *((f"figure{number}", f"figures/figure{number}.png") for number in FIGURES),
]:

    rule:
        name:
            name
        input:
            f"{RESULTS}/{file}",


rule claims:
    input:
        rules.judge_claims.output,


rule film:
    input:
        rules.film_sampling.output,
