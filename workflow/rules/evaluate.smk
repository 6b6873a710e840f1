"""Step `evaluate`: every measured number, as small JSON."""

REFERENCE = f"{EVALUATION}/features_train.npy"
METRIC = f"{METRICS}/{{dataset}}/{{first_stage}}"
METRIC_ON_PIXELS = f"{METRICS}/{{dataset}}/{PIXELS}"
COMPLETED = f"{EVALUATION}/{{first_stage}}/{{method}}_inpainting.npz"


# The first stage whose prior the figures show.
main_prior = lambda wildcards: in_dataset(wildcards, "priors")[0]
# The first stage whose prior is filmed, and its models.
FILMED = DATASETS[SUITE.datasets.celebahq].priors[0]
ON_FILM = f"models/{SUITE.datasets.celebahq}/{FILMED}"
# The methods that are timed beside its prior, and their checkpoints.
timed_beside = lambda wildcards: [
    METHODS[name]
    for name in in_dataset(wildcards, "methods")
    if "speed" in METHODS[name].commands
]
timed_checkpoints = lambda wildcards: [
    f"models/{wildcards.dataset}/{in_dataset(wildcards, 'stages')(about.name)[0]}/{about.name}.safetensors"
    for about in timed_beside(wildcards)
]


# How many pictures of a split stand for it: all that distances are measured to, or as many as are sampled.
MEASURED_BY = at_most(
    lambda wildcards: {"train": "reference", "test": "samples"}[wildcards.split],
    lambda wildcards: wildcards.split,
)


rule extract_shard:
    # All `ancient`: whether batches are extracted anew is decided by the extraction that asks for them.
    input:
        ancient(code("evaluate.measure")),
        ancient(FEATURE_WEIGHTS),
        data=ancient(f"{DATA}/{{split}}.npy"),
    output:
        temp(touch(shard_of(EXTRACTION))),
    log:
        logs(of_suite("evaluate/{dataset}_features_{split}_{scatteritem}")),
    benchmark:
        benchmarks(of_suite("evaluate/{dataset}_features_{split}_{scatteritem}"))
    wildcard_constraints:
        split="train|test",
    retries: RETRIES
    conda:
        ENV
    resources:
        **on_gpu(240),
    params:
        network=evaluation("features"),
        images=MEASURED_BY,
        state=EXTRACTION,
    shell:
        "vqddm evaluate features-shard --data {input.data:q} --network {params.network:q} --count {params.images:q}"
        " --shard {wildcards.scatteritem:q} --state state/{params.state:q} --threads {threads} > {log:q} 2>&1"


rule gather_features:
    input:
        shards("features", EXTRACTION),
    output:
        temp(touch(all_of(EXTRACTION))),


rule extract_features:
    input:
        code("evaluate.measure"),
        FEATURE_WEIGHTS,
        data=f"{DATA}/{{split}}.npy",
        extracted=all_of(EXTRACTION),
    output:
        f"{EVALUATION}/features_{{split}}.npy",
    log:
        logs(of_suite("evaluate/{dataset}_features_{split}")),
    benchmark:
        benchmarks(of_suite("evaluate/{dataset}_features_{split}"))
    wildcard_constraints:
        split="train|test",
    retries: RETRIES
    conda:
        ENV
    resources:
        **on_gpu(240),
    params:
        network=evaluation("features"),
        images=MEASURED_BY,
        state=EXTRACTION,
    shell:
        "vqddm evaluate features --data {input.data:q} --network {params.network:q} --count {params.images:q}"
        " --state state/{params.state:q} --out {output:q} --threads {threads} > {log:q} 2>&1"


rule measure_floor:
    input:
        code("evaluate.measure"),
        train=REFERENCE,
        test=f"{EVALUATION}/features_test.npy",
    output:
        f"{METRICS}/{{dataset}}/floor.json",
    log:
        logs(of_suite("evaluate/{dataset}_floor")),
    benchmark:
        benchmarks(of_suite("evaluate/{dataset}_floor"))
    localrule: True
    conda:
        ENV
    params:
        network=evaluation("features"),
        draws=evaluation("draws"),
        seed=evaluation("seed"),
    shell:
        "vqddm evaluate floor --train {input.train:q} --test {input.test:q} --network {params.network:q}"
        " --draws {params.draws:q} --seed {params.seed:q} --out {output:q} > {log:q} 2>&1"


rule measure_reconstruction:
    input:
        lambda wildcards: code("evaluate.measure", kind(wildcards).model),
        FEATURE_WEIGHTS,
        first_stage=f"{MODEL}/first_stage.safetensors",
        codes_train=f"{MODEL}/codes_train.npy",
        codes_test=f"{MODEL}/codes_test.npy",
        test=f"{DATA}/test.npy",
        reference=REFERENCE,
    output:
        metrics=f"{METRIC}/reconstruction.json",
        pictures=f"{EVALUATION}/{{first_stage}}/reconstructions.npz",
    log:
        logs(of_suite("evaluate/{dataset}_{first_stage}_reconstruction")),
    benchmark:
        benchmarks(of_suite("evaluate/{dataset}_{first_stage}_reconstruction"))
    retries: RETRIES
    conda:
        ENV
    resources:
        **on_gpu(),
    params:
        images=at_most("reconstructions"),
        network=evaluation("features"),
        draws=evaluation("draws"),
        seed=evaluation("seed"),
        sampled=lambda wildcards: (
            f"--sampled-features {sampled_features(wildcards.first_stage)}"
            if "p" in kind(wildcards).numbers
            else ""
        ),
    shell:
        "vqddm evaluate reconstruction --first-stage {input.first_stage:q} --codes-train {input.codes_train:q}"
        " --codes-test {input.codes_test:q} --test {input.test:q} --reference {input.reference:q} {params.sampled}"
        " --images {params.images:q} --network {params.network:q} --draws {params.draws:q} --seed {params.seed:q}"
        " --out {output.metrics:q} --pictures {output.pictures:q} --threads {threads} > {log:q} 2>&1"


rule measure_samples:
    input:
        code("evaluate.measure"),
        FEATURE_WEIGHTS,
        samples=f"{EVALUATION}/{{stage}}/{{method}}_samples_{{steps}}.npy",
        reference=REFERENCE,
    output:
        f"{METRICS}/{{dataset}}/{{stage}}/{{method}}_samples_{{steps}}.json",
    log:
        logs(of_suite("evaluate/{dataset}_{stage}_{method}_samples_{steps}")),
    benchmark:
        benchmarks(of_suite("evaluate/{dataset}_{stage}_{method}_samples_{steps}"))
    conda:
        ENV
    resources:
        **on_gpu(240),
    params:
        steps=steps_option,
        network=evaluation("features"),
        draws=evaluation("draws"),
        seed=evaluation("seed"),
        temperature=evaluation("temperature"),
    shell:
        "vqddm evaluate samples --samples {input.samples:q} --reference {input.reference:q} {params.steps}"
        " --temperature {params.temperature:q} --network {params.network:q} --draws {params.draws:q} --seed {params.seed:q}"
        " --out {output:q} --threads {threads} > {log:q} 2>&1"


rule measure_likelihood:
    input:
        lambda wildcards: code("evaluate.likelihood", method(wildcards).load),
        checkpoint=f"{ON_CODES}.safetensors",
        codes_train=f"{MODEL}/codes_train.npy",
        codes_test=f"{MODEL}/codes_test.npy",
    output:
        f"{METRIC}/{{method}}_likelihood.json",
    log:
        logs(of_suite("evaluate/{dataset}_{first_stage}_{method}_likelihood")),
    benchmark:
        benchmarks(of_suite("evaluate/{dataset}_{first_stage}_{method}_likelihood"))
    conda:
        ENV
    resources:
        **on_gpu(),
    params:
        command=command("likelihood"),
        images=evaluation("nll_images"),
        seed=evaluation("seed"),
    shell:
        "vqddm {params.command} {input.checkpoint:q} --codes-train {input.codes_train:q}"
        " --codes-test {input.codes_test:q} --images {params.images:q} --seed {params.seed:q}"
        " --out {output:q} --threads {threads} > {log:q} 2>&1"


rule measure_inpainting:
    input:
        code("evaluate.inpainting"),
        FEATURE_WEIGHTS,
        pictures=COMPLETED,
        against=lambda wildcards: (
            []
            if wildcards.method == "prior"
            else COMPLETED.format(**{**wildcards, "method": "prior"})
        ),
        reference=REFERENCE,
    output:
        f"{METRIC}/{{method}}_inpainting.json",
    log:
        logs(of_suite("evaluate/{dataset}_{first_stage}_{method}_inpainting")),
    benchmark:
        benchmarks(of_suite("evaluate/{dataset}_{first_stage}_{method}_inpainting"))
    conda:
        ENV
    resources:
        **on_gpu(60),
    params:
        against=lambda wildcards, input: (
            f"--against {quote(input.against)}" if input.against else ""
        ),
        network=evaluation("features"),
        draws=evaluation("draws"),
    shell:
        "vqddm evaluate inpainting --pictures {input.pictures:q} {params.against} --reference {input.reference:q}"
        " --network {params.network:q} --draws {params.draws:q} --out {output:q} --threads {threads} > {log:q} 2>&1"


rule average_trainings:
    input:
        code("evaluate.trainings"),
        metrics=lambda wildcards: [
            f"{METRICS}/{repeat(wildcards.dataset, number)}/{wildcards.metric}.json"
            for number in range(1, SUITE.trainings + 1)
        ],
    output:
        f"{RESULTS}/over_trainings/{{dataset}}/{{metric}}.json",
    log:
        logs(of_suite("evaluate/{dataset}_{metric}_trainings")),
    benchmark:
        benchmarks(of_suite("evaluate/{dataset}_{metric}_trainings"))
    localrule: True
    conda:
        ENV
    params:
        metrics=lambda wildcards, input: " ".join(
            f"--metrics {quote(path)}" for path in input.metrics
        ),
    shell:
        "vqddm evaluate trainings {params.metrics} --out {output:q} > {log:q} 2>&1"


rule count_on_codes:
    input:
        lambda wildcards: code("evaluate.networks", method(wildcards).load),
    output:
        f"{METRIC}/{{method}}_counts.json",
    log:
        logs(of_suite("evaluate/{dataset}_{first_stage}_{method}_counts")),
    benchmark:
        benchmarks(of_suite("evaluate/{dataset}_{first_stage}_{method}_counts"))
    localrule: True
    conda:
        ENV
    params:
        command=command("counts"),
        settings=section(lambda wildcards: wildcards.method),
        examples=sections(lambda wildcards: {"vqgan": "vqgan"}),
        size=lambda wildcards: f"--codebook-size {codebook_size(wildcards.first_stage)}",
    shell:
        "vqddm {params.command} {params.settings:q} {params.examples} {params.size} --out {output:q} > {log:q} 2>&1"


use rule count_on_codes as count_on_pixels with:
    output:
        f"{METRIC_ON_PIXELS}/{{method}}_counts.json",
    log:
        logs(of_suite("evaluate/{dataset}_{method}_counts")),
    benchmark:
        benchmarks(of_suite("evaluate/{dataset}_{method}_counts"))
    params:
        command=command("counts"),
        settings=section(lambda wildcards: wildcards.method),
        examples="",
        size=reads(keys_of("data.resolution"))(
            lambda wildcards: f"--resolution {in_dataset(wildcards, 'data.resolution')}"
        ),


rule count_paper_networks:
    input:
        code("evaluate.networks"),
    output:
        f"{METRICS}/paper_counts.json",
    log:
        logs(of_suite("evaluate/paper_counts")),
    benchmark:
        benchmarks(of_suite("evaluate/paper_counts"))
    localrule: True
    conda:
        ENV
    params:
        paper=reads(*(f"presets.{PAPER}.{name}" for name in PAPER_NETWORKS))(
            lambda wildcards: to_json(paper_networks(VALUES))
        ),
    shell:
        "vqddm evaluate paper-counts --paper {params.paper:q} --out {output:q} > {log:q} 2>&1"


rule measure_speed:
    input:
        lambda wildcards: code(
            "evaluate.speed",
            kind_of(main_prior(wildcards)).model,
            *(about.load for about in [METHODS["prior"], *timed_beside(wildcards)]),
        ),
        prior=lambda wildcards: f"models/{wildcards.dataset}/{main_prior(wildcards)}/prior.safetensors",
        first_stage=lambda wildcards: f"models/{wildcards.dataset}/{main_prior(wildcards)}/first_stage.safetensors",
        beside=timed_checkpoints,
    output:
        f"{METRICS}/{{dataset}}/speed.json",
    log:
        logs(of_suite("evaluate/{dataset}_speed")),
    benchmark:
        benchmarks(of_suite("evaluate/{dataset}_speed"))
    conda:
        ENV
    threads: lambda wildcards: workflow.cores  # alone on the machine, so that nothing disturbs the clock
    resources:
        **on_gpu(60),
    params:
        name=main_prior,
        beside=lambda wildcards: " ".join(
            f"{about.commands['speed']} {quote(checkpoint)}"
            for about, checkpoint in zip(
                timed_beside(wildcards), timed_checkpoints(wildcards)
            )
        ),
    shell:
        "vqddm evaluate speed --prior {input.prior:q} --first-stage {input.first_stage:q} --name {params.name:q}"
        " {params.beside} --out {output:q} --threads {threads} > {log:q} 2>&1"


rule cost:
    # No part of the paper: `make cost` asks for it.
    input:
        code("evaluate.cost"),
    output:
        f"{RESULTS}/cost.csv",
    log:
        logs(of_suite("evaluate/cost")),
    benchmark:
        benchmarks(of_suite("evaluate/cost"))
    conda:
        ENV
    threads: lambda wildcards: workflow.cores  # alone on the machine, so that nothing disturbs the clock
    resources:
        **on_gpu(240, 32000),
    params:
        params=to_json(with_presets(VALUES)),
    shell:
        "vqddm evaluate cost --params {params.params:q} --out {output:q} --threads {threads} 2>&1 | tee {log:q}"


rule diffuse_codes:
    input:
        lambda wildcards: code("evaluate.diffused", kind(wildcards).model),
        prior=f"{MODEL}/prior.safetensors",
        first_stage=f"{MODEL}/first_stage.safetensors",
        data=f"{DATA}/test.npy",
    output:
        f"{EVALUATION}/{{first_stage}}/diffused.npz",
    log:
        logs(of_suite("evaluate/{dataset}_{first_stage}_diffused")),
    benchmark:
        benchmarks(of_suite("evaluate/{dataset}_{first_stage}_diffused"))
    conda:
        ENV
    resources:
        **on_gpu(30),
    params:
        seed=evaluation("seed"),
    shell:
        "vqddm evaluate chain --prior {input.prior:q} --first-stage {input.first_stage:q} --data {input.data:q}"
        " --seed {params.seed:q} --out {output:q} --threads {threads} > {log:q} 2>&1"


rule film_sampling:
    input:
        code("evaluate.film", kind_of(FILMED).model),
        prior=f"{ON_FILM}/prior.safetensors",
        first_stage=f"{ON_FILM}/first_stage.safetensors",
    output:
        film=f"{RESULTS}/figures/film.webp",
        strip=f"{RESULTS}/figures/film.png",
    log:
        logs(of_suite("evaluate/film")),
    benchmark:
        benchmarks(of_suite("evaluate/film"))
    conda:
        ENV
    resources:
        **on_gpu(60),
    params:
        seed=evaluation("seed"),
        temperature=evaluation("temperature"),
    shell:
        "vqddm evaluate film --prior {input.prior:q} --first-stage {input.first_stage:q} --seed {params.seed:q}"
        " --temperature {params.temperature:q} --out {output.film:q} --strip {output.strip:q} --threads {threads} > {log:q} 2>&1"


rule find_neighbours:
    input:
        code("evaluate.neighbours"),
        samples=lambda wildcards: SAMPLES.format(
            **wildcards,
            method="prior",
            steps=in_dataset(wildcards, "prior.diffusion.timesteps"),
        ),
        train=f"{DATA}/train.npy",
    output:
        f"{EVALUATION}/{{first_stage}}/neighbours.npz",
    log:
        logs(of_suite("evaluate/{dataset}_{first_stage}_neighbours")),
    benchmark:
        benchmarks(of_suite("evaluate/{dataset}_{first_stage}_neighbours"))
    conda:
        ENV
    resources:
        **on_gpu(240),
    params:
        samples=evaluation("neighbour_samples"),
        neighbours=evaluation("neighbours"),
    shell:
        "vqddm evaluate neighbours --samples {input.samples:q} --train {input.train:q}"
        " --count {params.samples:q} --neighbours {params.neighbours:q} --out {output:q} --threads {threads} > {log:q} 2>&1"
