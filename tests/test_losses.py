"""The first losses of seeded trainings, held fast: what changes them changes every result.

They were written down when tensors, samples and metrics of a whole tiny suite were the same to the bit as those of the
code before. Other processors and versions of torch round differently: a thousandth is allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.recipes import ADAM, ADVERSARIAL, AUTOENCODER, PRIOR, TRANSFORMER, write_maps, write_pictures

from vqddm.baselines.transformer.train import train_transformer
from vqddm.prior.train import train_prior
from vqddm.settings import TrainingParams
from vqddm.vqgan.codec import decode_codes, encode_images, load_codec
from vqddm.vqgan.settings import VQGANParams
from vqddm.vqgan.train import train_vqgan

TOLERANCE = 1e-3
STEPS = TrainingParams(steps=4, batch_size=16, precision="no", seed=0)


def losses(folder: Path, train: Callable[..., None], **given: object) -> dict[str, list[float]]:
    """Each loss of the four steps."""
    train(state=folder / "state", out=folder / "out.safetensors", curve=folder / "curve.csv", threads=1, **given)
    curve = pd.read_csv(folder / "curve.csv").set_index("step")
    assert list(curve.index) == [1, 2, 3, 4]
    return {str(name): values.to_list() for name, values in curve.items()}


def test_of_the_first_stage(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 3), np.uint8).repeat(4, 1).repeat(4, 2)
    data = write_pictures(tmp_path / "train.npy", pictures)
    adam = ADAM.model_copy(update={"betas": (0.5, 0.9)})
    params = VQGANParams(autoencoder=AUTOENCODER, loss=ADVERSARIAL, learning_rate=1e-3, optimizer=adam, training=STEPS)
    found = losses(tmp_path, train_vqgan, data=data, validation=data, params=params, codebook_size=16)
    expected = {
        "reconstruction": [0.571511, 0.580172, 0.564632, 0.583951],
        "perceptual": [3.459218, 3.078481, 2.907465, 2.683877],
        "codebook": [0.0515042, 0.0514519, 0.0604490, 0.0601143],
        "commitment": [0.0515042, 0.0514519, 0.0604490, 0.0601143],
        "generator": [0, 0, -0.0296395, -0.0380570],
        "adaptive_weight": [0, 0, 2.083868, 1.914635],
        "discriminator": [0, 0, 1.001030, 1.005416],
    }
    assert found.keys() == expected.keys() | {"squared", "learning_rate", "validation"}
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, rel=TOLERANCE), name
    assert found["learning_rate"] == [1e-3] * 4
    made = decode_codes(model := load_codec(tmp_path / "out.safetensors")[0], encode_images(model, pictures))
    error = np.abs(made.astype(float) - pictures).mean() / 127.5
    assert found["validation"][-1] == pytest.approx(error, rel=0.01)  # pixels are rounded there, and clamped
    assert np.isnan(found["validation"][:-1]).all()


@pytest.mark.parametrize(
    ("train", "params", "bits"),
    [
        (train_prior, PRIOR, [6.598383, 4.384449, 4.999021, 4.466748]),
        (train_transformer, TRANSFORMER, [2.583776, 2.524570, 2.445769, 2.350595]),
    ],
)
def test_of_priors(tmp_path: Path, train: Callable[..., None], params: object, bits: list[float]) -> None:
    write_maps(tmp_path / "codes.npy")
    brief = params.model_copy(update={"training": STEPS})  # type: ignore[attr-defined]
    found = losses(tmp_path, train, codes=tmp_path / "codes.npy", params=brief, codebook_size=6)
    assert found["bits_per_code"] == pytest.approx(bits, rel=TOLERANCE)
