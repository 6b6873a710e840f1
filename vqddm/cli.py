"""The command line: `vqddm STEP COMMAND`, the steps named as the folders are.

A command parses its options and calls one function. Imports stand inside the commands, so that `--help` and the
steps without torch start at once.
"""

from __future__ import annotations

import errno
import math
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vqddm.artifacts import UserError

app = typer.Typer(help="VQ-DDM, step by step.", no_args_is_help=True, pretty_exceptions_enable=False)
data_app = typer.Typer(help="One array file per dataset and split.", no_args_is_help=True)
vqgan_app = typer.Typer(help="The trained first stage.", no_args_is_help=True)
refit_app = typer.Typer(help="Rebuilt codebooks, fine-tuned first stages, code maps.", no_args_is_help=True)
prior_app = typer.Typer(help="The discrete diffusion prior, samples, inpaintings.", no_args_is_help=True)
baselines_app = typer.Typer(help="What the paper compares with.", no_args_is_help=True)
evaluate_app = typer.Typer(help="Every measured number, as small JSON.", no_args_is_help=True)
paper_app = typer.Typer(help="Tables, figures, claims and the page.", no_args_is_help=True)
ledger_app = typer.Typer(help="What Snakemake and DVC know of each other.", no_args_is_help=True)
for name, sub in (
    ("data", data_app),
    ("vqgan", vqgan_app),
    ("refit", refit_app),
    ("prior", prior_app),
    ("baselines", baselines_app),
    ("evaluate", evaluate_app),
    ("paper", paper_app),
    ("ledger", ledger_app),
):
    app.add_typer(sub, name=name)

ParamsJson = Annotated[str, typer.Option("--params", help="the step's section of params.yaml, as JSON")]
AutoencoderJson = Annotated[str, typer.Option("--autoencoder", help="the section `vqgan.autoencoder`, as JSON")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; last bits may differ with their number")]
SaveSeconds = Annotated[
    float,
    typer.Option(help="how often the resumable state is saved; changes no result", envvar="VQDDM_SAVE_SECONDS"),
]
Out = Annotated[Path, typer.Option(help="file to write")]
Data = Annotated[Path, typer.Option(help="a prepared split, train.npy or test.npy")]
State = Annotated[Path, typer.Option(help="folder of the resumable state")]
Curve = Annotated[Path, typer.Option(help="CSV of every loss, to write")]
FirstStagePath = Annotated[Path, typer.Option("--first-stage", help="checkpoint of a first stage")]
TransformerPath = Annotated[Path, typer.Option("--transformer", help="checkpoint of a transformer")]
PriorPath = Annotated[Path, typer.Option("--prior", help="checkpoint of a prior")]
MicroBatch = Annotated[
    int | None,
    typer.Option(min=1, help="code maps at once, if memory is short; changes rounding", envvar="VQDDM_MICRO_BATCH"),
]
CodebookSize = Annotated[int, typer.Option(help="capacity K of the codebook")]
Seed = Annotated[int, typer.Option(min=0)]
Draws = Annotated[int, typer.Option(min=1, help="equal parts of the images, measured apart for the spread")]
Network = Annotated[str, typer.Option(help="feature network: efficientnet_lite0 or inception")]


class Encode(StrEnum):
    """The image that gives the known codes of an inpainting."""

    masked = "masked"
    full = "full"


@app.command()
def schema(
    out: Annotated[Path | None, typer.Option(help="file to write instead of printing")] = None,
) -> None:
    """Print the JSON schema of params.yaml, made from the typed parameters."""
    import json

    from vqddm import params

    text = json.dumps(params.schema(), indent=2) + "\n"
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text)


@app.command()
def check(path: Annotated[Path, typer.Argument()] = Path("params.yaml")) -> None:
    """Validate a params.yaml."""
    from vqddm import params

    loaded = params.load(path)
    typer.echo(f"{path}: valid; suites {', '.join(loaded.suites)}; datasets {', '.join(loaded.datasets)}")


@app.command()
def show(
    checkpoint: Annotated[Path, typer.Argument(help="a .safetensors file of this project")],
    tensors: Annotated[bool, typer.Option("--tensors", help="every tensor's shape too")] = False,
) -> None:
    """Print what made a checkpoint: parameters, seed, inputs' checksums, code revision, package versions."""
    import yaml

    from vqddm.artifacts import describe_checkpoint

    about = describe_checkpoint(checkpoint)
    shapes = about.pop("tensors")
    numbers = sum(math.prod(shape) for shape in shapes.values())
    typer.echo(yaml.safe_dump(about, sort_keys=False, width=110).rstrip())
    typer.echo(f"tensors: {len(shapes)}, {numbers} numbers")
    if tensors:
        for name, shape in shapes.items():
            typer.echo(f"  {name} {shape}")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def launch(
    context: typer.Context,
    processes: Annotated[int, typer.Option(min=1, help="on each node, one for each GPU")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="nodes of the Slurm job that this runs in")] = 1,
) -> None:
    """Run the vqddm command that follows, in several processes: `vqddm launch --processes 4 prior train …`."""
    from vqddm.slurm import launch

    launch(context.args, processes, nodes)


@app.command()
def describe() -> None:
    """Print parameters and multiply-accumulates of the paper's networks, beside what is published."""
    from vqddm.evaluate.networks import describe

    typer.echo(describe())


@data_app.command()
def prepare(
    params_json: ParamsJson,
    out: Annotated[Path, typer.Option(help="folder to write the splits and their manifests to")],
    workers: Annotated[int | None, typer.Option(help="processes; changes no result")] = None,
) -> None:
    """Write train.npy, test.npy and their manifests."""
    from vqddm.data.prepare import prepare
    from vqddm.data.settings import DataParams
    from vqddm.settings import parse

    prepare(parse(DataParams, params_json, "data"), out, workers)


@vqgan_app.command("train")
def train_vqgan(
    data: Data,
    params_json: ParamsJson,
    codebook_size: CodebookSize,
    state: State,
    out: Out,
    curve: Curve,
    save_seconds: SaveSeconds = 60.0,
    threads: Threads = None,
) -> None:
    """Train a VQ-GAN from scratch."""
    from vqddm.settings import parse
    from vqddm.vqgan.settings import VQGANParams
    from vqddm.vqgan.train import train_vqgan

    section = parse(VQGANParams, params_json, "vqgan")
    train_vqgan(data, section, codebook_size, state, out, curve, save_seconds, threads)


@vqgan_app.command("import")
def import_vqgan(
    checkpoint: Annotated[Path, typer.Argument(help="an official .ckpt: a first stage, or one in a transformer")],
    params_json: ParamsJson,
    codebook_size: CodebookSize,
    out: Out,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="let the file run any code it holds; only for files that you trust")
    ] = False,
) -> None:
    """Read an official VQ-GAN checkpoint."""
    from vqddm.settings import parse
    from vqddm.vqgan.official import import_official
    from vqddm.vqgan.settings import VQGANParams

    import_official(checkpoint, parse(VQGANParams, params_json, "vqgan"), codebook_size, out, trust_pickle)


@vqgan_app.command()
def weights(name: Annotated[str, typer.Argument(help="inception, vgg16 or lpips")]) -> None:
    """Fetch the weights of a published network into data/weights/."""
    from vqddm.data.weights import WEIGHTS, fetch_weights

    if name not in WEIGHTS:
        raise UserError(f"'{name}' is not one of {', '.join(WEIGHTS)}")
    fetch_weights(name)


@refit_app.command()
def rebuild(
    source: Annotated[Path, typer.Option(help="checkpoint of the trained VQ-GAN")],
    data: Data,
    params_json: ParamsJson,
    codebook_size: CodebookSize,
    features: Annotated[int, typer.Option(help="number P of sampled features")],
    out: Out,
    threads: Threads = None,
) -> None:
    """Sample P features and write the k-means centres: the rebuilt codebook."""
    from vqddm.refit.rebuild import rebuild
    from vqddm.refit.settings import RefitParams
    from vqddm.settings import parse

    rebuild(source, data, parse(RefitParams, params_json, "refit"), codebook_size, features, out, threads)


@refit_app.command()
def finetune(
    source: Annotated[Path, typer.Option(help="checkpoint of the trained VQ-GAN")],
    centres: Annotated[Path, typer.Option(help="the rebuilt codebook")],
    data: Data,
    params_json: ParamsJson,
    state: State,
    out: Out,
    curve: Curve,
    save_seconds: SaveSeconds = 60.0,
    threads: Threads = None,
) -> None:
    """Fine-tune decoder and discriminator on a rebuilt codebook."""
    from vqddm.refit.finetune import finetune
    from vqddm.refit.settings import RefitParams
    from vqddm.settings import parse

    section = parse(RefitParams, params_json, "refit")
    finetune(source, centres, data, section, state, out, curve, save_seconds, threads)


@refit_app.command()
def encode(
    first_stage: FirstStagePath,
    data: Annotated[list[Path], typer.Option(help="a prepared split; may be given several times")],
    out: Annotated[list[Path], typer.Option(help="the code maps to write, one for each split")],
    threads: Threads = None,
) -> None:
    """Write the code maps of prepared splits."""
    import torch

    from vqddm.baselines.codebooks import load_codec
    from vqddm.refit.codes import encode_splits
    from vqddm.training import limit_threads

    limit_threads(threads)
    model, _ = load_codec(first_stage, "cuda" if torch.cuda.is_available() else "cpu")
    encode_splits(model, data, out)


@prior_app.command("train")
def train_prior(
    codes: Annotated[Path, typer.Option(help="code maps of the training images")],
    params_json: ParamsJson,
    codebook_size: CodebookSize,
    state: State,
    out: Out,
    curve: Curve,
    save_seconds: SaveSeconds = 60.0,
    micro_batch: MicroBatch = None,
    threads: Threads = None,
) -> None:
    """Train the discrete diffusion prior."""
    from vqddm.prior.settings import PriorParams
    from vqddm.prior.train import train_prior
    from vqddm.settings import parse

    section = parse(PriorParams, params_json, "prior")
    train_prior(codes, codebook_size, section, state, out, curve, save_seconds, micro_batch, threads)


@prior_app.command()
def sample(
    prior: PriorPath,
    first_stage: FirstStagePath,
    steps: Annotated[int, typer.Option(help="sampling steps, from 1 to T")],
    state: State,
    codes: Annotated[Path, typer.Option(help="the sampled code maps, to write")],
    out: Out,
    count: Annotated[int, typer.Option(help="number of images")] = 64,
    seed: Seed = 0,
    temperature: Annotated[float, typer.Option(help="temperature of the p(z0) logits")] = 1.0,
    threads: Threads = None,
) -> None:
    """Sample code maps with any number of steps and decode them to images."""
    from vqddm.prior.sample import sample_images

    sample_images(prior, first_stage, count, steps, seed, temperature, state, codes, out, threads)


@prior_app.command()
def inpaint(
    prior: PriorPath,
    first_stage: FirstStagePath,
    data: Data,
    out: Out,
    count: Annotated[int, typer.Option(min=1, help="number of images for each mask")] = 8,
    encode: Annotated[Encode, typer.Option(help="the image that gives the known codes")] = Encode.masked,
    seed: Seed = 0,
    temperature: Annotated[float, typer.Option(help="temperature of the p(z0) logits")] = 1.0,
    threads: Threads = None,
) -> None:
    """Complete images from the masks of section 4.4 and others."""
    from vqddm.prior.inpaint import inpaint_images

    inpaint_images(prior, first_stage, data, count, encode.value, seed, temperature, out, threads)


@baselines_app.command("train-vqvae2")
def train_vqvae2(
    data: Data,
    autoencoder: AutoencoderJson,
    params_json: ParamsJson,
    codebook_size: CodebookSize,
    state: State,
    out: Out,
    curve: Curve,
    save_seconds: SaveSeconds = 60.0,
    threads: Threads = None,
) -> None:
    """Train a VQ-VAE-2."""
    from vqddm.baselines.codebooks import train_codebook
    from vqddm.baselines.vqvae2.settings import VQVAE2Params
    from vqddm.settings import parse
    from vqddm.vqgan.settings import AutoencoderParams

    shape, section = parse(AutoencoderParams, autoencoder, "autoencoder"), parse(VQVAE2Params, params_json, "vqvae2")
    train_codebook(data, shape, section, codebook_size, state, out, curve, save_seconds, threads)


@baselines_app.command("train-dvae")
def train_dvae(
    data: Data,
    autoencoder: AutoencoderJson,
    params_json: ParamsJson,
    codebook_size: CodebookSize,
    state: State,
    out: Out,
    curve: Curve,
    save_seconds: SaveSeconds = 60.0,
    threads: Threads = None,
) -> None:
    """Train a discrete VAE with Gumbel-softmax."""
    from vqddm.baselines.codebooks import train_codebook
    from vqddm.baselines.dvae.settings import DVAEParams
    from vqddm.settings import parse
    from vqddm.vqgan.settings import AutoencoderParams

    shape, section = parse(AutoencoderParams, autoencoder, "autoencoder"), parse(DVAEParams, params_json, "dvae")
    train_codebook(data, shape, section, codebook_size, state, out, curve, save_seconds, threads)


@baselines_app.command("train-transformer")
def train_transformer(
    codes: Annotated[Path, typer.Option(help="code maps of the training images")],
    params_json: ParamsJson,
    codebook_size: CodebookSize,
    state: State,
    out: Out,
    curve: Curve,
    save_seconds: SaveSeconds = 60.0,
    threads: Threads = None,
) -> None:
    """Train the autoregressive transformer prior."""
    from vqddm.baselines.transformer.settings import TransformerParams
    from vqddm.baselines.transformer.train import train_transformer
    from vqddm.settings import parse

    section = parse(TransformerParams, params_json, "transformer")
    train_transformer(codes, codebook_size, section, state, out, curve, save_seconds, threads)


@baselines_app.command("sample-transformer")
def sample_transformer(
    transformer: TransformerPath,
    first_stage: FirstStagePath,
    state: State,
    codes: Annotated[Path, typer.Option(help="the sampled code maps, to write")],
    out: Out,
    count: Annotated[int, typer.Option(help="number of images")] = 64,
    seed: Seed = 0,
    temperature: Annotated[float, typer.Option(help="divides the logits")] = 1.0,
    threads: Threads = None,
) -> None:
    """Sample code maps code by code and decode them to images."""
    from vqddm.baselines.transformer.sample import sample_images

    sample_images(transformer, first_stage, count, seed, temperature, state, codes, out, threads)


@baselines_app.command("inpaint-transformer")
def inpaint_transformer(
    transformer: TransformerPath,
    first_stage: FirstStagePath,
    data: Data,
    out: Out,
    count: Annotated[int, typer.Option(min=1, help="number of images for each mask")] = 8,
    encode: Annotated[Encode, typer.Option(help="the image that gives the known codes")] = Encode.masked,
    seed: Seed = 0,
    temperature: Annotated[float, typer.Option(help="divides the logits")] = 1.0,
    threads: Threads = None,
) -> None:
    """Complete images from the masks of section 4.4 and others, in raster order."""
    from vqddm.baselines.transformer.sample import inpaint_images

    inpaint_images(transformer, first_stage, data, count, encode.value, seed, temperature, out, threads)


@baselines_app.command("train-ddpm")
def train_ddpm(
    data: Data,
    params_json: ParamsJson,
    state: State,
    out: Out,
    curve: Curve,
    save_seconds: SaveSeconds = 60.0,
    threads: Threads = None,
) -> None:
    """Train the pixel diffusion."""
    from vqddm.baselines.ddpm.settings import DDPMParams
    from vqddm.baselines.ddpm.train import train_ddpm
    from vqddm.settings import parse

    train_ddpm(data, parse(DDPMParams, params_json, "ddpm"), state, out, curve, save_seconds, threads)


@baselines_app.command("sample-ddpm")
def sample_ddpm(
    ddpm: Annotated[Path, typer.Option(help="checkpoint of a pixel diffusion")],
    steps: Annotated[int, typer.Option(help="sampling steps, from 1 to T")],
    state: State,
    out: Out,
    count: Annotated[int, typer.Option(help="number of images")] = 64,
    eta: Annotated[float, typer.Option(help="0: DDIM; 1 with all T steps: DDPM")] = 0.0,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Sample images from the pixel diffusion with any number of steps."""
    from vqddm.baselines.ddpm.sample import sample_images

    sample_images(ddpm, count, steps, eta, seed, state, out, threads)


@evaluate_app.command()
def features(
    data: Data,
    count: Annotated[int, typer.Option(min=1, help="number of images, from the first")],
    out: Out,
    network: Network = "efficientnet_lite0",
    threads: Threads = None,
) -> None:
    """Write the features of a split's first images."""
    from vqddm.evaluate.measure import extract_features

    extract_features(data, network, count, out, threads)


@evaluate_app.command()
def floor(
    train: Annotated[Path, typer.Option(help="features of training images")],
    test: Annotated[Path, typer.Option(help="features of test images")],
    out: Out,
    network: Network = "efficientnet_lite0",
    draws: Draws = 1,
    seed: Seed = 0,
) -> None:
    """Measure the distance of real held-out images to the training images."""
    from vqddm.evaluate.measure import measure_floor

    measure_floor(train, test, network, draws, seed, out)


@evaluate_app.command()
def reconstruction(
    first_stage: FirstStagePath,
    codes_train: Annotated[Path, typer.Option()],
    codes_test: Annotated[Path, typer.Option()],
    test: Annotated[Path, typer.Option(help="test.npy")],
    reference: Annotated[Path, typer.Option(help="features of the training images")],
    images: Annotated[int, typer.Option(help="images of each split to reconstruct")],
    out: Out,
    pictures: Annotated[Path, typer.Option(help=".npz of test images beside their reconstructions, to write")],
    sampled_features: Annotated[int | None, typer.Option(help="the number P of a ReFiT")] = None,
    network: Network = "efficientnet_lite0",
    draws: Draws = 1,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Measure usage and reconstruction (Table 1)."""
    from vqddm.evaluate.measure import measure_reconstruction

    measure_reconstruction(
        first_stage,
        codes_train,
        codes_test,
        test,
        reference,
        sampled_features,
        images,
        network,
        draws,
        seed,
        out,
        pictures,
        threads,
    )


@evaluate_app.command()
def samples(
    samples: Annotated[Path, typer.Option(help="sampled images")],
    reference: Annotated[Path, typer.Option(help="features of the training images")],
    out: Out,
    steps: Annotated[int | None, typer.Option(help="sampling steps that made them, where there is a choice")] = None,
    temperature: Annotated[float, typer.Option()] = 1.0,
    network: Network = "efficientnet_lite0",
    draws: Draws = 1,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Measure sampled images (Table 2, Figure 5)."""
    from vqddm.evaluate.measure import measure_samples

    measure_samples(samples, reference, steps, temperature, network, draws, seed, out, threads)


@evaluate_app.command()
def likelihood(
    prior: PriorPath,
    codes_train: Annotated[Path, typer.Option()],
    codes_test: Annotated[Path, typer.Option()],
    images: Annotated[int, typer.Option(min=1, help="code maps of each split")],
    out: Out,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Measure the exact NLL in bits per code."""
    from vqddm.evaluate.likelihood import measure_likelihood

    measure_likelihood(prior, codes_train, codes_test, images, seed, out, threads)


@evaluate_app.command()
def transformer_likelihood(
    transformer: TransformerPath,
    codes_train: Annotated[Path, typer.Option()],
    codes_test: Annotated[Path, typer.Option()],
    images: Annotated[int, typer.Option(min=1, help="code maps of each split")],
    out: Out,
    threads: Threads = None,
) -> None:
    """Measure the transformer's exact NLL in bits per code."""
    from vqddm.evaluate.likelihood import measure_transformer_likelihood

    measure_transformer_likelihood(transformer, codes_train, codes_test, images, out, threads)


@evaluate_app.command()
def counts(
    vqgan: Annotated[str, typer.Option(help="the section `vqgan`, as JSON")],
    prior: Annotated[str, typer.Option(help="the section `prior`, as JSON")],
    codebook_size: CodebookSize,
    out: Out,
) -> None:
    """Count parameters and multiply-accumulates of a dataset's networks."""
    from vqddm.evaluate.networks import write_counts
    from vqddm.prior.settings import PriorParams
    from vqddm.settings import parse
    from vqddm.vqgan.settings import VQGANParams

    first_stage, diffusion = parse(VQGANParams, vqgan, "vqgan"), parse(PriorParams, prior, "prior")
    write_counts(first_stage.autoencoder, codebook_size, diffusion.unet, diffusion.diffusion, out)


@evaluate_app.command()
def transformer_counts(
    vqgan: Annotated[str, typer.Option(help="the section `vqgan`, as JSON")],
    transformer: Annotated[str, typer.Option(help="the section `baselines.transformer`, as JSON")],
    codebook_size: CodebookSize,
    out: Out,
) -> None:
    """Count parameters and multiply-accumulates of a dataset's transformer."""
    from vqddm.baselines.transformer.settings import TransformerParams
    from vqddm.evaluate.networks import write_transformer_counts
    from vqddm.settings import parse
    from vqddm.vqgan.settings import VQGANParams

    autoencoder = parse(VQGANParams, vqgan, "vqgan").autoencoder
    write_transformer_counts(autoencoder, codebook_size, parse(TransformerParams, transformer, "transformer"), out)


@evaluate_app.command()
def ddpm_counts(
    ddpm: Annotated[str, typer.Option(help="the section `baselines.ddpm`, as JSON")],
    resolution: Annotated[int, typer.Option(help="height and width of the images")],
    out: Out,
) -> None:
    """Count parameters and multiply-accumulates of a dataset's pixel diffusion."""
    from vqddm.artifacts import write_json
    from vqddm.baselines.ddpm.settings import DDPMParams
    from vqddm.evaluate.networks import count_ddpm
    from vqddm.settings import parse

    write_json(out, count_ddpm(resolution, parse(DDPMParams, ddpm, "ddpm")))


@evaluate_app.command()
def paper_counts(out: Out) -> None:
    """Count parameters and multiply-accumulates of the paper's networks."""
    from vqddm.evaluate.networks import write_paper_counts

    write_paper_counts(out)


@evaluate_app.command()
def speed(
    prior: PriorPath,
    first_stage: FirstStagePath,
    name: Annotated[str, typer.Option(help="name of the first stage, recorded in the output")],
    out: Out,
    transformer: Annotated[Path | None, typer.Option(help="checkpoint of a transformer on the same codes")] = None,
    ddpm: Annotated[Path | None, typer.Option(help="checkpoint of a pixel diffusion of the same images")] = None,
    threads: Threads = None,
) -> None:
    """Time sampling steps and the decoder, and the baselines beside them."""
    from vqddm.evaluate.speed import measure_speed

    measure_speed(prior, first_stage, name, transformer, ddpm, out, threads)


@evaluate_app.command()
def cost(
    params_json: Annotated[str, typer.Option("--params", help="the whole params.yaml, as JSON")],
    out: Out,
    micro_batch: MicroBatch = None,
    threads: Threads = None,
) -> None:
    """Time a suite's networks for a moment each and extrapolate to its whole cost."""
    from vqddm.evaluate.cost import write_cost
    from vqddm.params import Params
    from vqddm.settings import parse

    typer.echo(write_cost(parse(Params, params_json, "params"), out, micro_batch, threads))


@evaluate_app.command()
def chain(
    prior: PriorPath,
    first_stage: FirstStagePath,
    data: Data,
    out: Out,
    image: Annotated[int, typer.Option(min=0, help="index of the image in the split")] = 0,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Diffuse one image's codes for Figure 2."""
    from vqddm.evaluate.diffused import draw_diffused

    draw_diffused(prior=prior, first_stage=first_stage, data=data, image=image, seed=seed, out=out, threads=threads)


@evaluate_app.command()
def inpainting(
    pictures: Annotated[Path, typer.Option(help=".npz of completions")],
    reference: Annotated[Path, typer.Option(help="features of the training images")],
    out: Out,
    against: Annotated[Path | None, typer.Option(help=".npz of another method's completions")] = None,
    network: Network = "efficientnet_lite0",
    draws: Draws = 1,
    threads: Threads = None,
) -> None:
    """Measure how completions agree with their originals."""
    from vqddm.evaluate.inpainting import measure_inpainting

    measure_inpainting(pictures, reference, network, draws, out, against, threads)


@evaluate_app.command()
def neighbours(
    samples: Annotated[Path, typer.Option(help="sampled images")],
    train: Annotated[Path, typer.Option(help="train.npy")],
    out: Out,
    count: Annotated[int, typer.Option(min=1, help="samples to look up, from the first")] = 8,
    neighbours: Annotated[int, typer.Option(min=1, help="training neighbours of each")] = 10,
    threads: Threads = None,
) -> None:
    """Find the training images nearest to samples (Figure 12)."""
    from vqddm.evaluate.neighbours import find_neighbours

    find_neighbours(samples, train, count, neighbours, out, threads)


PlanJson = Annotated[str, typer.Option("--plan", help="the suite's description, as JSON")]
Models = Annotated[Path, typer.Option(help="the folder of the models")]
MODELS = Path("models")
Root = Annotated[Path, typer.Option(help="the suite's results folder")]


@paper_app.command()
def table(
    name: Annotated[str, typer.Argument(help="table1, table2, table3, likelihood, inpainting or speed")],
    plan: PlanJson,
    root: Root,
    out: Annotated[Path, typer.Option(help="path without suffix; .csv, .md and .tex are written")],
) -> None:
    """Write one table as CSV, Markdown and LaTeX."""
    from vqddm.paper.plan import Plan
    from vqddm.paper.tables import TABLES
    from vqddm.settings import parse

    if name not in TABLES:
        raise UserError(f"'{name}' is no table; there are {', '.join(TABLES)}")
    TABLES[name](parse(Plan, plan, "plan"), root, out)


@paper_app.command()
def figure(
    number: Annotated[int, typer.Argument(help="1 to 12")],
    plan: PlanJson,
    root: Root,
    out: Annotated[Path, typer.Option(help="path without suffix; .png and .pdf are written")],
    models: Models = MODELS,
) -> None:
    """Draw one figure as PNG and PDF."""
    from vqddm.paper.figures import FIGURES
    from vqddm.paper.plan import Plan
    from vqddm.settings import parse

    if number not in FIGURES:
        raise UserError(f"there is no figure {number}; there are 1 to {max(FIGURES)}")
    FIGURES[number].draw(parse(Plan, plan, "plan"), root, models, out)


@paper_app.command()
def claims(
    plan: PlanJson,
    root: Root,
    out: Annotated[Path, typer.Option(help="path without suffix; .csv and .md are written")],
) -> None:
    """Judge every claim of the paper from the measured numbers."""
    from vqddm.paper.claims import claims
    from vqddm.paper.plan import Plan
    from vqddm.settings import parse

    claims(parse(Plan, plan, "plan"), root, out)


@paper_app.command()
def page(plan: PlanJson, root: Root, out: Out) -> None:
    """Write the page that shows everything."""
    from vqddm.paper.page import page
    from vqddm.paper.plan import Plan
    from vqddm.settings import parse

    page(parse(Plan, plan, "plan"), root, out)


@paper_app.command("so-far")
def so_far(
    plan: PlanJson, root: Root, out: Annotated[Path, typer.Option(help="folder to write")], models: Models = MODELS
) -> None:
    """Write the page before everything is measured."""
    from vqddm.paper.plan import Plan
    from vqddm.paper.so_far import so_far
    from vqddm.settings import parse

    so_far(parse(Plan, plan, "plan"), root, models, out, typer.echo)


@ledger_app.command()
def stages() -> None:
    """Write dvc.yaml from the Snakefile's DAG."""
    from vqddm.ledger.dag import read_dag
    from vqddm.ledger.stages import write_stages

    write_stages(read_dag())


@ledger_app.command()
def restore() -> None:
    """Bring the recorded files, drop what is stale, let Snakemake know the rest."""
    from vqddm.ledger.commands import restore

    restore(typer.echo)


@ledger_app.command()
def record(
    targets: Annotated[list[str] | None, typer.Argument(help="Snakemake targets; none: everything")] = None,
) -> None:
    """Write what Snakemake made into dvc.lock and DVC's cache."""
    from vqddm.ledger.commands import record

    record(targets or [], typer.echo)


@ledger_app.command()
def accept(yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False) -> None:
    """After an edit of code that changes no result: list what it concerns, and tell both ledgers."""
    from vqddm.ledger.commands import accept

    accept(typer.echo, lambda question: yes or typer.confirm(question))


def main() -> None:
    """Run the command line. What the user can mend ends in one sentence and exit code 1."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that half-written files go away
    try:
        app()
    except UserError as error:
        sys.exit(f"vqddm: {error}")
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            sys.exit(f"vqddm: {error.filename or 'output'}: the disk is full; free some space and run it again")
        sys.exit(f"vqddm: {error.filename or ''}: {error.strerror or error}")
