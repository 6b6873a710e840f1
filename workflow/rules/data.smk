"""Step `data`: one array file per dataset and split."""


rule prepare_data:
    input:
        code("data"),
    output:
        train="data/{dataset}/train.npy",
        test="data/{dataset}/test.npy",
        train_manifest="data/{dataset}/train.json",
        test_manifest="data/{dataset}/test.json",
    log:
        "logs/data/{dataset}.log",
    benchmark:
        "benchmarks/data/{dataset}.tsv"
    priority: 100
    conda:
        "../envs/vqddm.yaml"
    threads: readers
    resources:
        **{**ON_CPU, "cpus_per_task": readers},
        mem_mb=growing(4000),
        runtime=min(600, JOB_MINUTES),
    params:
        data=section("data"),
    shell:
        "vqddm data prepare --params {params.data:q} --out data/{wildcards.dataset} --workers {threads} > {log} 2>&1"


rule fetch_weights:
    # No input: a file that lies there already is taken as it is.
    output:
        "data/weights/checkpoints/{file}.pth",
    log:
        "logs/data/weights_{file}.log",
    benchmark:
        "benchmarks/data/weights_{file}.tsv"
    priority: 100
    localrule: True
    conda:
        "../envs/vqddm.yaml"
    threads: 1
    params:
        name=lambda wildcards: WEIGHT_NAMES[f"{wildcards.file}.pth"],
    shell:
        "vqddm vqgan weights {params.name} > {log} 2>&1"
