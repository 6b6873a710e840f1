"""ReFiT: the drawing of features, AFK-MC2, k-means, the frozen encoder, usage."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from helpers.recipes import ADAM, write_pictures
from sklearn.cluster import KMeans

from vqddm.artifacts import UserError, read_checkpoint, write_checkpoint
from vqddm.data.arrays import load_split
from vqddm.evaluate.measure import usage
from vqddm.refit.finetune import finetune, freeze_encoder
from vqddm.refit.kmeans import afkmc2, rebuild_codebook, squared_distances
from vqddm.refit.rebuild import rebuild
from vqddm.refit.sampled_features import draw_positions, sample_features
from vqddm.refit.settings import RefitParams
from vqddm.settings import parse
from vqddm.vqgan.codec import DISCRIMINATOR, FIRST_STAGE
from vqddm.vqgan.model import CODEBOOK, Discriminator, FirstStage, load_first_stage
from vqddm.vqgan.settings import AutoencoderParams

SMALL = AutoencoderParams(
    resolution=8, patch=2, width=32, multipliers=(1, 2), blocks=1, attention=(), z_channels=8, embed_dim=4
)


def test_positions_are_uniform_and_with_replacement():
    drawn = draw_positions(60_000, 5, 2, 3, seed=0)
    assert drawn.shape == (60_000, 3)
    cells = np.ravel_multi_index(tuple(drawn.T), (5, 2, 3))
    assert scipy.stats.chisquare(np.bincount(cells, minlength=30)).pvalue > 1e-3
    assert (np.diff(drawn[:, 0]) >= 0).all()


def test_features_are_those_of_the_drawn_images_and_positions():
    torch.manual_seed(0)
    model = FirstStage(SMALL, 3).eval()
    images = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), np.uint8)
    found = sample_features(model, images, 40, seed=5, batch_size=4)
    with torch.no_grad():
        maps = model.features(torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1).numpy()
    drawn = draw_positions(40, 9, 2, 2, seed=5)
    np.testing.assert_allclose(found, maps[drawn[:, 0], :, drawn[:, 1], drawn[:, 2]], atol=1e-4)


def test_squared_distances_against_brute_force():
    rng = np.random.default_rng(0)
    points, centres = rng.normal(size=(7, 3)), rng.normal(size=(4, 3))
    np.testing.assert_allclose(squared_distances(points, centres), ((points[:, None] - centres[None]) ** 2).sum(-1))


def test_long_chains_draw_the_second_seed_as_k_means_plus_plus_does():
    """The chain's stationary distribution is proportional to the squared distance (Bachem et al. 2016)."""
    points = np.array([[0.0], [1.0], [2.0], [4.0]])
    rng = np.random.default_rng(0)
    pairs = np.array([afkmc2(points, 2, 60, rng) for _ in range(4000)])
    for first in range(4):
        seconds = pairs[pairs[:, 0] == first, 1]
        expected = (points[:, 0] - points[first, 0]) ** 2
        assert np.bincount(seconds, minlength=4)[first] == 0
        keep = expected > 0
        counts = np.bincount(seconds, minlength=4)[keep]
        assert scipy.stats.chisquare(counts, expected[keep] / expected.sum() * len(seconds)).pvalue > 1e-3


def test_seeds_are_better_than_uniform_ones_and_near_k_means_plus_plus():
    rng = np.random.default_rng(1)
    points = np.concatenate([rng.normal(c, 0.1, (n, 2)) for c, n in ((0, 500), (10, 20), (20, 20), (30, 20))])

    def cost(seeds):
        return squared_distances(points, points[seeds]).min(1).sum()

    ours = np.median([cost(afkmc2(points, 4, 100, rng)) for _ in range(15)])
    uniform = np.median([cost(rng.choice(len(points), 4, replace=False)) for _ in range(15)])
    plus_plus = np.median(
        [KMeans(4, init="k-means++", n_init=1, max_iter=1, random_state=i).fit(points).inertia_ for i in range(15)]
    )
    assert ours < uniform / 3
    assert ours < 4 * plus_plus


def test_rebuilding_finds_the_clusters_and_is_deterministic():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(6, 5)) * 10
    features = (centres[rng.integers(6, size=600)] + rng.normal(size=(600, 5)) * 0.01).astype(np.float32)
    first = rebuild_codebook(features, 6, 50, 20, seed=3)
    np.testing.assert_array_equal(first, rebuild_codebook(features, 6, 50, 20, seed=3))
    assert first.dtype == np.float32
    np.testing.assert_allclose(first[np.argsort(first[:, 0])], centres[np.argsort(centres[:, 0])], atol=0.05)


def test_too_few_distinct_features_are_one_clear_error():
    with pytest.raises(UserError, match="2 distinct features cannot give 3 centres"):
        rebuild_codebook(np.repeat(np.eye(2, dtype=np.float32), 10, axis=0), 3, 10, 10, seed=0)


def test_only_the_decoder_side_and_the_codebook_stay_trainable():
    model = freeze_encoder(FirstStage(SMALL, 3).requires_grad_(False))
    trainable = {n.split(".")[0] for n, p in model.named_parameters() if p.requires_grad}
    assert trainable == {"decoder", "post_quant_conv", "quantize"}


@pytest.fixture(scope="module")
def vqgan(tmp_path_factory):
    """A VQ-GAN of 5 codes as it would be trained, and pictures, in one folder."""
    folder = tmp_path_factory.mktemp("vqgan")
    torch.manual_seed(0)
    tensors = FirstStage(SMALL, 5).state_dict()
    beside = {DISCRIMINATOR + name: tensor for name, tensor in Discriminator(4, 1).state_dict().items()}
    about = {"kind": FIRST_STAGE, "autoencoder": SMALL.model_dump(mode="json"), "codebook_size": 5, "made_by": {}}
    write_checkpoint(folder / "vqgan.safetensors", tensors | beside, about)
    pictures = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), np.uint8)
    write_pictures(folder / "train.npy", pictures)
    return folder


@pytest.fixture(scope="module")
def refit():
    given = {"squared_weight": 0.0, "commitment": 0.25, "perceptual": "efficientnet_lite0", "perceptual_weight": 0.1}
    loss = given | {f"discriminator_{k}": v for k, v in (("width", 4), ("layers", 1), ("start", 0), ("weight", 0.5))}
    training = {"steps": 3, "batch_size": 8, "precision": "no", "seed": 0}
    rates = {"decoder_learning_rate": 0.01, "discriminator_learning_rate": 0.01}
    clustering = {"source": "vqgan_k5", "chain_length": 20, "lloyd_iterations": 10, "kmeans_seed": 0}
    return parse(RefitParams, clustering | rates | {"loss": loss, "optimizer": ADAM, "training": training})


def read(path):
    return read_checkpoint(path, FIRST_STAGE)[0]


def test_rebuilding_changes_the_codebook_alone(vqgan, refit, tmp_path):
    source, data, out = vqgan / "vqgan.safetensors", vqgan / "train.npy", tmp_path / "rebuilt.safetensors"
    rebuild(source=source, data=data, params=refit, codebook_size=7, features=60, out=out, threads=1)
    before, after = read(source), read(out)
    assert {n for n in before.keys() | after.keys() if not torch.equal(before[n], after[n])} == {CODEBOOK}
    model = load_first_stage(source)[0]
    sampled = sample_features(model, load_split(data), 60, refit.kmeans_seed)
    centres = rebuild_codebook(sampled, 7, refit.chain_length, refit.lloyd_iterations, refit.kmeans_seed)
    np.testing.assert_array_equal(after[CODEBOOK].numpy(), centres)
    assert load_first_stage(out)[0].codebook_size == 7


@pytest.mark.parametrize("side", [16, 64])
def test_features_are_of_pictures_as_large_as_the_first_stages(vqgan, refit, tmp_path, side):
    """Of larger ones only a corner would be sampled."""
    data = write_pictures(tmp_path / "train.npy", np.zeros((40, side, side, 3), np.uint8))
    source, out = vqgan / "vqgan.safetensors", tmp_path / "rebuilt.safetensors"
    with pytest.raises(UserError, match=f"images of {side} pixels, but the first stage takes"):
        rebuild(source=source, data=data, params=refit, codebook_size=7, features=60, out=out, threads=1)
    assert not out.exists()


@pytest.mark.parametrize("control", [False, True])
def test_fine_tuning_leaves_the_encoder_and_moves_the_rest(vqgan, refit, tmp_path, control):
    """With the rebuilt codebook as with the old one, which is the control."""
    source, data, out = vqgan / "vqgan.safetensors", vqgan / "train.npy", tmp_path / "out.safetensors"
    if not control:
        rebuilt = tmp_path / "rebuilt.safetensors"
        rebuild(source=source, data=data, params=refit, codebook_size=7, features=60, out=rebuilt, threads=1)
        source = rebuilt
    state, curve = tmp_path / "state", tmp_path / "curve.csv"
    finetune(source=source, data=data, params=refit, state=state, out=out, curve=curve, threads=1)
    before, after = read(source), read(out)
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"decoder", "post_quant_conv", "quantize", "loss"}
    assert after[CODEBOOK].shape == before[CODEBOOK].shape


def test_usage_counts_codes_that_appeared():
    codes = np.array([[[0, 0], [1, 3]], [[3, 3], [3, 3]]], np.uint16)
    assert usage(codes, 5) == 3 / 5
    assert usage(codes, 5, at_least=2) == 2 / 5
    assert usage(codes, 5, at_least=6) == 0
