"""Step `vqgan`: the trained first stage."""

FIRST_STAGE_CODE = code(
    "vqgan/train.py",
    "vqgan/model.py",
    "vqgan/layers.py",
    "vqgan/perceptual.py",
    "training.py",
    "state.py",
    "data/arrays.py",
)


IMPORTED = {name for name in PARAMS.datasets if PARAMS.datasets[name].vqgan.pretrained}
NONE = "(?!)"  # a wildcard constraint that nothing fits


rule train_vqgan:
    input:
        FIRST_STAGE_CODE,
        perceptual_weights("vqgan"),
        data="data/{dataset}/train.npy",
    output:
        checkpoint="models/{dataset}/vqgan_k{k}/first_stage.safetensors",
        curve="models/{dataset}/vqgan_k{k}/first_stage.csv",
    log:
        "logs/vqgan/{dataset}_vqgan_k{k}.log",
    benchmark:
        "benchmarks/vqgan/{dataset}_vqgan_k{k}.tsv"
    wildcard_constraints:
        dataset="|".join(PARAMS.datasets.keys() - IMPORTED) or NONE,
    priority: 50
    retries: RETRIES
    conda:
        "../envs/vqddm.yaml"
    threads: 1
    resources:
        **training_on("vqgan"),
        mem_mb=growing(16000),
        runtime=JOB_MINUTES,
    params:
        vqgan=section("vqgan"),
    shell:
        "vqddm launch --processes {resources.processes} --nodes {resources.nodes}"
        " vqgan train --data {input.data} --params {params.vqgan:q} --codebook-size {wildcards.k}"
        " --state state/{wildcards.dataset}/vqgan_k{wildcards.k} --out {output.checkpoint}"
        " --curve {output.curve} --threads {threads} > {log} 2>&1"


rule import_vqgan:
    input:
        code("vqgan/official.py", "vqgan/model.py", "vqgan/layers.py"),
    output:
        "models/{dataset}/vqgan_k{k}/first_stage.safetensors",
    log:
        "logs/vqgan/{dataset}_vqgan_k{k}_import.log",
    benchmark:
        "benchmarks/vqgan/{dataset}_vqgan_k{k}_import.tsv"
    wildcard_constraints:
        dataset="|".join(IMPORTED) or NONE,
    priority: 50
    conda:
        "../envs/vqddm.yaml"
    threads: 1
    resources:
        **ON_CPU,
        mem_mb=growing(8000),
        runtime=30,
    params:
        vqgan=section("vqgan"),
        checkpoint=pretrained,
    shell:
        "vqddm vqgan import {params.checkpoint:q} --params {params.vqgan:q} --codebook-size {wildcards.k}"
        " --out {output} > {log} 2>&1"
