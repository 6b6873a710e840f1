"""On a GPU: networks, losses, draws and trainings are those of the CPU, and the paper's batch fits.

`pytest -m gpu`; skipped where there is no CUDA. VQDDM_GPU_TESTS_ON=cpu runs them on the CPU instead, which shows that
they are in order themselves (`gpu/run.sh --rehearse`).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from helpers.models import random_pair
from helpers.recipes import write_pictures
from safetensors.torch import load_file
from torch import Tensor, nn

import vqddm
from vqddm import training
from vqddm.compute import at_once, mixed, step_generator, to_device
from vqddm.evaluate.features import extract, feature_extractor
from vqddm.evaluate.likelihood import measure_likelihood
from vqddm.evaluate.neighbours import find_neighbours
from vqddm.evaluate.speed import measure_speed
from vqddm.layers import ACTIVATIONS, GroupNorm, can_fuse
from vqddm.params import Dataset, load, resolve
from vqddm.prior.diffusion import kl_terms
from vqddm.prior.inpaint import inpaint_images
from vqddm.prior.reverse import sample_codes
from vqddm.prior.sample import sample_images
from vqddm.prior.sampler import load_prior
from vqddm.prior.timesteps import LossHistory
from vqddm.prior.train import PriorRecipe, train_prior
from vqddm.prior.unet import Prior
from vqddm.recipe import set_rate
from vqddm.refit.codes import encode_splits
from vqddm.refit.finetune import finetune
from vqddm.refit.rebuild import rebuild
from vqddm.vqgan.model import Discriminator, FirstStage, load_first_stage
from vqddm.vqgan.train import FirstStageRecipe, train_vqgan

ROOT = Path(__file__).parents[1]
ON = os.environ.get("VQDDM_GPU_TESTS_ON", "cuda")
CUDA = ON == "cuda"
DEVICE = torch.device(ON)
FLOAT32, BF16 = 5e-3, 5e-2  # relative, in norm; convolutions may use TF32
needs_card = pytest.mark.skipif(CUDA and not torch.cuda.is_available(), reason="no CUDA here")


def marked(test: Any) -> Any:
    """A test of the card."""
    return pytest.mark.gpu(needs_card(test))


@pytest.fixture(autouse=True)
def fresh_accelerator() -> Iterator[None]:
    """Precision is accelerate's, once a process; each test has its own."""
    AcceleratorState._reset_state(True)
    yield
    AcceleratorState._reset_state(True)


def apart(found: Tensor, wanted: Tensor) -> float:
    """The norm of the difference, relative to what is wanted."""
    found, wanted = found.detach().cpu().double(), wanted.detach().cpu().double()
    return float((found - wanted).norm() / wanted.norm())


def noise(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def codes(size: int, *shape: int) -> Tensor:
    return torch.randint(size, shape, generator=torch.Generator().manual_seed(0))


def paper() -> Dataset:
    """A dataset with the paper's own networks."""
    return load(ROOT / "params.yaml").datasets["celebahq"]


def small() -> Dataset:
    """The tiny suite's faces, in bf16."""
    values = yaml.safe_load((ROOT / "tests/tiny.yaml").read_text())
    for step in ("vqgan", "refit", "prior"):
        values["presets"]["tiny"][step]["training"] |= {"precision": "bf16", "steps": 6}
    values["presets"]["tiny"]["prior"]["diffusion"] |= {"timesteps": 20}
    return resolve(values).datasets["tinyfaces"]


def stepped(recipe: Any, examples: Tensor, steps: int, recorded: bool) -> tuple[Tensor, list[dict[str, float]]]:
    """Weights and losses after some steps with falling learning rates, recorded where that is possible or launched."""
    AcceleratorState._reset_state(True)
    accelerator = Accelerator(cpu=not CUDA)
    recipe.prepare(accelerator)
    if not recorded:
        recipe.recorded = None
    read = []
    for step in range(steps):
        for optimizer in recipe.optimizers.values():
            set_rate(optimizer, 0, 1e-3 / (step + 1))
        batch = to_device(examples[step * 4 : step * 4 + 4], DEVICE)
        losses = recipe.step(batch, step, step_generator(0, step, DEVICE), accelerator)
        read.append({name: float(value) for name, value in losses.items()})
    if CUDA and recorded:
        assert recipe.recorded.graph is not None
    return torch.cat([p.detach().flatten().cpu() for m in recipe.modules.values() for p in m.parameters()]), read


@marked
@pytest.mark.parametrize("what", ["prior", "first stage"])
def test_a_recorded_step_is_the_step(what: str) -> None:
    params, examples = small(), codes(64, 48, 8, 8)

    def made() -> Any:
        torch.manual_seed(0)
        if what == "prior":
            return PriorRecipe(64, params.prior, DEVICE)
        loss = params.vqgan.loss.model_copy(update={"discriminator_start": 5})  # recorded before it and after
        rates = {"learning_rate": 1e-3, "discriminator_learning_rate": 1e-3}
        discriminator = Discriminator(loss.discriminator_width, loss.discriminator_layers)
        model = FirstStage(params.vqgan.autoencoder, 8)
        return FirstStageRecipe(model, discriminator, loss, params.vqgan.optimizer, steps=12, **rates)

    if what == "first stage":
        side = params.vqgan.autoencoder.resolution
        examples = torch.randint(256, (48, side, side, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    before = torch.cat([p.detach().flatten() for m in made().modules.values() for p in m.parameters()])
    weights, losses = stepped(made(), examples, 12, recorded=True)
    wanted, wanted_losses = stepped(made(), examples, 12, recorded=False)
    assert apart(weights - before, wanted - before) < BF16
    for step, (found, want) in enumerate(zip(losses, wanted_losses, strict=True)):
        assert found == pytest.approx(want, rel=BF16, abs=1e-3), step


@marked
def test_the_papers_prior_and_its_loss_agree_with_the_cpu() -> None:
    torch.manual_seed(0)
    params = paper().prior
    prior: Any = Prior(1024, params.unet, params.diffusion)
    for module in prior.modules():
        if hasattr(module, "gate"):
            nn.init.constant_(module.gate, 0.5)  # attention takes part from the first step
    z_0, z_t, t = codes(1024, 2, 16, 16), codes(1024, 4, 16, 16)[2:], torch.tensor([1, 2500])

    def result(device: torch.device) -> tuple[Tensor, Tensor]:
        late = t.to(device)
        logits = prior(z_t.to(device), late).float()
        early, step = prior.schedule.interval(0, late - 1), prior.schedule.interval(late - 1, late)
        return logits, kl_terms(z_0.to(device), z_t.to(device), logits, step, early)

    with torch.no_grad():
        wanted = result(torch.device("cpu"))
        prior.to(DEVICE)
        for prior.precision, tolerance in (("no", FLOAT32), ("bf16", BF16)):
            with mixed(prior):
                found = result(DEVICE)
            for made, want in zip(found, wanted, strict=True):
                assert apart(made, want) < tolerance, prior.precision


@marked
def test_the_papers_first_stage_agrees_with_the_cpu() -> None:
    torch.manual_seed(0)
    model: Any = FirstStage(paper().vqgan.autoencoder.model_copy(update={"resolution": 64}), 1024)
    images, maps = noise(2, 3, 64, 64), codes(1024, 2, 4, 4)
    with torch.no_grad():
        wanted = model.features(images), model.decode(maps)
        model.to(DEVICE).to(memory_format=torch.channels_last)
        for model.precision, tolerance in (("no", FLOAT32), ("bf16", BF16)):
            with mixed(model):
                found = model.features(images.to(DEVICE)), model.decode(maps.to(DEVICE))
            for made, want in zip(found, wanted, strict=True):
                assert apart(made.float(), want) < tolerance, model.precision


def gradients(device: str, precision: str) -> Tensor:
    """Those of the decoder in one step of a first stage, adversarial term and all."""
    AcceleratorState._reset_state(True)
    torch.manual_seed(0)
    one_code = 1  # so that none can be told from another by rounding
    model = FirstStage(paper().vqgan.autoencoder.model_copy(update={"resolution": 32, "width": 32}), one_code)
    loss = small().vqgan.loss.model_copy(update={"discriminator_start": 0})
    discriminator = Discriminator(loss.discriminator_width, loss.discriminator_layers)
    rates = {"learning_rate": 0.0, "discriminator_learning_rate": 0.0}
    recipe = FirstStageRecipe(model, discriminator, loss, small().vqgan.optimizer, steps=1, **rates)
    accelerator = Accelerator(mixed_precision=precision, cpu=device == "cpu")
    recipe.prepare(accelerator)
    batch = ((noise(4, 32, 32, 3) + 1) * 127).to(torch.uint8).to(device)
    recipe.step(batch, 1, torch.Generator(device), accelerator)
    decoder = accelerator.unwrap_model(recipe.modules["model"]).decoder
    return torch.cat([p.grad.flatten() for _, p in sorted(decoder.named_parameters()) if p.grad is not None]).cpu()


@marked
def test_gradients_agree_with_the_cpu_in_float32() -> None:
    """Without TF32: rounding what convolutions take to its 10 bits moves them by 0.07 on a CPU too."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        assert apart(gradients(ON, "no"), gradients("cpu", "no")) < 0.01


@marked
def test_gradients_in_bf16_are_no_further_off_than_the_cpus() -> None:
    """These are 0.42 from float32: the terms of the loss nearly cancel here, whatever rounds."""
    wanted = gradients("cpu", "no")
    assert apart(gradients(ON, "bf16"), wanted) < 1.5 * apart(gradients("cpu", "bf16"), wanted)


@marked
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("images", "channels", "side", "activation"), [(2, 128, 256, "silu"), (3, 512, 16, "none"), (64, 128, 16, "mish")]
)
def test_normalising_and_activating_in_one_is_torchs(
    images: int, channels: int, side: int, activation: str, dtype: torch.dtype
) -> None:
    """At sizes of the paper's networks, beside float64; that it is really the fused operation is asked too."""
    torch.manual_seed(0)
    norm = GroupNorm(32, channels, activation=activation).to(DEVICE)  # type: ignore[arg-type]
    torch.nn.init.normal_(norm.weight)
    x = (3 * torch.randn(images, channels, side, side, device=DEVICE) + 1).to(dtype).requires_grad_()
    assert not CUDA or can_fuse(x)
    exact = [value.detach().double().requires_grad_() for value in (x, norm.weight, norm.bias)]
    expected = ACTIVATIONS[activation](torch.nn.functional.group_norm(exact[0], 32, *exact[1:]))
    grad = torch.randn_like(expected)
    made = norm(x) if CUDA else norm(x.float()).to(dtype)
    made.backward(grad.to(dtype))
    expected.backward(grad)
    assert made.dtype == dtype
    most = FLOAT32 if dtype == torch.float32 else BF16
    for one, other in zip(
        (made, x.grad, norm.weight.grad, norm.bias.grad), (expected, *(e.grad for e in exact)), strict=True
    ):
        assert one is not None and other is not None
        assert apart(one.detach().double().cpu(), other.detach().cpu()) < most / 5


@marked
def test_samples_agree_in_distribution() -> None:
    """From a prior that knows no other positions, in a few steps: each code as often on both."""
    params = small().prior

    class Known(Prior):
        def forward(self, codes: Tensor, t: Tensor) -> Tensor:
            logits = torch.tensor([2.0, 1.0, 0.0, -1.0, 0.5], device=codes.device).expand(*codes.shape, 5)
            return logits + 0.3 * nn.functional.one_hot(codes, 5)

    prior = Known(5, params.unet, params.diffusion)
    counts = []
    for device, seed in (("cpu", 1), (ON, 2)):
        drawn = sample_codes(prior, (4096, 4, 4), 5, 0.8, torch.Generator(device).manual_seed(seed))
        counts.append(torch.bincount(drawn.flatten().cpu(), minlength=5).double())
    first, second = counts
    assert float(((first - second) ** 2 / (first + second)).sum()) < 25  # chi-squared, 4 degrees of freedom


@marked
def test_the_history_of_losses_agrees_with_the_cpu() -> None:
    rng = np.random.default_rng(0)
    here, there = LossHistory(20), LossHistory(20, DEVICE)
    for size in (1, 300, 40, 500):
        t, losses = torch.from_numpy(rng.integers(1, 21, size)), torch.from_numpy(rng.random(size).astype(np.float32))
        here.update(t, losses)
        there.update(t.to(DEVICE), losses.to(DEVICE))
    assert torch.equal(here.losses, there.losses.cpu()) and torch.equal(here.seen, there.seen.cpu())
    torch.testing.assert_close(there.distribution().cpu(), here.distribution())


@marked
def test_a_killed_training_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "codes.npy", codes(16, 40, 8, 8).numpy().astype(np.uint16))

    def trained(name: str) -> Tensor:
        AcceleratorState._reset_state(True)
        out, state = tmp_path / f"{name}.safetensors", tmp_path / name
        train_prior(
            codes=tmp_path / "codes.npy", params=small().prior, codebook_size=16,
            state=state, out=out, curve=tmp_path / f"{name}.csv", save_seconds=1e9,
        )  # fmt: skip
        return torch.cat([tensor.flatten().float() for _, tensor in sorted(load_file(out).items())])

    monkeypatch.setattr(training, "READ_EVERY", 3)
    wanted, indices = trained("whole"), training.batch_indices

    def killing(count: int, batch_size: int, step: int, seed: int) -> np.ndarray:
        if step == 2:
            signal.raise_signal(signal.SIGTERM)
        return indices(count, batch_size, step, seed)

    monkeypatch.setattr(training, "batch_indices", killing)
    with pytest.raises(SystemExit):
        trained("killed")
    monkeypatch.undo()
    assert list((tmp_path / "killed").glob("step-*"))
    assert apart(trained("killed"), wanted) < (1e-12 if not CUDA else 0.02)  # a GPU adds up in any order


@marked
def test_the_whole_chain_runs_at_a_tiny_size(tmp_path: Path) -> None:
    """Every step that has a branch for GPUs, one after the other."""
    faces, side = small(), small().data.resolution
    for split, count in (("train", 48), ("test", 16)):
        images = np.random.default_rng(len(split)).integers(0, 256, (count, side, side, 3), np.uint8)
        write_pictures(tmp_path / f"{split}.npy", images)
    train, test = tmp_path / "train.npy", tmp_path / "test.npy"
    vqgan, rebuilt, stage = (tmp_path / f"{name}.safetensors" for name in ("vqgan", "rebuilt", "refit"))

    def kept(name: str, out: Path) -> dict[str, Path]:
        AcceleratorState._reset_state(True)
        return {"state": tmp_path / name, "out": out, "curve": tmp_path / f"{name}.csv"}

    train_vqgan(data=train, params=faces.vqgan, codebook_size=16, **kept("s1", vqgan))
    rebuild(source=vqgan, data=train, params=faces.refit, codebook_size=16, features=100, out=rebuilt)
    finetune(source=rebuilt, data=train, params=faces.refit, **kept("s2", stage))
    loaded: Any = load_first_stage(stage)[0]
    assert loaded.precision == "bf16"
    maps = [tmp_path / "codes_train.npy", tmp_path / "codes_test.npy"]
    encode_splits(first_stage=stage, data=[train, test], state=tmp_path / "codes", out=maps)
    prior, samples = tmp_path / "prior.safetensors", tmp_path / "samples.npy"
    train_prior(codes=maps[0], params=faces.prior, codebook_size=16, **kept("s3", prior))
    sample_images(checkpoint=prior, first_stage=stage, count=24, state=tmp_path / "s4", out=samples)
    inpaint_images(checkpoint=prior, first_stage=stage, data=test, count=4, out=tmp_path / "inpainting.npz")
    measure_likelihood(
        checkpoint=prior, codes_train=maps[0], codes_test=maps[1], images=4, out=tmp_path / "likelihood.json"
    )
    measure_speed(prior=prior, first_stage=stage, name="refit", out=tmp_path / "speed.json")
    find_neighbours(samples=samples, train=train, out=tmp_path / "neighbours.npz", count=2, neighbours=3)
    images = np.load(samples)
    assert images.shape == (24, side, side, 3) and images.std() > 0
    found = extract(images, "efficientnet_lite0")
    assert found.shape == (24, 1280) and np.isfinite(found).all()
    assert next(feature_extractor("efficientnet_lite0").parameters()).device.type == DEVICE.type
    network: Any = load_prior(prior, ON).network
    assert network.precision == "bf16" and next(network.parameters()).device.type == DEVICE.type


@marked
@pytest.mark.skipif(not CUDA, reason="counts the memory of a GPU")
def test_the_papers_batch_fits() -> None:
    prior = paper().prior
    recipe = PriorRecipe(1024, prior, DEVICE)
    accelerator = Accelerator(mixed_precision="bf16")
    recipe.prepare(accelerator)
    torch.cuda.reset_peak_memory_stats()
    batch = codes(1024, prior.training.batch_size, 16, 16).to(DEVICE)
    losses = recipe.step(batch, 0, torch.Generator(DEVICE).manual_seed(0), accelerator)
    assert bool(losses["bits_per_code"].isfinite())
    assert torch.cuda.max_memory_allocated() < 0.9 * torch.cuda.get_device_properties(0).total_memory


def test_on_the_cpu_precision_and_batches_are_the_cpus() -> None:
    network: Any = nn.Linear(2, 2)
    network.precision = "bf16"
    with mixed(network):
        assert network(torch.ones(1, 2)).dtype == torch.float32
    assert at_once("cpu", 3, 5) == 3 and at_once("cuda:0", 3, 5) == 5


def test_trainings_are_as_long_as_the_card_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "gpu"), *sys.path])
    from budget import AROUND, budget, shortened  # type: ignore[import-not-found]

    rows = [
        ("VQ-GAN, training step", 8, 0.05),
        ("prior, training step", 720, 0.03),
        ("prior, 20 sampling steps", 1000, 0.2),
    ]
    table = pd.DataFrame(rows, columns=["work", "batch", "seconds"])
    table["way"], table["per_second"] = "fast", table["batch"] / table["seconds"]
    seconds = {"vqgan": 100.0, "refit": 40.0, "prior": 100.0, "samples": 50.0}
    found = budget(table, "faces256", ROOT / "params.yaml", seconds)
    faces = found["datasets"]["faces256"]
    assert faces["vqgan"]["training"]["steps"] == 1700  # 85 % of 100 s at 0.05 s
    assert "loss" not in faces["vqgan"]  # no discriminator, whose start would have to move
    assert faces["prior"]["training"]["steps"] == 2850  # at 0.03 s
    assert found["suites"]["gpu"]["evaluate"]["samples"] == 500  # 9,110 steps each, 0.091 s
    larger = budget(table, "faces256", ROOT / "params.yaml", seconds, batch=16)["datasets"]["faces256"]["vqgan"][
        "training"
    ]
    assert larger == {"steps": 850, "batch_size": 16}
    assert "datasets" not in budget(table[:0], "faces256", ROOT / "params.yaml", seconds)
    assert shortened(seconds, 290 + AROUND) == seconds and sum(shortened(seconds, 0).values()) == 0
    assert shortened(seconds, 145 + AROUND) == {name: each / 2 for name, each in seconds.items()}


@marked
def test_a_model_for_use_computes_on_the_card(tmp_path: Path) -> None:
    model = vqddm.load(random_pair(tmp_path), ON)
    assert model.device.type == DEVICE.type
    drawn = model.sample(3, steps=4, seed=1)
    assert torch.equal(drawn.pixels, model.sample(3, steps=4, seed=1).pixels)
    assert torch.equal(list(model.watch(3, steps=4, seed=1))[-1], model.sample_codes(3, steps=4, seed=1))
    codes = model.encode(drawn)
    assert not codes.is_cuda and (codes == vqddm.load(tmp_path, "cpu").encode(drawn)).float().mean() > 0.9
    [found, _, _] = model.inpaint(drawn, np.ones((8, 8), bool), completions=2)
    assert len(found) == 2 and model.bits_per_code(codes).isfinite().all()
