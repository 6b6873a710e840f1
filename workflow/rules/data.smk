"""Step `data`: one array file per dataset and split."""

# The record of the wildcards' source of pictures.
source = lambda wildcards: SOURCES[in_dataset(wildcards, "data.source")]


# Processes that prepare it: several where it is read from files or drawn large (19 ms a face at 256 px).
readers = lambda wildcards: (
    12
    if in_dataset(wildcards, "data.resolution") >= 128
    and source(wildcards).readers == 1
    else source(wildcards).readers
)


rule prepare_data:
    input:
        lambda wildcards: code("data.prepare", source(wildcards).open),
    output:
        [f"{DATA}/{split}.{kind}" for kind in ("npy", "json") for split in SPLITS],
    log:
        logs("data/{dataset}"),
    benchmark:
        benchmarks("data/{dataset}")
    priority: 100
    conda:
        ENV
    threads: readers
    resources:
        **{**on_cpu(600, 4000), "cpus_per_task": readers},
    params:
        data=section("data"),
    shell:
        "vqddm data prepare --params {params.data:q} --out data/{wildcards.dataset:q} --workers {threads} > {log:q} 2>&1"


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
        "vqddm vqgan weights {params.name:q} > {log:q} 2>&1"
