"""Step `refit`: rebuilt codebooks, fine-tuned first stages, code maps."""


rule rebuild_codebook:
    input:
        code("refit/rebuild.py", "refit/features.py", "refit/kmeans.py"),
        source=refit_source,
        data="data/{dataset}/train.npy",
    output:
        "models/{dataset}/refit_k{k}_p{p}/centres.npy",
    log:
        "logs/refit/{dataset}_refit_k{k}_p{p}_rebuild.log",
    benchmark:
        "benchmarks/refit/{dataset}_refit_k{k}_p{p}_rebuild.tsv"
    priority: 40
    conda:
        "../envs/vqddm.yaml"
    threads: 1
    resources:
        **ON_GPU,
        mem_mb=growing(16000),
        runtime=240,
    params:
        refit=section("refit"),
    shell:
        "vqddm refit rebuild --source {input.source} --data {input.data} --params {params.refit:q}"
        " --codebook-size {wildcards.k} --features {wildcards.p} --out {output} --threads {threads} > {log} 2>&1"


rule finetune_first_stage:
    input:
        FIRST_STAGE_CODE + code("refit/finetune.py"),
        perceptual_weights("refit"),
        source=refit_source,
        centres="models/{dataset}/refit_k{k}_p{p}/centres.npy",
        data="data/{dataset}/train.npy",
    output:
        checkpoint="models/{dataset}/refit_k{k}_p{p}/first_stage.safetensors",
        curve="models/{dataset}/refit_k{k}_p{p}/first_stage.csv",
    log:
        "logs/refit/{dataset}_refit_k{k}_p{p}_finetune.log",
    benchmark:
        "benchmarks/refit/{dataset}_refit_k{k}_p{p}_finetune.tsv"
    priority: 40
    retries: RETRIES
    conda:
        "../envs/vqddm.yaml"
    threads: 1
    resources:
        **training_on("refit"),
        mem_mb=growing(16000),
        runtime=JOB_MINUTES,
    params:
        refit=section("refit"),
    shell:
        "vqddm launch --processes {resources.processes} --nodes {resources.nodes}"
        " refit finetune --source {input.source} --centres {input.centres} --data {input.data}"
        " --params {params.refit:q} --state state/{wildcards.dataset}/refit_k{wildcards.k}_p{wildcards.p}"
        " --out {output.checkpoint} --curve {output.curve} --threads {threads} > {log} 2>&1"


rule encode_codes:
    input:
        code("refit/codes.py", "vqgan/codec.py", "vqgan/model.py", "vqgan/layers.py"),
        first_stage=f"{MODEL}/first_stage.safetensors",
        train="data/{dataset}/train.npy",
        test="data/{dataset}/test.npy",
    output:
        train=f"{MODEL}/codes_train.npy",
        test=f"{MODEL}/codes_test.npy",
    log:
        "logs/refit/{dataset}_{first_stage}_codes.log",
    benchmark:
        "benchmarks/refit/{dataset}_{first_stage}_codes.tsv"
    priority: 40
    retries: RETRIES
    conda:
        "../envs/vqddm.yaml"
    threads: 1
    resources:
        **ON_GPU,
        mem_mb=growing(16000),
        runtime=JOB_MINUTES,
    shell:
        "vqddm refit encode --first-stage {input.first_stage} --data {input.train} --data {input.test}"
        " --out {output.train} --out {output.test} --threads {threads} > {log} 2>&1"
