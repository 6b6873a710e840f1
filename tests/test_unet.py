"""The prior's network: published counts, shapes, and what reaches what."""

from __future__ import annotations

import pytest
import torch
from helpers.recipes import paper
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vqddm.artifacts import UserError
from vqddm.layers import Mish
from vqddm.prior.settings import DiffusionParams, UNetParams
from vqddm.prior.unet import CodeUNet, LinearAttention, Prior

SMALL = UNetParams(width=8, multipliers=(1, 2, 2), groups=4, heads=2, head_dim=4)
WITHOUT = DiffusionParams(timesteps=10, schedule="cosine", residual=False)


def count_macs(codebook_size: int) -> tuple[int, float, float]:
    """Parameters, MACs (convolutions, linear layers, attention products), MACs of transposed convolutions."""
    with torch.device("meta"):
        unet = CodeUNet(codebook_size, codebook_size, paper().unet)
        transposed: list[int] = []

        def note(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            assert isinstance(module, nn.ConvTranspose2d)
            transposed.append(module.weight.numel() * inputs[0].shape[2] * inputs[0].shape[3])

        for module in unet.modules():
            if isinstance(module, nn.ConvTranspose2d):
                module.register_forward_hook(note)
        with FlopCounterMode(display=False) as counter:
            unet(torch.zeros(1, 16, 16, dtype=torch.int64), torch.zeros(1))
    parameters = sum(p.numel() for p in unet.parameters())
    return parameters, counter.get_total_flops() / 2, sum(transposed)


@pytest.mark.parametrize(
    ("codebook_size", "millions", "macs", "as_paper"), [(1024, 117.59, 1.1109, 1.0605), (512, 117.45, 1.0941, 1.0438)]
)
def test_counts_at_the_papers_setting(codebook_size: int, millions: float, macs: float, as_paper: float) -> None:
    parameters, all_macs, transposed = count_macs(codebook_size)
    assert round(parameters / 1e6, 2) == millions
    assert round(all_macs / 1e9, 4) == macs
    assert round((all_macs - transposed) / 1e9, 4) == as_paper


@pytest.mark.parametrize("shape", [(2, 8, 8), (1, 4, 12)])
def test_logits_have_codes_last(shape: tuple[int, int, int]) -> None:
    codes = torch.randint(7, shape, generator=torch.Generator().manual_seed(0))
    for residual in (False, True):
        prior = Prior(7, SMALL, WITHOUT.model_copy(update={"residual": residual}))
        logits = prior(codes, torch.ones(shape[0]))
        assert logits.shape == (*shape, 7) and logits.is_contiguous()
        assert logits.grad_fn is not None
        (before, _), *_ = logits.grad_fn.next_functions
        assert before.name() == ("ScatterAddBackward0" if residual else "ConvolutionBackward0")  # no copy of all logits


def test_sizes_that_do_not_fit_are_user_errors() -> None:
    with pytest.raises(UserError, match="multiples of 4"):
        CodeUNet(7, 7, SMALL)(torch.zeros(1, 6, 8, dtype=torch.int64), torch.ones(1))
    with pytest.raises(UserError, match="3 groups do not divide 8"):
        CodeUNet(7, 7, SMALL.model_copy(update={"groups": 3}))
    with pytest.raises(UserError, match="odd"):
        CodeUNet(7, 7, SMALL.model_copy(update={"width": 9, "groups": 1}))


def test_every_parameter_and_every_position_counts() -> None:
    """One code changes the logits everywhere (global context), t changes them, and all weights get gradients."""
    torch.manual_seed(0)
    unet = CodeUNet(7, 7, SMALL)
    for module in unet.modules():
        if isinstance(module, LinearAttention):
            nn.init.constant_(module.gate, 0.5)
    codes = torch.zeros(1, 8, 8, dtype=torch.int64)
    other = codes.clone()
    other[0, 7, 7] = 3
    one = torch.ones(1, dtype=torch.int64)
    logits = unet(codes, one)
    assert ((unet(other, one) - logits).abs().amax(1) > 0).all()
    assert (unet(codes, 5 * one) - logits).abs().max() > 1e-3
    torch.testing.assert_close(unet(codes.repeat(3, 1, 1), one.repeat(3))[2:], logits)
    logits.square().sum().backward()
    untouched = {name for name, p in unet.named_parameters() if p.grad is None or not p.grad.any()}
    assert not untouched


def test_linear_attention_is_the_sum_over_positions() -> None:
    """Against the definition, position by position; at first the gate is shut."""
    torch.manual_seed(0)
    attention = LinearAttention(6, heads=2, head_dim=3).double()
    x = torch.randn(1, 6, 2, 2, dtype=torch.float64)
    assert torch.equal(attention(x), x)
    nn.init.constant_(attention.gate, 2.0)
    qkv = (attention.qkv.weight[:, :, 0, 0] @ x[0].flatten(1)).view(3, 2, 3, 4)  # which, head, channel, position
    expected = torch.zeros(2, 3, 4, dtype=torch.float64)
    for head in range(2):
        query, key, value = qkv[:, head]
        key = key.exp() / key.exp().sum(1, keepdim=True)
        for n in range(4):
            for m in range(4):
                expected[head, :, n] += (query[:, n] @ key[:, m]) * value[:, m]
    out = attention.out.weight[:, :, 0, 0] @ expected.view(6, 4) + attention.out.bias[:, None]
    torch.testing.assert_close(attention(x), x + 2 * out.view(1, 6, 2, 2))


def test_residual_adds_the_one_hot_of_z_t() -> None:
    torch.manual_seed(0)
    plain = Prior(7, SMALL, WITHOUT)
    residual = Prior(7, SMALL, WITHOUT.model_copy(update={"residual": True}))
    residual.load_state_dict(plain.state_dict())
    codes = torch.randint(7, (2, 4, 4), generator=torch.Generator().manual_seed(0))
    t = torch.tensor([1, 9])
    one_hot = torch.nn.functional.one_hot(codes, 7).float()
    torch.testing.assert_close(residual(codes, t) - plain(codes, t), one_hot, rtol=0, atol=1e-6)


def test_mish_is_torchs_with_and_without_gradients() -> None:
    x = torch.cat([torch.linspace(-60, 60, 10_001), torch.tensor([-1e30, -200.0, 0.0, 200.0, 1e30])])
    exact = nn.functional.mish(x.double())
    torch.testing.assert_close(Mish()(x).double(), exact, rtol=2e-6, atol=1e-30)
    assert torch.equal(Mish()(x.clone().requires_grad_()), Mish()(x))
    slopes = []
    for mish, at in ((Mish(), x), (nn.functional.mish, x.double())):
        slopes += torch.autograd.grad(mish(at.requires_grad_()).sum(), at)
    torch.testing.assert_close(slopes[0].double(), slopes[1], rtol=1e-5, atol=1e-6)
    half = x.detach().bfloat16()
    torch.testing.assert_close(Mish()(half).double(), nn.functional.mish(half.double()), rtol=1e-2, atol=1e-30)
    assert not Mish()(torch.tensor(torch.nan)).isfinite()


def test_weights_in_bf16_give_the_same_logits_but_for_rounding() -> None:
    """The residual and what makes the logits stay in float32, so that they are no numbers of bf16."""
    torch.manual_seed(0)
    prior = Prior(64, SMALL, WITHOUT.model_copy(update={"residual": True})).eval().requires_grad_(False)
    for module in prior.modules():
        if isinstance(module, LinearAttention):
            module.gate.fill_(0.5)
    codes, t = torch.randint(64, (4, 8, 8)), torch.tensor([1, 2, 5, 10])
    wanted = prior(codes, t)
    prior.unet.keep_in_bf16()
    found = prior(codes, t)
    assert found.dtype == torch.float32 and not torch.equal(found, found.bfloat16().float())
    assert 0 < float((found - wanted).norm() / (wanted - wanted.mean()).norm()) < 0.02
    assert {p.dtype for p in prior.unet.time.parameters()} == {torch.float32}
    assert {p.dtype for p in prior.unet.middle1.parameters()} == {torch.bfloat16}
