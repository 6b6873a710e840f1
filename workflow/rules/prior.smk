"""Step `prior`: the discrete diffusion prior, its samples and inpaintings."""

DECODER_CODE = code("vqgan/codec.py", "vqgan/model.py", "vqgan/layers.py")


rule train_prior:
    input:
        code(
            "prior/train.py",
            "prior/schedule.py",
            "prior/diffusion.py",
            "prior/unet.py",
            "prior/timesteps.py",
            "training.py",
            "state.py",
        ),
        codes=f"{MODEL}/codes_train.npy",
    output:
        checkpoint=f"{MODEL}/prior.safetensors",
        curve=f"{MODEL}/prior.csv",
    log:
        "logs/prior/{dataset}_{first_stage}_train.log",
    benchmark:
        "benchmarks/prior/{dataset}_{first_stage}_train.tsv"
    priority: 60
    retries: RETRIES
    conda:
        "../envs/vqddm.yaml"
    threads: 1
    resources:
        **training_on("prior"),
        mem_mb=growing(16000),
        runtime=JOB_MINUTES,
    params:
        prior=section("prior"),
        codebook_size=lambda wildcards: codebook_size(wildcards.first_stage),
    shell:
        "vqddm launch --processes {resources.processes} --nodes {resources.nodes}"
        " prior train --codes {input.codes} --params {params.prior:q} --codebook-size {params.codebook_size}"
        " --state state/{wildcards.dataset}/{wildcards.first_stage}_prior --out {output.checkpoint}"
        " --curve {output.curve} --threads {threads} > {log} 2>&1"


rule sample_images:
    input:
        code(
            "prior/sample.py",
            "prior/diffusion.py",
            "prior/schedule.py",
            "prior/unet.py",
        ),
        DECODER_CODE,
        prior=f"{MODEL}/prior.safetensors",
        first_stage=f"{MODEL}/first_stage.safetensors",
    output:
        images=f"{MODEL}/samples_{{steps}}.npy",
        codes=f"{MODEL}/sampled_codes_{{steps}}.npy",
    log:
        "logs/prior/{dataset}_{first_stage}_samples_{steps}.log",
    benchmark:
        "benchmarks/prior/{dataset}_{first_stage}_samples_{steps}.tsv"
    retries: RETRIES
    conda:
        "../envs/vqddm.yaml"
    threads: 1
    resources:
        **ON_GPU,
        mem_mb=growing(16000),
        runtime=JOB_MINUTES,
    params:
        images=evaluation("samples"),
        seed=evaluation("seed"),
        temperature=evaluation("temperature"),
    shell:
        "vqddm prior sample --prior {input.prior} --first-stage {input.first_stage} --steps {wildcards.steps}"
        " --count {params.images} --seed {params.seed} --temperature {params.temperature}"
        " --state state/{wildcards.dataset}/{wildcards.first_stage}_samples_{wildcards.steps}"
        " --codes {output.codes} --out {output.images} --threads {threads} > {log} 2>&1"


rule inpaint_images:
    input:
        code(
            "prior/inpaint.py",
            "prior/sample.py",
            "prior/diffusion.py",
            "prior/schedule.py",
            "prior/unet.py",
        ),
        DECODER_CODE,
        prior=f"{MODEL}/prior.safetensors",
        first_stage=f"{MODEL}/first_stage.safetensors",
        data="data/{dataset}/test.npy",
    output:
        f"{MODEL}/inpainting.npz",
    log:
        "logs/prior/{dataset}_{first_stage}_inpainting.log",
    benchmark:
        "benchmarks/prior/{dataset}_{first_stage}_inpainting.tsv"
    conda:
        "../envs/vqddm.yaml"
    threads: 1
    resources:
        **ON_GPU,
        mem_mb=growing(16000),
        runtime=240,
    params:
        images=at_most("inpaintings", "test"),
        encode=evaluation("inpainting_encodes"),
        seed=evaluation("seed"),
        temperature=evaluation("temperature"),
    shell:
        "vqddm prior inpaint --prior {input.prior} --first-stage {input.first_stage} --data {input.data}"
        " --count {params.images} --encode {params.encode} --seed {params.seed}"
        " --temperature {params.temperature} --out {output} --threads {threads} > {log} 2>&1"
