"""What a training consists of: networks, optimisers and one step. The loop around it is `vqddm/training.py`."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.utils import DynamoBackend
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vqddm.recorded import Recorded
from vqddm.settings import OptimizerParams


class Stateful(Protocol):
    """What accelerate can save and restore beside modules and optimisers."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


def can_record(accelerator: Accelerator) -> bool:
    """Whether steps may be recorded: on one GPU, where nothing else compiles the networks."""
    compiled = accelerator.state.dynamo_plugin.backend != DynamoBackend.NO
    return accelerator.device.type == "cuda" and accelerator.num_processes == 1 and not compiled


class Recipe(ABC):
    """What is trained, and one step of it.

    In a training `modules` and `optimizers` are what accelerate prepared; at its end the networks themselves again.
    """

    modules: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    stateful: dict[str, Stateful]
    main = "network"  # the module whose weights may be averaged
    average: AveragedModel | None = None
    recorded: Recorded | None = None  # `learn`, on a GPU

    def prepare(self, accelerator: Accelerator) -> None:
        """Let accelerate prepare modules and optimisers."""
        self.modules = {name: accelerator.prepare(module).train() for name, module in self.modules.items()}
        self.optimizers = {name: accelerator.prepare(optimizer) for name, optimizer in self.optimizers.items()}
        if can_record(accelerator):
            self.recorded = Recorded(self.learn, partial(keep_rates_on_card, self.optimizers, accelerator.device))

    def learning_rate_factor(self, step: int) -> float:
        """Factor on every optimiser's initial learning rate at `step` (from 0): here the rate is fixed."""
        return 1.0

    def step(self, batch: Tensor, step: int, generator: torch.Generator, accelerator: Accelerator) -> dict[str, Tensor]:
        """Update the weights once; return each loss as a detached scalar, which holds until the next step.

        Args:
            batch: this process's share of the batch, every n-th example from its own index on.
            step: from 0.
            generator: the same on all processes; what is drawn from it must be for the whole batch (`whole_batch`).
        """
        losses = (self.recorded or self.learn)(accelerator, *self.draw(batch, step, generator, accelerator))
        if self.average is not None:
            self.average.update_parameters(self.modules[self.main])
        return losses

    def draw(self, batch: Tensor, step: int, generator: torch.Generator, accelerator: Accelerator) -> tuple[Any, ...]:
        """What `learn` takes: all of a step that is random, or changes from step to step; here the batch alone."""
        return (batch,)

    @abstractmethod
    def learn(self, accelerator: Accelerator, *drawn: Any) -> dict[str, Tensor]:
        """From what was drawn to new weights; each loss as a detached scalar.

        On a GPU it is recorded (`vqddm/recorded.py`): it does the same whatever the tensors hold.
        """

    @abstractmethod
    def validate(self, batch: Tensor, generator: torch.Generator, accelerator: Accelerator) -> Tensor:
        """The main loss of held-out examples, a scalar, by the weights that would be kept; called without gradients."""

    @abstractmethod
    def checkpoint(self) -> Mapping[str, Tensor]:
        """The tensors to keep when all steps are done."""


class NetworkRecipe(Recipe):
    """A recipe with one network and one optimiser.

    Args:
        gradient_clip: largest norm of the gradient.
        ema_decay: of the exponential moving average of the weights, which is kept; 0: none.
        device: where the averaged weights live.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        gradient_clip: float | None = None,
        ema_decay: float = 0.0,
        device: torch.device | None = None,
    ) -> None:
        self.modules, self.optimizers, self.stateful = {"network": network}, {"network": optimizer}, {}
        self.gradient_clip = gradient_clip
        self.average = averaged(network, ema_decay, device)
        if self.average is not None:
            self.stateful["average"] = self.average

    @property
    def network(self) -> nn.Module:
        """The network, as accelerate prepared it."""
        return self.modules["network"]

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Its optimiser, as accelerate prepared it."""
        return self.optimizers["network"]

    def kept(self, accelerator: Accelerator) -> nn.Module:
        """The network with the weights that would be kept now."""
        return without_wrappers(self.network, self.average, accelerator)

    def update(self, accelerator: Accelerator) -> None:
        """From gradients to weights: clip and step."""
        if self.gradient_clip is not None:
            accelerator.clip_grad_norm_(self.network.parameters(), self.gradient_clip)
        self.optimizer.step()

    def checkpoint(self) -> Mapping[str, Tensor]:
        """The averaged weights where there are such."""
        return (self.network if self.average is None else self.average.module).state_dict()


def set_rate(optimizer: torch.optim.Optimizer, number: int, rate: float) -> None:
    """Set the learning rate of one group of parameters."""
    group = optimizer.param_groups[number]
    if isinstance(group["lr"], Tensor) and group["lr"].is_cuda:
        group["lr"].fill_(rate)  # a recorded step reads it there
    else:
        group["lr"], group["capturable"] = rate, False  # a state of a recorded training may have come from a GPU


def keep_rates_on_card(optimizers: Mapping[str, torch.optim.Optimizer], device: torch.device) -> None:
    """Keep learning rates as tensors, so that a recorded step sees them change."""
    for optimizer in optimizers.values():
        for group in optimizer.param_groups:
            group["lr"] = torch.as_tensor(group["lr"], device=device)
            group["capturable"] = True


def averaged(network: nn.Module, decay: float, device: torch.device | None) -> AveragedModel | None:
    """An exponential moving average of a network's weights, None where `decay` is 0.

    After its first update it holds the weights w themselves; each further one makes it decay * average + (1 - decay) w.

    Args:
        device: where it lives.
    """
    if decay == 0:
        return None
    return AveragedModel(network, device=device, multi_avg_fn=get_ema_multi_avg_fn(decay))


def without_wrappers(network: nn.Module, average: AveragedModel | None, accelerator: Accelerator) -> nn.Module:
    """The network itself, averaged where it is, without what accelerate put around it."""
    if average is not None:
        return average.module
    return accelerator.unwrap_model(network, keep_torch_compile=False)


def whole_batch(batch: Tensor, accelerator: Accelerator) -> tuple[int, slice]:
    """How many examples the processes' shares have together, and which of them this process has.

    Noise is drawn for the whole batch, of which each process takes its share: their number changes no draw.
    """
    processes = accelerator.num_processes
    return processes * len(batch), slice(accelerator.process_index, None, processes)


def spread_evenly(count: int, timesteps: int, generator: torch.Generator) -> Tensor:
    """Timesteps int64 (count,) in [0, timesteps): one drawn from each of as many equal parts of them."""
    drawn = torch.rand(count, dtype=torch.float64, generator=generator, device=generator.device)
    parts = (torch.arange(count, device=generator.device) + drawn) / count
    return (parts * timesteps).long().clamp(max=timesteps - 1)


def warmed(step: int, warmup_steps: int) -> float:
    """A linear rise to 1 over the first `warmup_steps`; `step` from 0."""
    return min(1.0, (step + 1) / (warmup_steps + 1))


def warmed_cosine(step: int, warmup_steps: int, steps: int) -> float:
    """Cosine annealing from 1 to 0 over `steps`, after a linear rise over the first `warmup_steps`; `step` from 0."""
    return warmed(step, warmup_steps) * 0.5 * (1 + math.cos(math.pi * step / steps))


def scheduled(optimizer: OptimizerParams, step: int, steps: int) -> float:
    """The factor on a learning rate at `step` (from 0) of `steps`, by its settings."""
    if optimizer.schedule == "cosine":
        return warmed_cosine(step, optimizer.warmup_steps, steps)
    return warmed(step, optimizer.warmup_steps)
