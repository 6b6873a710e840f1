"""ReFiT: the drawing of features, AFK-MC2, k-means, the frozen encoder, usage."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.cluster import KMeans

from vqddm.artifacts import UserError
from vqddm.evaluate.measure import usage
from vqddm.refit.finetune import with_codebook
from vqddm.refit.kmeans import afkmc2, rebuild_codebook, squared_distances
from vqddm.refit.sampled_features import draw_positions, sample_features
from vqddm.vqgan.model import FirstStage
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
    model = FirstStage(SMALL, 3)
    centres = torch.randn(7, 4)
    rebuilt = with_codebook(model, centres)
    trainable = {n.split(".")[0] for n, p in rebuilt.named_parameters() if p.requires_grad}
    assert trainable == {"decoder", "post_quant_conv", "quantize"}
    assert torch.equal(rebuilt.quantize.embedding.weight, centres)
    images = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(rebuilt.features(images), model.features(images))


def test_usage_counts_codes_that_appeared():
    codes = np.array([[[0, 0], [1, 3]], [[3, 3], [3, 3]]], np.uint16)
    assert usage(codes, 5) == 3 / 5
    assert usage(codes, 5, at_least=2) == 2 / 5
    assert usage(codes, 5, at_least=6) == 0
