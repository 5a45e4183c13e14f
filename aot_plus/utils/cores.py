"""Chooses the number of threads, and how they wait for each other, by the machine's load at the start.

OpenMP's threads meet at a barrier after each part of a layer and wait there in a busy loop. If other programs
occupy the cores, a waiting thread takes time from the thread it waits for: with two threads on two busy
cores, speed fell from 48 to 3 frames/s. With threads that sleep while waiting (OMP_WAIT_POLICY=PASSIVE) it
falls only to 20 to 26, but they are a fifth slower on an idle machine, so threads sleep only on a busy
machine.
"""

import logging
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from evaluation.parallel import usable_cores

__all__ = ["Cores", "Pace", "choose_wait_policy", "find_cores"]

_log = logging.getLogger(__name__)

_LOADAVG = Path("/proc/loadavg")


@dataclass(frozen=True)
class Cores:
    """Holds the cores of this process, and how many of the machine's cores other programs occupy."""

    usable: int  # by affinity and the container's quota
    machine: int
    others: float  # mean number of other programs that are computing

    @property
    def is_busy(self) -> bool:
        """Returns whether other programs occupy some of the cores that this process may use."""
        return self.machine - self.others < self.usable

    def threads(self, processes: int = 1) -> int:
        """Returns how many threads each of ``processes`` gets when they share the free cores; at least 1."""
        free = int(self.machine - self.others)
        return max(1, min(self.usable, free) // processes)


def find_cores() -> Cores:
    """Reads the current affinity, quota and load."""
    machine = os.cpu_count() or 1
    return Cores(usable_cores(), machine, _others())


def choose_wait_policy() -> None:
    """Makes OpenMP's threads sleep while waiting on a busy machine, unless OMP_WAIT_POLICY is set.

    Call it before torch is imported, which loads OpenMP: OpenMP reads the environment only then.
    """
    if find_cores().is_busy:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


class Pace:
    """Warns once if a run becomes far slower than at its start, for example because the machine is busy."""

    def __init__(
        self, of: int = 100, unit: str = "frames", clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """Compares the last ``of`` frames, or other ``unit``, with the first ones."""
        self._of = of
        self._unit = unit
        self._clock = clock
        self._times: deque[float] = deque(maxlen=of + 1)
        self._first: float | None = None  # seconds for the first frames
        self._said = False

    def tick(self) -> None:
        """Counts one finished frame, or other unit."""
        self._times.append(self._clock())
        if self._said or len(self._times) <= self._of:
            return
        seconds = self._times[-1] - self._times[0]
        if self._first is None:
            self._first = seconds
        elif seconds > 3 * self._first:
            self._said = True
            _log.warning(
                "the last %d %s took %.1f s, the first ones %.1f s: unless there is more to compute in them, "
                "something else keeps the machine busy. A run that is stopped and started again chooses its "
                "number of threads again",
                *(self._of, self._unit, seconds, self._first),
            )


def _others() -> float:
    """Estimates how many other programs are computing.

    The load of the last minute may include a run that has just ended, and the number of programs running at
    this moment varies by chance: the lower of the two is used.
    """
    load = os.getloadavg()[0]
    try:
        running = int(_LOADAVG.read_text(encoding="ascii").split()[3].partition("/")[0])
    except (OSError, ValueError, IndexError):
        return load
    return min(load, running - 1.0)  # without this process
