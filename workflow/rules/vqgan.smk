"""Step `vqgan`: trained first stages, the VQ-GAN and the other codebooks that it is compared with."""

# The kind of the wildcards' first stage, whose section of params.yaml bears its name.
kind = lambda wildcards: kind_of(wildcards.first_stage)
TRAINED_KINDS = [about for about in FIRST_STAGES.values() if about.train]
IMPORTED = [name for name, about in ALL_DATASETS.items() if about.vqgan.pretrained]


ruleorder: import_vqgan > train_first_stage


rule train_first_stage:
    input:
        lambda wildcards: code(kind(wildcards).train),
        perceptual_weights(lambda wildcards: kind(wildcards).name),
        data=f"{DATA}/train.npy",
        validation=held_out(f"{DATA}/validation.npy"),
    output:
        checkpoint=f"{MODEL}/first_stage.safetensors",
        curve=f"{MODEL}/first_stage.csv",
    log:
        logs("vqgan/{dataset}_{first_stage}"),
    benchmark:
        benchmarks("vqgan/{dataset}_{first_stage}")
    wildcard_constraints:
        first_stage="|".join(about.pattern for about in TRAINED_KINDS),
    priority: 50
    retries: RETRIES
    conda:
        ENV
    resources:
        **training_on(lambda wildcards: kind(wildcards).name),
    params:
        command=lambda wildcards: kind(wildcards).command,
        sections=sections(lambda wildcards: kind(wildcards).sections),
        codebook_size=lambda wildcards: codebook_size(wildcards.first_stage),
        validation=validation_option,
    shell:
        "vqddm launch --processes {resources.processes} --nodes {resources.nodes}"
        " {params.command} --data {input.data:q} {params.sections} --codebook-size {params.codebook_size:q}"
        " --state state/{wildcards.dataset:q}/{wildcards.first_stage:q} --out {output.checkpoint:q}"
        " --curve {output.curve:q} {params.validation} --threads {threads} > {log:q} 2>&1"


rule import_vqgan:
    input:
        code("vqgan.official"),
    output:
        "models/{dataset}/vqgan_k{k}/first_stage.safetensors",
    log:
        logs("vqgan/{dataset}_vqgan_k{k}_import"),
    benchmark:
        benchmarks("vqgan/{dataset}_vqgan_k{k}_import")
    wildcard_constraints:
        dataset="|".join(IMPORTED) or NONE,
    priority: 50
    conda:
        ENV
    resources:
        **on_cpu(30, 8000),
    params:
        vqgan=section("vqgan"),
        checkpoint=reads(keys_of("vqgan.pretrained"))(
            lambda wildcards: in_dataset(wildcards, "vqgan.pretrained")[
                f"vqgan_k{wildcards.k}"
            ]
        ),
    shell:
        "vqddm vqgan import {params.checkpoint:q} --params {params.vqgan:q} --codebook-size {wildcards.k:q}"
        " --out {output:q} > {log:q} 2>&1"
