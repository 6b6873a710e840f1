"""Inpainting in numbers: seams, paired intervals, completions compared picture by picture."""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from vqddm.artifacts import UserError, read_json, write_array
from vqddm.evaluate.distances import frechet, gaussian
from vqddm.evaluate.features import extract
from vqddm.evaluate.inpainting import mean_of, measure_inpainting, seam, seam_gap


def test_a_seam_is_the_jump_across_the_border() -> None:
    given = torch.tensor([[True, False], [True, False]])
    images = np.zeros((2, 4, 4, 3), np.uint8)
    images[1, :, 2:] = 51  # all of the right half is 0.2 brighter
    images[:, :, 0] = 200  # a jump elsewhere does not count
    np.testing.assert_allclose(seam(images, given), [0, 0.2])
    assert seam(images, torch.ones(2, 2, dtype=torch.bool)).tolist() == [0, 0]


def test_too_smooth_a_completion_has_the_larger_seam_gap() -> None:
    """Its jumps are smaller than the originals' own: by their size alone it would be the better one."""
    rng = np.random.default_rng(3)
    originals, others = rng.integers(0, 256, (2, 8, 64, 64, 3)).astype(np.uint8)
    given = torch.tensor([[False, False], [True, True]])
    textured, smooth = originals.copy(), originals.copy()
    textured[:, :32] = others[:, :32]  # another texture of the same kind
    smooth[:, :32] = 128
    assert seam(smooth, given).mean() < 0.9 * seam(textured, given).mean()
    assert seam_gap(smooth, originals, given).mean() > 2 * seam_gap(textured, originals, given).mean()
    np.testing.assert_array_equal(seam_gap(originals, originals, given), 0)


def test_an_interval_is_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    low, high = stats.norm.interval(0.95, values.mean(), stats.sem(values))
    found = mean_of(values)
    np.testing.assert_allclose([found["mean"], found["half_width"]], [(low + high) / 2, (high - low) / 2], rtol=1e-4)


def write_completions(path: Path, noise: float) -> None:
    """Twelve pictures of two colours, of which the lower half is given; the rest has so much noise."""
    rng = np.random.default_rng(7)
    originals = np.repeat(rng.integers(40, 200, (12, 1, 1, 3)), 16, 1).repeat(16, 2)
    completed = originals + rng.normal(0, noise, originals.shape) * (np.arange(16) < 8)[None, :, None, None]
    arrays = (np.clip(x, 0, 255).astype(np.uint8)[None] for x in (originals, completed))
    masks = (np.arange(4) >= 2)[None, :, None].repeat(4, 2)
    np.savez(path, names=np.array(["lower"]), masks=masks, **dict(zip(("originals", "completed"), arrays, strict=True)))


def test_completions_are_compared_picture_by_picture(tmp_path: Path) -> None:
    noises = {"near": 8.0, "far": 40.0}
    for name, noise in noises.items():
        write_completions(tmp_path / f"{name}.npz", noise)
    reference, network = tmp_path / "features.npy", "efficientnet_lite0"
    write_array(reference, extract(np.load(tmp_path / "near.npz")["originals"][0], network))
    for name in noises:
        measure_inpainting(
            pictures=tmp_path / f"{name}.npz",
            reference=reference,
            draws=3,
            out=tmp_path / f"{name}.json",
            against=tmp_path / "near.npz",
        )
    write_array(tmp_path / "inception.npy", np.zeros((12, 2048), np.float32))
    with pytest.raises(UserError, match="1280 features of the images but 2048 of the reference"):
        measure_inpainting(
            pictures=tmp_path / "far.npz", reference=tmp_path / "inception.npy", draws=3, out=tmp_path / "none.json"
        )
    near, far = (read_json(tmp_path / f"{name}.json")["masks"]["lower"] for name in noises)
    assert near["agreement"]["mean"] < far["agreement"]["mean"] < far["chance"]["mean"]
    paired = far["agreement_minus_chance"]
    assert paired["mean"] == pytest.approx(far["agreement"]["mean"] - far["chance"]["mean"])
    assert paired["mean"] + paired["half_width"] < 0
    assert near["seam_original"] == far["seam_original"] == 0
    assert far["seam_gap"]["mean"] == pytest.approx(far["seam"])  # where the originals have no jump of their own
    assert near["frechet"] < far["frechet"]
    features = extract(np.load(tmp_path / "far.npz")["completed"][0], network)
    apart = [frechet(features[i : i + 4], gaussian(np.load(reference))) for i in (0, 4, 8)]
    assert far["frechet"] == pytest.approx(statistics.mean(apart), rel=1e-3)
    assert far["frechet_std"] == pytest.approx(statistics.stdev(apart), rel=1e-2)
    nothing = {"mean": 0, "half_width": 0}
    assert near["minus"] == {"agreement": nothing, "seam_gap": nothing}
    for key in ("agreement", "seam_gap"):
        assert far["minus"][key]["mean"] == pytest.approx(far[key]["mean"] - near[key]["mean"])
        assert 0 < far["minus"][key]["half_width"] < far["minus"][key]["mean"]
    arrays = dict(np.load(tmp_path / "far.npz"))
    np.savez(tmp_path / "other.npz", **(arrays | {"originals": arrays["originals"][:, ::-1]}))
    with pytest.raises(UserError, match="other pictures or masks"):
        measure_inpainting(
            pictures=tmp_path / "far.npz",
            reference=reference,
            draws=3,
            out=tmp_path / "x.json",
            against=tmp_path / "other.npz",
        )
