"""The first stages' recipe against arithmetic by hand: learning rates, averaged weights, squared error, groups."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from helpers.recipes import ADAM, ADVERSARIAL, AUTOENCODER, DVAE
from torch import Tensor, nn

from vqddm.artifacts import UserError
from vqddm.baselines.dvae.model import DVAE as DVAENetwork
from vqddm.baselines.dvae.train import DVAERecipe
from vqddm.baselines.vqvae2.model import VQVAE2
from vqddm.baselines.vqvae2.settings import VQVAE2Params
from vqddm.baselines.vqvae2.train import VQVAE2Recipe
from vqddm.recipe import Recipe, scheduled
from vqddm.settings import OptimizerParams
from vqddm.vqgan.codec import DISCRIMINATOR
from vqddm.vqgan.layers import normalise
from vqddm.vqgan.model import Discriminator, FirstStage
from vqddm.vqgan.settings import AdversarialParams
from vqddm.vqgan.train import FirstStageRecipe

STEPS = 12
COSINE = ADAM.model_copy(update={"schedule": "cosine", "warmup_steps": 3, "ema_decay": 0.7})
LOSS = ADVERSARIAL.model_copy(update={"perceptual_weight": 0.0, "discriminator_width": 4, "discriminator_start": 1})
CPU = torch.device("cpu")


def pictures() -> Tensor:
    return torch.randint(0, 256, (4, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def of_first_stage(optimizer: OptimizerParams, loss: AdversarialParams = LOSS, **sizes: int) -> FirstStageRecipe:
    torch.manual_seed(0)
    model = FirstStage(AUTOENCODER.model_copy(update=sizes), 6)
    rates = {"learning_rate": 0.004, "discriminator_learning_rate": 0.001}
    return FirstStageRecipe(model, Discriminator(4, 1), loss, optimizer, steps=STEPS, **rates)


def of_vqvae2(optimizer: OptimizerParams) -> VQVAE2Recipe:
    torch.manual_seed(0)
    training = DVAE.training.model_copy(update={"steps": STEPS})
    params = VQVAE2Params(commitment=0.25, learning_rate=0.003, optimizer=optimizer, training=training)
    return VQVAE2Recipe(VQVAE2(AUTOENCODER, 6), params, CPU)


def of_dvae(optimizer: OptimizerParams) -> DVAERecipe:
    torch.manual_seed(0)
    training = DVAE.training.model_copy(update={"steps": STEPS})
    params = DVAE.model_copy(update={"optimizer": optimizer, "training": training})
    return DVAERecipe(DVAENetwork(AUTOENCODER, 6), params, CPU)


RECIPES = [of_first_stage, of_vqvae2, of_dvae]


def stepped(recipe: Recipe, steps: int, after: Callable[[], object] = lambda: None) -> None:
    """So many steps on the same pictures, each without the training loop's learning rates."""
    accelerator = Accelerator(cpu=True)
    recipe.prepare(accelerator)
    for step in range(steps):
        recipe.step(pictures(), step, torch.Generator().manual_seed(step), accelerator)
        after()


@pytest.mark.parametrize("make", RECIPES)
def test_the_learning_rate_rises_and_falls_as_its_settings_say(make: Callable[[OptimizerParams], Recipe]) -> None:
    rise = [1 / 4, 2 / 4, 3 / 4] + [1.0] * (STEPS - 3)
    cosine = [r * math.cos(math.pi * s / (2 * STEPS)) ** 2 for s, r in enumerate(rise)]
    recipe = make(COSINE)
    assert [recipe.learning_rate_factor(step) for step in range(STEPS)] == pytest.approx(cosine)
    risen = make(COSINE.model_copy(update={"schedule": "constant"}))
    assert [risen.learning_rate_factor(step) for step in range(STEPS)] == rise
    assert {make(ADAM).learning_rate_factor(step) for step in range(STEPS)} == {1.0}


def test_a_cosine_without_warm_up_begins_at_one_and_ends_near_zero() -> None:
    plain = COSINE.model_copy(update={"warmup_steps": 0})
    assert scheduled(plain, 0, 1000) == 1
    assert scheduled(plain, 500, 1000) == pytest.approx(0.5)
    assert scheduled(plain, 999, 1000) == pytest.approx((math.pi / 2000) ** 2, rel=1e-4)


@pytest.mark.parametrize("make", RECIPES)
def test_the_checkpoint_holds_the_averaged_weights(make: Callable[[OptimizerParams], Recipe]) -> None:
    recipe, by_hand = make(COSINE), {}

    def average() -> None:
        network = next(iter(recipe.modules.values()))
        for name, weight in network.state_dict().items():
            now = weight.double().clone()
            by_hand[name] = 0.7 * by_hand[name] + 0.3 * now if name in by_hand else now

    stepped(recipe, 4, average)
    kept = recipe.checkpoint()
    for name, expected in by_hand.items():
        torch.testing.assert_close(kept[name].double(), expected, atol=1e-7, rtol=1e-5)
    trained = next(iter(recipe.modules.values())).state_dict()
    assert any(not torch.equal(kept[name], trained[name]) for name in by_hand)


def test_the_discriminator_is_kept_as_it_was_trained() -> None:
    recipe = of_first_stage(COSINE)
    stepped(recipe, 3)
    kept = recipe.checkpoint()
    for name, weight in recipe.modules["discriminator"].state_dict().items():
        assert torch.equal(kept[DISCRIMINATOR + name], weight)


def test_without_an_average_the_weights_themselves_are_kept() -> None:
    recipe = of_first_stage(ADAM)
    stepped(recipe, 2)
    assert not recipe.stateful
    kept = recipe.checkpoint()
    assert all(torch.equal(kept[name], weight) for name, weight in recipe.modules["model"].state_dict().items())


@pytest.mark.parametrize("weight", [0.0, 2.5])
def test_the_squared_error_pulls_with_twice_its_weight_times_the_error(weight: float) -> None:
    """The last bias moves all pixels of a channel alike: its gradient is the sum of those of the reconstruction."""
    recipe = of_first_stage(ADAM, LOSS.model_copy(update={"squared_weight": weight, "discriminator_start": 9}), patch=1)
    images = pictures().movedim(-1, 1).double() / 127.5 - 1
    network: Any = recipe.modules["model"]
    with torch.no_grad():
        error = network(images.float()).images.double() - images
    stepped(recipe, 1)
    expected = (error.sign() + 2 * weight * error).sum((0, 2, 3)) / error.numel()
    torch.testing.assert_close(network.decoder.conv_out.bias.grad.double(), expected, atol=1e-6, rtol=1e-3)


def test_both_optimisers_have_the_decays_and_their_own_rates() -> None:
    recipe = of_first_stage(ADAM.model_copy(update={"betas": (0.3, 0.6)}))
    found = {name: optimizer.param_groups[0] for name, optimizer in recipe.optimizers.items()}
    assert {name: group["betas"] for name, group in found.items()} == dict.fromkeys(found, (0.3, 0.6))
    assert {name: group["lr"] for name, group in found.items()} == {"model": 0.004, "discriminator": 0.001}


@pytest.mark.parametrize("groups", [1, 4, 32])
def test_normalisation_is_over_groups_of_channels(groups: int) -> None:
    x = torch.randn(2, 32, 3, 5, generator=torch.Generator().manual_seed(0))
    parts = x.double().reshape(2, groups, -1)
    centred = parts - parts.mean(-1, keepdim=True)
    expected = (centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()).reshape(x.shape)
    torch.testing.assert_close(normalise(32, groups)(x).double(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("network", [FirstStage, VQVAE2, DVAENetwork])
@pytest.mark.parametrize("groups", [4, 32])
def test_every_network_normalises_over_the_groups_of_its_settings(
    network: Callable[..., nn.Module], groups: int
) -> None:
    sizes = AUTOENCODER.model_copy(update={"groups": groups, "attention": (8,), "multipliers": (1, 2)})
    norms = [module for module in network(sizes, 6).modules() if isinstance(module, nn.GroupNorm)]
    assert len(norms) > 10 and {norm.num_groups for norm in norms} == {groups}


def test_official_checkpoints_are_not_read_into_other_groups(tmp_path: Any, root: Any) -> None:
    from vqddm.params import load
    from vqddm.vqgan.official import import_official

    params = load(root / "params.yaml").datasets["celebahq"].vqgan
    other = params.model_copy(update={"autoencoder": params.autoencoder.model_copy(update={"groups": 16})})
    with pytest.raises(UserError, match="groups: 16, but official checkpoints need 32"):
        import_official(tmp_path / "none.ckpt", other, 1024, tmp_path / "out.safetensors")
