"""Provides what all benchmarks share: flags, memory, and the output, a table and a line of JSON.

Nothing here imports torch, so that a benchmark of a small process stays small itself.
"""

import argparse
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

import pandas as pd

from aot_plus.tools.common import whole_number
from aot_plus.utils.config import git_commit
from evaluation.files import replace_text

DTYPES = ("float32", "bfloat16", "float16")
MB = 1e6  # bytes
REPOSITORY = Path(__file__).parents[1]  # the folder that the project's programs are started in
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes of getrusage's sizes

Figures = dict[str, Any]


def image_size(text: str) -> tuple[int, int]:
    """Reads ``HEIGHTxWIDTH`` in pixels, like 481x849 (an argparse type)."""
    height, _, width = text.partition("x")
    if not height.isdecimal() or not width.isdecimal() or not int(height) or not int(width):
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH like 481x849, found {text!r}")
    return int(height), int(width)


def add_arguments(parser: argparse.ArgumentParser, *, compute: bool = True) -> None:
    """Adds ``--json``, and with ``compute`` ``--device`` and ``--threads``."""
    add = parser.add_argument
    add("--json", type=Path, metavar="FILE", help="also write the JSON line to this file")
    if compute:
        add("--device", default="auto", help="auto, cpu, cuda or cuda:<number> (default: auto)")
        add("--threads", type=whole_number(1), help="number of PyTorch threads (default: its choice)")


def spread(values: Sequence[float], unit: float | None = None) -> dict[str, float]:
    """Computes median, minimum and maximum of seconds; with ``unit`` (seconds), also the median in units."""
    median = statistics.median(values)
    found = {"median": median, "min": min(values), "max": max(values)}
    return found if unit is None else {**found, "units": median / unit}


def resident_memory(*, peak: bool = False) -> float:
    """Returns this process's resident memory in MB, now or at its peak; without /proc, always the peak."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT / MB
    # Unlike the peak of getrusage, this one does not include the process that started this one.
    values = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
    return int(values["VmHWM" if peak else "VmRSS"].split()[0]) * 1024 / MB


def show(args: argparse.Namespace, device: str, threads: int, figures: Figures) -> None:
    """Prints the figures as a table, then as a JSON line with flags and machine, also into ``--json``."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    machine = {
        "processor": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "threads": threads,
        "device": device,
        "torch": importlib.metadata.version("torch"),
        "python": platform.python_version(),
        "commit": git_commit(),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }
    line = json.dumps({"settings": vars(args), "machine": machine, "figures": figures}, default=str)
    if args.json is not None:
        replace_text(args.json, f"{line}\n")
    rows = {name: of if isinstance(of, dict) else {"": of} for name, of in figures.items()}
    table = pd.DataFrame.from_dict(rows, orient="index")
    text = table.to_string(float_format="{:.4g}".format, na_rep="", line_width=110)
    print(f"{text}\n{line}", flush=True)
