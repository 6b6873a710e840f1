"""Recorded steps, with a stand-in for CUDA graphs; on a card: `tests/test_gpu.py`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from vqddm.recorded import BEFORE, Recorded, recorded_network


class Stream:
    def wait_stream(self, other: Stream) -> None: ...


class Work:
    """Doubles what it is given; while it is captured, nothing is done, as on a card, but its tensors are remembered."""

    def __init__(self) -> None:
        self.calls, self.captures, self.capturing, self.error = 0, 0, False, ""
        self.held: list[tuple[Tensor, Tensor]] = []

    def __call__(self, x: Tensor, more: bool = False) -> dict[str, Tensor]:
        if self.capturing and self.error:
            raise RuntimeError(self.error)
        self.calls += not self.capturing
        made = 3 * x if more else 2 * x
        if self.capturing:
            self.captures += 1
            self.held.append((x, made))
            made.fill_(float("nan"))
        return {"made": made}


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    """CUDA's graphs, as far as `Recorded` uses them, for `Work`."""
    found = Work()

    class Graph:
        def replay(self) -> None:
            for x, made in found.held[-1:]:
                made.copy_(2 * x)

    @contextlib.contextmanager
    def capture(graph: Graph, stream: Stream) -> Iterator[None]:
        found.capturing = True
        try:
            yield
        finally:
            found.capturing = False

    for name, stand_in in {
        "Stream": Stream,
        "CUDAGraph": Graph,
        "graph": capture,
        "stream": lambda stream: contextlib.nullcontext(),
        "current_stream": Stream,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    return found


def numbers(size: int = 3) -> Tensor:
    return torch.randn(size)


def test_it_is_recorded_after_some_calls_and_gives_the_same(work: Work) -> None:
    told: list[str] = []
    recorded = Recorded(work, lambda: told.append("now"))
    for number in range(10):
        x = numbers()
        found = recorded(x)
        assert torch.equal(found.pop("made"), 2 * x), number  # what the caller does to the dict is its own matter
    assert work.calls == BEFORE and work.captures == 1 and told == ["now"]


def test_another_shape_or_setting_is_recorded_anew(work: Work) -> None:
    recorded = Recorded(work)
    for given in ((numbers(3),), (numbers(4),), (numbers(3), True)):
        for _ in range(BEFORE):
            factor = 3 if given[1:] else 2
            assert torch.equal(recorded(*given)["made"], factor * given[0])
    assert work.calls == 3 * BEFORE and not work.captures, "nothing came often enough in a row"
    recorded(numbers(3), True)
    assert work.captures == 1


def test_what_cannot_be_recorded_runs_on_and_that_is_told_once(work: Work, capsys: pytest.CaptureFixture[str]) -> None:
    work.error = "operation not permitted when stream is capturing"
    recorded = Recorded(work)
    for size in (3, 4):
        for _ in range(BEFORE + 2):
            x = numbers(size)
            assert torch.equal(recorded(x)["made"], 2 * x)
    assert capsys.readouterr().err.count("not recorded as a CUDA graph") == 1


def test_a_network_on_a_cpu_is_itself(work: Work) -> None:
    def network(x: Tensor) -> Tensor:
        return x

    assert recorded_network(network, torch.device("cpu")) is network
    recorded: Any = recorded_network(lambda x: work(x)["made"], torch.device("cuda"))
    for _ in range(BEFORE + 3):
        x = numbers()
        assert torch.equal(recorded(x), 2 * x)
    assert work.captures == 1
