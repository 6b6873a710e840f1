"""Step `refit`: rebuilt codebooks, fine-tuned first stages, code maps."""

REFIT = "models/{dataset}/refit_k{k}_p{p}"
REFIT_SOURCE = lambda wildcards: MODEL.format(
    dataset=wildcards.dataset, first_stage=in_dataset(wildcards, "refit.source")
)


rule rebuild_codebook:
    input:
        code("refit.rebuild"),
        source=lambda wildcards: f"{REFIT_SOURCE(wildcards)}/first_stage.safetensors",
        data=f"{DATA}/train.npy",
    output:
        f"{REFIT}/centres.npy",
    log:
        logs("refit/{dataset}_refit_k{k}_p{p}_rebuild"),
    benchmark:
        benchmarks("refit/{dataset}_refit_k{k}_p{p}_rebuild")
    priority: 40
    conda:
        ENV
    resources:
        **on_gpu(240),
    params:
        refit=section("refit"),
    shell:
        "vqddm refit rebuild --source {input.source:q} --data {input.data:q} --params {params.refit:q}"
        " --codebook-size {wildcards.k:q} --features {wildcards.p:q} --out {output:q} --threads {threads} > {log:q} 2>&1"


rule finetune_first_stage:
    input:
        code("refit.finetune"),
        perceptual_weights("refit"),
        source=lambda wildcards: f"{REFIT_SOURCE(wildcards)}/first_stage.safetensors",
        centres=f"{REFIT}/centres.npy",
        data=f"{DATA}/train.npy",
    output:
        checkpoint=f"{REFIT}/first_stage.safetensors",
        curve=f"{REFIT}/first_stage.csv",
    log:
        logs("refit/{dataset}_refit_k{k}_p{p}_finetune"),
    benchmark:
        benchmarks("refit/{dataset}_refit_k{k}_p{p}_finetune")
    priority: 40
    retries: RETRIES
    conda:
        ENV
    resources:
        **training_on("refit"),
    params:
        refit=section("refit"),
    shell:
        "vqddm launch --processes {resources.processes} --nodes {resources.nodes}"
        " refit finetune --source {input.source:q} --centres {input.centres:q} --data {input.data:q}"
        " --params {params.refit:q} --state state/{wildcards.dataset:q}/refit_k{wildcards.k:q}_p{wildcards.p:q}"
        " --out {output.checkpoint:q} --curve {output.curve:q} --threads {threads} > {log:q} 2>&1"


rule encode_codes:
    input:
        lambda wildcards: code("refit.codes", kind(wildcards).model),
        first_stage=f"{MODEL}/first_stage.safetensors",
        train=f"{DATA}/train.npy",
        test=f"{DATA}/test.npy",
    output:
        train=f"{MODEL}/codes_train.npy",
        test=f"{MODEL}/codes_test.npy",
    log:
        logs("refit/{dataset}_{first_stage}_codes"),
    benchmark:
        benchmarks("refit/{dataset}_{first_stage}_codes")
    priority: 40
    retries: RETRIES
    conda:
        ENV
    resources:
        **on_gpu(),
    shell:
        "vqddm refit encode --first-stage {input.first_stage:q} --data {input.train:q} --data {input.test:q}"
        " --out {output.train:q} --out {output.test:q} --threads {threads} > {log:q} 2>&1"
