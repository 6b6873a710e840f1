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


rule train_vqgan:
    input:
        FIRST_STAGE_CODE,
        data="data/{dataset}/train.npy",
    output:
        checkpoint="models/{dataset}/vqgan_k{k}/first_stage.safetensors",
        curve="models/{dataset}/vqgan_k{k}/first_stage.csv",
    log:
        "logs/vqgan/{dataset}_vqgan_k{k}.log",
    benchmark:
        "benchmarks/vqgan/{dataset}_vqgan_k{k}.tsv"
    priority: 50
    retries: RETRIES
    conda:
        "../envs/vqddm.yaml"
    threads: 1
    resources:
        **TRAINING,
        mem_mb=growing(16000),
        runtime=JOB_MINUTES,
    params:
        vqgan=section("vqgan"),
    shell:
        "vqddm launch --processes {resources.processes} --nodes {resources.nodes}"
        " vqgan train --data {input.data} --params {params.vqgan:q} --codebook-size {wildcards.k}"
        " --state state/{wildcards.dataset}/vqgan_k{wildcards.k} --out {output.checkpoint}"
        " --curve {output.curve} --threads {threads} > {log} 2>&1"
