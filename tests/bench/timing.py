"""Two sides timed by turns, so that whatever else the machine does meets both."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from bench.records import Match

WARM = 2  # calls that are not counted
FEWEST, MOST = 5, 40  # rounds of one measurement
SHORTEST = 2e-3  # seconds of what is timed at once: a shorter call is made several times
SLOW = 1.0  # seconds of a round from which on it is warmed up once, and three rounds are enough


@contextmanager
def threads(count: int) -> Iterator[None]:
    """So many threads for torch, and for what numpy and scikit-learn call, within this process."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpool_limits(limits=count):
            yield
    finally:
        torch.set_num_threads(before)


def once(work: Callable[[], object], calls: int, device: str) -> tuple[float, object]:
    """Mean seconds of a call, over so many, and what the last one returned."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(calls):
        found = work()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / calls, found


def race(match: Match, device: str, seconds: float) -> dict[str, float]:
    """Time both sides by turns for about so many seconds.

    Returns:
        median and quartiles of each side in ms, and of the ratio of each round, theirs over ours; the median quality.
    """
    sides = [side for side in (match.ours, match.theirs) if side is not None]
    first = [once(side, 1, device)[0] for side in sides]
    slow = sum(first) > SLOW
    if not slow:
        first = [min(once(side, 1, device)[0] for _ in range(WARM)) for side in sides]
    calls = [max(1, round(SHORTEST / max(taken, 1e-7))) for taken in first]
    cost = sum(taken * count for taken, count in zip(first, calls, strict=True))
    rounds = int(np.clip(seconds / cost, 3 if slow else FEWEST, MOST))
    taken: list[list[float]] = [[] for _ in sides]
    quality: list[list[float]] = [[] for _ in sides]
    for number in range(rounds):
        for index in range(len(sides))[:: 1 if number % 2 else -1]:
            spent, found = once(sides[index], calls[index], device)
            taken[index].append(spent * 1e3)
            if match.quality is not None:
                quality[index].append(match.quality(found))
    return summary(np.array(taken), np.array(quality), rounds)


def summary(taken: np.ndarray, quality: np.ndarray, rounds: int) -> dict[str, float]:
    """What `race` returns, from times and qualities (sides, rounds)."""
    row: dict[str, float] = {"rounds": rounds} | quartiles("ours_", taken[0], "ms")
    if len(taken) == 2:
        row |= quartiles("reference_", taken[1], "ms") | quartiles("ratio", taken[1] / taken[0])
    if quality.size:
        row |= {"ours_quality": float(np.median(quality[0])), "reference_quality": float(np.median(quality[1]))}
    return row


def quartiles(name: str, values: np.ndarray, unit: str = "") -> dict[str, float]:
    """Median, first and third quartile, under a common name."""
    low, middle, high = (float(value) for value in np.quantile(values, [0.25, 0.5, 0.75]))
    stem = name.removesuffix("_")
    return {f"{name}{unit}": middle, f"{stem}_q1": low, f"{stem}_q3": high}
