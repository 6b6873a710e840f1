"""The first stage against published counts, brute force and its own equations."""

from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator
from hypothesis import given, settings
from hypothesis import strategies as st

from vqddm.artifacts import UserError, write_checkpoint
from vqddm.vqgan.model import Discriminator, FirstStage, Quantiser, load_first_stage
from vqddm.vqgan.settings import AutoencoderParams
from vqddm.vqgan.train import adaptive_weight, hinge_loss

PAPER = AutoencoderParams(
    resolution=256,
    patch=1,
    width=128,
    multipliers=(1, 1, 2, 2, 4),
    blocks=2,
    attention=(16,),
    z_channels=256,
    embed_dim=256,
)
ALONE = Accelerator(cpu=True)
SMALL = AutoencoderParams(
    resolution=16, patch=2, width=32, multipliers=(1, 2), blocks=1, attention=(4,), z_channels=16, embed_dim=8
)


@pytest.mark.parametrize(("codebook_size", "millions"), [(512, 72.01), (1024, 72.14), (16384, 76.07)])
def test_the_papers_first_stage_has_the_official_size(codebook_size, millions):
    with torch.device("meta"):
        model = FirstStage(PAPER, codebook_size)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.005)
    assert len(model.state_dict()) == 343


def test_the_papers_first_stage_bears_the_official_names():
    with torch.device("meta"):
        shapes = {k: tuple(v.shape) for k, v in FirstStage(PAPER, 1024).state_dict().items()}
    expected = {
        "encoder.conv_in.weight": (128, 3, 3, 3),
        "encoder.down.2.block.0.nin_shortcut.weight": (256, 128, 1, 1),
        "encoder.down.4.block.0.nin_shortcut.weight": (512, 256, 1, 1),
        "encoder.down.3.downsample.conv.weight": (256, 256, 3, 3),
        "encoder.down.4.attn.1.proj_out.weight": (512, 512, 1, 1),
        "encoder.mid.attn_1.q.weight": (512, 512, 1, 1),
        "encoder.conv_out.weight": (256, 512, 3, 3),
        "decoder.conv_in.weight": (512, 256, 3, 3),
        "decoder.up.4.attn.2.norm.weight": (512,),
        "decoder.up.3.block.0.nin_shortcut.weight": (256, 512, 1, 1),
        "decoder.up.1.block.0.nin_shortcut.weight": (128, 256, 1, 1),
        "decoder.up.1.upsample.conv.weight": (128, 128, 3, 3),
        "decoder.conv_out.weight": (3, 128, 3, 3),
        "quantize.embedding.weight": (1024, 256),
        "quant_conv.weight": (256, 256, 1, 1),
        "post_quant_conv.weight": (256, 256, 1, 1),
    }
    assert expected.items() <= shapes.items()
    shortcuts = [k for k in shapes if k.endswith("nin_shortcut.weight")]
    assert len(shortcuts) == 4
    assert "decoder.up.0.upsample.conv.weight" not in shapes
    assert "encoder.down.4.downsample.conv.weight" not in shapes


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 9), st.integers(1, 5), st.integers(0, 1000))
def test_quantisation_finds_the_nearest_code(codebook_size, dim, seed):
    torch.manual_seed(seed)
    quantiser = Quantiser(codebook_size, dim)
    quantiser.embedding.weight.data.normal_()
    features = torch.randn(2, dim, 3, 4)
    brute = (features.double()[:, None] - quantiser.embedding.weight.double()[None, :, :, None, None]).square().sum(2)
    found = brute.gather(1, quantiser(features)[:, None])[:, 0]
    torch.testing.assert_close(found, brute.amin(1), atol=1e-5, rtol=1e-5)


def test_equation_14_and_the_straight_through_estimator():
    torch.manual_seed(0)
    model = FirstStage(SMALL, 5)
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    made = model(images)
    h = model.features(images)
    z = model.quantize.lookup(model.encode(images))
    torch.testing.assert_close(made.codebook_loss, (h.detach() - z).square().mean())
    torch.testing.assert_close(made.commitment_loss, made.codebook_loss)
    torch.testing.assert_close(made.images, model.decode(made.codes), atol=1e-5, rtol=1e-4)
    grads = torch.autograd.grad(
        made.images.sum(), [model.quant_conv.weight, model.quantize.embedding.weight], allow_unused=True
    )
    assert grads[0].abs().sum() > 0, "the gradient passes the quantiser to the encoder"
    assert grads[1] is None, "the reconstruction does not move the codebook"
    (pulled,) = torch.autograd.grad(model(images).codebook_loss, model.quantize.embedding.weight)
    unused = torch.ones(5, dtype=torch.bool).index_fill(0, made.codes.unique(), False)
    assert pulled[unused].abs().sum() == 0
    assert pulled[~unused].abs().sum() > 0


@pytest.mark.parametrize("patch", [1, 2])
def test_shapes_at_every_patch(patch):
    params = SMALL.model_copy(update={"patch": patch})
    model = FirstStage(params, 4)
    side = 16 // params.downsampling
    images = torch.zeros(1, 3, 16, 16)
    assert model.encode(images).shape == (1, side, side)
    assert model(images).images.shape == images.shape


def test_the_adaptive_weight_is_the_ratio_of_gradients():
    layer = torch.tensor([1.0, 2.0], requires_grad=True)
    weight = adaptive_weight((layer * torch.tensor([3.0, 4.0])).sum(), 2 * layer[0], layer, ALONE)
    assert weight.item() == pytest.approx(5 / (2 + 1e-4))
    assert adaptive_weight(layer.sum() * 1e9, layer.sum() * 0, layer, ALONE).item() == 1e4


def test_the_hinge_loss():
    assert hinge_loss(torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.5])).item() == pytest.approx((0.25 + 0.75) / 2)


def test_the_discriminator_judges_overlapping_patches():
    with torch.device("meta"):
        model = Discriminator(64, 3)
        assert model(torch.empty(1, 3, 256, 256)).shape == (1, 1, 30, 30)
    # the 70 x 70 PatchGAN: 4x4 convolutions, biases on the first and the last, batch norm between
    convolutions = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512) + 64 + 1
    assert sum(p.numel() for p in model.parameters()) == convolutions + 2 * (128 + 256 + 512)


def test_a_checkpoint_of_the_wrong_kind_or_shape_is_refused_by_name(tmp_path):
    model = FirstStage(SMALL, 4)
    about = {"kind": "first stage", "autoencoder": SMALL.model_dump(mode="json"), "codebook_size": 4}
    good, wrong, cut = tmp_path / "good.safetensors", tmp_path / "wrong.safetensors", tmp_path / "cut.safetensors"
    write_checkpoint(good, model.state_dict(), about)
    again, _ = load_first_stage(good)
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in model.state_dict().items())
    write_checkpoint(wrong, model.state_dict(), about | {"codebook_size": 5})
    with pytest.raises(UserError, match=r"quantize\.embedding\.weight is \(4, 8\), expected \(5, 8\)"):
        load_first_stage(wrong)
    write_checkpoint(wrong, model.state_dict(), about | {"kind": "prior"})
    with pytest.raises(UserError, match="holds a prior, not a first stage"):
        load_first_stage(wrong)
    cut.write_bytes(good.read_bytes()[:1000])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        load_first_stage(cut)
    with pytest.raises(UserError, match="no such file"):
        load_first_stage(tmp_path / "none.safetensors")
