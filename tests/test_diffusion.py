"""The closed forms of the diffusion against brute-force transition matrices in float64."""

from __future__ import annotations

import math
from itertools import pairwise, product
from typing import get_args

import numpy as np
import pytest
import torch
from helpers.recipes import CASES, JOINT, between, brute_posterior, keeps, parts, strides
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import binom, chisquare
from torch import Tensor, nn

from vqddm.artifacts import UserError
from vqddm.prior import diffusion
from vqddm.prior.diffusion import (
    diffuse,
    draw,
    draw_where,
    kl_terms,
    marginal,
    posterior,
    prior_kl,
    renewal,
    resample,
    reverse,
    strided_timesteps,
)
from vqddm.prior.likelihood import bound_bits
from vqddm.prior.masks import paper_masks, random_mask
from vqddm.prior.reverse import inpaint_codes, sample_codes
from vqddm.prior.schedule import Interval, NoiseSchedule
from vqddm.prior.settings import DiffusionParams
from vqddm.prior.unet import Prior
from vqddm.samplers import Process


def matrices(codes: int, timesteps: int, kind: str) -> list[np.ndarray]:
    """Q_1..Q_T of Eq. 15; entry [i, j] is the probability of j after i. Index 0 is the identity."""
    keep = keeps(timesteps, kind)
    alphas = [keep[t] / keep[t - 1] for t in range(1, timesteps + 1)]
    return [np.eye(codes)] + [a * np.eye(codes) + (1 - a) / codes for a in alphas]


@pytest.mark.parametrize("timesteps", [2, 100, 4000])
@pytest.mark.parametrize("kind", ["cosine", "sqrt_cosine"])
def test_schedule_is_eq_19_and_finite(timesteps: int, kind: str) -> None:
    schedule = NoiseSchedule(timesteps, kind)
    for dtype in (torch.float32, torch.float64):
        whole = schedule.interval(0, torch.arange(timesteps + 1), dtype)
        single = schedule.interval(torch.arange(timesteps), torch.arange(1, timesteps + 1), dtype)
        for part in (*whole, *single):
            assert part.dtype == dtype
            assert part.isfinite().all() and (part >= 0).all() and (part <= 1).all()
        assert (single.keep > 0).all() and (single.noise > 0).all()
    np.testing.assert_allclose(whole.keep, keeps(timesteps, kind), rtol=1e-9, atol=1e-15)
    assert whole.keep[0] == 1 and whole.noise[0] == 0
    if kind == "cosine":
        assert 1e-33 < whole.keep[-1] < 1e-32


def test_an_unknown_schedule_ends_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="'linear' is no noise schedule; there are cosine, sqrt_cosine"):
        NoiseSchedule(10, "linear")
    with pytest.raises(ValidationError, match="'linear' is no noise schedule; there are cosine, sqrt_cosine"):
        DiffusionParams(timesteps=10, schedule="linear", residual=True)


def test_marginals_are_those_of_the_matrices() -> None:
    """Eq. 17 as probabilities, and what `resample` makes of the same noise at several timesteps."""
    schedule, z0 = NoiseSchedule(10, "cosine"), torch.tensor([[3, 0], [1, 1]])
    t = torch.tensor([4, 10])
    steps = matrices(5, 10, "cosine")
    found = marginal(z0, schedule.interval(0, t, torch.float64), 5)
    for row, step in enumerate(t.tolist()):
        np.testing.assert_allclose(found[row], between(steps, 0, step)[z0[row]], rtol=1e-9, atol=1e-14)
    assert torch.equal(marginal(z0, schedule.interval(0, 0), 5), torch.nn.functional.one_hot(z0, 5).float())
    keep = float(schedule.interval(0, 4).keep)
    chance, others = torch.tensor([[1 - keep - 0.01, 1 - keep + 0.01]] * 2), torch.full((2, 2), 4)
    assert resample(z0, others, chance, schedule.interval(0, 4)).tolist() == [[4, 0], [4, 1]]


def test_small_noise_survives_float32() -> None:
    """1 - alpha_1 at T = 4000 to full float32 precision, against cos^2 x0 - cos^2 x1 as a product of sines."""
    x0, x1 = (0.008 / 1.008 * math.pi / 2, (1 / 4000 + 0.008) / 1.008 * math.pi / 2)
    exact = math.sin(x1 - x0) * math.sin(x1 + x0) / math.cos(x0) ** 2
    assert float(NoiseSchedule(4000, "cosine").interval(0, 1).noise) == pytest.approx(exact, rel=2e-7)
    assert float(NoiseSchedule(4000, "sqrt_cosine").interval(0, 1).noise) == pytest.approx(4.9e-6, rel=0.01)


@pytest.mark.parametrize(("codes", "timesteps", "kind"), CASES)
def test_posterior_is_the_matrix_product(codes: int, timesteps: int, kind: str) -> None:
    rng = np.random.default_rng(0)
    steps, schedule = matrices(codes, timesteps, kind), NoiseSchedule(timesteps, kind)
    for s, t in strides(timesteps):
        p0 = rng.dirichlet(np.ones(codes))
        late, early = parts(schedule, s, t)
        ours = posterior(torch.arange(codes)[None], torch.tensor(p0).expand(1, codes, -1), late, early)[0]
        np.testing.assert_allclose(ours, brute_posterior(steps, s, t, p0), rtol=1e-9, atol=1e-14)


def mixture(p0: np.ndarray, schedule: NoiseSchedule, s: int, t: int, dtype: torch.dtype) -> np.ndarray:
    """What `reverse` draws from, [z_t, z_s]: anew with the chance of `renewal`, else as it was."""
    codes, early = len(p0), schedule.interval(0, s, dtype)
    anew = renewal(torch.tensor(p0, dtype=dtype), codes, schedule.interval(s, t, dtype), early).double().numpy()
    drawn = float(early.noise) / codes + float(early.keep) * p0
    return np.diag(1 - anew) + anew[:, None] * drawn


@pytest.mark.parametrize(("codes", "timesteps", "kind"), [*CASES, (16, 4000, "cosine"), (16, 4000, "sqrt_cosine")])
def test_reverse_draws_from_the_matrix_product(codes: int, timesteps: int, kind: str) -> None:
    """Codes that z_t jumps to keep their relative precision in float32, also where they are very rare."""
    rng = np.random.default_rng(0)
    steps, schedule = matrices(codes, timesteps, kind), NoiseSchedule(timesteps, kind)
    pairs = strides(timesteps) if timesteps < 100 else [(1, 2), (2, 5), (40, 41), (1999, 2000), (3990, 4000), (0, 9)]
    for s, t in pairs:
        p0 = rng.dirichlet(np.ones(codes) / 2)
        expected = brute_posterior(steps, s, t, p0)
        np.testing.assert_allclose(mixture(p0, schedule, s, t, torch.float64), expected, rtol=1e-7, atol=1e-14)
        rare = ~np.eye(codes, dtype=bool)
        found = mixture(p0, schedule, s, t, torch.float32)
        np.testing.assert_allclose(found[rare], expected[rare], rtol=3e-6, atol=1e-30)


@pytest.mark.parametrize(("s", "t"), [(0, 1), (0, 3), (1, 2), (4, 9), (0, 10), (9, 10)])
def test_reverse_has_the_probabilities(s: int, t: int) -> None:
    """z_s of every z_t."""
    codes, count = 6, 20_000
    generator, schedule = torch.Generator().manual_seed(10 * s + t), NoiseSchedule(10, "cosine")
    logits = torch.tensor([0.0, 2.0, -1.0, 1.0, -torch.inf, 0.5])
    z_t = torch.arange(codes).repeat(count, 1)
    rows = logits.expand(count, codes, codes)
    found = reverse(z_t, rows, schedule.interval(s, t), schedule.interval(0, s), generator)
    expected = brute_posterior(matrices(codes, 10, "cosine"), s, t, logits.softmax(0).double().numpy())
    for code, wanted in enumerate(expected):
        counts = found[:, code].bincount(minlength=codes).numpy()
        possible = wanted > 0
        assert len(counts) == codes and not counts[~possible].any()
        wanted = wanted[possible] / wanted[possible].sum()
        assert chisquare(counts[possible], wanted * count).pvalue > 1e-4


def test_reverse_keeps_the_rare_jumps_of_a_long_chain() -> None:
    """Of 2 million positions about as many change to each code as should."""
    count, schedule = 2_000_000, NoiseSchedule(4000, "cosine")
    p0 = torch.tensor([0.3, 0.4, 0.3, 0])
    rare = brute_posterior(matrices(4, 4000, "cosine"), 40, 42, p0.double().numpy())[0, 1:]
    assert (rare < 2e-5).all()
    late, early = schedule.interval(40, 42), schedule.interval(0, 40)
    generator = torch.Generator().manual_seed(0)
    found = reverse(torch.zeros(1, count, dtype=torch.int64), p0.log().expand(1, count, 4), late, early, generator)
    for jumps, chance in zip(found.flatten().bincount(minlength=4)[1:].tolist(), rare, strict=True):
        assert 1e-4 < binom.cdf(jumps, count, chance) < 1 - 1e-4


def test_levels_are_finer_than_the_rarest_jump(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uniform draws on either side of the chance to be drawn anew, 1e-8 here, as finely as their dtype draws them."""
    schedule, codes = NoiseSchedule(4000, "cosine"), 1024
    late, early = (schedule.interval(a, b) for a, b in ((1, 2), (0, 1)))
    logits = torch.full((1, 2, codes), -20.0)
    logits[..., 7] = 0.0
    chance = float(renewal(logits.softmax(-1)[0, 0, 7].double(), codes, late, early))
    assert 1e-9 < chance < 1e-8

    def rand(*shape: object, dtype: torch.dtype = torch.float32, **_: object) -> Tensor:
        grain = 2.0 ** (-24 if dtype == torch.float32 else -53)
        return ((torch.tensor([[0.99, 1.01]], dtype=torch.float64) * chance / grain).floor() * grain).to(dtype)

    renewed = []
    monkeypatch.setattr(diffusion, "draw_where", lambda wanted, *_: renewed.append(wanted))
    monkeypatch.setattr(torch, "rand", rand)
    reverse(torch.full((1, 2), 7), logits, late, early, torch.Generator())
    assert renewed[0].tolist() == [[True, False]]


@pytest.mark.parametrize(("codes", "timesteps"), [(7, 10), (64, 100)])
def test_positions_that_no_p0_could_change_are_left_out_and_no_draw_with_them(codes: int, timesteps: int) -> None:
    """The same codes as where p0 is formed everywhere, from the same generator."""
    schedule, shape = NoiseSchedule(timesteps, "cosine"), (5, 6, 6)
    for t, scale in product(range(1, timesteps + 1), (0.3, 30.0)):
        seeded = torch.Generator().manual_seed(t)
        z_t = torch.randint(codes, shape, generator=seeded)
        logits = torch.randn(*shape, codes, generator=seeded) * scale
        late, early = schedule.interval(t - 1, t), schedule.interval(0, t - 1)
        given, again = (torch.Generator().manual_seed(0) for _ in range(2))
        p0 = logits.softmax(-1)
        level = torch.rand(shape, dtype=torch.float64, generator=again)
        noise = torch.randint(codes, shape, generator=again)
        anew = renewal(p0.gather(-1, z_t.unsqueeze(-1)).squeeze(-1), codes, late, early)
        uniform = level < anew * early.noise
        wanted = (level < anew) & ~uniform
        expected = draw_where(wanted, p0, torch.where(uniform, noise, z_t), again)
        assert torch.equal(reverse(z_t, logits, late, early, given), expected), (t, scale)
    each = schedule.interval(torch.full((5,), timesteps // 2), torch.full((5,), timesteps // 2 + 1))
    before = schedule.interval(0, torch.full((5,), timesteps // 2))
    one = [Interval(*(part[0] for part in interval)) for interval in (each, before)]
    given, again = (torch.Generator().manual_seed(1) for _ in range(2))
    assert torch.equal(
        reverse(z_t, logits, each, before, given), reverse(z_t, logits, *one, again)
    )  # one t for each image


@pytest.mark.parametrize(("codes", "timesteps", "kind"), CASES)
def test_kl_is_the_sum_of_eq_24(codes: int, timesteps: int, kind: str) -> None:
    rng = np.random.default_rng(1)
    steps, schedule = matrices(codes, timesteps, kind), NoiseSchedule(timesteps, kind)
    z0, z_t = (torch.tensor(z) for z in zip(*product(range(codes), repeat=2), strict=True))
    for s, t in strides(timesteps):
        logits = rng.normal(size=codes) * 3
        p0 = np.exp(logits) / np.exp(logits).sum()
        rows = torch.tensor(logits).expand(len(z0), 1, -1)
        ours = kl_terms(z0[:, None], z_t[:, None], rows, *parts(schedule, s, t))
        p = brute_posterior(steps, s, t, p0)
        for i, (a, b) in enumerate(zip(z0.tolist(), z_t.tolist(), strict=True)):
            q = brute_posterior(steps, s, t, np.eye(codes)[a])[b]
            expected = np.sum(q[q > 0] * np.log(q[q > 0] / p[b][q > 0]))
            assert float(ours[i]) == pytest.approx(expected, rel=1e-7, abs=1e-12)


def test_prior_kl_is_the_sum() -> None:
    for codes, timesteps, kind in CASES:
        schedule = NoiseSchedule(timesteps, kind)
        for t in (1, 2, timesteps // 2, timesteps):
            q = between(matrices(codes, timesteps, kind), 0, t)[0]
            ours = prior_kl(schedule.interval(0, t, torch.float64), codes)
            assert ours == pytest.approx(np.sum(q * np.log(q * codes)), rel=1e-8, abs=1e-14)


def test_diffuse_has_the_marginals_of_the_matrices() -> None:
    codes, timesteps, count = 6, 10, 20_000
    generator = torch.Generator().manual_seed(0)
    schedule = NoiseSchedule(timesteps, "cosine")
    t = torch.tensor([0, 1, 3, 5, 9, 10])
    z = diffuse(torch.full((6, count), 2), schedule.interval(0, t), codes, generator)
    assert (z[0] == 2).all()
    for row, step in zip(z[1:], t[1:].tolist(), strict=True):
        expected = between(matrices(codes, timesteps, "cosine"), 0, step)[2] * count
        assert chisquare(row.bincount(minlength=codes).numpy(), expected).pvalue > 1e-4


def test_a_batch_of_timesteps_equals_one_at_a_time() -> None:
    generator = torch.Generator().manual_seed(0)
    schedule = NoiseSchedule(20, "cosine")
    z0, z_t = torch.randint(7, (2, 5, 2, 3), generator=generator)
    logits = torch.randn(5, 2, 3, 7, dtype=torch.float64, generator=generator)
    t = torch.tensor([1, 2, 7, 19, 20])
    early, late = (schedule.interval(a, b, torch.float64) for a, b in ((0, t - 1), (t - 1, t)))
    kl, post = kl_terms(z0, z_t, logits, late, early), posterior(z_t, logits.softmax(-1), late, early)
    for i, step in enumerate(t.tolist()):
        one = slice(i, i + 1)
        apart = parts(schedule, step - 1, step)
        torch.testing.assert_close(kl_terms(z0[one], z_t[one], logits[one], *apart), kl[one])
        torch.testing.assert_close(posterior(z_t[one], logits[one].softmax(-1), *apart), post[one])


def test_float32_terms_of_a_long_chain() -> None:
    """T = 4000, K = 1024, every t: finite, with finite gradients, and near float64."""
    schedule, codes = NoiseSchedule(4000, "cosine"), 1024
    generator = torch.Generator().manual_seed(0)
    t = torch.cat([torch.tensor([1, 2, 3, 3999, 4000]), torch.randint(1, 4001, (59,), generator=generator)])
    z0 = torch.randint(codes, (64, 4), generator=generator)
    z_t = diffuse(z0, schedule.interval(0, t), codes, generator)
    logits = (30 * torch.randn(64, 4, codes, generator=generator)).requires_grad_()
    single = kl_terms(z0, z_t, logits, schedule.interval(t - 1, t), schedule.interval(0, t - 1))
    single.sum().backward()
    assert logits.grad is not None and logits.grad.isfinite().all()
    late, early = (schedule.interval(a, b, torch.float64) for a, b in ((t - 1, t), (0, t - 1)))
    double = kl_terms(z0, z_t, logits.detach().double(), late, early)
    torch.testing.assert_close(single.detach().double(), double, rtol=1e-3, atol=1e-5)


def summed_kl(z0: Tensor, z_t: Tensor, logits: Tensor, schedule: NoiseSchedule, t: Tensor) -> Tensor:
    """Eqs. 20 to 24 over one-hots of all codes, in float64: L_t of each position (B, N)."""
    codes = logits.shape[-1]
    (keep, noise), (keep_s, noise_s) = (
        schedule.interval(a, b, torch.float64) for a, b in ((t - 1, t), (torch.zeros_like(t), t - 1))
    )
    keep, noise, keep_s, noise_s = (part[:, None, None] for part in (keep, noise, keep_s, noise_s))
    one_hot = torch.nn.functional.one_hot
    p0, from_z_t = logits.double().softmax(-1), keep * one_hot(z_t, codes) + noise / codes
    q, p = (from_z_t * (keep_s * of + noise_s / codes) for of in (one_hot(z0, codes), p0))
    q, p = (of / of.sum(-1, keepdim=True) for of in (q, p))
    return (torch.xlogy(q, q) - q * p.log()).sum(-1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_gradients_are_those_of_the_sum(dtype: torch.dtype) -> None:
    """Against autograd through one-hots: more rows than are worked on together, every kind of t in one batch."""
    schedule, codes, positions = NoiseSchedule(200, "sqrt_cosine"), 1024, 40
    generator = torch.Generator().manual_seed(0)
    t = torch.tensor([1, 2, 3, 50, 100, 150, 199, 200])
    z0 = torch.randint(codes, (len(t), positions), generator=generator)
    z_t = diffuse(z0, schedule.interval(0, t), codes, generator)
    z_t[:, :5] = z0[:, :5]
    logits = (4 * torch.randn(len(t), positions, codes, generator=generator)).to(dtype).requires_grad_()
    weight = torch.rand(len(t), generator=generator)
    precise = torch.float64 if dtype == torch.float64 else torch.float32
    late, early = (schedule.interval(a, b, precise) for a, b in ((t - 1, t), (torch.zeros_like(t), t - 1)))
    found, wanted = kl_terms(z0, z_t, logits, late, early), summed_kl(z0, z_t, logits, schedule, t).sum(1)
    assert found.dtype == precise
    rtol = {torch.float64: 1e-8, torch.float32: 2e-5, torch.bfloat16: 2e-5}[dtype]
    torch.testing.assert_close(found.double(), wanted, rtol=rtol, atol=1e-9)
    (gradient,) = torch.autograd.grad((weight * found).sum(), logits)
    (right,) = torch.autograd.grad((weight * wanted).sum(), logits)
    assert gradient.dtype == dtype
    rtol, atol = {torch.float64: (1e-7, 1e-13), torch.float32: (1e-4, 1e-7), torch.bfloat16: (1e-2, 1e-7)}[dtype]
    torch.testing.assert_close(gradient.double(), right.double(), rtol=rtol, atol=atol)


@pytest.mark.parametrize("sharing", [1, 2, 4, 8, 16, 32, 1024])
def test_terms_of_codes_that_share_all_probability(sharing: int) -> None:
    """Products of their factors 1 + ratio p0 are the largest that there are; none may overflow float32."""
    schedule, codes = NoiseSchedule(4000, "cosine"), 1024
    t = torch.tensor([2, 3, 10, 200, 3999])
    z0, z_t = torch.zeros(len(t), 1, dtype=torch.int64), torch.full((len(t), 1), codes - 1)
    logits = torch.full((len(t), 1, codes), -1e4)
    logits[..., :: codes // sharing] = 0
    found = kl_terms(z0, z_t, logits, schedule.interval(t - 1, t), schedule.interval(0, t - 1))
    wanted = summed_kl(z0, z_t, logits, schedule, t).sum(1)
    torch.testing.assert_close(found.double(), wanted, rtol=2e-5, atol=1e-9)


@pytest.mark.parametrize("shift", [-4096.0, 8192.0])
def test_what_is_added_to_all_logits_changes_nothing(shift: float) -> None:
    """Neither L_t nor its gradient, by more than float32 rounds: the logits are multiples of 2^-10, exact with it."""
    schedule, codes = NoiseSchedule(4000, "cosine"), 1024
    generator = torch.Generator().manual_seed(0)
    t = torch.tensor([1, 2, 300, 3000, 4000])
    z0, z_t = torch.randint(codes, (2, 5, 3), generator=generator)
    logits = (torch.randn(5, 3, codes, generator=generator) * 2**10).round() / 2**10
    found = []
    for values in (logits, logits + shift):
        kl = kl_terms(z0, z_t, values.requires_grad_(), schedule.interval(t - 1, t), schedule.interval(0, t - 1))
        found.append((kl.detach(), *torch.autograd.grad(kl.sum(), values)))
    (kl, gradient), (shifted_kl, shifted_gradient) = found
    torch.testing.assert_close(shifted_kl, kl, rtol=1e-5, atol=0)
    for one, other in zip(shifted_gradient, gradient, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


def test_kl_terms_of_no_images_and_of_float64_intervals() -> None:
    schedule = NoiseSchedule(20, "cosine")
    t = torch.tensor([1, 7])
    late, early = (schedule.interval(a, b, torch.float64) for a, b in ((t - 1, t), (torch.zeros_like(t), t - 1)))
    z0, z_t = torch.tensor([[[0, 1], [2, 3]], [[0, 3], [1, 2]]])
    logits = torch.zeros(2, 2, 5, requires_grad=True)
    found = kl_terms(z0, z_t, logits, late, early)
    found.sum().backward()
    assert found.dtype == torch.float32 and logits.grad is not None and logits.grad.dtype == torch.float32
    none = [Interval(*(part[:0] for part in interval)) for interval in (late, early)]
    assert kl_terms(z0[:0], z_t[:0], logits[:0], *none).shape == (0,)


def test_gradients_by_differences() -> None:
    schedule, codes = NoiseSchedule(20, "cosine"), 5
    generator = torch.Generator().manual_seed(0)
    t = torch.tensor([1, 2, 7, 20])
    z0, z_t = torch.randint(codes, (2, 4, 3), generator=generator)
    z_t[:, 0] = z0[:, 0]
    logits = torch.randn(4, 3, codes, dtype=torch.float64, generator=generator).requires_grad_()
    late, early = (schedule.interval(a, b, torch.float64) for a, b in ((t - 1, t), (torch.zeros_like(t), t - 1)))
    weight = torch.rand(4, dtype=torch.float64, generator=generator)

    def total(values: Tensor) -> Tensor:
        return (weight * kl_terms(z0, z_t, values.view_as(logits), late, early)).sum()

    (gradient,) = torch.autograd.grad(total(logits), logits)
    steps = 1e-5 * torch.eye(logits.numel(), dtype=torch.float64)
    start = logits.detach().flatten()
    differences = torch.stack([total(start + step) - total(start - step) for step in steps]) / 2e-5
    torch.testing.assert_close(gradient.flatten(), differences, rtol=1e-5, atol=1e-9)


def test_a_second_way_back_through_a_kept_graph_is_refused() -> None:
    """The gradient takes the place of what it is formed from, and torch notices."""
    schedule, t = NoiseSchedule(20, "cosine"), torch.tensor([7])
    logits = torch.zeros(1, 2, 5, requires_grad=True)
    codes = torch.tensor([[0, 1]])
    found = kl_terms(codes, codes, logits, schedule.interval(t - 1, t), schedule.interval(0, t - 1)).sum()
    found.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        found.backward()


PROBABILITIES = st.lists(st.floats(1e-6, 1), min_size=5, max_size=7)


@example(weights=[0.28125, 0.125, 0.125, 0.125, 0.125], ends=(0, 99), code=0)  # no evidence, but for rounding
@given(weights=PROBABILITIES, ends=st.tuples(st.integers(0, 99), st.integers(0, 99)), code=st.integers(0, 4))
@settings(max_examples=60, deadline=None)
def test_properties(weights: list[float], ends: tuple[int, int], code: int) -> None:
    s, t = min(ends), max(ends) + 1
    p0 = torch.tensor(weights, dtype=torch.float64)[None, None]
    p0 = p0 / p0.sum()
    late, early = parts(NoiseSchedule(100, "cosine"), s, t)
    z_t, z0 = torch.tensor([[code]]), torch.tensor([[1]])
    found = posterior(z_t, p0, late, early)
    assert (found >= 0).all() and float(found.sum()) == pytest.approx(1, abs=1e-12)
    assert float(kl_terms(z0, z_t, p0.log(), late, early)) >= -1e-12
    true = torch.zeros_like(p0).scatter(-1, z0.unsqueeze(-1), 1)
    # the true z_0 as prediction leaves no divergence
    assert float(kl_terms(z0, z_t, (true + 1e-300).log(), late, early)) == pytest.approx(0, abs=1e-9)
    if s == 0:  # z_t is evidence beside p0
        rest = [c for c in range(len(weights)) if c != code]
        torch.testing.assert_close(found[..., rest] / found[..., rest].sum(), p0[..., rest] / p0[..., rest].sum())
        assert found[0, 0, code] >= p0[0, 0, code] - 1e-12


def test_draw_has_the_probabilities() -> None:
    generator = torch.Generator().manual_seed(0)
    probs = torch.softmax(2 * torch.randn(300, generator=generator), 0)
    counts = draw(probs.expand(200_000, -1), generator).bincount(minlength=300).numpy()
    expected = probs.double().numpy() * 200_000
    common = expected > 5
    observed, wanted = counts[common], expected[common]
    assert chisquare(observed, wanted * observed.sum() / wanted.sum()).pvalue > 1e-4


def test_draw_keeps_rare_codes_and_never_an_impossible_one() -> None:
    """A code of 1e-5 after one that takes nearly all, as in a late step of a long chain."""
    generator = torch.Generator().manual_seed(0)
    probs = torch.tensor([0, 1 - 2e-5, 0, 1e-5, 1e-5, 0])
    counts = draw(probs.expand(4_000_000, -1), generator).bincount(minlength=6)
    assert counts[[0, 2, 5]].sum() == 0 and len(counts) == 6
    for rare in counts[3:5].tolist():
        assert 1e-5 < binom.cdf(rare, 4_000_000, 1e-5) < 1 - 1e-5


@pytest.mark.parametrize("codes", [1024, 1009, 6])
def test_draw_spreads_jumps_over_codes_too_rare_for_float32(codes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes of 5e-9 behind one of nearly 1: levels in the middle of each code's share find just this code.

    The first level is that of the code's block, the second that of the code in it.
    """
    probs = torch.full((codes,), 5e-9)
    probs[0] = 1.0
    width = {1024: 32, 1009: 1009, 6: 3}[codes]
    blocks = probs.double().view(-1, width)

    def middles(weights: Tensor) -> Tensor:
        return (weights.cumsum(-1) - weights / 2) / weights.sum(-1, keepdim=True)

    levels = [middles(blocks.sum(-1)).repeat_interleave(width), middles(blocks).flatten()]
    monkeypatch.setattr(torch, "rand", lambda *shape, dtype, **_: levels.pop(0).to(dtype))
    assert draw(probs.expand(codes, -1), torch.Generator()).tolist() == list(range(codes))


@pytest.mark.parametrize("share", [0, 0.3, 0.8, 1])
def test_draw_where_leaves_the_rest(share: float) -> None:
    generator = torch.Generator().manual_seed(0)
    wanted = torch.rand(50, 40, generator=generator) < share
    otherwise = torch.randint(8, (50, 40), generator=generator)
    codes = torch.arange(2000).view(50, 40) % 8
    found = draw_where(wanted, torch.nn.functional.one_hot(codes, 8).float(), otherwise, generator)
    assert torch.equal(found, torch.where(wanted, codes, otherwise))


def test_strided_timesteps() -> None:
    assert strided_timesteps(10, 10) == list(range(10, 0, -1))
    assert strided_timesteps(4000, 1) == [4000]
    for timesteps, steps in ((10, 3), (100, 7), (4000, 999), (3, 2)):
        found = [*strided_timesteps(timesteps, steps), 0]
        gaps = {a - b for a, b in pairwise(found)}
        assert len(found) == steps + 1 and found[0] == timesteps
        assert gaps <= {timesteps // steps, -(-timesteps // steps)}
    for steps in (0, 11):
        with pytest.raises(UserError, match="1 to T = 10"):
            strided_timesteps(10, steps)


class Oracle(nn.Module):
    """Knows the data distribution over maps of two codes, (K, K), and is the perfectly trained prior.

    The best p0 is what the other position says, p(z_0 | other z_t), since Eq. 21 adds the evidence of the own z_t; at
    t = 1 of Eq. 22 as printed it is p(z_0 | z_1).
    """

    bound_terms = Prior.bound_terms

    def __init__(self, joint: Tensor, schedule: NoiseSchedule, last_step: str = "posterior") -> None:
        super().__init__()
        self.joint, self.schedule, self.codebook_size = joint.double(), schedule, len(joint)
        about = {"timesteps": schedule.timesteps, "schedule": "cosine", "residual": False, "last_step": last_step}
        self.transition, self.diffusion = diffusion, DiffusionParams.model_validate(about)

    def forward(self, z_t: Tensor, t: Tensor) -> Tensor:
        keep, noise = self.schedule.interval(0, t, torch.float64)
        same = torch.nn.functional.one_hot(z_t.flatten(1), self.codebook_size)
        seen = keep[:, None, None] * same + noise[:, None, None] / self.codebook_size  # q(z_t | z_0)
        others = torch.stack([seen[:, 1] @ self.joint.T, seen[:, 0] @ self.joint], 1)
        own = (t[:, None, None] == 1) & self.diffusion.as_printed
        return (others * torch.where(own, seen, 1))[:, None].log()


def sampled(oracle: Oracle, steps: int, count: int, sampler: Process = "ancestral") -> np.ndarray:
    """How often each of the 9 maps is sampled."""
    generator = torch.Generator().manual_seed(steps)
    z = sample_codes(oracle, (count, 1, 2), steps, 1.0, generator, sampler=sampler).flatten(1)
    return (3 * z[:, 0] + z[:, 1]).bincount(minlength=9).numpy()


@pytest.mark.parametrize("sampler", get_args(Process))
@pytest.mark.parametrize("steps", [1, 2, 7, 20])
def test_independent_codes_are_sampled_right_at_any_stride(steps: int, sampler: Process) -> None:
    joint = torch.outer(JOINT.sum(1), JOINT.sum(0))
    counts = sampled(Oracle(joint, NoiseSchedule(20, "cosine")), steps, 10_000, sampler)
    assert chisquare(counts, joint.flatten().numpy() * 10_000).pvalue > 1e-4


def chain_output(joint: Tensor, schedule: NoiseSchedule, steps: int) -> np.ndarray:
    """p(z_0) of the strided chain, by matrices from the joint alone: each position from its true p(z_s | z_t)."""
    keep, codes = schedule.interval(0, torch.arange(schedule.timesteps + 1), torch.float64).keep.numpy(), 3
    p = np.full((codes, codes), 1 / 9)
    for t, s in pairwise([*strided_timesteps(schedule.timesteps, steps), 0]):
        a = keep[t] / keep[s]
        late, early = (k * np.eye(codes) + (1 - k) / codes for k in (a, keep[s]))
        at_s = early.T @ joint.numpy() @ early  # the true joint of z_s
        after = np.zeros_like(p)
        for i, j in product(range(codes), repeat=2):
            belief = at_s * np.outer(late[:, i], late[:, j])
            belief = belief / belief.sum()
            after += p[i, j] * np.outer(belief.sum(1), belief.sum(0))
        p = after
    return p


@pytest.mark.parametrize("last_step", ["posterior", "as_printed"])
@pytest.mark.parametrize("steps", [1, 3, 10, 60])
def test_coupled_codes_are_sampled_as_enumerated(steps: int, last_step: str) -> None:
    """Each stride gives just the distribution of its chain, which nears the data as the steps grow."""
    schedule = NoiseSchedule(60, "cosine")
    expected = chain_output(JOINT, schedule, steps)
    counts = sampled(Oracle(JOINT, schedule, last_step), steps, 10_000)
    assert chisquare(counts, expected.flatten() * 10_000).pvalue > 1e-4
    distance = np.abs(expected - JOINT.numpy()).sum() / 2
    assert distance < {1: 0.5, 3: 0.25, 10: 0.08, 60: 0.01}[steps]


def test_feeding_z_t_as_if_it_were_one_step_from_s_is_wrong() -> None:
    """The common strided sampler against the exact posterior, at T = 2000 and a skip of 40."""
    schedule, codes = NoiseSchedule(2000, "cosine"), 1024
    p0 = torch.full((1, 1, codes), 0.5 / (codes - 1), dtype=torch.float64)
    p0[..., 7] = 0.5
    z_t, s, t = torch.tensor([[3]]), 960, 1000
    right = posterior(z_t, p0, *parts(schedule, s, t))[0, 0]
    wrong = posterior(z_t, p0, *parts(schedule, s, s + 1))[0, 0]
    keep = keeps(2000, "cosine")
    a = keep[t] / keep[s]
    second = keep[s] * p0[0, 0].numpy() + (1 - keep[s]) / codes
    joint = (a * (np.arange(codes) == 3) + (1 - a) / codes) * second
    assert float(right[7]) == pytest.approx(joint[7] / joint.sum(), rel=1e-9)
    assert float(right[7]) > 20 * float(wrong[7])


@pytest.mark.parametrize("last_step", ["posterior", "as_printed"])
def test_the_bound_is_the_enumerated_one(last_step: str) -> None:
    """Mean of `bound_bits` over its draws against every z_t enumerated, prior KL included."""
    schedule = NoiseSchedule(6, "sqrt_cosine")
    oracle, codes, z0 = Oracle(JOINT, schedule, last_step), 3, (0, 2)
    steps = matrices(codes, 6, "sqrt_cosine")
    last = between(steps, 0, 6)
    nats = 2 * np.sum(last[0] * np.log(last[0] * codes))
    for t in range(1, 7):
        for z_t in product(range(codes), repeat=2):
            logits = oracle(torch.tensor([[z_t]]), torch.tensor([t]))[0, 0]
            chance = np.prod([between(steps, 0, t)[a, b] for a, b in zip(z0, z_t, strict=True)])
            for position, (a, b) in enumerate(zip(z0, z_t, strict=True)):
                p0 = logits[position].exp().numpy()
                p0 = p0 / p0.sum()
                p = p0 if t == 1 and last_step == "as_printed" else brute_posterior(steps, t - 1, t, p0)[b]
                q = brute_posterior(steps, t - 1, t, np.eye(codes)[a])[b]
                nats += chance * np.sum(q[q > 0] * np.log(q[q > 0] / p[q > 0]))
    generator = torch.Generator().manual_seed(0)
    images = torch.tensor([[z0]]).expand(4000, 1, 2)
    bits, terms = bound_bits(oracle, images, generator, batch_size=5000)
    assert bits.shape == (4000,) and bits.dtype == torch.float64
    assert terms.shape == (6,)
    assert float(terms.sum()) == pytest.approx(float(bits.mean()), rel=1e-9)  # the prior KL is nothing at T
    error = float(bits.std()) / math.sqrt(4000)
    assert abs(float(bits.mean()) - nats / 2 / math.log(2)) < 4 * error
    assert float(bits.mean()) > -math.log2(chain_output(JOINT, schedule, 6)[z0]) / 2  # it is an upper bound


@pytest.mark.parametrize("sampler", ["ancestral", "renoise"])
def test_inpainting_keeps_what_is_given_and_follows_it(sampler: Process) -> None:
    schedule = NoiseSchedule(60, "cosine")
    generator = torch.Generator().manual_seed(0)
    codes = torch.stack([torch.full((3000,), 1), torch.zeros(3000, dtype=torch.int64)], 1)[:, None]
    given_mask = torch.tensor([[True, False]])
    found = inpaint_codes(Oracle(JOINT, schedule), codes, given_mask, 60, 1.0, generator, sampler=sampler)
    assert (found[:, 0, 0] == 1).all()
    share = float((found[:, 0, 1] == 1).double().mean())
    conditional = float(JOINT[1, 1] / JOINT[1].sum())
    marginal = float(JOINT[:, 1].sum())
    assert abs(share - conditional) < 0.5 * (conditional - marginal)
    per_image = torch.arange(3000)[:, None, None].expand(-1, 1, 2) % 2 == 0
    kept = inpaint_codes(Oracle(JOINT, schedule), codes, per_image, 7, 1.0, generator, sampler=sampler)
    assert torch.equal(kept[::2], codes[::2]) and not torch.equal(kept, codes)


def test_masks() -> None:
    masks = paper_masks(16, 16)
    shares = {name: int(mask.sum()) for name, mask in masks.items()}
    assert shares == {"lower": 96, "corner": 64, "centre": 64, "left": 128, "right": 128, "top": 128}
    assert masks["lower"][10:].all() and masks["corner"][8:, 8:].all() and masks["centre"][4:12, 4:12].all()
    assert torch.equal(masks["left"], ~masks["right"]) and masks["left"][:, :8].all() and masks["top"][:8].all()
    scattered = random_mask(8, 6, 0.25, torch.Generator().manual_seed(0))
    assert scattered.shape == (8, 6) and scattered.dtype == torch.bool and scattered.sum() == 12
