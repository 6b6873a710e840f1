"""Step `refit`: rebuilt codebooks, fine-tuned first stages, code maps."""

# A first stage that is made from another one, and the checkpoint of that.
FINE_TUNED = [about.pattern for about in FIRST_STAGES.values() if about.fine_tunes]
checkpoint_of = f"{MODEL}/first_stage.safetensors".format


rule rebuild_codebook:
    input:
        code("refit.rebuild"),
        source=lambda wildcards: checkpoint_of(
            dataset=wildcards.dataset,
            first_stage=in_dataset(wildcards, "refit.source"),
        ),
        data=f"{DATA}/train.npy",
    output:
        "models/{dataset}/rebuilt_k{k}_p{p}/first_stage.safetensors",
    log:
        logs("refit/{dataset}_rebuilt_k{k}_p{p}"),
    benchmark:
        benchmarks("refit/{dataset}_rebuilt_k{k}_p{p}")
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
        source=lambda wildcards: checkpoint_of(
            dataset=wildcards.dataset, first_stage=begins_with(wildcards.first_stage)
        ),
        data=f"{DATA}/train.npy",
        validation=held_out(f"{DATA}/validation.npy"),
    output:
        checkpoint=f"{MODEL}/first_stage.safetensors",
        curve=f"{MODEL}/first_stage.csv",
    log:
        logs("refit/{dataset}_{first_stage}_finetune"),
    benchmark:
        benchmarks("refit/{dataset}_{first_stage}_finetune")
    wildcard_constraints:
        first_stage="|".join(FINE_TUNED),
    priority: 40
    retries: RETRIES
    conda:
        ENV
    resources:
        **training_on("refit"),
    params:
        refit=section("refit"),
        validation=validation_option,
    shell:
        "vqddm launch --processes {resources.processes} --nodes {resources.nodes}"
        " refit finetune --source {input.source:q} --data {input.data:q} --params {params.refit:q}"
        " --state state/{wildcards.dataset:q}/{wildcards.first_stage:q} --out {output.checkpoint:q}"
        " --curve {output.curve:q} {params.validation} --threads {threads} > {log:q} 2>&1"


rule encode_shard:
    # All `ancient`: whether batches are encoded anew is decided by the encoding that asks for them.
    input:
        ancient(lambda wildcards: code("refit.codes", kind(wildcards).model)),
        first_stage=ancient(f"{MODEL}/first_stage.safetensors"),
        train=ancient(f"{DATA}/train.npy"),
        test=ancient(f"{DATA}/test.npy"),
        validation=ancient(f"{DATA}/validation.npy"),
    output:
        temp(touch(shard_of(ENCODING))),
    log:
        logs("refit/{dataset}_{first_stage}_codes_{scatteritem}"),
    benchmark:
        benchmarks("refit/{dataset}_{first_stage}_codes_{scatteritem}")
    priority: 40
    retries: RETRIES
    conda:
        ENV
    resources:
        **on_gpu(),
    params:
        state=ENCODING,
    shell:
        "vqddm refit encode-shard --first-stage {input.first_stage:q}"
        " --data {input.train:q} --data {input.test:q} --data {input.validation:q}"
        " --shard {wildcards.scatteritem:q} --state state/{params.state:q} --threads {threads} > {log:q} 2>&1"


rule gather_codes:
    input:
        shards("codes", ENCODING),
    output:
        temp(touch(all_of(ENCODING))),


rule encode_codes:
    input:
        lambda wildcards: code("refit.codes", kind(wildcards).model),
        first_stage=f"{MODEL}/first_stage.safetensors",
        train=f"{DATA}/train.npy",
        test=f"{DATA}/test.npy",
        validation=f"{DATA}/validation.npy",
        encoded=all_of(ENCODING),
    output:
        train=f"{MODEL}/codes_train.npy",
        test=f"{MODEL}/codes_test.npy",
        validation=f"{MODEL}/codes_validation.npy",
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
    params:
        state=ENCODING,
    shell:
        "vqddm refit encode --first-stage {input.first_stage:q}"
        " --data {input.train:q} --data {input.test:q} --data {input.validation:q} --state state/{params.state:q}"
        " --out {output.train:q} --out {output.test:q} --out {output.validation:q} --threads {threads} > {log:q} 2>&1"
