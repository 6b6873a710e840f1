"""Step `prior`: methods that fill code maps or pixels, the prior and what it is compared with."""

METHODS_OF = {
    fills: "|".join(
        name for name, about in METHODS.items() if about.fills == fills and not about.of
    )
    for fills in ("codes", "pixels")
}
ON_CODES = f"{MODEL}/{{method}}"
ON_PIXELS = f"models/{{dataset}}/{PIXELS}/{{method}}"
SAMPLES = f"{EVALUATION}/{{first_stage}}/{{method}}_samples_{{steps}}.npy"


# The record of the wildcards' method, whose section of params.yaml bears its name, and its command for some work.
method = lambda wildcards: METHODS[wildcards.method]
command = lambda work: lambda wildcards: method(wildcards).commands[work]
# A method that has no choice of its steps is told none.
steps_option = lambda wildcards: (
    f"--steps {wildcards.steps}" if method(wildcards).strided else ""
)
# A method that draws in its own way from another one's checkpoint is told that.
sampler_option = lambda wildcards: (
    f"--sampler {method(wildcards).sampler}" if method(wildcards).sampler else ""
)
steps_and_sampler = (
    lambda wildcards: f"{steps_option(wildcards)} {sampler_option(wildcards)}".strip()
)
# The checkpoint of the wildcards' method.
drawn_from = lambda place: lambda wildcards: place.format(
    **{**wildcards, "method": method(wildcards).trained}
)
# The code of an entry for the wildcards' method and the first stage that decodes what it draws.
decoded = lambda entry: lambda wildcards: code(
    entry, method(wildcards).load, kind(wildcards).model
)


rule train_on_codes:
    input:
        lambda wildcards: code(method(wildcards).train),
        codes=f"{MODEL}/codes_train.npy",
        validation=held_out(f"{MODEL}/codes_validation.npy"),
    output:
        checkpoint=f"{ON_CODES}.safetensors",
        curve=f"{ON_CODES}.csv",
    log:
        logs("prior/{dataset}_{first_stage}_{method}"),
    benchmark:
        benchmarks("prior/{dataset}_{first_stage}_{method}")
    wildcard_constraints:
        method=METHODS_OF["codes"],
    priority: 60
    retries: RETRIES
    conda:
        ENV
    resources:
        **training_on(lambda wildcards: wildcards.method),
    params:
        command=command("train"),
        settings=section(lambda wildcards: wildcards.method),
        examples=lambda wildcards, input: (
            f"--codes {quote(input.codes)} --codebook-size {codebook_size(wildcards.first_stage)}"
        ),
        state="state/{dataset}/{first_stage}_{method}",
        validation=validation_option,
    shell:
        "vqddm launch --processes {resources.processes} --nodes {resources.nodes}"
        " {params.command} {params.examples} --params {params.settings:q} --state {params.state:q}"
        " --out {output.checkpoint:q} --curve {output.curve:q} {params.validation} --threads {threads} > {log:q} 2>&1"


use rule train_on_codes as train_on_pixels with:
    input:
        lambda wildcards: code(method(wildcards).train),
        data=f"{DATA}/train.npy",
        validation=held_out(f"{DATA}/validation.npy"),
    output:
        checkpoint=f"{ON_PIXELS}.safetensors",
        curve=f"{ON_PIXELS}.csv",
    log:
        logs("prior/{dataset}_{method}"),
    benchmark:
        benchmarks("prior/{dataset}_{method}")
    wildcard_constraints:
        method=METHODS_OF["pixels"],
    params:
        command=command("train"),
        settings=section(lambda wildcards: wildcards.method),
        examples=lambda wildcards, input: f"--data {quote(input.data)}",
        state="state/{dataset}/{method}",
        validation=validation_option,


rule draw_shard:
    # All `ancient`: whether batches are drawn anew is decided by the sampling that asks for them.
    input:
        ancient(lambda wildcards: code("prior.sample", method(wildcards).load)),
        checkpoint=ancient(drawn_from("models/{dataset}/{stage}/{method}.safetensors")),
    output:
        temp(touch(shard_of(SAMPLING))),
    log:
        logs(of_suite("prior/{dataset}_{stage}_{method}_samples_{steps}_{scatteritem}")),
    benchmark:
        benchmarks(
            of_suite("prior/{dataset}_{stage}_{method}_samples_{steps}_{scatteritem}")
        )
    retries: RETRIES
    conda:
        ENV
    resources:
        **on_gpu(),
    params:
        steps=steps_and_sampler,
        images=evaluation("samples"),
        seed=evaluation("seed"),
        temperature_option=lambda wildcards: (
            f"--temperature {SUITE.evaluate.temperature}"
            if method(wildcards).fills == "codes"
            else ""
        ),
        state=SAMPLING,
    shell:
        "vqddm prior sample-shard --checkpoint {input.checkpoint:q} {params.steps} --count {params.images:q}"
        " --seed {params.seed:q} {params.temperature_option} --shard {wildcards.scatteritem:q}"
        " --state state/{params.state:q} --threads {threads} > {log:q} 2>&1"


rule gather_shards:
    input:
        shards("samples", SAMPLING),
    output:
        temp(touch(all_of(SAMPLING))),


rule sample_codes:
    input:
        decoded("prior.sample"),
        checkpoint=drawn_from(f"{ON_CODES}.safetensors"),
        first_stage=f"{MODEL}/first_stage.safetensors",
        drawn=all_of(SAMPLING.replace("{stage}", "{first_stage}")),
    output:
        images=SAMPLES,
        codes=f"{EVALUATION}/{{first_stage}}/{{method}}_sampled_codes_{{steps}}.npy",
    log:
        logs(of_suite("prior/{dataset}_{first_stage}_{method}_samples_{steps}")),
    benchmark:
        benchmarks(of_suite("prior/{dataset}_{first_stage}_{method}_samples_{steps}"))
    retries: RETRIES
    conda:
        ENV
    resources:
        **on_gpu(),
    params:
        command=command("sample"),
        steps=steps_and_sampler,
        images=evaluation("samples"),
        seed=evaluation("seed"),
        temperature=evaluation("temperature"),
        state=SAMPLING.replace("{stage}", "{first_stage}"),
    shell:
        "vqddm {params.command} {input.checkpoint:q} --first-stage {input.first_stage:q} {params.steps}"
        " --count {params.images:q} --seed {params.seed:q} --temperature {params.temperature:q}"
        " --state state/{params.state:q} --codes {output.codes:q} --out {output.images:q} --threads {threads} > {log:q} 2>&1"


rule sample_pixels:
    input:
        lambda wildcards: code("prior.sample", method(wildcards).load),
        checkpoint=f"{ON_PIXELS}.safetensors",
        drawn=all_of(SAMPLING.replace("{stage}", PIXELS)),
    output:
        f"{EVALUATION}/{PIXELS}/{{method}}_samples_{{steps}}.npy",
    log:
        logs(of_suite("prior/{dataset}_{method}_samples_{steps}")),
    benchmark:
        benchmarks(of_suite("prior/{dataset}_{method}_samples_{steps}"))
    retries: RETRIES
    conda:
        ENV
    resources:
        **on_gpu(),
    params:
        command=command("sample"),
        steps=steps_option,
        images=evaluation("samples"),
        seed=evaluation("seed"),
        state=SAMPLING.replace("{stage}", PIXELS),
    shell:
        "vqddm {params.command} {input.checkpoint:q} {params.steps} --count {params.images:q} --seed {params.seed:q}"
        " --state state/{params.state:q} --out {output:q} --threads {threads} > {log:q} 2>&1"


rule inpaint_images:
    input:
        decoded("prior.inpaint"),
        checkpoint=drawn_from(f"{ON_CODES}.safetensors"),
        first_stage=f"{MODEL}/first_stage.safetensors",
        data=f"{DATA}/test.npy",
    output:
        f"{EVALUATION}/{{first_stage}}/{{method}}_inpainting.npz",
    log:
        logs(of_suite("prior/{dataset}_{first_stage}_{method}_inpainting")),
    benchmark:
        benchmarks(of_suite("prior/{dataset}_{first_stage}_{method}_inpainting"))
    conda:
        ENV
    resources:
        **on_gpu(240),
    params:
        command=command("inpaint"),
        sampler=sampler_option,
        images=at_most("inpaintings", "test"),
        encode=evaluation("inpainting_encodes"),
        seed=evaluation("seed"),
        temperature=evaluation("temperature"),
    shell:
        "vqddm {params.command} {input.checkpoint:q} --first-stage {input.first_stage:q} --data {input.data:q}"
        " --count {params.images:q} --encode {params.encode:q} --seed {params.seed:q}"
        " --temperature {params.temperature:q} {params.sampler} --out {output:q} --threads {threads} > {log:q} 2>&1"
