"""Chooses the number of threads, and how they wait for one another, by the machine's load at the start.

OpenMP's threads meet at a barrier after each part of a layer, and wait there in a busy loop. Where other
programs hold the cores, a thread that waits like this takes the time of the one that it waits for: with two
threads on two busy cores, 3 of 48 frames/s were left. Threads that sleep while they wait
(OMP_WAIT_POLICY=PASSIVE) leave 20 to 26, but cost a fifth where nothing else runs; so they do that on a busy
machine only.
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
    """Holds the cores of this process, and how many of the machine's cores other programs hold."""

    usable: int  # by affinity and the container's quota
    machine: int
    others: float  # mean number of other programs that compute

    @property
    def is_busy(self) -> bool:
        """Tells whether the others hold some of the cores that this process may use."""
        return self.machine - self.others < self.usable

    def threads(self, processes: int = 1) -> int:
        """Returns how many threads each of ``processes`` should have: one for each core that is free."""
        free = int(self.machine - self.others)
        return max(1, min(self.usable, free) // processes)


def find_cores() -> Cores:
    """Looks at affinity, quota and load of the moment."""
    machine = os.cpu_count() or 1
    return Cores(usable_cores(), machine, _others())


def choose_wait_policy() -> None:
    """Has OpenMP's threads sleep while they wait, on a busy machine, unless OMP_WAIT_POLICY says otherwise.

    Call it before torch is imported, which reads the environment then.
    """
    if find_cores().is_busy:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


class Pace:
    """Warns once where a run has become far slower than at its start, as on a machine that got busy."""

    def __init__(
        self, of: int = 100, unit: str = "frames", clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """``of``: how many frames, or another ``unit``, are compared, the last ones with the first."""
        self._of = of
        self._unit = unit
        self._clock = clock
        self._times: deque[float] = deque(maxlen=of + 1)
        self._first: float | None = None  # seconds for the first ones
        self._said = False

    def tick(self) -> None:
        """Counts one that is done."""
        self._times.append(self._clock())
        if self._said or len(self._times) <= self._of:
            return
        seconds = self._times[-1] - self._times[0]
        if self._first is None:
            self._first = seconds
        elif seconds > 3 * self._first:
            self._said = True
            _log.warning(
                "the last %d %s took %.1f s, the first ones %.1f s: if there is no more to compute in them, "
                "something else keeps the machine busy. A run that is stopped and given again chooses its "
                "threads anew",
                *(self._of, self._unit, seconds, self._first),
            )


def _others() -> float:
    """Estimates how many other programs compute.

    The load of the last minute includes a run that has just ended, and those that run at this moment may be
    few by chance: the lower one counts.
    """
    if not hasattr(os, "getloadavg"):
        return 0.0
    load = os.getloadavg()[0]
    try:
        running = int(_LOADAVG.read_text(encoding="ascii").split()[3].partition("/")[0])
    except (OSError, ValueError, IndexError):
        return load
    return min(load, running - 1.0)  # without this one
