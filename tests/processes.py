"""Tells which processes run, for the tests that end some, and waits for what another process does."""

import os
import time
from collections.abc import Callable
from pathlib import Path


def wait_until(
    condition: Callable[[], object],
    still: Callable[[], bool] = lambda: True,
    *,
    seconds: float = 120,
    say: Callable[[], str] = str,
) -> None:
    """Waits for a condition, as long as ``still`` holds. Fails with what ``say`` gives, and after a time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert still(), say()
        assert time.monotonic() < deadline, say()
        time.sleep(0.01)


def is_running(process: int) -> bool:
    """One that has ended may wait for its new parent to notice; it does not run."""
    try:
        os.kill(process, 0)
        state = Path(f"/proc/{process}/stat").read_text()
    except ProcessLookupError:
        return False
    except FileNotFoundError:  # a system without /proc
        return not Path("/proc/self").exists()
    return state.rpartition(")")[2].split()[0] != "Z"
