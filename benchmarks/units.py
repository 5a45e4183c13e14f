"""Time on shared machines: seconds, and seconds counted in matrix products of the same process."""

import statistics
import time
from collections.abc import Callable

import torch

from benchmarks.report import Record, spread

UNIT_SIZE = 4096
REPEATS = 5  # before, and again after what is measured

Clock = Callable[[], float]


def make_clock(device: torch.device) -> Clock:
    """Seconds of a monotonic clock, read when the device has done all it was given."""

    def read() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    return read


class UnitOfTime:
    """The time of one float32 product of two ``size x size`` matrices on the device, measured several times.

    ``measure`` is called before and after what is to be counted in units; the unit is the median of all.
    """

    def __init__(self, device: torch.device, size: int = UNIT_SIZE, clock: Clock | None = None) -> None:
        self.size = size
        self._device = device
        self._clock = clock or make_clock(device)
        self._times: list[list[float]] = []

    def measure(self, repeats: int = REPEATS) -> None:
        """Times ``repeats`` products after one that is not timed."""
        matrix = torch.rand(self.size, self.size, device=self._device)
        out = torch.empty_like(matrix)
        times = []
        with torch.inference_mode():
            torch.mm(matrix, matrix, out=out)
            for _ in range(repeats):
                started = self._clock()
                torch.mm(matrix, matrix, out=out)
                times.append(self._clock() - started)
        self._times.append(times)

    @property
    def seconds(self) -> float:
        """One unit."""
        return statistics.median(self._all())

    @property
    def operations(self) -> int:
        """Floating-point operations of one unit: 2 n^3, counting a multiplication and an addition as two."""
        return 2 * self.size**3

    def record(self) -> Record:
        """The unit's seconds with their spread, and the medians before and after."""
        medians = [statistics.median(times) for times in self._times]
        return {"size": self.size, "seconds": spread(self._all()), "before": medians[0], "after": medians[-1]}

    def describe(self) -> str:
        """A line for the terminal."""
        facts = self.record()
        times = facts["seconds"]
        return (
            f"One unit, a {self.size} x {self.size} float32 matrix product: {times['median']:.4g} s "
            f"({times['min']:.4g} to {times['max']:.4g}; "
            f"before {facts['before']:.4g}, after {facts['after']:.4g})"
        )

    def _all(self) -> list[float]:
        return [value for times in self._times for value in times]
