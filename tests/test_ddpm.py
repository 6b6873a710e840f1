"""Pixel diffusion: what diffusers is asked to do, against DDPM's and DDIM's own equations in float64."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from diffusers import DDIMScheduler, DDPMScheduler
from helpers.recipes import paper, write_pictures
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vqddm.artifacts import UserError
from vqddm.baselines.ddpm.network import DDPM, add_noise, alpha_bars, ddim_step, sample_pixels
from vqddm.baselines.ddpm.sampler import load_ddpm
from vqddm.baselines.ddpm.settings import DDPMParams
from vqddm.baselines.ddpm.train import train_ddpm
from vqddm.evaluate.networks import count_ddpm
from vqddm.params import resolve
from vqddm.prior.sample import sample_images
from vqddm.settings import TrainingParams

PARAMS = DDPMParams(
    timesteps=20,
    patch=2,
    widths=(8, 16),
    blocks=1,
    attention=(4,),
    groups=4,
    learning_rate=0.004,
    warmup_steps=3,
    gradient_clip=1.0,
    ema_decay=0.8,
    training=TrainingParams(steps=60, batch_size=16, precision="no", seed=0),
)


def alpha_bar(timesteps: int) -> np.ndarray:
    """DDPM's linear variances from 1e-4 to 0.02, in float64."""
    return np.cumprod(1 - np.linspace(1e-4, 0.02, timesteps))


class OnePicture(nn.Module):
    """The exact noise predictor where the data are one picture."""

    def __init__(self, picture: Tensor, timesteps: int) -> None:
        super().__init__()
        self.picture, self.bar = picture, torch.tensor(alpha_bar(timesteps), dtype=torch.float32)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        bar = self.bar[t].view(-1, 1, 1, 1)
        return (x - bar.sqrt() * self.picture) / (1 - bar).sqrt()


def test_noise_is_that_of_diffusers() -> None:
    generator = torch.Generator().manual_seed(0)
    x, noise = torch.rand(3, 3, 4, 4, generator=generator), torch.randn(3, 3, 4, 4, generator=generator)
    t = torch.tensor([0, 500, 999])
    np.testing.assert_allclose(alpha_bars(1000)[1:], alpha_bar(1000), rtol=1e-12)
    expected = DDPMScheduler(1000).add_noise(x, noise, t)
    torch.testing.assert_close(add_noise(x, noise, alpha_bars(1000)[t + 1]), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("timesteps", [2, 20, 100, 250, 1000, 4000])
def test_at_its_end_noise_is_all_that_is_left(timesteps: int) -> None:
    """Sampling starts from pure noise, whatever T is."""
    assert 0 < float(alpha_bars(timesteps)[-1].sqrt()) < 0.04


@pytest.mark.parametrize("steps", [1, 4, 50, 1000])
def test_even_strides_are_sampled_as_diffusers_does(steps: int) -> None:
    picture = torch.linspace(-0.9, 0.9, 48).view(1, 3, 4, 4)

    def blurred(x: Tensor, t: Tensor) -> Tensor:
        return 0.7 * OnePicture(picture, 1000)(x, t) + 0.1 * x

    made = sample_pixels(blurred, 1000, (2, 3, 4, 4), steps, 0.0, torch.Generator().manual_seed(1))  # type: ignore[arg-type]
    scheduler = DDIMScheduler(1000, timestep_spacing="trailing")
    scheduler.set_timesteps(steps)
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    for t in scheduler.timesteps:
        x = scheduler.step(blurred(x, t.expand(2)), t, x, use_clipped_model_output=True).prev_sample
    torch.testing.assert_close(made, x, atol=2e-3, rtol=0)


def test_all_steps_with_eta_1_are_ddpms_posterior() -> None:
    """Mean and variance of one step against DDPM's Eqs. 6 and 7, in float64."""
    bars = alpha_bars(1000)
    x_0, x_t = torch.full((1, 3, 2, 2), 0.3, dtype=torch.float64), torch.full((1, 3, 2, 2), -0.4, dtype=torch.float64)
    bar, before = bars[700], bars[699]
    noise = (x_t - bar.sqrt() * x_0) / (1 - bar).sqrt()
    means, ones = (ddim_step(x_t, noise, bar, before, 1.0, torch.full_like(x_t, z)) for z in (0.0, 1.0))
    beta = 1 - bar / before
    mean = (before.sqrt() * beta * x_0 + (1 - beta).sqrt() * (1 - before) * x_t) / (1 - bar)
    torch.testing.assert_close(means, mean)
    torch.testing.assert_close((ones - means) ** 2, ((1 - before) / (1 - bar) * beta).expand_as(x_t))


@settings(max_examples=20, deadline=None)
@given(steps=st.integers(1, 1000), eta=st.sampled_from([0.0, 0.5, 1.0]))
def test_any_number_of_steps_ends_in_the_data(steps: int, eta: float) -> None:
    """With the exact predictor every stride of the chain must end in the one picture that there is."""
    picture = torch.linspace(-0.9, 0.9, 48).view(1, 3, 4, 4)
    generator = torch.Generator().manual_seed(steps)
    made = sample_pixels(OnePicture(picture, 1000), 1000, (2, 3, 4, 4), steps, eta, generator)  # type: ignore[arg-type]
    torch.testing.assert_close(made, picture.expand(2, -1, -1, -1), atol=1e-4, rtol=0)


def test_the_papers_network_has_its_parameters() -> None:
    found = count_ddpm(256, paper().ddpm)
    assert found["parameters"] == 113_673_219  # google/ddpm-celebahq-256's published checkpoint
    assert found["macs_per_step"] / 2 == pytest.approx(124e9, rel=0.005)  # Table 2 prints half of them


def test_training_learns_samples_and_resumes(tmp_path: Path) -> None:
    shades = np.repeat(np.linspace(60, 200, 32, dtype=np.uint8), 16 * 16 * 3).reshape(32, 16, 16, 3)
    data, out = write_pictures(tmp_path / "train.npy", shades), tmp_path / "ddpm.safetensors"
    train_ddpm(data=data, params=PARAMS, state=tmp_path / "state", out=out, curve=tmp_path / "curve.csv", threads=1)
    error = np.genfromtxt(tmp_path / "curve.csv", delimiter=",", names=True)["noise_error"]
    assert error[-10:].mean() < 0.75 * error[:3].mean()
    sampler = load_ddpm(out)
    assert sampler.shape == (16, 16, 3) and sampler.steps == range(1, 21) and not sampler.network.training
    made = [tmp_path / f"{i}.npy" for i in range(2)]

    def sample(path: Path, steps: int = 5, **how: float) -> None:
        state = tmp_path / "samples"
        sample_images(checkpoint=out, steps=steps, count=10, seed=3, state=state, out=path, threads=1, **how)

    for path in made:
        sample(path)
    first, again = (np.load(path) for path in made)
    assert first.shape == (10, 16, 16, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    with pytest.raises(UserError, match="T = 20"):
        sample(made[0], steps=21)
    with pytest.raises(UserError, match="eta"):
        sample(made[0], eta=2.0)


def test_folding_pixels_loses_none() -> None:
    """With a U-Net that changes nothing every pixel comes back in its place; and every one reaches a true one."""
    network = DDPM(16, PARAMS)
    x = torch.rand(2, 3, 16, 16, requires_grad=True)
    network(x, torch.tensor([1, 7])).square().sum().backward()
    assert (x.grad.abs() > 0).all()

    class Same(nn.Module):
        def forward(self, folded: Tensor, t: Tensor) -> Any:
            assert folded.shape == (2, 12, 8, 8)
            return SimpleNamespace(sample=folded)

    network.unet = Same()  # type: ignore[assignment]
    assert torch.equal(network(x, torch.tensor([1, 7])), x)


def test_a_suite_names_ddims_steps() -> None:
    root = Path(__file__).parents[1]
    values = yaml.safe_load((root / "params.yaml").read_text())
    for steps in ([], [1001]):
        values["suites"]["mini"]["evaluate"]["ddim_steps"] = steps
        with pytest.raises(UserError, match="ddim_steps"):
            resolve(values)
