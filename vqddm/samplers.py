"""What every trained method can do, whichever it is: draw, complete, tell a likelihood.

A method's record (`vqddm/registry.py`) names the function that reads its checkpoint and gives a sampler.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeGuard, get_args

from vqddm.artifacts import UserError, describe_checkpoint
from vqddm.methods import METHODS
from vqddm.registry import imported
from vqddm.vqgan.codec import Codec, load_codec

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn


Process = Literal["ancestral", "renoise"]
Encoded = Literal["masked", "full"]  # which picture gives the known codes of a completion


class Sampling(NamedTuple):
    """How to draw. A method passes over what does not concern it.

    Args:
        steps: network evaluations for one example.
        temperature: divides the logits of codes.
        eta: of pixel diffusion: 0 is DDIM; 1 with all steps is DDPM.
        sampler: of diffusion on codes: `ancestral` draws z_s from p(z_s | z_t); `renoise` draws z_0 and diffuses it.
    """

    steps: int
    temperature: float = 1.0
    eta: float = 0.0
    sampler: Process = "ancestral"


class Bits(NamedTuple):
    """-log2 p of code maps, or an upper bound on it, in bits per code.

    Args:
        each: float64 (B,), one for each map.
        terms: of a bound, float64 (T,): the mean over the maps of each of its terms, t = 1 first; None: it is exact.
    """

    each: Tensor
    terms: Tensor | None = None


class Sampler(Protocol):
    """A trained method on its device.

    Args:
        network: in evaluation mode.
        about: what its checkpoint's header says.
        shape: of one example: (h, w) for code maps, (H, W, 3) for images.
        steps: the numbers of network evaluations that an example can take.
    """

    network: nn.Module
    about: dict[str, Any]
    shape: tuple[int, ...]
    steps: range

    def draw(self, count: int, how: Sampling, generator: Generator, tick: Callable[[], object]) -> Tensor:
        """Draw `count` examples: codes uint16 (count, h, w) or images uint8 (count, H, W, 3).

        Args:
            how: with `how.steps` out of `steps`.
            generator: the only source of randomness, on the device of the network.
            tick: called after each of `how.steps` steps.
        """


class CodeSampler(Sampler, Protocol):
    """A trained method that fills code maps, whose codes are int64 (B, h, w) below."""

    codebook_size: int

    def complete(
        self, codes: Tensor, given: Tensor, how: Sampling, generator: Generator, tick: Callable[[], object]
    ) -> Tensor:
        """Draw what is not given: int64 (B, h, w); the given codes come back unchanged.

        Args:
            codes: int64 (B, h, w); what it holds where nothing is given does not matter.
            given: bool (h, w) or (B, h, w), True = given.
            how: with `how.steps` out of `steps`.
            generator: the only source of randomness, on the device of `codes`.
            tick: called after each of `how.steps` steps.
        """

    def bits_per_code(self, codes: Tensor, generator: Generator) -> Bits:
        """The likelihood of code maps, int64 (B, h, w), nothing subsampled."""


def fills_codes(sampler: Sampler) -> TypeGuard[CodeSampler]:
    """It fills code maps, not pixels."""
    return METHODS[sampler.about["kind"]].fills == "codes"


def load_sampler(checkpoint: Path, device: str = "cpu") -> Sampler:
    """Read a trained method of any kind.

    Raises:
        UserError: missing, damaged, or no method's checkpoint.
    """
    kind = describe_checkpoint(checkpoint)["kind"]
    if kind not in METHODS:
        trained = ", ".join(name for name, method in METHODS.items() if not method.of)
        raise UserError(f"{checkpoint}: holds a {kind}; give the checkpoint of one of {trained}")
    return imported(METHODS[kind].load)(checkpoint, device)


def load_pair(checkpoint: Path, first_stage: Path, device: str = "cpu") -> tuple[CodeSampler, Codec]:
    """Read a trained method that fills code maps, and the first stage that it was trained on.

    Raises:
        UserError: missing, damaged, or `check_pair` refuses them.
    """
    sampler = load_sampler(checkpoint, device)
    if not fills_codes(sampler):
        raise UserError(f"{checkpoint}: a {sampler.about['kind']} fills pixels, not the codes of {first_stage}")
    codec, _ = load_codec(first_stage, device)
    check_pair(sampler, codec, str(checkpoint), str(first_stage))
    return sampler, codec


def check_pair(sampler: CodeSampler, codec: Codec, name: str = "the prior", stage: str = "the first stage") -> None:
    """Refuse a method and a first stage whose codes differ in number or whose code maps differ in size.

    Others pass, though two first stages with equal codebook sizes mean different things by a code.

    Args:
        name, stage: what the message calls them.

    Raises:
        UserError: they do not fit.
    """
    height, width = sampler.shape
    side = codec.params.resolution // codec.params.downsampling
    learnt = f"{sampler.codebook_size} codes in maps of {height} x {width}"
    made = f"{codec.codebook_size} codes in maps of {side} x {side}"
    if learnt != made:
        raise UserError(
            f"{name} was trained on {learnt}, {stage} makes {made}; give the checkpoints of the same first stage"
        )


def check_sampling(sampler: Sampler, how: Sampling, count: int) -> None:
    """Refuse what cannot be drawn.

    Raises:
        UserError: names the number and what it can be.
    """
    if not isinstance(count, Integral):
        raise UserError(f"{count!r} images: that is no whole number")
    for number in (how.temperature, how.eta):
        if not isinstance(number, Real):
            raise UserError(f"{number!r} is no number")
    if count < 1:
        raise UserError(f"{count} images: there must be at least one")
    if not 0 < how.temperature < math.inf:
        raise UserError(f"temperature {how.temperature}: it must be above 0 and finite")
    if not 0 <= how.eta <= 1:
        raise UserError(f"eta {how.eta}: it must be from 0 to 1")
    if how.sampler not in get_args(Process):
        raise UserError(f"sampler '{how.sampler}': choose from {', '.join(get_args(Process))}")
    if not isinstance(how.steps, Integral) or how.steps not in sampler.steps:
        raise UserError(f"{how.steps!r} sampling steps: choose from {sampler.steps[0]} to T = {sampler.steps[-1]}")
