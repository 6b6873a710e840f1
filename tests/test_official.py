"""Official checkpoints, in Lightning's format, and the same network in another library."""

from __future__ import annotations

import copy
import os
import shlex
import sys
import types
import zipfile
from pathlib import Path

import pytest
import rehearse
import torch
import yaml

from vqddm import cli
from vqddm.api import vqmodel
from vqddm.artifacts import UserError, describe_checkpoint, read_checkpoint
from vqddm.params import with_presets
from vqddm.vqgan.model import Discriminator, FirstStage, load_discriminator, load_first_stage
from vqddm.vqgan.official import LEGACY, import_official
from vqddm.vqgan.settings import VQGANParams

K = 24


@pytest.fixture
def params(root: Path) -> VQGANParams:
    """The paper's networks, of a smaller width."""
    values = with_presets(yaml.safe_load((root / "params.yaml").read_text()))
    vqgan = copy.deepcopy(values["datasets"]["imagenet"]["vqgan"])
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
    assert "2 of 343 tensors do not fit the first stage" in str(error.value)
    assert "encoder.conv_in.bias: missing" in str(error.value)
    assert "quantize.embedding.weight: (16, 16), expected (24, 16)" in str(error.value)
    assert not (tmp_path / "out.safetensors").exists()


def test_a_damaged_tensor_is_found_by_the_archives_checksums(params, official, tmp_path):
    """torch loads it without a word."""
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": official}, path)
    with zipfile.ZipFile(path) as archive:
        entry = max(archive.infolist(), key=lambda entry: entry.file_size)
    content = bytearray(path.read_bytes())
    middle = entry.header_offset + 200 + entry.file_size // 2
    content[middle : middle + 64] = bytes(64)
    path.write_bytes(content)
    torch.load(path, weights_only=True)
    for trusted in (False, True):
        with pytest.raises(UserError, match=rf"last\.ckpt: damaged \({entry.filename}\); fetch it again"):
            import_official(path, params, K, tmp_path / "out.safetensors", trusted)
    assert not (tmp_path / "out.safetensors").exists()


def test_a_pipe_is_no_checkpoint(params, tmp_path):
    os.mkfifo(tmp_path / "last.ckpt")
    with pytest.raises(UserError, match="a pipe, a socket or a device"):
        import_official(tmp_path / "last.ckpt", params, K, tmp_path / "out.safetensors")


@pytest.mark.parametrize(("width", "layers"), [(8, 2), (16, 3), (8, 4)])
def test_a_discriminator_of_another_size_gives_way_to_a_fresh_one(params, official, tmp_path, capsys, width, layers):
    """The official one of ImageNet with K = 16384 has 2 layers."""
    first_stage = {name: t for name, t in official.items() if not name.startswith("loss.discriminator.")}
    other = {f"loss.discriminator.{name}": t for name, t in Discriminator(width, layers).state_dict().items()}
    torch.save({"state_dict": first_stage | other}, tmp_path / "last.ckpt")
    out = tmp_path / "out.safetensors"
    import_official(tmp_path / "last.ckpt", params, K, out)
    said = capsys.readouterr().err
    assert f"last.ckpt: its discriminator (width {width}, layers {layers}) is not" in said and said.count("\n") == 1
    model, _ = load_first_stage(out)
    assert all(torch.equal(value, first_stage[name]) for name, value in model.state_dict().items())
    made_by = describe_checkpoint(out)["made_by"]
    assert made_by["discriminator"] == "fresh"
    assert made_by["discriminator_left_out"] == {"width": width, "layers": layers}
    torch.manual_seed(params.training.seed)
    seeded = Discriminator(8, 3).state_dict()
    loaded = load_discriminator(out, 8, 3).state_dict()
    assert all(torch.equal(value, seeded[name]) for name, value in loaded.items())


def test_a_damaged_first_stage_is_refused_beside_another_discriminator(params, official, tmp_path):
    official = {name: t for name, t in official.items() if not name.startswith("loss.discriminator.")}
    official |= {f"loss.discriminator.{name}": t for name, t in Discriminator(8, 2).state_dict().items()}
    official.pop("decoder.conv_out.bias")
    torch.save({"state_dict": official}, tmp_path / "last.ckpt")
    with pytest.raises(
        UserError, match=r"1 of 343 tensors do not fit the first stage .*\n  decoder\.conv_out\.bias: missing$"
    ):
        import_official(tmp_path / "last.ckpt", params, K, tmp_path / "out.safetensors")


@pytest.mark.parametrize("missing", [["0.weight"], ["3.running_mean"], ["11.weight", "11.bias"]])
def test_a_missing_tensor_of_the_discriminator_is_named_as_its(params, official, tmp_path, missing):
    for name in missing:
        official.pop(f"loss.discriminator.main.{name}")
    torch.save({"state_dict": official}, tmp_path / "last.ckpt")
    with pytest.raises(UserError, match=rf"{len(missing)} of \d+ tensors do not fit the discriminator") as error:
        import_official(tmp_path / "last.ckpt", params, K, tmp_path / "out.safetensors")
    assert all(f"\n  loss.discriminator.main.{name}: missing" in str(error.value) for name in missing)


def test_checkpoints_of_a_rehearsal_are_whole_or_not_there(params, tmp_path, monkeypatch):
    vqgan = params.model_dump(mode="json")
    paths = {"vqgan_k24": "data/small.ckpt", "vqgan_k16384": "data/large.ckpt"}
    datasets = {
        "celebahq": {"vqgan": vqgan | {"pretrained": {"vqgan_k24": "data/celebahq.ckpt"}}},
        "imagenet": {"vqgan": vqgan | {"pretrained": paths}},
    }

    def killed(content, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as then, pytest.raises(KeyboardInterrupt):
        then.setattr(torch, "save", killed)
        rehearse.write_checkpoints(tmp_path, datasets)
    assert not list(tmp_path.iterdir())
    rehearse.write_checkpoints(tmp_path, datasets)
    whose = {}
    for name, codes in (("celebahq", 24), ("small", 24), ("large", 16384)):
        import_official(tmp_path / f"{name}.ckpt", params, codes, tmp_path / f"{name}.safetensors")
        whose[name] = describe_checkpoint(tmp_path / f"{name}.safetensors")["made_by"]["discriminator"]
    assert whose == {"celebahq": "fresh", "small": "official", "large": "fresh"}
    before = (tmp_path / "large.ckpt").stat()
    rehearse.write_checkpoints(tmp_path, datasets)
    assert (tmp_path / "large.ckpt").stat().st_mtime_ns == before.st_mtime_ns


class Foreign:
    """An object of a library that is not here; Lightning put such into its checkpoints."""


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def pretend_lightning(monkeypatch):
    """As if Lightning were installed, and `Foreign` a class of it."""
    module = types.ModuleType("pytorch_lightning.callbacks")
    module.Foreign = Foreign
    monkeypatch.setitem(sys.modules, "pytorch_lightning", types.ModuleType("pytorch_lightning"))
    monkeypatch.setitem(sys.modules, "pytorch_lightning.callbacks", module)
    monkeypatch.setattr(Foreign, "__module__", "pytorch_lightning.callbacks")


@pytest.fixture
def with_callback(official, tmp_path, monkeypatch):
    """A checkpoint that names a class of Lightning, which is not installed; and the same in torch's older format."""
    with monkeypatch.context() as then:
        pretend_lightning(then)
        callback = Foreign()
        callback.best = 0.25
        content = {"state_dict": official, "callbacks": {Foreign: callback}}
        torch.save(content, tmp_path / "last.ckpt")
        torch.save(content, tmp_path / "older.ckpt", _use_new_zipfile_serialization=False)
    return tmp_path / "last.ckpt"


def test_a_class_that_is_not_here_is_named_and_the_advice_helps(params, official, with_callback, tmp_path, monkeypatch):
    out = tmp_path / "out.safetensors"
    with pytest.raises(UserError, match=r"No module named 'pytorch_lightning'.*; leave --trust-pickle out") as error:
        import_official(with_callback, params, K, out, trust_pickle=True)
    assert "fetch it again" not in str(error.value)
    command = shlex.split(str(error.value).splitlines()[-1])
    assert command[:2] == ["python", "-c"]
    with monkeypatch.context() as elsewhere:
        pretend_lightning(elsewhere)
        exec(command[2])
    import_official(with_callback, params, K, out, trust_pickle=True)
    same(out, params, official)


def test_a_class_of_another_version_is_named(params, with_callback, tmp_path, monkeypatch):
    pretend_lightning(monkeypatch)
    del sys.modules["pytorch_lightning.callbacks"].Foreign
    with pytest.raises(UserError, match=r"Can't get attribute 'Foreign' on <module 'pytorch_lightning"):
        import_official(with_callback, params, K, tmp_path / "out.safetensors", trust_pickle=True)


def test_torchs_older_format_is_read_if_it_holds_tensors_alone(params, official, with_callback, tmp_path):
    out = tmp_path / "out.safetensors"
    with pytest.raises(
        UserError, match=r"older\.ckpt: cannot be read without .*\(pytorch_lightning\.callbacks\.Foreign\)"
    ):
        import_official(tmp_path / "older.ckpt", params, K, out)
    with pytest.raises(UserError, match=r"older\.ckpt: holds objects .* 'pytorch_lightning'"):
        import_official(tmp_path / "older.ckpt", params, K, out, trust_pickle=True)
    torch.save({"state_dict": official}, tmp_path / "older.ckpt", _use_new_zipfile_serialization=False)
    import_official(tmp_path / "older.ckpt", params, K, out)
    same(out, params, official)


def test_foreign_objects_are_passed_over(params, official, with_callback, tmp_path):
    import_official(tmp_path / "last.ckpt", params, K, tmp_path / "out.safetensors")
    same(tmp_path / "out.safetensors", params, official)


def test_code_in_a_file_is_run_only_when_that_is_asked_for(params, official, tmp_path):
    torch.save({"state_dict": official, "evil": Evil(tmp_path / "made")}, tmp_path / "last.ckpt")
    with pytest.raises(UserError, match=r"without running code that it holds \(posix\.mkdir\)") as error:
        import_official(tmp_path / "last.ckpt", params, K, tmp_path / "out.safetensors")
    assert not (tmp_path / "made").exists()
    command = shlex.split(str(error.value).splitlines()[-1])
    assert command[:3] == ["vqddm", "vqgan", "import"] and "--trust-pickle" in command
    cli.run(command[1:])
    assert (tmp_path / "made").exists()
    same(tmp_path / "out.safetensors", params, official)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a whole checkpoint"),
        (b"PK\x03\x04 cut", "not a whole checkpoint"),
        (b"<html>No such file</html>", "not a whole checkpoint"),
        (LEGACY, "not a whole checkpoint"),
        (None, "no such file"),
    ],
)
@pytest.mark.parametrize("trust_pickle", [False, True])
def test_a_missing_or_damaged_file_is_named(params, tmp_path, content, words, trust_pickle):
    path = tmp_path / "last.ckpt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=f"last.ckpt: {words}"):
        import_official(path, params, K, tmp_path / "out.safetensors", trust_pickle)


def test_another_files_tensors_are_refused(params, tmp_path):
    torch.save([1, 2], tmp_path / "last.ckpt")
    with pytest.raises(UserError, match="holds no `state_dict`"):
        import_official(tmp_path / "last.ckpt", params, K, tmp_path / "out.safetensors")


def test_the_names_mean_what_they_mean_in_diffusers(params):
    """The same weights under diffusers' names give the same codes and the same images."""
    from diffusers import VQModel

    ours = FirstStage(params.autoencoder, K).eval()
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    theirs = VQModel(**vqmodel.settings(ours)).eval()
    theirs.load_state_dict(vqmodel.to_vqmodel(ours.state_dict(), params.autoencoder), strict=True)
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        latents = theirs.encode(images).latents
        torch.testing.assert_close(ours.features(images), latents, rtol=1e-4, atol=1e-4)
        codes = theirs.quantize(latents)[2][2].view(2, 2, 2)
        assert torch.equal(ours.encode(images), codes)
        torch.testing.assert_close(ours.decode(codes), theirs.decode(latents).sample, rtol=1e-3, atol=1e-4)
    back = vqmodel.from_vqmodel(theirs.state_dict(), params.autoencoder, K)
    assert all(torch.equal(tensor, back[name]) for name, tensor in ours.state_dict().items())
