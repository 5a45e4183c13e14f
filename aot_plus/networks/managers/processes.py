"""Connects processes that share a job: their places and devices, their group, and their exchanges.

torchrun or ``pipeline.launch`` starts them and sets the environment variables that describe them.
"""

import itertools
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar, cast

import torch
from torch import Tensor, distributed

from aot_plus.utils.cores import find_cores
from aot_plus.utils.device import resolve_device
from aot_plus.utils.errors import ConfigError, ProcessError, VOSError
from evaluation.signals import default_signal_handlers

T = TypeVar("T")

_log = logging.getLogger(__name__)

_SPREAD = ("auto", "cuda")  # devices that stand for all GPUs of a machine
_FEW_HELPERS, _MANY_HELPERS = 2, 8  # threads

LONGEST_START = timedelta(minutes=2)  # from the first process's start to the last one's
LONGEST_WAIT = timedelta(days=7)  # for the slowest process; a process that died is noticed at once
_groups = itertools.count()  # numbers the groups that this process joins


@dataclass(frozen=True)
class ProcessPlace:
    """Holds a process's place among all (``rank`` of ``world_size``) and on its machine (``local_...``)."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "ProcessPlace":
        """Reads torchrun's RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE; by default the only process."""
        rank = int(environment.get("RANK", "0"))
        world_size = int(environment.get("WORLD_SIZE", "1"))
        local_rank = int(environment.get("LOCAL_RANK", "0"))
        local_world_size = int(environment.get("LOCAL_WORLD_SIZE", "1"))
        if not (0 <= rank < world_size and 0 <= local_rank < local_world_size):
            raise ConfigError(
                f"RANK={rank} WORLD_SIZE={world_size} LOCAL_RANK={local_rank} "
                f"LOCAL_WORLD_SIZE={local_world_size}: "
                "a rank must be below its number of processes"
            )
        return cls(rank, world_size, local_rank, local_world_size)


def divide_sequences(lengths: Mapping[str, int], count: int) -> list[list[str]]:
    """Divides sequences among ``count`` processes: longest first, each to the one with fewest frames so far.

    ``lengths`` are numbers of frames. The result depends on nothing else, so all processes agree on it
    without communication.
    """
    shares: list[list[str]] = [[] for _ in range(count)]
    loads = [0] * count
    for name in sorted(lengths, key=lambda name: (-lengths[name], name)):
        least = loads.index(min(loads))
        shares[least].append(name)
        loads[least] += max(lengths[name], 1)
    return shares


@contextmanager
def process_group(place: ProcessPlace, device: torch.device | None = None) -> Iterator[None]:
    """Connects the processes; does nothing for a single one.

    ``device`` is where the exchanged tensors are; CUDA uses NCCL. An exchange then fails if a process takes
    longer than PyTorch's timeout. Without ``device``, the processes work on their own, and exchanges wait for
    the slowest one, up to ``LONGEST_WAIT``. One group may follow another. Raises ``VOSError`` if not all
    processes start within ``LONGEST_START``.
    """
    on_cuda = device is not None and device.type == "cuda"
    if on_cuda:
        torch.cuda.set_device(device)
    if place.world_size == 1:
        yield
        return
    store = _meet(place)
    with default_signal_handlers():  # if another process has ended meanwhile, this one waits for it in C
        distributed.init_process_group(
            "nccl" if on_cuda else "gloo",
            store=store,
            rank=place.rank,
            world_size=place.world_size,
            timeout=LONGEST_WAIT if device is None else None,
        )
    try:
        yield
    finally:
        distributed.destroy_process_group()


def patient_group(place: ProcessPlace, device: torch.device) -> distributed.ProcessGroup | None:
    """Makes a second group of all processes, in which exchanges wait up to ``LONGEST_WAIT``.

    Returns None for a single process. All processes must call this within a ``process_group``, which ends
    the second group too.
    """
    if place.world_size == 1:
        return None
    with _exchanging(place):
        group = cast(distributed.ProcessGroup, distributed.new_group(timeout=LONGEST_WAIT))
    any_process(place, False, device, group)  # connects NCCL now: its first exchange would not be patient
    return group


def _meet(place: ProcessPlace) -> distributed.Store:
    """Waits until all processes have started, and returns the store that they share.

    The group's timeout applies to later exchanges only. torchrun's store outlives a group, so each group has
    its own prefix for keys. Between two groups a process may work for long: the first computes the metric.
    """
    number = next(_groups)
    longest = LONGEST_WAIT if number else LONGEST_START
    try:
        found, _, _ = next(distributed.rendezvous("env://", place.rank, place.world_size, timeout=longest))
        store = distributed.PrefixStore(f"group_{number}", found)
        store.set(f"started/{place.rank}", "")
        _wait(store, [f"started/{rank}" for rank in range(place.world_size)], longest)
    except RuntimeError as error:
        minutes = longest.total_seconds() / 60
        raise VOSError(
            f"process {place.rank} of {place.world_size}: the others did not start in {minutes:g} minutes"
        ) from error
    return store


def _wait(store: distributed.Store, keys: list[str], longest: timedelta) -> None:
    """Waits for keys by polling: during a store's own wait, Python handles neither Ctrl-C nor SIGTERM."""
    end = time.monotonic() + longest.total_seconds()
    while not store.check(keys):
        if time.monotonic() >= end:
            raise RuntimeError("not all processes started")
        time.sleep(0.1)


@contextmanager
def _exchanging(place: ProcessPlace) -> Iterator[None]:
    """Turns a failed exchange into a ``ProcessError``: a process that stops closes its connections.

    One that hangs keeps them, and the exchange fails after the group's timeout.
    """
    try:
        yield
    except RuntimeError as error:
        raise ProcessError(
            f"process {place.rank} of {place.world_size}: another process stopped early or hangs ({error})"
        ) from error


def gather(place: ProcessPlace, item: T) -> list[T]:
    """Waits for all processes and returns their items by rank. Raises ``ProcessError`` if one has died."""
    items = [item] * place.world_size
    if place.world_size > 1:
        with _exchanging(place):
            distributed.all_gather_object(items, item)
    return items


def sum_over_processes(
    place: ProcessPlace, values: Tensor, group: distributed.ProcessGroup | None = None
) -> Tensor:
    """Computes the sum of every process's ``values`` (any shape, the same everywhere).

    ``group``: None, or that of ``patient_group``. Raises ``ProcessError`` if a process has died, as do all
    exchanges below.
    """
    if place.world_size > 1:
        values = values.clone()
        with _exchanging(place):
            distributed.all_reduce(values, group=group)
    return values


def average_over_processes(place: ProcessPlace, tensors: Sequence[Tensor]) -> None:
    """Replaces tensors by their means over all processes, in one exchange.

    Every process must pass the same number of tensors, of the same shapes and one dtype, in the same order.
    """
    if place.world_size == 1 or not tensors:
        return
    together = torch.cat([tensor.flatten() for tensor in tensors]).div_(place.world_size)
    with _exchanging(place):
        distributed.all_reduce(together)
    means = together.split([tensor.numel() for tensor in tensors])
    torch._foreach_copy_(
        list(tensors), [mean.view_as(tensor) for tensor, mean in zip(tensors, means, strict=True)]
    )


def broadcast_from_first(place: ProcessPlace, tensors: Iterable[Tensor]) -> None:
    """Broadcasts the first process's tensors into those of the others, in place."""
    if place.world_size > 1:
        for tensor in tensors:
            sent = tensor.contiguous()
            with _exchanging(place):
                distributed.broadcast(sent, src=0)
            tensor.copy_(sent)


def any_process(
    place: ProcessPlace,
    flag: bool,
    device: torch.device,
    group: distributed.ProcessGroup | None = None,
) -> bool:
    """Returns True in every process if ``flag`` is set in any. ``group``: see ``sum_over_processes``."""
    if place.world_size == 1:
        return flag
    own = torch.full((), float(flag), device=device)  # ``torch.tensor`` would wait for a GPU
    return bool(sum_over_processes(place, own, group) > 0)


def choose_device(name: str, place: ProcessPlace, key: str = "TEST_DEVICE") -> torch.device:
    """Returns the config's device; ``auto`` and ``cuda`` spread a machine's processes over its GPUs."""
    if name in _SPREAD and torch.cuda.is_available():
        name = f"cuda:{place.local_rank % torch.cuda.device_count()}"
    return resolve_device(name, key)


def count_gpus(name: str) -> int:
    """Counts the GPUs that ``choose_device`` spreads processes over for a config's device; 0 if none."""
    return torch.cuda.device_count() if name in _SPREAD else 0


def helper_threads(place: ProcessPlace, device: torch.device) -> int:
    """Returns how many threads of one process should read frames, and how many should write masks.

    On the CPU, the network needs the cores, and two threads keep up with it. A GPU would wait for two threads
    if frames are large: at 1920 x 1080 pixels, a frame takes 25 ms of a core to read, its mask 16 to write.
    """
    if device.type == "cpu":
        return _FEW_HELPERS
    return min(_MANY_HELPERS, max(_FEW_HELPERS, find_cores().threads(place.local_world_size) // 2))


def share_cores(place: ProcessPlace) -> None:
    """Limits PyTorch's threads to this process's share of the free cores, unless OMP_NUM_THREADS is set.

    torchrun sets OMP_NUM_THREADS to 1 if it was not set. PyTorch's default is one thread per core.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return
    cores = find_cores()
    torch.set_num_threads(cores.threads(place.local_world_size))
    if cores.is_busy and place.local_rank == 0:
        _log.info(
            "the machine is busy (%.0f programs compute on %d cores): %d thread(s) per process; "
            "OMP_NUM_THREADS=%d uses all cores",
            *(cores.others, cores.machine, cores.threads(place.local_world_size), cores.usable),
        )
