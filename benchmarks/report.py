"""What a benchmark tells: the spread of repeated values, memory, the machine, a table and a JSON line.

Nothing here imports torch, so that a small benchmark stays a small process.
"""

import importlib.metadata
import json
import os
import platform
import resource
import statistics
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from aot_plus.utils.config import git_commit
from evaluation.files import replacing

MIB = 2**20
_STATUS = Path("/proc/self/status")  # Linux
_CPU_INFO = Path("/proc/cpuinfo")

Record = dict[str, Any]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, minimum, maximum and number of at least one value."""
    return {
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
        "runs": len(values),
    }


def peak_memory() -> float:
    """The most resident memory this process has had, in MiB."""
    found = _read_status("VmHWM")
    if found is not None:
        return found
    unit = 1 if sys.platform == "darwin" else 1024  # bytes, kilobytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


def resident_memory() -> float:
    """The resident memory of this process now, in MiB; its peak where the system does not tell."""
    found = _read_status("VmRSS")
    return peak_memory() if found is None else found


def _read_status(name: str) -> float | None:
    """A size of ``/proc/self/status`` in MiB. Unlike getrusage's, its peak is not that of the parent."""
    if not _STATUS.exists():
        return None
    for line in _STATUS.read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024 / MIB
    return None


def machine_facts(threads: int, device: str = "cpu") -> Record:
    """What figures depend on besides the settings: machine, threads, versions, commit, date."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "device": device,
        "torch": importlib.metadata.version("torch"),
        "python": platform.python_version(),
        "commit": git_commit(),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _processor() -> str:
    """The processor's name as Linux knows it, elsewhere its architecture."""
    if _CPU_INFO.exists():
        for line in _CPU_INFO.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of equally many cells in aligned columns, the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)


def show(table: str, record: Record, path: Path | None = None) -> None:
    """Prints the table for people, and as the last line the record as JSON; ``path`` gets it as well."""
    line = json.dumps(record)
    if path is not None:
        with replacing(path) as temporary:
            temporary.write_text(f"{line}\n", encoding="utf-8")
    print(table)
    print(line, flush=True)
