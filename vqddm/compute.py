"""What a step computes with: threads, a device, generators, and networks from checkpoints.

Batches and precision depend on the device where no gradient is needed; on a CPU precision is float32, but for priors
that were trained in bf16 where the CPU has units for it.
"""

import contextlib
import os
import platform
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from vqddm.artifacts import UserError, read_checkpoint, reading

M = TypeVar("M", bound=nn.Module)


def limit_threads(threads: int | None) -> None:
    """Use `threads` CPU threads in this process (None leaves torch's choice).

    Results may differ in their last bits between thread counts, so rules pass a fixed number.
    """
    if threads is not None:
        torch.set_num_threads(threads)
        os.environ["OMP_NUM_THREADS"] = str(threads)


def device() -> str:
    """Where everything is computed but trainings in several processes: `cuda` where there is a GPU, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def at_once(device: str | torch.device, on_cpu: int, on_gpu: int) -> int:
    """How many examples go through a network together, by the device that it is on."""
    return on_gpu if torch.device(device).type == "cuda" else on_cpu


def to_device(batch: Tensor, device: torch.device) -> Tensor:
    """A batch in its device's memory; the host does not wait for its way to a GPU."""
    return batch.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else batch


def mixed(network: Any) -> AbstractContextManager[object]:
    """Evaluate a network that `load_network` read: on a GPU in the precision that it was trained in, else as it is."""
    on_gpu = next(network.parameters()).is_cuda
    if on_gpu and getattr(network, "precision", "no") == "bf16":
        return torch.autocast("cuda", torch.bfloat16)
    return contextlib.nullcontext()


def bf16_units() -> bool:
    """Whether this CPU has units that multiply matrices of bf16 (Intel's AMX)."""
    return torch.cpu._is_amx_tile_supported()


def machine_name() -> str:
    """The name of the GPU, or of the CPU's architecture, to stand beside timings."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()


def step_generator(seed: int, step: int, device: str | torch.device) -> torch.Generator:
    """A generator that depends on nothing but (seed, step)."""
    word = np.random.SeedSequence([seed, step, 0]).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(word) >> 1)


def load_state(module: nn.Module, tensors: Mapping[str, Tensor], where: Path) -> None:
    """Load `tensors` into `module`, strictly.

    Raises:
        UserError: names the tensors that are missing, left over or of the wrong shape.
    """
    own = module.state_dict()
    wrong = [f"missing {name}" for name in own.keys() - tensors.keys()]
    wrong += [f"unknown {name}" for name in tensors.keys() - own.keys()]
    wrong += [
        f"{name} is {tuple(tensors[name].shape)}, expected {tuple(own[name].shape)}"
        for name in own.keys() & tensors.keys()
        if own[name].shape != tensors[name].shape
    ]
    if wrong:
        raise UserError(f"{where}: does not fit the model: " + "; ".join(sorted(wrong)[:10]))
    module.load_state_dict(tensors)


def load_network(
    path: Path, kind: str, make: Callable[[dict[str, Any]], M], device: str, beside: tuple[str, ...] = ()
) -> tuple[M, dict[str, Any]]:
    """Read a checkpoint's network for inference, and what made it.

    Args:
        kind: the expected `about["kind"]`.
        make: takes what the header says and gives the network that the tensors fit.
        beside: how names of tensors begin that are no part of it.

    Raises:
        UserError: missing, damaged, of another kind, or tensors that do not fit.
    """
    tensors, about = read_checkpoint(path, kind)
    with reading(path, "its header describes no network of this version"):
        network = make(about)
    load_state(network, {name: tensor for name, tensor in tensors.items() if not name.startswith(beside)}, path)
    settings = about.get("made_by", about).get("params", {})
    network.precision = settings.get("training", {}).get("precision", "no")
    return network.eval().requires_grad_(False).to(device), about
