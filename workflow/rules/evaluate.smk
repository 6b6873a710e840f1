"""Step `evaluate`: every measured number, as small JSON."""

NETWORK = evaluation("features")
SEED, DRAWS = evaluation("seed"), evaluation("draws")
DISTANCE_CODE = code(
    "evaluate/measure.py",
    "evaluate/features.py",
    "evaluate/distances.py",
    "evaluate/draws.py",
    "vqgan/perceptual.py",
)
INPAINTING_CODE = DISTANCE_CODE + code(
    "evaluate/inpainting.py", "evaluate/agreement.py"
)


rule extract_features:
    input:
        code("evaluate/measure.py", "evaluate/features.py", "vqgan/perceptual.py"),
        FEATURE_WEIGHTS,
        data="data/{dataset}/{split}.npy",
    output:
        "models/{dataset}/features_{split}.npy",
    log:
        "logs/evaluate/{dataset}_features_{split}.log",
    benchmark:
        "benchmarks/evaluate/{dataset}_features_{split}.tsv"
    conda:
        "../envs/vqddm.yaml"
    threads: 1
    resources:
        **ON_GPU,
        mem_mb=growing(16000),
        runtime=240,
    params:
        network=NETWORK,
        images=feature_count,
    shell:
        "vqddm evaluate features --data {input.data} --network {params.network} --count {params.images}"
        " --out {output} --threads {threads} > {log} 2>&1"


rule measure_floor:
    input:
        code("evaluate/measure.py", "evaluate/distances.py", "evaluate/draws.py"),
        train="models/{dataset}/features_train.npy",
        test="models/{dataset}/features_test.npy",
    output:
        f"{METRICS}/{{dataset}}/floor.json",
    log:
        "logs/evaluate/{dataset}_floor.log",
    benchmark:
        "benchmarks/evaluate/{dataset}_floor.tsv"
    localrule: True
    conda:
        "../envs/vqddm.yaml"
    threads: 1
    params:
        network=NETWORK,
        draws=DRAWS,
        seed=SEED,
    shell:
        "vqddm evaluate floor --train {input.train} --test {input.test} --network {params.network}"
        " --draws {params.draws} --seed {params.seed} --out {output} > {log} 2>&1"


rule measure_reconstruction:
    input:
        DISTANCE_CODE,
        DECODER_CODE,
        FEATURE_WEIGHTS,
        first_stage=f"{MODEL}/first_stage.safetensors",
        codes_train=f"{MODEL}/codes_train.npy",
        codes_test=f"{MODEL}/codes_test.npy",
        test="data/{dataset}/test.npy",
        reference="models/{dataset}/features_train.npy",
    output:
        metrics=f"{METRICS}/{{dataset}}/{{first_stage}}/reconstruction.json",
        pictures=f"{MODEL}/reconstructions.npz",
    log:
        "logs/evaluate/{dataset}_{first_stage}_reconstruction.log",
    benchmark:
        "benchmarks/evaluate/{dataset}_{first_stage}_reconstruction.tsv"
    retries: RETRIES
    conda:
        "../envs/vqddm.yaml"
    threads: 1
    resources:
        **ON_GPU,
        mem_mb=growing(16000),
        runtime=JOB_MINUTES,
    params:
        images=at_most("reconstructions"),
        network=NETWORK,
        draws=DRAWS,
        seed=SEED,
        sampled=lambda wildcards: sampled_features_option(wildcards.first_stage),
    shell:
        "vqddm evaluate reconstruction --first-stage {input.first_stage} --codes-train {input.codes_train}"
        " --codes-test {input.codes_test} --test {input.test} --reference {input.reference} {params.sampled}"
        " --images {params.images} --network {params.network} --draws {params.draws} --seed {params.seed}"
        " --out {output.metrics} --pictures {output.pictures} --threads {threads} > {log} 2>&1"


rule measure_samples:
    input:
        DISTANCE_CODE,
        FEATURE_WEIGHTS,
        samples=f"{MODEL}/samples_{{steps}}.npy",
        reference="models/{dataset}/features_train.npy",
    output:
        f"{METRICS}/{{dataset}}/{{first_stage}}/samples_{{steps}}.json",
    log:
        "logs/evaluate/{dataset}_{first_stage}_samples_{steps}.log",
    benchmark:
        "benchmarks/evaluate/{dataset}_{first_stage}_samples_{steps}.tsv"
    conda:
        "../envs/vqddm.yaml"
    threads: 1
    resources:
        **ON_GPU,
        mem_mb=growing(16000),
        runtime=240,
    params:
        network=NETWORK,
        draws=DRAWS,
        seed=SEED,
        temperature=evaluation("temperature"),
    shell:
        "vqddm evaluate samples --samples {input.samples} --reference {input.reference} --steps {wildcards.steps}"
        " --temperature {params.temperature} --network {params.network} --draws {params.draws} --seed {params.seed}"
        " --out {output} --threads {threads} > {log} 2>&1"


rule measure_likelihood:
    input:
        code(
            "evaluate/likelihood.py",
            "prior/likelihood.py",
            "prior/diffusion.py",
            "prior/schedule.py",
            "prior/unet.py",
        ),
        prior=f"{MODEL}/prior.safetensors",
        codes_train=f"{MODEL}/codes_train.npy",
        codes_test=f"{MODEL}/codes_test.npy",
    output:
        f"{METRICS}/{{dataset}}/{{first_stage}}/likelihood.json",
    log:
        "logs/evaluate/{dataset}_{first_stage}_likelihood.log",
    benchmark:
        "benchmarks/evaluate/{dataset}_{first_stage}_likelihood.tsv"
    conda:
        "../envs/vqddm.yaml"
    threads: 1
    resources:
        **ON_GPU,
        mem_mb=growing(16000),
        runtime=JOB_MINUTES,
    params:
        images=evaluation("nll_images"),
        seed=SEED,
    shell:
        "vqddm evaluate likelihood --prior {input.prior} --codes-train {input.codes_train}"
        " --codes-test {input.codes_test} --images {params.images} --seed {params.seed}"
        " --out {output} --threads {threads} > {log} 2>&1"


rule count_networks:
    input:
        code(
            "evaluate/networks.py",
            "evaluate/counts.py",
            "vqgan/layers.py",
            "vqgan/model.py",
            "prior/unet.py",
        ),
    output:
        f"{METRICS}/{{dataset}}/{{first_stage}}/counts.json",
    log:
        "logs/evaluate/{dataset}_{first_stage}_counts.log",
    benchmark:
        "benchmarks/evaluate/{dataset}_{first_stage}_counts.tsv"
    localrule: True
    conda:
        "../envs/vqddm.yaml"
    threads: 1
    params:
        vqgan=section("vqgan"),
        prior=section("prior"),
        codebook_size=lambda wildcards: codebook_size(wildcards.first_stage),
    shell:
        "vqddm evaluate counts --vqgan {params.vqgan:q} --prior {params.prior:q}"
        " --codebook-size {params.codebook_size} --out {output} > {log} 2>&1"


rule count_paper_networks:
    input:
        code(
            "evaluate/networks.py",
            "evaluate/counts.py",
            "vqgan/layers.py",
            "vqgan/model.py",
            "prior/unet.py",
            "baselines/transformer/network.py",
            "baselines/ddpm/network.py",
        ),
    output:
        f"{METRICS}/paper_counts.json",
    log:
        "logs/evaluate/paper_counts.log",
    benchmark:
        "benchmarks/evaluate/paper_counts.tsv"
    localrule: True
    conda:
        "../envs/vqddm.yaml"
    threads: 1
    shell:
        "vqddm evaluate paper-counts --out {output} > {log} 2>&1"


rule measure_speed:
    input:
        code(
            "evaluate/speed.py",
            "evaluate/draws.py",
            "prior/sample.py",
            "prior/diffusion.py",
            "prior/unet.py",
            "baselines/transformer/network.py",
            "baselines/transformer/raster.py",
            "baselines/ddpm/network.py",
        ),
        DECODER_CODE,
        prior=lambda wildcards: f"models/{wildcards.dataset}/{main_prior_of(wildcards.dataset)}/prior.safetensors",
        first_stage=lambda wildcards: f"models/{wildcards.dataset}/{main_prior_of(wildcards.dataset)}/first_stage.safetensors",
        transformer=transformer_of,
        ddpm=ddpm_of,
    output:
        f"{METRICS}/{{dataset}}/speed.json",
    log:
        "logs/evaluate/{dataset}_speed.log",
    benchmark:
        "benchmarks/evaluate/{dataset}_speed.tsv"
    conda:
        "../envs/vqddm.yaml"
    threads: lambda wildcards: workflow.cores  # alone on the machine, so that nothing disturbs the clock
    resources:
        **ON_GPU,
        mem_mb=growing(16000),
        runtime=60,
    params:
        name=lambda wildcards: main_prior_of(wildcards.dataset),
        transformer=lambda wildcards, input: (
            f"--transformer {input.transformer}" if input.transformer else ""
        ),
        ddpm=lambda wildcards, input: f"--ddpm {input.ddpm}" if input.ddpm else "",
    shell:
        "vqddm evaluate speed --prior {input.prior} --first-stage {input.first_stage} --name {params.name}"
        " {params.transformer} {params.ddpm}"
        " --out {output} --threads {threads} > {log} 2>&1"


rule cost:
    # No part of the paper: `make cost` asks for it.
    input:
        code("evaluate/cost.py"),
    output:
        f"{RESULTS}/cost.csv",
    log:
        f"{LOGS}/evaluate/cost.log",
    benchmark:
        f"{BENCHMARKS}/evaluate/cost.tsv"
    conda:
        "../envs/vqddm.yaml"
    threads: lambda wildcards: workflow.cores  # alone on the machine, so that nothing disturbs the clock
    resources:
        **ON_GPU,
        mem_mb=growing(32000),
        runtime=240,
    params:
        params=to_json(config),
    shell:
        "vqddm evaluate cost --params {params.params:q} --out {output} --threads {threads} 2>&1 | tee {log}"


rule draw_chain:
    input:
        code(
            "evaluate/chain.py",
            "prior/diffusion.py",
            "prior/schedule.py",
            "prior/unet.py",
        ),
        prior=f"{MODEL}/prior.safetensors",
        first_stage=f"{MODEL}/first_stage.safetensors",
        data="data/{dataset}/test.npy",
    output:
        f"{MODEL}/chain.npz",
    log:
        "logs/evaluate/{dataset}_{first_stage}_chain.log",
    benchmark:
        "benchmarks/evaluate/{dataset}_{first_stage}_chain.tsv"
    conda:
        "../envs/vqddm.yaml"
    threads: 1
    resources:
        **ON_GPU,
        mem_mb=growing(16000),
        runtime=30,
    params:
        seed=SEED,
    shell:
        "vqddm evaluate chain --prior {input.prior} --first-stage {input.first_stage} --data {input.data}"
        " --seed {params.seed} --out {output} --threads {threads} > {log} 2>&1"


rule measure_inpainting:
    input:
        INPAINTING_CODE,
        FEATURE_WEIGHTS,
        pictures=f"{MODEL}/inpainting.npz",
        reference="models/{dataset}/features_train.npy",
    output:
        f"{METRICS}/{{dataset}}/{{first_stage}}/inpainting.json",
    log:
        "logs/evaluate/{dataset}_{first_stage}_inpainting.log",
    benchmark:
        "benchmarks/evaluate/{dataset}_{first_stage}_inpainting.tsv"
    conda:
        "../envs/vqddm.yaml"
    threads: 1
    resources:
        **ON_GPU,
        mem_mb=growing(16000),
        runtime=60,
    params:
        network=NETWORK,
        draws=DRAWS,
    shell:
        "vqddm evaluate inpainting --pictures {input.pictures} --reference {input.reference}"
        " --network {params.network} --draws {params.draws} --out {output} --threads {threads} > {log} 2>&1"


rule find_neighbours:
    input:
        code("evaluate/neighbours.py", "vqgan/perceptual.py"),
        samples=lambda wildcards: f"models/{wildcards.dataset}/{wildcards.first_stage}/samples_{timesteps(wildcards.dataset)}.npy",
        train="data/{dataset}/train.npy",
    output:
        f"{MODEL}/neighbours.npz",
    log:
        "logs/evaluate/{dataset}_{first_stage}_neighbours.log",
    benchmark:
        "benchmarks/evaluate/{dataset}_{first_stage}_neighbours.tsv"
    conda:
        "../envs/vqddm.yaml"
    threads: 1
    resources:
        **ON_GPU,
        mem_mb=growing(16000),
        runtime=240,
    params:
        samples=evaluation("neighbour_samples"),
        neighbours=evaluation("neighbours"),
    shell:
        "vqddm evaluate neighbours --samples {input.samples} --train {input.train}"
        " --count {params.samples} --neighbours {params.neighbours} --out {output} --threads {threads} > {log} 2>&1"
