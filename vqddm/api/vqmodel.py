"""A VQ-GAN as diffusers' `VQModel`: its settings, and its tensors by the names that they have there.

Every geometry can be said so: a `VQModel` of patches gets pixels folded into channels (`pixel_unshuffle`), and gives
such.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vqddm.vqgan.model import FirstStage
from vqddm.vqgan.settings import AutoencoderParams

NAMES = (
    (r"encoder\.down\.", "encoder.down_blocks."),
    (r"\.block\.(\d+)\.", r".resnets.\1."),
    (r"mid\.block_1", "mid_block.resnets.0"),
    (r"mid\.block_2", "mid_block.resnets.1"),
    (r"mid\.attn_1\.", "mid_block.attn.0."),
    (r"nin_shortcut", "conv_shortcut"),
    (r"downsample\.conv", "downsamplers.0.conv"),
    (r"upsample\.conv", "upsamplers.0.conv"),
    (r"attn\.(\d+)\.norm", r"attentions.\1.group_norm"),
    (r"attn\.(\d+)\.([qkv])\.", r"attentions.\1.to_\2."),
    (r"attn\.(\d+)\.proj_out", r"attentions.\1.to_out.0"),
    (r"norm_out", "conv_norm_out"),
)


def settings(model: FirstStage) -> dict[str, Any]:
    """The arguments of the `VQModel` that computes the same."""
    params = model.params
    levels = len(params.multipliers)
    with_attention = [params.resolution // params.patch // 2**level in params.attention for level in range(levels)]
    return {
        "in_channels": 3 * params.patch**2,
        "out_channels": 3 * params.patch**2,
        "down_block_types": ["AttnDownEncoderBlock2D" if attn else "DownEncoderBlock2D" for attn in with_attention],
        "up_block_types": ["AttnUpDecoderBlock2D" if attn else "UpDecoderBlock2D" for attn in with_attention[::-1]],
        "block_out_channels": [params.width * multiplier for multiplier in params.multipliers],
        "layers_per_block": params.blocks,
        "latent_channels": params.z_channels,
        "sample_size": params.resolution // params.patch,
        "num_vq_embeddings": model.codebook_size,
        "norm_num_groups": model.encoder.norm_out.num_groups,
        "vq_embed_dim": params.embed_dim,
    }


def name_there(name: str, levels: int) -> str:
    """What a tensor of `FirstStage` is called in a `VQModel` with so many levels."""
    name = re.sub(r"decoder\.up\.(\d+)", lambda found: f"decoder.up_blocks.{levels - 1 - int(found[1])}", name)
    for ours, theirs in NAMES:
        name = re.sub(ours, theirs, name)
    return name


def to_vqmodel(tensors: Mapping[str, Tensor], params: AutoencoderParams) -> dict[str, Tensor]:
    """The tensors of a `FirstStage` as a `VQModel` has them; the 1 x 1 convolutions of attention are matrices there."""
    renamed = {name_there(name, len(params.multipliers)): tensor for name, tensor in tensors.items()}
    return {
        name: tensor.flatten(1) if re.search(r"\.to_(q|k|v|out\.0)\.weight$", name) else tensor
        for name, tensor in renamed.items()
    }


def from_vqmodel(tensors: Mapping[str, Tensor], params: AutoencoderParams, codebook_size: int) -> dict[str, Tensor]:
    """The tensors of a `VQModel` as a `FirstStage` has them.

    Raises:
        KeyError, RuntimeError: a tensor is missing or of another shape.
    """
    with torch.device("meta"):
        wanted = FirstStage(params, codebook_size).state_dict()
    levels = len(params.multipliers)
    return {name: tensors[name_there(name, levels)].view(tensor.shape) for name, tensor in wanted.items()}
