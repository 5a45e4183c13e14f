"""Measures time and memory of work on a device; time also in units, for shared machines."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.report import MB, Figures, resident_memory

UNIT_SIZE = 4096
REPEATS = 5
OTHER = "other"

Clock = Callable[[], float]


def make_clock(device: torch.device) -> Clock:
    """Returns a clock in seconds that waits until the device has finished its work."""

    def read() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    return read


def device_name(device: torch.device) -> str:
    """Returns ``cpu``, or the name of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def memory_facts(imports: float, device: torch.device) -> Figures:
    """Returns memory in MB: of the ``imports``, the peak above them, and the peaks on a GPU.

    The memory that PyTorch reserves on a GPU includes the intermediate results of captured graphs.
    """
    figures = {"imports_mb": imports, "memory_above_imports_mb": resident_memory(peak=True) - imports}
    if device.type == "cuda":
        figures["cuda_memory_mb"] = torch.cuda.max_memory_allocated(device) / MB
        figures["cuda_reserved_mb"] = torch.cuda.max_memory_reserved(device) / MB
    return figures


def unit_times(device: torch.device) -> list[float]:
    """Times some float32 products of two 4096 x 4096 matrices on the device, in seconds.

    One unit is the median of such times from before and after the measurement.
    """
    clock, times = make_clock(device), []
    matrix = torch.rand(UNIT_SIZE, UNIT_SIZE, device=device)
    out = torch.mm(matrix, matrix)  # not timed
    for _ in range(REPEATS):
        started = clock()
        torch.mm(matrix, matrix, out=out)
        times.append(clock() - started)
    return times


@contextmanager
def booked(read: Clock, methods: Sequence[tuple[Any, str, str]]) -> Iterator[dict[str, float]]:
    """Yields the increase of ``read()`` within the block by part; it is complete when the block ends.

    Args:
        read: a clock, or a counter of operations.
        methods: owner, name of the method, and the part that its calls belong to. A part inside another is
            not counted in the outer one; everything outside all parts is ``other``.
    """
    totals: dict[str, float] = defaultdict(float)
    running = [OTHER]
    last = read()

    def book() -> None:
        nonlocal last
        now = read()
        totals[running[-1]] += now - last
        last = now

    def wrap(method: Callable[..., Any], part: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            book()
            running.append(part)
            try:
                return method(*arguments, **named)
            finally:
                book()
                running.pop()

        return call

    with ExitStack() as stack:
        for owner, name, part in methods:
            stack.enter_context(patch.object(owner, name, wrap(getattr(owner, name), part)))
        yield totals
        book()
