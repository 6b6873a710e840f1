"""The reverse process over code maps, with any number of steps up to T (sections 4.3 and 4.4)."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from vqddm.prior.diffusion import draw, strided_timesteps, tempered
from vqddm.prior.unet import Prior
from vqddm.recorded import recorded_network
from vqddm.samplers import Process


def denoise(
    prior: Prior,
    z_t: Tensor,
    t: int,
    s: int,
    temperature: float,
    generator: torch.Generator,
    network: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Tensor:
    """Draw z_s from p(z_s | z_t), s < t: one network evaluation (Eqs. 20 to 23).

    The temperature divides the logits of p(z_0 | z_t), before anything else. `network` is the prior, if not as it is,
    then as it was recorded.
    """
    logits = (network or prior)(z_t, torch.full((1,), t, device=z_t.device)).float()  # one t: it is embedded once
    logits = tempered(logits, temperature)
    if t == 1 and prior.diffusion.as_printed:
        return draw(logits.softmax(-1), generator)
    late, early = prior.schedule.interval(s, t), prior.schedule.interval(0, s)
    return prior.transition.reverse(z_t, logits, late, early, generator)


def diffused(prior: Prior, z_0: Tensor, s: int, generator: torch.Generator) -> Tensor:
    """Draw z_s from q(z_s | z_0) (Eq. 17); at s = 0 it is z_0."""
    return prior.transition.diffuse(z_0, prior.schedule.interval(0, s), prior.codebook_size, generator)


@torch.no_grad()
def reverse_process(
    prior: Prior,
    shape: tuple[int, int, int],
    steps: int,
    temperature: float,
    generator: torch.Generator,
    sampler: Process = "ancestral",
) -> Iterator[Tensor]:
    """z_T, then the code maps after each step, at last z_0: `steps` + 1 times int64 of the given shape (B, h, w).

    Args:
        prior: on the generator's device. With an absorbing transition K stands where no code is drawn yet.
        steps: network evaluations, 1 to T.
        generator: the only source of randomness.
        sampler: `ancestral` draws z_s from p(z_s | z_t). `renoise` is not in the paper: it draws z_0 from p(z_0 | z_t),
            then z_s from q(z_s | z_0), the discrete process in the appendix of DDIM (Song et al. 2021) with σ = 0.

    Raises:
        UserError: `steps` is not in 1..T.
    """
    timesteps = strided_timesteps(prior.schedule.timesteps, steps)
    last = prior.schedule.interval(0, prior.schedule.timesteps)
    z = prior.transition.start(shape, last, prior.codebook_size, generator)
    yield z
    step = _stepping(prior, temperature, generator, sampler)
    for t, s in pairwise([*timesteps, 0]):
        z = step(z, t, s)
        yield z


def _stepping(
    prior: Prior, temperature: float, generator: torch.Generator, sampler: Process
) -> Callable[[Tensor, int, int], Tensor]:
    """What draws z_s from z_t, t and s by a sampler of `reverse_process`."""
    network = recorded_network(prior, generator.device)
    step = partial(denoise, prior, temperature=temperature, generator=generator, network=network)
    if sampler == "renoise":
        return lambda z_t, t, s: diffused(prior, step(z_t, t, 0), s, generator)
    return step


@torch.inference_mode()
def sample_codes(
    prior: Prior,
    shape: tuple[int, int, int],
    steps: int,
    temperature: float,
    generator: torch.Generator,
    tick: Callable[[], object] = lambda: None,
    sampler: Process = "ancestral",
) -> Tensor:
    """Draw code maps: int64 of the given shape (B, h, w), on the generator's device.

    Args:
        prior: on the generator's device.
        steps: network evaluations, 1 to T.
        generator: the only source of randomness.
        tick: called after each step.
        sampler: see `reverse_process`.

    Raises:
        UserError: `steps` is not in 1..T.
    """
    process = reverse_process(prior, shape, steps, temperature, generator, sampler)
    z = next(process)
    for later in process:
        z = later
        tick()
    return z


@torch.inference_mode()
def inpaint_codes(
    prior: Prior,
    codes: Tensor,
    given: Tensor,
    steps: int,
    temperature: float,
    generator: torch.Generator,
    tick: Callable[[], object] = lambda: None,
    sampler: Process = "ancestral",
) -> Tensor:
    """Complete code maps, int64 (B, h, w), without further training (section 4.4); what is given comes back unchanged.

    At every timestep s the given positions hold a draw of q(z_s | z_0) (m = 1 is known), at s = 0 z_0 itself.

    Args:
        prior: on the device of `codes`.
        codes: z_0, int64 (B, h, w); what it holds where nothing is given does not matter.
        given: bool (h, w) or (B, h, w), True = given.
        steps: network evaluations, 1 to T.
        generator: the only source of randomness, on the device of `codes`.
        tick: called after each step.
        sampler: see `reverse_process`.

    Raises:
        UserError: `steps` is not in 1..T.
    """
    timesteps = strided_timesteps(prior.schedule.timesteps, steps)
    last = prior.schedule.interval(0, prior.schedule.timesteps)
    noise = prior.transition.start(tuple(codes.shape), last, prior.codebook_size, generator)
    z = torch.where(given, diffused(prior, codes, timesteps[0], generator), noise)
    step = _stepping(prior, temperature, generator, sampler)
    for t, s in pairwise([*timesteps, 0]):
        known = diffused(prior, codes, s, generator)
        z = torch.where(given, known, step(z, t, s))
        tick()
    return z
