"""Both sides of what the diffusion over codes does: steps, noising, draws, L_t, likelihood, samples, completions."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import torch
from diffusers import VQDiffusionScheduler
from scipy.stats import chi2_contingency
from torch import Tensor, nn

from bench import logonehot
from bench.records import Differs, Match, Sizes, side_of
from vqddm.evaluate.networks import macs
from vqddm.params import Dataset, load
from vqddm.prior.diffusion import draw
from vqddm.prior.likelihood import bound_bits
from vqddm.prior.reverse import denoise, inpaint_codes, sample_codes
from vqddm.prior.schedule import NoiseSchedule
from vqddm.prior.settings import DiffusionParams
from vqddm.prior.transitions import TRANSITIONS
from vqddm.prior.unet import Prior

ROOT = Path(__file__).parents[2]
FLOAT, CODE = 4, 8  # bytes
STEPS = 9  # reverse steps that are timed together
UNLIKELY = 1e-4  # p-value below which two samples are called unlike
UNIFORM = TRANSITIONS["uniform"].functions
SAME_DRAWS, SAME_NUMBERS = "same distribution", "same numbers"


class FixedLogits(nn.Module):
    """A `Prior` whose network costs nothing: the same logits (B, h, w, K) whatever z_t is, for at most B code maps."""

    bound_terms = Prior.bound_terms

    def __init__(self, logits: Tensor, timesteps: int) -> None:
        super().__init__()
        self.logits, self.codebook_size = logits, logits.shape[-1]
        self.diffusion = DiffusionParams(timesteps=timesteps, schedule="cosine", residual=False, last_step="posterior")
        self.schedule, self.transition = NoiseSchedule(timesteps, "cosine"), UNIFORM

    def forward(self, codes: Tensor, t: Tensor) -> Tensor:
        """The first of the logits."""
        return self.logits[: len(codes)]


@cache
def dataset() -> Dataset:
    """The settings of the small networks."""
    return load(ROOT / "params.yaml").datasets["faces"]


def small_prior(sizes: Sizes, device: torch.device) -> Prior:
    """The default run's prior with fresh weights."""
    torch.manual_seed(0)
    diffusion = dataset().prior.diffusion.model_copy(update={"timesteps": sizes["T"]})
    return Prior(sizes["K"], dataset().prior.unet, diffusion).to(device).eval()


def seeded(device: torch.device, seed: int = 0) -> torch.Generator:
    """A generator on the device."""
    return torch.Generator(device).manual_seed(seed)


def shape_of(sizes: Sizes) -> tuple[int, int, int]:
    """(B, h, w)."""
    return sizes["batch"], side_of(sizes), side_of(sizes)


def codes_and_logits(sizes: Sizes, device: torch.device, batch: int | None = None) -> tuple[Tensor, Tensor]:
    """Random codes (B, h, w) and logits (B, h, w, K)."""
    shape = (batch or sizes["batch"], *shape_of(sizes)[1:])
    generator = seeded(device)
    logits = torch.randn(*shape, sizes["K"], generator=generator, device=device)
    return torch.randint(sizes["K"], shape, generator=generator, device=device), logits


def fixed(sizes: Sizes, device: torch.device, batch: int | None = None) -> tuple[Tensor, FixedLogits]:
    """Random codes and a stub of a network."""
    codes, logits = codes_and_logits(sizes, device, batch)
    return codes, FixedLogits(logits, sizes["T"])


def entries(sizes: Sizes) -> int:
    """Logits of all positions."""
    return sizes["batch"] * sizes["positions"] * sizes["K"]


def network_flops(prior: Prior, sizes: Sizes, evaluations: int) -> float:
    """Floating-point operations of so many network evaluations of the whole batch."""
    codes = torch.zeros(shape_of(sizes), dtype=torch.int64)
    return 2.0 * evaluations * macs(prior, codes, torch.ones(sizes["batch"]))


# ---- reverse steps


def reverse_steps(sizes: Sizes, device: torch.device) -> Match:
    """z_s from z_t and logits that are there already, at timesteps of the whole chain."""
    z_t, prior = fixed(sizes, device)
    return both_steps(prior, z_t, sizes)  # most logits are never read: no limit of memory can be told


def reverse_steps_with_network(sizes: Sizes, device: torch.device) -> Match:
    """z_s from z_t, the network's evaluation included."""
    z_t, _ = codes_and_logits(sizes, device)
    prior = small_prior(sizes, device)
    return both_steps(prior, z_t, sizes, flops=network_flops(prior, sizes, STEPS))


def both_steps(prior: Prior | FixedLogits, z_t: Tensor, sizes: Sizes, flops: float = 0) -> Match:
    """`STEPS` steps at timesteps from T to 1: the first and the last change far more codes than those between."""
    timesteps, generator = spread_timesteps(sizes), seeded(z_t.device)

    @torch.inference_mode()
    def ours() -> list[Tensor]:
        return [denoise(prior, z_t, t, t - 1, 1.0, generator) for t in timesteps]

    @torch.inference_mode()
    def theirs() -> list[Tensor]:
        return [logonehot.denoise(prior, z_t, t, t - 1, generator) for t in timesteps]

    return Match(ours, theirs, flops=flops)


def spread_timesteps(sizes: Sizes) -> list[int]:
    """`STEPS` timesteps, evenly from T to 1."""
    return [round(t) for t in np.linspace(sizes["T"], 1, STEPS)]


def vq_diffusion(schedule: NoiseSchedule, codebook_size: int, device: torch.device) -> VQDiffusionScheduler:
    """The scheduler of diffusers with the numbers of our schedule, and a mask that never comes."""
    steps = schedule.timesteps
    times = torch.arange(1, steps + 1)
    single = schedule.interval(times - 1, times, torch.float64)
    whole = schedule.interval(0, times, torch.float64)
    found = VQDiffusionScheduler(num_vec_classes=codebook_size + 1, num_train_timesteps=steps)
    never, end = torch.full((steps + 1,), logonehot.TINY).log(), torch.zeros(1, dtype=torch.float64)
    found.log_at, found.log_bt, found.log_ct = single.keep.log(), (single.noise / codebook_size).log(), never
    found.log_cumprod_at = torch.cat([whole.keep.log(), end])
    found.log_cumprod_bt = torch.cat([(whole.noise / codebook_size).log(), never[:1]])
    found.log_cumprod_ct = never
    for name in ("at", "bt", "ct", "cumprod_at", "cumprod_bt", "cumprod_ct"):
        setattr(found, f"log_{name}", getattr(found, f"log_{name}").float())
    found.set_timesteps(steps, device)
    return found


def vq_diffusion_step(sizes: Sizes, device: torch.device) -> Match:
    """The same steps by the scheduler of diffusers, which takes log p0."""
    z_t, prior = fixed(sizes, device)
    scheduler = vq_diffusion(prior.schedule, sizes["K"], device)
    generator, ours = seeded(device), reverse_steps(sizes, device)

    @torch.inference_mode()
    def theirs() -> list[Tensor]:
        found = []
        for t in spread_timesteps(sizes):
            log_p0 = logonehot.columns(prior.logits).log_softmax(1)
            found.append(scheduler.step(log_p0, t - 1, z_t.flatten(1), generator).prev_sample)
        return found

    return ours._replace(theirs=theirs)


def check_alike(one: Tensor, other: Tensor, codebook_size: int) -> None:
    """Two samples of codes come from the same distribution, by a chi-square test.

    Raises:
        Differs: they hardly can.
    """
    counts = np.stack([np.bincount(codes.flatten().cpu().numpy(), minlength=codebook_size) for codes in (one, other)])
    p = float(chi2_contingency(counts[:, counts.sum(0) > 0]).pvalue) if (counts.sum(0) > 0).sum() > 1 else 1.0
    if p < UNLIKELY:
        raise Differs(f"draws are unlike (p = {p:.1g}): {counts.tolist()}")


def stub(device: torch.device, count: int, timesteps: int, codebook_size: int = 5, side: int = 1) -> FixedLogits:
    """A stub whose logits are the same for every code map."""
    logits = torch.randn(1, side, side, codebook_size, generator=seeded(device, 3), device=device)
    return FixedLogits(logits.repeat(count, 1, 1, 1), timesteps)


@torch.inference_mode()
def check_reverse_steps(device: torch.device) -> str:
    """Steps from the middle, a long one, and the first and last, from a likely code and an unlikely one."""
    prior = stub(device, 20_000, 20)
    for (t, s), code in product([(20, 19), (12, 4), (12, 11), (2, 1), (1, 0)], [0, 3]):
        z_t = torch.full((20_000, 1, 1), code, device=device)
        ours = denoise(prior, z_t, t, s, 1.0, seeded(device, 1))
        check_alike(ours, logonehot.denoise(prior, z_t, t, s, seeded(device, 2)), 5)
    return SAME_DRAWS


@torch.inference_mode()
def check_vq_diffusion(device: torch.device) -> str:
    """Like `check_reverse_steps`, for neighbours.

    The scheduler weighs each p0(z_0) by 1 / q(z_t | z_0) before it sums over z_0; ours does not (Eq. 22). A p0 that is
    multiplied by q(z_t | z_0) makes the two the same.
    """
    prior = stub(device, 20_000, 20)
    scheduler = vq_diffusion(prior.schedule, 5, device)
    for t, code in product([20, 12, 2, 1], [0, 3]):
        z_t = torch.full((20_000, 1, 1), code, device=device)
        log_p0 = logonehot.columns(prior.logits).log_softmax(1)
        evidence = logonehot.noised(logonehot.log_onehot(z_t.flatten(1), 5), prior.schedule.interval(0, t))
        log_p0 = (log_p0 + evidence).log_softmax(1)
        ours = denoise(prior, z_t, t, t - 1, 1.0, seeded(device, 1))
        check_alike(ours, scheduler.step(log_p0, t - 1, z_t.flatten(1), seeded(device, 2)).prev_sample, 5)
    return SAME_DRAWS + ", p0 times q(z_t; z_0)"


# ---- noise and draws


def noising(sizes: Sizes, device: torch.device) -> Match:
    """z_t from z_0."""
    size, generator = sizes["K"], seeded(device)
    z0 = torch.randint(size, shape_of(sizes), generator=generator, device=device)
    early = NoiseSchedule(sizes["T"], "cosine").interval(0, sizes["T"] // 2)
    return Match(
        lambda: UNIFORM.diffuse(z0, early, size, generator),
        lambda: logonehot.diffuse(z0.flatten(1), early, size, generator),
        bytes=2 * CODE * z0.numel(),
    )


def check_noising(device: torch.device) -> str:
    """At some timesteps."""
    z0 = torch.full((20_000, 1, 1), 3, device=device)
    for s in (1, 7, 20):
        early = NoiseSchedule(20, "cosine").interval(0, s)
        ours = UNIFORM.diffuse(z0, early, 5, seeded(device, 1))
        check_alike(ours, logonehot.diffuse(z0.flatten(1), early, 5, seeded(device, 2)), 5)
    return SAME_DRAWS


def multinomial(probabilities: Tensor, generator: torch.Generator) -> Tensor:
    """torch's own draw of a code for each row."""
    return torch.multinomial(probabilities.flatten(0, -2), 1, replacement=True, generator=generator)


def gumbel(probabilities: Tensor, generator: torch.Generator) -> Tensor:
    """A draw by Gumbel noise."""
    return logonehot.draw(logonehot.columns(probabilities).log(), generator)


Draw = Callable[[Tensor, torch.Generator], Tensor]


def drawing(sizes: Sizes, device: torch.device, way: Draw) -> Match:
    """Codes from probabilities."""
    probabilities, generator = codes_and_logits(sizes, device)[1].softmax(-1), seeded(device)
    return Match(
        lambda: draw(probabilities, generator), lambda: way(probabilities, generator), bytes=entries(sizes) * FLOAT
    )


def check_drawing(device: torch.device, way: Draw) -> str:
    """Of one distribution."""
    probabilities = torch.tensor([0.5, 0.2, 0.001, 0.299, 0.0], device=device).expand(20_000, 1, 1, 5)
    check_alike(draw(probabilities, seeded(device, 1)), way(probabilities, seeded(device, 2)), 5)
    return SAME_DRAWS


# ---- L_t and the likelihood


def terms(sizes: Sizes, device: torch.device, gradient: bool) -> Match:
    """L_t of every image of a batch from logits, and its gradient in them."""
    z0, prior = fixed(sizes, device)
    t = torch.arange(sizes["batch"], device=device) % (sizes["T"] - 1) + 2
    late, early = prior.schedule.interval(t - 1, t), prior.schedule.interval(0, t - 1)
    z_t = UNIFORM.diffuse(z0, prior.schedule.interval(0, t), sizes["K"], seeded(device))
    logits = prior.logits.requires_grad_(gradient)

    def total(nats: Tensor) -> Tensor:
        if gradient:
            logits.grad = None
            nats.sum().backward()
        return nats

    return Match(
        lambda: total(UNIFORM.kl_terms(z0, z_t, logits, late, early)),
        lambda: total(logonehot.kl_terms(z0.flatten(1), z_t.flatten(1), logonehot.columns(logits), late, early)),
        bytes=(2 if gradient else 1) * entries(sizes) * FLOAT,
    )


def check_terms(device: torch.device) -> str:
    """L_t and its gradient at timesteps from the first to the last but a few, where float32 fails the reference."""
    sizes = {"batch": 30, "positions": 4, "K": 7, "T": 40}
    z0, prior = fixed(sizes, device)
    t = torch.arange(30, device=device) + 1
    late, early = prior.schedule.interval(t - 1, t), prior.schedule.interval(0, t - 1)
    z_t = UNIFORM.diffuse(z0, prior.schedule.interval(0, t), 7, seeded(device))
    ours, theirs = (prior.logits.clone().requires_grad_() for _ in range(2))
    one = UNIFORM.kl_terms(z0, z_t, ours, late, early)
    other = logonehot.kl_terms(z0.flatten(1), z_t.flatten(1), logonehot.columns(theirs), late, early)
    one.sum().backward()
    other.sum().backward()
    same(one, other)
    same(ours.grad, theirs.grad)
    return SAME_NUMBERS


def same(one: Tensor, other: Tensor) -> None:
    """Two tensors are equal but for rounding.

    Raises:
        Differs: they are not.
    """
    if not torch.allclose(one, other, rtol=2e-3, atol=2e-5):
        raise Differs(f"numbers differ by up to {(one - other).abs().max():.2g}")


def likelihood(sizes: Sizes, device: torch.device, at_once: int | None = None, network: bool = True) -> Match:
    """The bound of some images, by all T terms; the reference takes `at_once` terms together, else a timestep."""
    codes, stub = fixed(sizes, device, batch=None if network else 256)
    codes, prior = codes[: sizes["batch"]], small_prior(sizes, device) if network else stub
    generator = seeded(device)
    work = network_flops(prior, sizes, sizes["T"]) if network else 0
    return Match(
        lambda: bound_bits(prior, codes, generator),
        lambda: logonehot.bound_bits(prior, codes, generator, at_once or len(codes)),
        bytes=0 if network else entries(sizes) * sizes["T"] * FLOAT,
        flops=work,
    )


@torch.inference_mode()
def check_likelihood(device: torch.device) -> str:
    """The mean of the bound over the noise, of one code map a thousand times."""
    prior, codes = stub(device, 4000, 6, side=2), torch.tensor([[0, 1], [3, 3]], device=device).repeat(1000, 1, 1)
    ours, _ = bound_bits(prior, codes, seeded(device, 1))
    theirs = logonehot.bound_bits(prior, codes, seeded(device, 2), 3000)
    deviation = ((ours.var() + theirs.var()) / len(codes)).sqrt()
    if (ours.mean() - theirs.mean()).abs() > 4 * deviation:
        raise Differs(f"bounds {ours.mean():.4f} and {theirs.mean():.4f} bits, {deviation:.4f} apart by chance")
    return "same mean"


# ---- samples and completions


def sampling(sizes: Sizes, device: torch.device, network: bool = True) -> Match:
    """Code maps by all T steps."""
    _, stub = fixed(sizes, device)
    prior = small_prior(sizes, device) if network else stub
    steps, shape, generator = sizes["T"], shape_of(sizes), seeded(device)
    return Match(
        lambda: sample_codes(prior, shape, steps, 1.0, generator),
        lambda: logonehot.sample_codes(prior, shape, steps, generator),
        bytes=0 if network else entries(sizes) * steps * FLOAT,
        flops=network_flops(prior, sizes, steps) if network else 0,
    )


def check_sampling(device: torch.device) -> str:
    """All steps, and a few."""
    prior = stub(device, 20_000, 12)
    for steps in (12, 5):
        ours = sample_codes(prior, (20_000, 1, 1), steps, 1.0, seeded(device, 1))
        check_alike(ours, logonehot.sample_codes(prior, (20_000, 1, 1), steps, seeded(device, 2)), 5)
    return SAME_DRAWS


def inpainting(sizes: Sizes, device: torch.device) -> Match:
    """Code maps whose left half is given, completed by all T steps."""
    codes, _ = codes_and_logits(sizes, device)
    prior, generator, steps = small_prior(sizes, device), seeded(device), sizes["T"]
    given = torch.arange(side_of(sizes), device=device).expand(codes.shape[1:]) < side_of(sizes) // 2
    return Match(
        lambda: inpaint_codes(prior, codes, given, steps, 1.0, generator),
        lambda: logonehot.inpaint_codes(prior, codes, given, steps, generator),
        flops=network_flops(prior, sizes, steps),
    )


def check_inpainting(device: torch.device) -> str:
    """What is given stays; the rest is alike."""
    prior, codes = stub(device, 5_000, 12, side=2), torch.full((5_000, 2, 2), 4, device=device)
    given = torch.tensor([[True, False], [False, False]], device=device)
    ours = inpaint_codes(prior, codes, given, 12, 1.0, seeded(device, 1))
    theirs = logonehot.inpaint_codes(prior, codes, given, 12, seeded(device, 2))
    if not all((drawn[:, given] == 4).all() for drawn in (ours, theirs)):
        raise Differs("what was given did not stay")
    check_alike(ours, theirs, 5)
    return SAME_DRAWS
