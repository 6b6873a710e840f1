"""What a contest is: a row of the table in `bench/contests.py`, prepared for one set of sizes, and one measurement."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import NamedTuple

import torch

Sizes = dict[str, int]  # by name: batch, positions, K, T, …


class Differs(Exception):
    """Ours and the reference do not give the same; the message says in what."""


class Match(NamedTuple):
    """Both sides, ready to be called.

    Args:
        ours, theirs: a call does the work once; `theirs` is None where the machine's own limit is measured.
        bytes: memory that the work must touch at least once, read or written.
        flops: floating-point operations, two for a multiply-accumulate; without any, memory is the limit. Without
            either, none is told.
        quality: takes what a call returned; what else counts than time, smaller is better.
    """

    ours: Callable[[], object]
    theirs: Callable[[], object] | None
    bytes: float = 0.0
    flops: float = 0.0
    quality: Callable[[object], float] | None = None


@dataclass(frozen=True)
class Contest:
    """Ours against one reference.

    Args:
        work: what is done, as `--only` names it.
        reference: whose way the other side goes.
        sizes: one row for each; `--quick` takes the first.
        prepare: makes both sides for given sizes on a device.
        check: at sizes of its own, compares what both sides give and says in what they agree; it raises `Differs`
            where they do not. None where both do different things.
        package: what must be importable.
        on_gpu: whether there is a GPU's way of it.
        on_both: whether it can be done on the CPU of a machine with a GPU; ours may choose its device by itself.
        quality: what `Match.quality` measures.
    """

    work: str
    reference: str
    sizes: tuple[Sizes, ...]
    prepare: Callable[[Sizes, torch.device], Match]
    check: Callable[[torch.device], str] | None = None
    package: str = ""
    on_gpu: bool = True
    on_both: bool = True
    quality: str = ""

    @property
    def name(self) -> str:
        """Work and reference."""
        return f"{self.work} against {self.reference}"

    def runs_on(self, device: str, gpu: bool) -> bool:
        """Whether it is measured there, on a machine with or without a GPU."""
        return self.on_gpu if device == "cuda" else self.on_both or not gpu

    @property
    def installed(self) -> bool:
        """Whether its package is there."""
        return not self.package or find_spec(self.package) is not None


class Item(NamedTuple):
    """One measurement.

    Args:
        part: `limits`, `contests` or `growth`.
        threads: of the CPU.
        device: `cpu` or `cuda`.
        seconds: about so long, both sides together.
        axis: the size that grows, where it is a point of a growth.
    """

    part: str
    contest: Contest
    sizes: Sizes
    threads: int
    device: str
    seconds: float
    axis: str = ""

    @property
    def words(self) -> str:
        """All that tells it from the others."""
        words = [self.part, self.axis, self.contest.name, in_words(self.sizes), self.device, f"{self.threads} threads"]
        return ", ".join(filter(None, words))


def in_words(sizes: Sizes) -> str:
    """`batch 8, K 256`."""
    return ", ".join(f"{name} {value}" for name, value in sizes.items())


def side_of(sizes: Sizes) -> int:
    """Height and width of a code map of so many positions."""
    return math.isqrt(sizes["positions"])
