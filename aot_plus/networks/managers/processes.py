"""Several processes that share a dataset: who does which sequence, on which device, and how all finish.

Processes are started by torchrun, which describes them in the environment. They need nothing of each other
while they work; a gloo group lets them wait for one another at the end, so that none is stopped because
another one has already left with an error code.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import distributed

from aot_plus.utils.device import resolve_device
from aot_plus.utils.errors import ConfigError, VOSError

T = TypeVar("T")

LONGEST_WAIT = timedelta(days=7)  # for the slowest process; a process that died is noticed at once


@dataclass(frozen=True)
class ProcessPlace:
    """A process's place among all (``rank`` of ``count``) and on its machine (``local_...``)."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "ProcessPlace":
        """Reads RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE of torchrun; alone without them."""
        rank = int(environment.get("RANK", "0"))
        count = int(environment.get("WORLD_SIZE", "1"))
        local_rank = int(environment.get("LOCAL_RANK", "0"))
        local_count = int(environment.get("LOCAL_WORLD_SIZE", "1"))
        if not (0 <= rank < count and 0 <= local_rank < local_count):
            raise ConfigError(
                f"RANK={rank} WORLD_SIZE={count} LOCAL_RANK={local_rank} LOCAL_WORLD_SIZE={local_count}: "
                "a rank must be below its number of processes"
            )
        return cls(rank, count, local_rank, local_count)


def share_out(lengths: Mapping[str, int], count: int) -> list[list[str]]:
    """Shares sequences among ``count`` processes: longest first, each to the one with the fewest frames yet.

    ``lengths`` are numbers of frames. The result depends on nothing else, so all processes agree on it
    unasked.
    """
    shares: list[list[str]] = [[] for _ in range(count)]
    loads = [0] * count
    for name in sorted(lengths, key=lambda name: (-lengths[name], name)):
        least = loads.index(min(loads))
        shares[least].append(name)
        loads[least] += max(lengths[name], 1)
    return shares


@contextmanager
def process_group(place: ProcessPlace) -> Iterator[None]:
    """Connects the processes for ``gather``; does nothing for a single one."""
    if place.count == 1:
        yield
        return
    distributed.init_process_group("gloo", rank=place.rank, world_size=place.count, timeout=LONGEST_WAIT)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def gather(place: ProcessPlace, item: T) -> list[T]:
    """Every process's item, by rank; waits for all of them. Raises ``VOSError`` when one has died."""
    if place.count == 1:
        return [item]
    items: list[T | None] = [None] * place.count
    try:
        distributed.all_gather_object(items, item)
    except RuntimeError as error:
        raise VOSError(
            f"process {place.rank} of {place.count}: another process stopped early ({error})"
        ) from error
    return [item for item in items if item is not None]


def choose_device(name: str, place: ProcessPlace, key: str = "TEST_DEVICE") -> torch.device:
    """The device of the config's ``key``: ``auto`` and ``cuda`` spread a machine's processes over GPUs."""
    if name in ("auto", "cuda") and torch.cuda.is_available():
        name = f"cuda:{place.local_rank % torch.cuda.device_count()}"
    return resolve_device(name, key)


def share_cores(place: ProcessPlace) -> None:
    """Gives each of a machine's processes its part of the cores, unless OMP_NUM_THREADS decides.

    torchrun sets OMP_NUM_THREADS to 1 where it was not set. PyTorch starts with a thread for every core.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() // place.local_count))
