"""Training on several processes: connecting them, and the few numbers they share beside gradients."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed

from aot_plus.networks.managers.processes import ProcessPlace

__all__ = ["any_process", "sum_over_processes", "training_group"]


@contextmanager
def training_group(place: ProcessPlace, device: torch.device) -> Iterator[None]:
    """Connects the processes of torchrun, with NCCL on CUDA and Gloo on the CPU; one alone needs nothing."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if place.count == 1:
        yield
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, rank=place.rank, world_size=place.count)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def sum_over_processes(place: ProcessPlace, values: Tensor) -> Tensor:
    """The sum of every process's ``values`` (any shape, the same everywhere)."""
    if place.count > 1:
        values = values.clone()
        distributed.all_reduce(values)
    return values


def any_process(place: ProcessPlace, flag: bool, device: torch.device) -> bool:
    """Whether ``flag`` is set in any process; the same answer in all of them."""
    if place.count == 1:
        return flag
    return bool(sum_over_processes(place, torch.tensor(float(flag), device=device)) > 0)
