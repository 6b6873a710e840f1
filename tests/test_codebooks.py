"""The other codebooks of Table 1: VQ-VAE-2's cascade and the discrete VAE, by enumeration and in a short training."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from helpers.recipes import ADAM, AUTOENCODER, write_pictures
from helpers.recipes import DVAE as DVAE_SETTINGS
from scipy import stats
from torch import nn

from vqddm.artifacts import UserError, read_json, write_array
from vqddm.baselines.dvae.model import DVAE, kl_to_uniform
from vqddm.baselines.dvae.train import DVAERecipe, train_dvae
from vqddm.baselines.vqvae2.model import VQVAE2
from vqddm.baselines.vqvae2.settings import VQVAE2Params
from vqddm.baselines.vqvae2.train import train_vqvae2
from vqddm.evaluate.measure import measure_reconstruction
from vqddm.params import resolve
from vqddm.refit.codes import encode_splits
from vqddm.vqgan.codec import load_codec

SETTINGS = {
    "vqvae2": VQVAE2Params(commitment=0.25, learning_rate=0.003, optimizer=ADAM, training=DVAE_SETTINGS.training),
    "dvae": DVAE_SETTINGS,
}


def train(kind: str, data: Path, out: Path) -> None:
    """Train one of the two on pictures of 16 pixels with 16 codes."""
    {"vqvae2": train_vqvae2, "dvae": train_dvae}[kind](  # type: ignore[operator]
        data=data,
        autoencoder=AUTOENCODER,
        params=SETTINGS[kind],
        codebook_size=16,
        state=out.parent / "state",
        out=out,
        curve=out.parent / "curve.csv",
        threads=1,
    )


def images(count: int = 5) -> torch.Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_a_cascades_codes_are_the_nearest_of_both_levels_and_decode_to_its_reconstruction() -> None:
    torch.manual_seed(0)
    model, x = VQVAE2(AUTOENCODER, 7).eval(), images()
    for quantiser in (model.quantize_top, model.quantize_bottom):
        nn.init.normal_(quantiser.embedding.weight, std=0.3)
    codes = model.encode(x)
    assert codes.shape == (5, 16 + 4) and codes.dtype == torch.int64
    assert codes[:, :16].min() >= 0 and codes[:, :16].max() < 7 <= codes[:, 16:].min() and codes[:, 16:].max() < 14
    features = model.quant_top(model.encoder_top(model.encoder(x))).movedim(1, -1).flatten(1, 2)
    gaps = (features[:, :, None] - model.quantize_top.embedding.weight).square().sum(-1)
    torch.testing.assert_close(codes[:, 16:] - 7, gaps.argmin(-1))
    made, codebook, commitment = model(x)
    torch.testing.assert_close(model.decode(codes), made, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(codebook, commitment)  # the same distances, other gradients


def test_a_cascades_gradients_go_straight_through_both_levels() -> None:
    model = VQVAE2(AUTOENCODER, 7)
    made, codebook, _ = model(images())
    made.sum().backward(retain_graph=True)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.encoder.conv_in.parameters())
    assert model.quant_top.weight.grad.abs().sum() > 0
    assert model.quantize_top.embedding.weight.grad is None  # only the codebook loss moves the codes
    codebook.backward()
    assert model.quantize_top.embedding.weight.grad.abs().sum() > 0


def test_kl_to_the_uniform_is_scipys() -> None:
    logits = torch.randn(2, 9, 3, 3, generator=torch.Generator().manual_seed(0)) * 3
    q = torch.softmax(logits, 1).movedim(1, -1).reshape(-1, 9).numpy()
    expected = np.mean([stats.entropy(row, np.full(9, 1 / 9)) for row in q])
    assert float(kl_to_uniform(logits)) == pytest.approx(expected, rel=1e-5)
    assert float(kl_to_uniform(torch.zeros(1, 9, 2, 2))) == pytest.approx(0, abs=1e-6)


def test_gumbel_noise_draws_the_codes_by_their_probabilities() -> None:
    """As the temperature goes to 0 the soft draw is one code, with the probabilities of the logits (Gumbel-max)."""
    torch.manual_seed(0)
    model = DVAE(AUTOENCODER, 5).eval()
    chosen = []
    model.embedding.weight.data = torch.eye(5, 6)
    model.post_quant = nn.Identity()  # type: ignore[assignment]
    model.decoder = nn.Identity()  # type: ignore[assignment]
    x = images(1)
    for seed in range(300):
        noise = torch.rand(1, 5, 4, 4, generator=torch.Generator().manual_seed(seed)).clamp(1e-30, 1 - 2**-24)
        soft, _ = model(x, 1e-4, noise)
        chosen.append(soft[:, :5].argmax(1).flatten())
        torch.testing.assert_close(soft.sum(1), torch.ones(1, 4, 4), atol=1e-4, rtol=0)
    q = torch.softmax(model.logits(x), 1)[0].flatten(1)
    drawn = torch.stack([(torch.stack(chosen) == k).float().mean(0) for k in range(5)])
    assert (drawn - q).abs().max() < 5 * math.sqrt(0.25 / 300)


def test_the_temperature_falls_to_a_sixteenth() -> None:
    recipe = DVAERecipe(DVAE(AUTOENCODER, 5), SETTINGS["dvae"], torch.device("cpu"))  # type: ignore[arg-type]
    found = [recipe.temperature(step) for step in range(60)]
    assert found[0] == 1 and found[-1] == 1 / 16 and found == sorted(found, reverse=True)


@pytest.mark.parametrize("kind", SETTINGS)
def test_training_encoding_and_measuring(kind: str, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (32, 2, 2, 3), np.uint8)
    pictures = values.repeat(8, 1).repeat(8, 2)
    out, codes = tmp_path / f"{kind}.safetensors", tmp_path / "codes.npy"
    data = write_pictures(tmp_path / "train.npy", pictures)
    train(kind, data, out)
    error = np.genfromtxt(tmp_path / "curve.csv", delimiter=",", names=True)["reconstruction"]
    assert error[-10:].mean() < 0.8 * error[:3].mean()
    model, about = load_codec(out)
    assert about["kind"] == kind and model.codebook_size == 16
    encode_splits(first_stage=out, data=[data], state=tmp_path / "codes", out=[codes], threads=1)
    write_array(tmp_path / "features.npy", np.random.default_rng(0).normal(size=(32, 1280)).astype(np.float32))
    measure = partial(
        measure_reconstruction,
        first_stage=out,
        codes_train=codes,
        test=data,
        reference=tmp_path / "features.npy",
        images=32,
        draws=2,
        out=tmp_path / "found.json",
        pictures=tmp_path / "pictures.npz",
        threads=1,
    )
    measure(codes_test=codes)
    found = read_json(tmp_path / "found.json")
    assert found["codebook_size"] == 16 and found["latent_size"] == ([20] if kind == "vqvae2" else [4, 4])
    used = len(np.unique(np.load(codes))) / (32 if kind == "vqvae2" else 16)
    assert found["usage"]["train"]["seen"] == used
    assert found["psnr"] > 10
    gaps = pictures - np.load(tmp_path / "pictures.npz")["reconstructions"].astype(np.float64)
    halves = (20 * np.log10(255 / (gaps**2).mean((1, 2, 3)) ** 0.5)).reshape(2, 16).mean(1)
    assert found["psnr"] == pytest.approx(np.mean(halves), rel=1e-6)
    assert found["psnr_std"] == pytest.approx(np.std(halves, ddof=1), rel=1e-6)
    write_array(tmp_path / "few.npy", np.load(codes)[:1])
    with pytest.raises(UserError, match=r"few\.npy: 1 images, but .* 32"):
        measure(codes_test=tmp_path / "few.npy")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"priors": ["vqvae2_k256"]}, "2 code maps; a prior is trained on one"),
        ({"vqvae2": None}, "needs the settings `vqvae2`"),
    ],
)
def test_settings_that_cannot_be_are_refused(change: dict[str, object], message: str) -> None:
    values = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text())
    values["datasets"]["faces"] |= change
    with pytest.raises(UserError, match=message):
        resolve(values)
