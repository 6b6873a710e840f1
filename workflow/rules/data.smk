"""Step `data`: one array file per dataset and split."""


def source(wildcards):
    """The record of the wildcards' source of pictures."""
    return SOURCES[in_dataset(wildcards, "data.source")]


rule prepare_data:
    input:
        lambda wildcards: code("data.prepare", source(wildcards).open),
    output:
        train=f"{DATA}/train.npy",
        test=f"{DATA}/test.npy",
        train_manifest=f"{DATA}/train.json",
        test_manifest=f"{DATA}/test.json",
    log:
        logs("data/{dataset}"),
    benchmark:
        benchmarks("data/{dataset}")
    priority: 100
    conda:
        ENV
    threads: lambda wildcards: source(wildcards).readers
    resources:
        **on_cpu(600, 4000),
    params:
        data=section("data"),
    shell:
        "vqddm data prepare --params {params.data:q} --out data/{wildcards.dataset} --workers {threads} > {log} 2>&1"


WEIGHT_NAMES = {about.file: name for name, about in WEIGHTS.items()}


rule fetch_weights:
    # No input: a file that lies there already is taken as it is.
    output:
        "data/weights/checkpoints/{file}.pth",
    log:
        logs("data/weights_{file}"),
    benchmark:
        benchmarks("data/weights_{file}")
    priority: 100
    localrule: True
    conda:
        ENV
    params:
        name=lambda wildcards: WEIGHT_NAMES[f"{wildcards.file}.pth"],
    shell:
        "vqddm vqgan weights {params.name} > {log} 2>&1"
