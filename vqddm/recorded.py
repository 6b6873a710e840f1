"""Steps of training and sampling recorded once on a GPU and then repeated by one call (CUDA graphs).

A step of these networks is up to some thousands of short kernels, and a host launches them slower than a card finishes
them.
"""

import sys
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor

BEFORE = 3  # steps that run as they are: they make the optimiser's state, compile kernels and choose among them


def recorded_network(network: Callable[..., Tensor], device: torch.device) -> Callable[..., Tensor]:
    """A network that is evaluated alike over and over: recorded on a GPU, elsewhere itself.

    What a recorded one returns holds until it is called again.
    """
    if device.type != "cuda":
        return network
    recorded = Recorded(lambda *inputs: {"out": network(*inputs)})
    return lambda *inputs: recorded(*inputs)["out"]


class Recorded:
    """A function of tensors on a GPU that is recorded when it has been called alike `BEFORE` times in a row.

    Called alike means: tensors of the same shapes and dtypes, and all else equal. The function must do the same work
    whatever the tensors hold, and must not wait for the card. Where it cannot be recorded that is told once, and it
    runs on as it is.

    Args:
        function: takes tensors and what else can be compared, and returns a dict of tensors.
        before_recording: called once before each recording.
    """

    def __init__(
        self, function: Callable[..., dict[str, Tensor]], before_recording: Callable[[], None] = lambda: None
    ) -> None:
        self.function, self.before_recording = function, before_recording
        self.stream = torch.cuda.Stream()  # the same for all calls: gradients remember the stream they are added up on
        self.kind: Hashable = None
        self.alike = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.inputs: tuple[Any, ...] = ()
        self.outputs: dict[str, Tensor] = {}
        self.works = True

    def __call__(self, *inputs: Any) -> dict[str, Tensor]:
        """What `function` returns; it holds until the next call."""
        kind = tuple((x.shape, x.dtype) if isinstance(x, Tensor) else x for x in inputs)
        if kind != self.kind:
            self.kind, self.alike, self.graph = kind, 0, None
        self.alike += 1
        if self.alike == BEFORE + 1 and self.works:
            self._record(inputs)
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            if self.graph is None:
                outputs = self.function(*inputs)
            else:
                for mine, given in zip(self.inputs, inputs, strict=True):
                    if isinstance(mine, Tensor):
                        mine.copy_(given)
                self.graph.replay()
                outputs = dict(self.outputs)
        torch.cuda.current_stream().wait_stream(self.stream)
        return outputs

    def _record(self, inputs: tuple[Any, ...]) -> None:
        self.before_recording()
        self.inputs = tuple(x.clone() if isinstance(x, Tensor) else x for x in inputs)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self.stream):
                self.outputs = self.function(*self.inputs)
        except Exception as error:  # a kernel, a driver or a network that cannot be recorded
            self.works = False
            words = f"{type(error).__name__}: {error}".split("\n")[0][:200]
            print(f"steps are not recorded as a CUDA graph, which is slower ({words})", file=sys.stderr)
            return
        self.graph = graph
