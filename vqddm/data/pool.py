"""Work on many pictures at once: a process pool that keeps the order and never runs far ahead."""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from vqddm.artifacts import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK = 8
AHEAD = 4


def usable_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_pool(work: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None) -> Iterator[Result]:
    """Yield `work(item)` for every item, in the items' order, computed by `workers` processes.

    Args:
        work: a picklable function (defined in a module, or a `partial` of one).
        items: may be endless: only a few chunks per process are ever computed ahead.
        workers: number of processes; `None` is one for each usable core. It changes no result.

    Raises:
        UserError: a process was killed, or `work` itself raised it.
    """
    workers = usable_cores() if workers is None else workers
    if workers < 1:
        raise UserError(f"workers: {workers} processes cannot work; give 1 or more")
    if workers == 1:
        yield from map(work, items)
        return
    # A fresh interpreter for each process: a fork would copy the parent's threads in an unknown state.
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),  # Ctrl-C is the parent's to handle
    )
    try:
        yield from _in_order(pool, work, iter(items), AHEAD * workers)
    except BrokenProcessPool:
        raise UserError(
            "a worker process was killed, most likely for memory; give fewer workers "
            '(a script that calls this itself also needs `if __name__ == "__main__":`)'
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _in_order(
    pool: ProcessPoolExecutor, work: Callable[[Item], Result], items: Iterator[Item], ahead: int
) -> Iterator[Result]:
    pending: deque[Future[list[Result]]] = deque()
    while chunk := list(islice(items, CHUNK)):
        pending.append(pool.submit(_work_on, work, chunk))
        if len(pending) >= ahead:
            yield from pending.popleft().result()
    while pending:
        yield from pending.popleft().result()


def _work_on(work: Callable[[Item], Result], chunk: list[Item]) -> list[Result]:
    return [work(item) for item in chunk]
