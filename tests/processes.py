"""Finds out whether a process runs, and waits for conditions that another process brings about."""

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
    """Waits for a condition.

    Fails with the text that ``say`` returns once ``still`` no longer holds, or after ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert still(), say()
        assert time.monotonic() < deadline, say()
        time.sleep(0.01)


def is_running(process: int) -> bool:
    """Returns whether a process runs. A zombie, which waits for its new parent to reap it, does not."""
    try:
        os.kill(process, 0)
        state = Path(f"/proc/{process}/stat").read_text()
    except ProcessLookupError:
        return False
    except FileNotFoundError:  # a system without /proc
        return not Path("/proc/self").exists()
    return state.rpartition(")")[2].split()[0] != "Z"
