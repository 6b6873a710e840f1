"""Official checkpoints, in Lightning's format, and the same network in another library."""

from __future__ import annotations

import os
import re
import sys
import types
from pathlib import Path

import pytest
import torch
import yaml

from vqddm.artifacts import UserError, read_checkpoint
from vqddm.params import VQGANParams
from vqddm.vqgan.model import Discriminator, FirstStage, load_discriminator, load_first_stage
from vqddm.vqgan.official import import_official

K = 24


@pytest.fixture
def params(root: Path) -> VQGANParams:
    """The paper's networks, of a smaller width."""
    vqgan = yaml.safe_load((root / "params.yaml").read_text())["datasets"]["imagenet"]["vqgan"]
    vqgan["autoencoder"] |= {"resolution": 32, "width": 32, "attention": [2], "z_channels": 16, "embed_dim": 16}
    vqgan["loss"]["discriminator_width"] = 8
    return VQGANParams.model_validate(vqgan)


@pytest.fixture
def official(params: VQGANParams) -> dict[str, torch.Tensor]:
    """What an official `state_dict` holds: the first stage, its discriminator and the perceptual network."""
    torch.manual_seed(1)
    tensors = dict(FirstStage(params.autoencoder, K).state_dict())
    discriminator = Discriminator(params.loss.discriminator_width, params.loss.discriminator_layers).state_dict()
    tensors |= {f"loss.discriminator.{name}": tensor for name, tensor in discriminator.items()}
    return tensors | {"loss.perceptual_loss.net.slice1.0.weight": torch.zeros(3)}


def same(out: Path, params: VQGANParams, official: dict[str, torch.Tensor], discriminator: bool = True) -> None:
    model, about = load_first_stage(out)
    assert about["codebook_size"] == K
    assert all(torch.equal(value, official[name]) for name, value in model.state_dict().items())
    loaded = load_discriminator(out, params.loss.discriminator_width, params.loss.discriminator_layers).state_dict()
    equal = all(torch.equal(value, official[f"loss.discriminator.{name}"]) for name, value in loaded.items())
    assert equal == discriminator


def test_a_first_stage_is_read(params, official, tmp_path):
    torch.save({"state_dict": official, "epoch": 3, "pytorch-lightning_version": "1.0.8"}, tmp_path / "last.ckpt")
    import_official(tmp_path / "last.ckpt", params, K, tmp_path / "out.safetensors")
    same(tmp_path / "out.safetensors", params, official)
    assert read_checkpoint(tmp_path / "out.safetensors", "first stage")[1]["made_by"]["discriminator"] == "official"


def test_a_first_stage_inside_a_transformer_is_read(params, official, tmp_path):
    inside = {f"first_stage_model.{name}": t for name, t in official.items() if not name.startswith("loss.")}
    torch.save({"state_dict": inside | {"transformer.head.weight": torch.zeros(2)}}, tmp_path / "celebahq.ckpt")
    import_official(tmp_path / "celebahq.ckpt", params, K, tmp_path / "out.safetensors")
    same(tmp_path / "out.safetensors", params, official, discriminator=False)
    assert read_checkpoint(tmp_path / "out.safetensors", "first stage")[1]["made_by"]["discriminator"] == "fresh"


def test_every_missing_or_wrong_tensor_is_named(params, official, tmp_path):
    official.pop("encoder.conv_in.bias")
    official["quantize.embedding.weight"] = torch.zeros(16, 16)
    torch.save({"state_dict": official}, tmp_path / "last.ckpt")
    with pytest.raises(UserError) as error:
        import_official(tmp_path / "last.ckpt", params, K, tmp_path / "out.safetensors")
    assert "2 of 343 tensors do not fit" in str(error.value)
    assert "encoder.conv_in.bias: missing" in str(error.value)
    assert "quantize.embedding.weight: (16, 16), expected (24, 16)" in str(error.value)
    assert not (tmp_path / "out.safetensors").exists()


class Foreign:
    """An object of a library that is not here; Lightning put such into its checkpoints."""


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def test_foreign_objects_are_passed_over(params, official, tmp_path, monkeypatch):
    module = types.ModuleType("pytorch_lightning.callbacks")
    monkeypatch.setitem(sys.modules, "pytorch_lightning", types.ModuleType("pytorch_lightning"))
    monkeypatch.setitem(sys.modules, "pytorch_lightning.callbacks", module)
    monkeypatch.setattr(Foreign, "__module__", "pytorch_lightning.callbacks")
    module.Foreign = Foreign
    callback = Foreign()
    callback.best = 0.25
    torch.save({"state_dict": official, "callbacks": {Foreign: callback}}, tmp_path / "last.ckpt")
    monkeypatch.undo()
    import_official(tmp_path / "last.ckpt", params, K, tmp_path / "out.safetensors")
    same(tmp_path / "out.safetensors", params, official)


def test_code_in_a_file_is_run_only_when_that_is_asked_for(params, official, tmp_path):
    torch.save({"state_dict": official, "evil": Evil(tmp_path / "made")}, tmp_path / "last.ckpt")
    with pytest.raises(UserError, match=r"without running code that it holds .*--trust-pickle"):
        import_official(tmp_path / "last.ckpt", params, K, tmp_path / "out.safetensors")
    assert not (tmp_path / "made").exists()
    import_official(tmp_path / "last.ckpt", params, K, tmp_path / "out.safetensors", trust_pickle=True)
    assert (tmp_path / "made").exists()
    same(tmp_path / "out.safetensors", params, official)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "not a whole checkpoint"), (b"PK\x03\x04 cut", "not a whole checkpoint"), (None, "no such file")],
)
def test_a_missing_or_damaged_file_is_named(params, tmp_path, content, words):
    path = tmp_path / "last.ckpt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=f"last.ckpt: {words}"):
        import_official(path, params, K, tmp_path / "out.safetensors")


def test_another_files_tensors_are_refused(params, tmp_path):
    torch.save([1, 2], tmp_path / "last.ckpt")
    with pytest.raises(UserError, match="holds no `state_dict`"):
        import_official(tmp_path / "last.ckpt", params, K, tmp_path / "out.safetensors")


def in_diffusers(name: str, levels: int) -> str:
    """An official name as diffusers' VQModel has it."""
    name = re.sub(r"decoder\.up\.(\d+)", lambda m: f"decoder.up_blocks.{levels - 1 - int(m[1])}", name)
    for official, other in (
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
    ):
        name = re.sub(official, other, name)
    return name


def test_the_names_mean_what_they_mean_in_diffusers(params):
    """The same weights under diffusers' names give the same codes and the same images."""
    from diffusers import VQModel

    autoencoder = params.autoencoder
    levels = len(autoencoder.multipliers)
    ours = FirstStage(autoencoder, K).eval()
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    theirs = VQModel(
        down_block_types=("DownEncoderBlock2D",) * (levels - 1) + ("AttnDownEncoderBlock2D",),
        up_block_types=("AttnUpDecoderBlock2D",) + ("UpDecoderBlock2D",) * (levels - 1),
        block_out_channels=tuple(autoencoder.width * m for m in autoencoder.multipliers),
        layers_per_block=autoencoder.blocks,
        latent_channels=autoencoder.z_channels,
        num_vq_embeddings=K,
        vq_embed_dim=autoencoder.embed_dim,
    ).eval()
    wanted = theirs.state_dict()
    renamed = {in_diffusers(name, levels): tensor for name, tensor in ours.state_dict().items()}
    theirs.load_state_dict({name: tensor.view(wanted[name].shape) for name, tensor in renamed.items()}, strict=True)
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        latents = theirs.encode(images).latents
        torch.testing.assert_close(ours.features(images), latents, rtol=1e-4, atol=1e-4)
        codes = theirs.quantize(latents)[2][2].view(2, 2, 2)
        assert torch.equal(ours.encode(images), codes)
        torch.testing.assert_close(ours.decode(codes), theirs.decode(latents).sample, rtol=1e-3, atol=1e-4)
