"""Tells which processes run, for the tests that end some."""

import os
from pathlib import Path


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
