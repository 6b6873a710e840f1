"""Step `baselines`: what the paper compares with, other codebooks, priors over the same codes, pixel diffusion."""

TRANSFORMER_CODE = code(
    "baselines/transformer/network.py", "baselines/transformer/raster.py", "prior/diffusion.py"
)
CODEBOOK_CODE = code(
    "baselines/codebooks.py",
    "baselines/vqvae2/model.py",
    "baselines/dvae/model.py",
    "vqgan/model.py",
    "vqgan/layers.py",
    "training.py",
    "state.py",
    "data/arrays.py",
)
DDPM_CODE = code("baselines/ddpm/network.py")
ABSORBING_CODE = code(
    "prior/absorbing.py",
    "prior/diffusion.py",
    "prior/chain.py",
    "prior/schedule.py",
    "prior/unet.py",
)


rule train_vqvae2:
    input:
        CODEBOOK_CODE,
        data="data/{dataset}/train.npy",
    output:
        checkpoint="models/{dataset}/vqvae2_k{k}/first_stage.safetensors",
        curve="models/{dataset}/vqvae2_k{k}/first_stage.csv",
    log:
        "logs/baselines/{dataset}_vqvae2_k{k}.log",
    benchmark:
        "benchmarks/baselines/{dataset}_vqvae2_k{k}.tsv"
    priority: 45
    retries: RETRIES
    conda:
        "../envs/vqddm.yaml"
    threads: 1
    resources:
        **training_on("vqvae2"),
        mem_mb=growing(16000),
        runtime=JOB_MINUTES,
    params:
        autoencoder=section("vqgan.autoencoder"),
        vqvae2=section("vqvae2"),
    shell:
        "vqddm launch --processes {resources.processes} --nodes {resources.nodes}"
        " baselines train-vqvae2 --data {input.data} --autoencoder {params.autoencoder:q}"
        " --params {params.vqvae2:q} --codebook-size {wildcards.k}"
        " --state state/{wildcards.dataset}/vqvae2_k{wildcards.k} --out {output.checkpoint}"
        " --curve {output.curve} --threads {threads} > {log} 2>&1"


rule train_dvae:
    input:
        CODEBOOK_CODE,
        data="data/{dataset}/train.npy",
    output:
        checkpoint="models/{dataset}/dvae_k{k}/first_stage.safetensors",
        curve="models/{dataset}/dvae_k{k}/first_stage.csv",
    log:
        "logs/baselines/{dataset}_dvae_k{k}.log",
    benchmark:
        "benchmarks/baselines/{dataset}_dvae_k{k}.tsv"
    priority: 45
    retries: RETRIES
    conda:
        "../envs/vqddm.yaml"
    threads: 1
    resources:
        **training_on("dvae"),
        mem_mb=growing(16000),
        runtime=JOB_MINUTES,
    params:
        autoencoder=section("vqgan.autoencoder"),
        dvae=section("dvae"),
    shell:
        "vqddm launch --processes {resources.processes} --nodes {resources.nodes}"
        " baselines train-dvae --data {input.data} --autoencoder {params.autoencoder:q}"
        " --params {params.dvae:q} --codebook-size {wildcards.k}"
        " --state state/{wildcards.dataset}/dvae_k{wildcards.k} --out {output.checkpoint}"
        " --curve {output.curve} --threads {threads} > {log} 2>&1"


rule train_transformer:
    input:
        code(
            "baselines/transformer/network.py",
            "baselines/transformer/train.py",
            "training.py",
            "state.py",
        ),
        codes=f"{MODEL}/codes_train.npy",
    output:
        checkpoint=f"{MODEL}/transformer.safetensors",
        curve=f"{MODEL}/transformer.csv",
    log:
        "logs/baselines/{dataset}_{first_stage}_transformer_train.log",
    benchmark:
        "benchmarks/baselines/{dataset}_{first_stage}_transformer_train.tsv"
    priority: 55
    retries: RETRIES
    conda:
        "../envs/vqddm.yaml"
    threads: 1
    resources:
        **training_on("baselines.transformer"),
        mem_mb=growing(16000),
        runtime=JOB_MINUTES,
    params:
        transformer=section("baselines.transformer"),
        codebook_size=lambda wildcards: codebook_size(wildcards.first_stage),
    shell:
        "vqddm launch --processes {resources.processes} --nodes {resources.nodes}"
        " baselines train-transformer --codes {input.codes} --params {params.transformer:q}"
        " --codebook-size {params.codebook_size}"
        " --state state/{wildcards.dataset}/{wildcards.first_stage}_transformer --out {output.checkpoint}"
        " --curve {output.curve} --threads {threads} > {log} 2>&1"


rule sample_transformer:
    input:
        TRANSFORMER_CODE,
        code("baselines/transformer/sample.py", "prior/sample.py"),
        DECODER_CODE,
        transformer=f"{MODEL}/transformer.safetensors",
        first_stage=f"{MODEL}/first_stage.safetensors",
    output:
        images=f"{MODEL}/transformer_samples.npy",
        codes=f"{MODEL}/transformer_sampled_codes.npy",
    log:
        "logs/baselines/{dataset}_{first_stage}_transformer_samples.log",
    benchmark:
        "benchmarks/baselines/{dataset}_{first_stage}_transformer_samples.tsv"
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
        "vqddm baselines sample-transformer --transformer {input.transformer} --first-stage {input.first_stage}"
        " --count {params.images} --seed {params.seed} --temperature {params.temperature}"
        " --state state/{wildcards.dataset}/{wildcards.first_stage}_transformer_samples"
        " --codes {output.codes} --out {output.images} --threads {threads} > {log} 2>&1"


rule inpaint_transformer:
    input:
        TRANSFORMER_CODE,
        code("baselines/transformer/sample.py", "prior/inpaint.py"),
        DECODER_CODE,
        transformer=f"{MODEL}/transformer.safetensors",
        first_stage=f"{MODEL}/first_stage.safetensors",
        data="data/{dataset}/test.npy",
    output:
        f"{MODEL}/transformer_inpainting.npz",
    log:
        "logs/baselines/{dataset}_{first_stage}_transformer_inpainting.log",
    benchmark:
        "benchmarks/baselines/{dataset}_{first_stage}_transformer_inpainting.tsv"
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
        "vqddm baselines inpaint-transformer --transformer {input.transformer} --first-stage {input.first_stage}"
        " --data {input.data} --count {params.images} --encode {params.encode} --seed {params.seed}"
        " --temperature {params.temperature} --out {output} --threads {threads} > {log} 2>&1"


rule train_absorbing:
    input:
        ABSORBING_CODE,
        code("prior/train.py", "prior/timesteps.py", "training.py", "state.py"),
        codes=f"{MODEL}/codes_train.npy",
    output:
        checkpoint=f"{MODEL}/absorbing.safetensors",
        curve=f"{MODEL}/absorbing.csv",
    log:
        "logs/baselines/{dataset}_{first_stage}_absorbing_train.log",
    benchmark:
        "benchmarks/baselines/{dataset}_{first_stage}_absorbing_train.tsv"
    priority: 55
    retries: RETRIES
    conda:
        "../envs/vqddm.yaml"
    threads: 1
    resources:
        **training_on("baselines.absorbing"),
        mem_mb=growing(16000),
        runtime=JOB_MINUTES,
    params:
        prior=section("baselines.absorbing"),
        codebook_size=lambda wildcards: codebook_size(wildcards.first_stage),
    shell:
        "vqddm launch --processes {resources.processes} --nodes {resources.nodes}"
        " prior train --codes {input.codes} --params {params.prior:q} --codebook-size {params.codebook_size}"
        " --state state/{wildcards.dataset}/{wildcards.first_stage}_absorbing --out {output.checkpoint}"
        " --curve {output.curve} --threads {threads} > {log} 2>&1"


rule sample_absorbing:
    input:
        ABSORBING_CODE,
        DECODER_CODE,
        code("prior/sample.py"),
        prior=f"{MODEL}/absorbing.safetensors",
        first_stage=f"{MODEL}/first_stage.safetensors",
    output:
        images=f"{MODEL}/absorbing_samples.npy",
        codes=f"{MODEL}/absorbing_sampled_codes.npy",
    log:
        "logs/baselines/{dataset}_{first_stage}_absorbing_samples.log",
    benchmark:
        "benchmarks/baselines/{dataset}_{first_stage}_absorbing_samples.tsv"
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
        steps=absorbing_timesteps,
    shell:
        "vqddm prior sample --prior {input.prior} --first-stage {input.first_stage} --steps {params.steps}"
        " --count {params.images} --seed {params.seed} --temperature {params.temperature}"
        " --state state/{wildcards.dataset}/{wildcards.first_stage}_absorbing_samples"
        " --codes {output.codes} --out {output.images} --threads {threads} > {log} 2>&1"


rule measure_baseline_samples:
    input:
        DISTANCE_CODE,
        FEATURE_WEIGHTS,
        samples=f"{MODEL}/{{baseline}}_samples.npy",
        reference="models/{dataset}/features_train.npy",
    output:
        f"{METRICS}/{{dataset}}/{{first_stage}}/{{baseline}}_samples.json",
    log:
        "logs/baselines/{dataset}_{first_stage}_{baseline}_measured.log",
    benchmark:
        "benchmarks/baselines/{dataset}_{first_stage}_{baseline}_measured.tsv"
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
        "vqddm evaluate samples --samples {input.samples} --reference {input.reference}"
        " --temperature {params.temperature} --network {params.network} --draws {params.draws} --seed {params.seed}"
        " --out {output} --threads {threads} > {log} 2>&1"


rule measure_transformer_likelihood:
    input:
        TRANSFORMER_CODE,
        code("evaluate/likelihood.py"),
        transformer=f"{MODEL}/transformer.safetensors",
        codes_train=f"{MODEL}/codes_train.npy",
        codes_test=f"{MODEL}/codes_test.npy",
    output:
        f"{METRICS}/{{dataset}}/{{first_stage}}/transformer_likelihood.json",
    log:
        "logs/baselines/{dataset}_{first_stage}_transformer_likelihood.log",
    benchmark:
        "benchmarks/baselines/{dataset}_{first_stage}_transformer_likelihood.tsv"
    conda:
        "../envs/vqddm.yaml"
    threads: 1
    resources:
        **ON_GPU,
        mem_mb=growing(16000),
        runtime=JOB_MINUTES,
    params:
        images=evaluation("nll_images"),
    shell:
        "vqddm evaluate transformer-likelihood --transformer {input.transformer} --codes-train {input.codes_train}"
        " --codes-test {input.codes_test} --images {params.images} --out {output} --threads {threads} > {log} 2>&1"


rule measure_absorbing_likelihood:
    input:
        ABSORBING_CODE,
        code("evaluate/likelihood.py", "prior/likelihood.py"),
        prior=f"{MODEL}/absorbing.safetensors",
        codes_train=f"{MODEL}/codes_train.npy",
        codes_test=f"{MODEL}/codes_test.npy",
    output:
        f"{METRICS}/{{dataset}}/{{first_stage}}/absorbing_likelihood.json",
    log:
        "logs/baselines/{dataset}_{first_stage}_absorbing_likelihood.log",
    benchmark:
        "benchmarks/baselines/{dataset}_{first_stage}_absorbing_likelihood.tsv"
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


rule measure_transformer_inpainting:
    input:
        INPAINTING_CODE,
        FEATURE_WEIGHTS,
        pictures=f"{MODEL}/transformer_inpainting.npz",
        against=f"{MODEL}/inpainting.npz",
        reference="models/{dataset}/features_train.npy",
    output:
        f"{METRICS}/{{dataset}}/{{first_stage}}/transformer_inpainting.json",
    log:
        "logs/baselines/{dataset}_{first_stage}_transformer_inpainting_measured.log",
    benchmark:
        "benchmarks/baselines/{dataset}_{first_stage}_transformer_inpainting_measured.tsv"
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
        "vqddm evaluate inpainting --pictures {input.pictures} --against {input.against}"
        " --reference {input.reference} --network {params.network} --draws {params.draws}"
        " --out {output} --threads {threads} > {log} 2>&1"


rule count_transformer:
    input:
        code(
            "evaluate/networks.py",
            "evaluate/counts.py",
            "vqgan/layers.py",
            "vqgan/model.py",
            "baselines/transformer/network.py",
        ),
    output:
        f"{METRICS}/{{dataset}}/{{first_stage}}/transformer_counts.json",
    log:
        "logs/baselines/{dataset}_{first_stage}_transformer_counts.log",
    benchmark:
        "benchmarks/baselines/{dataset}_{first_stage}_transformer_counts.tsv"
    localrule: True
    conda:
        "../envs/vqddm.yaml"
    threads: 1
    params:
        vqgan=section("vqgan"),
        transformer=section("baselines.transformer"),
        codebook_size=lambda wildcards: codebook_size(wildcards.first_stage),
    shell:
        "vqddm evaluate transformer-counts --vqgan {params.vqgan:q} --transformer {params.transformer:q}"
        " --codebook-size {params.codebook_size} --out {output} > {log} 2>&1"


rule train_ddpm:
    input:
        DDPM_CODE,
        code("baselines/ddpm/train.py", "training.py", "state.py", "data/arrays.py"),
        data="data/{dataset}/train.npy",
    output:
        checkpoint="models/{dataset}/ddpm.safetensors",
        curve="models/{dataset}/ddpm.csv",
    log:
        "logs/baselines/{dataset}_ddpm_train.log",
    benchmark:
        "benchmarks/baselines/{dataset}_ddpm_train.tsv"
    priority: 55
    retries: RETRIES
    conda:
        "../envs/vqddm.yaml"
    threads: 1
    resources:
        **training_on("baselines.ddpm"),
        mem_mb=growing(16000),
        runtime=JOB_MINUTES,
    params:
        ddpm=section("baselines.ddpm"),
    shell:
        "vqddm launch --processes {resources.processes} --nodes {resources.nodes}"
        " baselines train-ddpm --data {input.data} --params {params.ddpm:q}"
        " --state state/{wildcards.dataset}/ddpm --out {output.checkpoint}"
        " --curve {output.curve} --threads {threads} > {log} 2>&1"


rule sample_ddim:
    input:
        DDPM_CODE,
        code("baselines/ddpm/sample.py", "prior/sample.py", "prior/diffusion.py"),
        ddpm="models/{dataset}/ddpm.safetensors",
    output:
        "models/{dataset}/ddim_samples_{steps}.npy",
    log:
        "logs/baselines/{dataset}_ddim_samples_{steps}.log",
    benchmark:
        "benchmarks/baselines/{dataset}_ddim_samples_{steps}.tsv"
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
    shell:
        "vqddm baselines sample-ddpm --ddpm {input.ddpm} --steps {wildcards.steps} --count {params.images}"
        " --seed {params.seed} --state state/{wildcards.dataset}/ddim_samples_{wildcards.steps}"
        " --out {output} --threads {threads} > {log} 2>&1"


rule measure_ddim_samples:
    input:
        DISTANCE_CODE,
        FEATURE_WEIGHTS,
        samples="models/{dataset}/ddim_samples_{steps}.npy",
        reference="models/{dataset}/features_train.npy",
    output:
        f"{METRICS}/{{dataset}}/ddim_samples_{{steps}}.json",
    log:
        "logs/baselines/{dataset}_ddim_samples_{steps}_measured.log",
    benchmark:
        "benchmarks/baselines/{dataset}_ddim_samples_{steps}_measured.tsv"
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
    shell:
        "vqddm evaluate samples --samples {input.samples} --reference {input.reference} --steps {wildcards.steps}"
        " --network {params.network} --draws {params.draws} --seed {params.seed}"
        " --out {output} --threads {threads} > {log} 2>&1"


rule count_ddpm:
    input:
        DDPM_CODE,
        code("evaluate/networks.py", "evaluate/counts.py"),
    output:
        f"{METRICS}/{{dataset}}/ddpm_counts.json",
    log:
        "logs/baselines/{dataset}_ddpm_counts.log",
    benchmark:
        "benchmarks/baselines/{dataset}_ddpm_counts.tsv"
    localrule: True
    conda:
        "../envs/vqddm.yaml"
    threads: 1
    params:
        ddpm=section("baselines.ddpm"),
        resolution=resolution,
    shell:
        "vqddm evaluate ddpm-counts --ddpm {params.ddpm:q} --resolution {params.resolution} --out {output} > {log} 2>&1"
