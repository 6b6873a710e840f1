"""The absorbing transition against brute-force transition matrices of K + 1 states in float64."""

from __future__ import annotations

import math
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from helpers.recipes import CASES, JOINT, between, brute_posterior, keeps, parts, strides
from pydantic import ValidationError
from scipy.stats import chisquare
from torch import Tensor, nn

from vqddm.prior import absorbing
from vqddm.prior.diffusion import strided_timesteps
from vqddm.prior.likelihood import bound_bits
from vqddm.prior.reverse import inpaint_codes, sample_codes
from vqddm.prior.schedule import NoiseSchedule
from vqddm.prior.settings import DiffusionParams
from vqddm.prior.transitions import TRANSITIONS
from vqddm.prior.unet import Prior


def matrices(codes: int, timesteps: int, kind: str) -> list[np.ndarray]:
    """Q_1..Q_T: a code stays or turns into state `codes`, which stays. Index 0 is the identity."""
    keep = keeps(timesteps, kind)
    mask = np.eye(codes + 1)[codes]
    alphas = [keep[t] / keep[t - 1] for t in range(1, timesteps + 1)]
    return [np.eye(codes + 1)] + [a * np.eye(codes + 1) + (1 - a) * mask for a in alphas]


@pytest.mark.parametrize(("codes", "timesteps", "kind"), CASES)
def test_unmasking_is_the_matrix_product(codes: int, timesteps: int, kind: str) -> None:
    rng = np.random.default_rng(0)
    steps, schedule = matrices(codes, timesteps, kind), NoiseSchedule(timesteps, kind)
    for s, t in strides(timesteps):
        p0 = rng.dirichlet(np.ones(codes))
        chance = float(absorbing.unmasks(*parts(schedule, s, t), torch.zeros(1)))
        expected = brute_posterior(steps, s, t, np.append(p0, 0))
        np.testing.assert_allclose(np.append(chance * p0, 1 - chance), expected[codes], rtol=1e-9, atol=1e-14)
        np.testing.assert_allclose(expected[:codes], np.eye(codes, codes + 1), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize(("s", "t"), [(0, 1), (1, 2), (4, 9), (0, 10)])
def test_reverse_has_the_probabilities(s: int, t: int) -> None:
    """z_s of every z_t: a mask becomes a draw of p0 or stays, a code stays."""
    codes, count = 4, 20_000
    generator, schedule = torch.Generator().manual_seed(10 * s + t), NoiseSchedule(10, "cosine")
    logits = torch.tensor([0.0, 2.0, -torch.inf, 1.0])
    z_t, rows = torch.arange(codes + 1).repeat(count, 1), logits.expand(count, codes + 1, codes)
    found = absorbing.reverse(z_t, rows, schedule.interval(s, t), schedule.interval(0, s), generator)
    assert torch.equal(found[:, :codes], z_t[:, :codes])
    expected = brute_posterior(matrices(codes, 10, "cosine"), s, t, np.append(logits.softmax(0).double().numpy(), 0))
    counts, possible = found[:, codes].bincount(minlength=codes + 1).numpy(), expected[codes] > 0
    assert len(counts) == codes + 1 and not counts[~possible].any()
    assert chisquare(counts[possible], expected[codes][possible] * count).pvalue > 1e-4


@pytest.mark.parametrize(("codes", "timesteps", "kind"), CASES)
def test_kl_is_the_sum(codes: int, timesteps: int, kind: str) -> None:
    rng = np.random.default_rng(1)
    steps, schedule = matrices(codes, timesteps, kind), NoiseSchedule(timesteps, kind)
    possible = [(a, b) for a in range(codes) for b in (a, codes)]  # another code than z_0 cannot be
    z0, z_t = (torch.tensor(z) for z in zip(*possible, strict=True))
    for s, t in strides(timesteps):
        logits = rng.normal(size=codes) * 3
        p0 = np.exp(logits) / np.exp(logits).sum()
        rows = torch.tensor(logits).expand(len(z0), 1, -1)
        ours = absorbing.kl_terms(z0[:, None], z_t[:, None], rows, *parts(schedule, s, t))
        p = brute_posterior(steps, s, t, np.append(p0, 0))
        for i, (a, b) in enumerate(possible):
            q = brute_posterior(steps, s, t, np.eye(codes + 1)[a])[b]
            expected = np.sum(q[q > 0] * np.log(q[q > 0] / p[b][q > 0]))
            assert float(ours[i]) == pytest.approx(expected, rel=1e-7, abs=1e-12)


def test_each_image_has_its_own_timestep() -> None:
    schedule, codes, rng = NoiseSchedule(50, "cosine"), 5, torch.Generator().manual_seed(0)
    z0, t = torch.randint(codes, (4, 2, 3), generator=rng), torch.tensor([1, 2, 30, 50])
    z_t = absorbing.diffuse(z0, schedule.interval(0, t), codes, rng)
    logits = torch.randn(4, 2, 3, codes, generator=rng)
    together = absorbing.kl_terms(z0, z_t, logits, schedule.interval(t - 1, t), schedule.interval(0, t - 1))
    one_by_one = [
        absorbing.kl_terms(
            z0[i : i + 1],
            z_t[i : i + 1],
            logits[i : i + 1],
            schedule.interval(n - 1, n),
            schedule.interval(0, n - 1),
        )
        for i, n in enumerate(t.tolist())
    ]
    torch.testing.assert_close(together, torch.cat(one_by_one))


def test_ends_of_the_chain() -> None:
    """`start` draws what `prior_kl` compares with, also where the schedule leaves codes unmasked."""
    codes, schedule = 4, NoiseSchedule(10, "cosine")
    for t in (2, 6, 10):
        whole = schedule.interval(0, t, torch.float64)
        q = between(matrices(codes, 10, "cosine"), 0, t)[1]
        start = np.append(np.full(codes, float(whole.keep) / codes), float(whole.noise))
        expected = np.sum(q[q > 0] * np.log(q[q > 0] / start[q > 0]))
        assert absorbing.prior_kl(whole, codes) == pytest.approx(expected, rel=1e-8, abs=1e-14)
    z = absorbing.start((20_000,), schedule.interval(0, 6), codes, torch.Generator().manual_seed(0))
    keep = keeps(10, "cosine")[6]
    counts = z.bincount(minlength=codes + 1).numpy()
    assert chisquare(counts, np.append(np.full(codes, keep / codes), 1 - keep) * 20_000).pvalue > 1e-4
    assert absorbing.states(codes) == codes + 1


def test_diffuse_has_the_marginals_of_the_matrices() -> None:
    codes, timesteps, count = 4, 10, 20_000
    schedule, t = NoiseSchedule(timesteps, "cosine"), torch.tensor([0, 3, 7])
    whole = schedule.interval(0, t)
    z = absorbing.diffuse(torch.full((3, count), 2), whole, codes, torch.Generator().manual_seed(0))
    assert (z[0] == 2).all()
    for row, step in zip(z[1:], (3, 7), strict=True):
        expected = between(matrices(codes, timesteps, "cosine"), 0, step)[2] * count
        counts = row.bincount(minlength=codes + 1).numpy()
        assert (counts[expected == 0] == 0).all()
        assert chisquare(counts[expected > 0], expected[expected > 0]).pvalue > 1e-4


class Oracle(nn.Module):
    """Knows the data distribution over maps of two codes, (K, K): the belief about each code, given the other."""

    bound_terms = Prior.bound_terms

    def __init__(self, joint: Tensor, schedule: NoiseSchedule) -> None:
        super().__init__()
        self.joint, self.schedule = joint.double(), schedule
        about = {"timesteps": schedule.timesteps, "schedule": "cosine", "transition": "absorbing", "residual": False}
        self.codebook_size, self.transition = len(joint), absorbing
        self.diffusion = DiffusionParams.model_validate(about)

    def forward(self, z_t: Tensor, t: Tensor) -> Tensor:
        rows = torch.cat([self.joint.T, self.joint.sum(1)[None]])  # p(first | second), the mask says nothing
        columns = torch.cat([self.joint, self.joint.sum(0)[None]])
        codes = z_t.flatten(1)
        return torch.stack([rows[codes[:, 1]], columns[codes[:, 0]]], 1)[:, None].log()


def chain_output(joint: np.ndarray, schedule: NoiseSchedule, steps: int) -> np.ndarray:
    """p(z_0) of the strided chain, by matrices over all 16 pairs of states: each position from its own belief."""
    codes = len(joint)
    whole = np.zeros((codes + 1, codes + 1))
    keep = schedule.interval(0, torch.arange(schedule.timesteps + 1), torch.float64).keep.numpy()
    start = np.append(np.full(codes, keep[-1] / codes), 1 - keep[-1])
    p = np.outer(start, start)
    columns = np.vstack([joint, joint.sum(0)]) / np.append(joint.sum(1), 1)[:, None]
    rows = np.vstack([joint.T, joint.sum(1)]) / np.append(joint.sum(0), 1)[:, None]
    for t, s in pairwise([*strided_timesteps(schedule.timesteps, steps), 0]):
        stay = (1 - keep[s]) / (1 - keep[t])

        def after(state: int, belief: np.ndarray, stay: float = stay) -> np.ndarray:
            return np.eye(codes + 1)[state] if state < codes else np.append((1 - stay) * belief, stay)

        following = np.zeros_like(whole)
        for i, j in product(range(codes + 1), repeat=2):
            following += p[i, j] * np.outer(after(i, rows[j]), after(j, columns[i]))
        p = following
    return p[:codes, :codes]


@pytest.mark.parametrize("steps", [1, 3, 10, 60])
def test_coupled_codes_are_sampled_as_enumerated(steps: int) -> None:
    """Each stride gives just the distribution of its chain, which nears the data as the steps grow."""
    schedule, count = NoiseSchedule(60, "cosine"), 10_000
    expected = chain_output(JOINT.numpy(), schedule, steps)
    assert expected.sum() == pytest.approx(1)
    generator = torch.Generator().manual_seed(steps)
    z = sample_codes(Oracle(JOINT, schedule), (count, 1, 2), steps, 1.0, generator).flatten(1)
    counts = (3 * z[:, 0] + z[:, 1]).bincount(minlength=9).numpy()
    assert chisquare(counts, expected.flatten() * count).pvalue > 1e-4
    distance = np.abs(expected - JOINT.numpy()).sum() / 2
    assert distance < {1: 0.5, 3: 0.25, 10: 0.08, 60: 0.01}[steps]


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_renoise_draws_independent_codes_right_at_any_stride(steps: int) -> None:
    joint, count = torch.outer(JOINT.sum(1), JOINT.sum(0)), 10_000
    oracle, generator = Oracle(joint, NoiseSchedule(60, "cosine")), torch.Generator().manual_seed(steps)
    z = sample_codes(oracle, (count, 1, 2), steps, 1.0, generator, sampler="renoise").flatten(1)
    counts = (3 * z[:, 0] + z[:, 1]).bincount(minlength=9).numpy()
    assert chisquare(counts, joint.flatten().numpy() * count).pvalue > 1e-4


def test_the_bound_is_the_enumerated_one() -> None:
    """Mean of `bound_bits` over its draws against every z_t enumerated, prior KL included."""
    schedule, codes, z0 = NoiseSchedule(6, "sqrt_cosine"), 3, (0, 2)
    oracle = Oracle(JOINT, schedule)
    steps = matrices(codes, 6, "sqrt_cosine")
    nats = 2 * absorbing.prior_kl(schedule.interval(0, 6, torch.float64), codes)
    for t in range(1, 7):
        for z_t in product(range(codes + 1), repeat=2):
            chance = np.prod([between(steps, 0, t)[a, b] for a, b in zip(z0, z_t, strict=True)])
            if not chance:
                continue
            logits = oracle(torch.tensor([[z_t]]), torch.tensor([t]))[0, 0]
            for position, (a, b) in enumerate(zip(z0, z_t, strict=True)):
                p0 = logits[position].softmax(-1).numpy()
                p = brute_posterior(steps, t - 1, t, np.append(p0, 0))[b]
                q = brute_posterior(steps, t - 1, t, np.eye(codes + 1)[a])[b]
                nats += chance * np.sum(q[q > 0] * np.log(q[q > 0] / p[q > 0]))
    images = torch.tensor([[z0]]).expand(4000, 1, 2)
    bits, terms = bound_bits(oracle, images, torch.Generator().manual_seed(0), batch_size=5000)
    assert terms.shape == (6,)
    assert abs(float(bits.mean()) - nats / 2 / math.log(2)) < 4 * float(bits.std()) / math.sqrt(4000)
    assert float(bits.mean()) > -math.log2(chain_output(JOINT.numpy(), schedule, 6)[z0]) / 2  # an upper bound


def test_inpainting_keeps_what_is_given_and_follows_it() -> None:
    schedule, generator = NoiseSchedule(60, "cosine"), torch.Generator().manual_seed(0)
    codes = torch.stack([torch.full((3000,), 1), torch.zeros(3000, dtype=torch.int64)], 1)[:, None]
    found = inpaint_codes(Oracle(JOINT, schedule), codes, torch.tensor([[True, False]]), 60, 1.0, generator)
    assert (found[:, 0, 0] == 1).all()
    share = float((found[:, 0, 1] == 1).double().mean())
    conditional, marginal = float(JOINT[1, 1] / JOINT[1].sum()), float(JOINT[:, 1].sum())
    # Half of the time, on average, the given code is itself under the mask when the other one is drawn.
    assert share == pytest.approx((conditional + marginal) / 2, abs=0.04)


def test_the_parameters_name_the_transition() -> None:
    params = DiffusionParams(timesteps=10, schedule="cosine", transition="absorbing", residual=False)
    assert TRANSITIONS[params.transition].functions is absorbing
    with pytest.raises(ValidationError, match="no residual"):
        DiffusionParams(timesteps=10, schedule="cosine", transition="absorbing", residual=True)
