"""The fused group normalisation against torch's in float64, in Triton's interpreter, which needs no GPU.

`tests/test_gpu.py` has the same on a card.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from vqddm.layers import ACTIVATIONS, GroupNorm, can_fuse

INTERPRETED = """
import contextlib
import sys
from unittest import mock
import torch
import torch.nn.functional as F
from vqddm.fused_norm import fused_norm
torch.manual_seed(0)
activations = {"mish": F.mish, "silu": F.silu, "none": lambda x: x}
for images, channels, height, width, groups, activation in [
    (2, 128, 16, 16, 8, "mish"), (3, 128, 48, 64, 32, "silu"), (2, 256, 5, 7, 32, "silu"),
    (2, 1024, 2, 2, 8, "mish"), (1, 16, 7, 1, 4, "mish"), (1, 128, 40, 40, 32, "none"), (2, 32, 3, 3, 32, "silu"),
]:
    x = torch.randn(images, channels, height, width) * 3 + 1
    shifted = images == 2
    given = [x.requires_grad_(), *(torch.randn(channels).requires_grad_() for _ in range(2 + shifted))]
    shift = given[3] if shifted else None
    exact = [value.detach().double().requires_grad_() for value in given]
    with mock.patch("torch.cuda.device_of", return_value=contextlib.nullcontext()):
        made = fused_norm(*given[:3], groups, 1e-6, activation, shift)
        grad = torch.randn_like(x)
        made.backward(grad)
    moved = exact[0] + exact[3][:, None, None] if shifted else exact[0]
    expected = activations[activation](F.group_norm(moved, groups, *exact[1:3], 1e-6))
    expected.backward(grad.double())
    torch.testing.assert_close(made.double(), expected, rtol=1e-5, atol=1e-5)
    for name, one, other in zip(("x", "weight", "bias", "shift"), given, exact):
        # the shift's may be 0, where a group has one channel
        scale = exact[0].grad.abs().sum((0, 2, 3)) if name == "shift" else other.grad
        apart = (one.grad.double() - other.grad).norm() / scale.norm()
        assert apart < 1e-6, (name, activation, float(apart))
    assert made.is_contiguous(memory_format=torch.channels_last)
print("all agree")
"""


def test_the_fused_operation_and_its_gradients_are_torchs() -> None:
    pytest.importorskip("triton", reason="Triton comes with torch for CUDA, on Linux")
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", INTERPRETED],
        env=environment,
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert "all agree" in done.stdout, done.stderr[-2000:]


@pytest.mark.parametrize("activation", ["none", "silu", "mish"])
def test_on_a_cpu_it_is_torchs_and_the_activation(activation: str) -> None:
    x = torch.randn(2, 12, 4, 4)
    norm = GroupNorm(3, 12, activation=activation)  # type: ignore[arg-type]
    torch.nn.init.normal_(norm.weight)
    expected = ACTIVATIONS[activation](F.group_norm(x, 3, norm.weight, norm.bias))
    assert torch.equal(norm(x), expected)
    assert set(norm.state_dict()) == {"weight", "bias"}  # checkpoints are as before


def test_where_triton_does_not_work_torch_does_it_and_that_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert not can_fuse(torch.empty(1, 32, 4, 4, device="meta"))
    assert "Triton does not work here" in capsys.readouterr().err


@pytest.mark.parametrize(("channels", "dtype"), [(24, torch.float32), (16384, torch.float32), (32, torch.float64)])
def test_maps_that_do_not_fit_are_torchs(channels: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """No power of two, too many channels, more than float32: whatever the GPU."""
    monkeypatch.setattr("vqddm.layers._triton_works", lambda device: True)
    assert not can_fuse(torch.empty(1, channels, 1, 1, dtype=dtype, device="meta"))
    assert can_fuse(torch.empty(1, 32, 1, 1, device="meta"))


@pytest.mark.parametrize(
    ("channels", "groups", "activation", "parts", "kind"),
    [(128, 32, "silu", 64, "bf16"), (512, 32, "none", 16, "fp32"), (1024, 8, "mish", 1, "bf16")],
)
def test_the_kernels_compile_for_a_card(channels: int, groups: int, activation: str, parts: int, kind: str) -> None:
    """For compute capability 9.0, which needs none: what the interpreter takes is not all that the compiler does."""
    triton = pytest.importorskip("triton", reason="Triton comes with torch for CUDA, on Linux")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from vqddm import fused_norm

    pointers = dict.fromkeys(("x", "grad", "out"), f"*{kind}") | dict.fromkeys(
        ("sums", "back", "weight", "bias", "shift"), "*fp32"
    )
    types = pointers | {"positions": "i32", "share": "i32", "count": "fp32", "eps": "fp32"}
    sizes = {"PARTS": parts, "CHANNELS": channels, "ROWS": max(1, fused_norm.TILE // channels)}
    constants = sizes | {"GROUPS": groups, "ACTIVATION": activation, "SHIFTED": activation != "silu"}
    for kernel in ("_sum_up", "_apply", "_sum_up_gradients", "_apply_gradients"):
        function = getattr(fused_norm, kernel)
        names = function.arg_names
        signature = {name: types.get(name, "constexpr") for name in names}
        values = {(names.index(name),): value for name, value in constants.items() if name in names}
        aligned = {(names.index(name),): [["tt.divisibility", 16]] for name in pointers if name in names}
        source = ASTSource(function, signature, values, aligned)
        made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": fused_norm.WARPS})
        assert "ld.global.v4" in made.asm["ptx"], f"{kernel} reads its maps in too small pieces"
