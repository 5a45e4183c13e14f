"""Flags that several benchmarks share."""

import argparse
from pathlib import Path

from aot_plus.tools.common import whole_number

DTYPES = ("float32", "bfloat16", "float16")


def image_size(text: str) -> tuple[int, int]:
    """An argparse type: ``HEIGHTxWIDTH`` in pixels, like 481x849."""
    height, cross, width = text.partition("x")
    if not cross or not height.isdecimal() or not width.isdecimal() or not int(height) or not int(width):
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH like 481x849, found {text!r}")
    return int(height), int(width)


def add_compute_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds ``--device``, ``--threads`` and ``--json``."""
    add = parser.add_argument
    add("--device", default="auto", help="auto, cpu, cuda or cuda:<number> (default: %(default)s)")
    add("--threads", type=whole_number(1), help="of PyTorch on the CPU (default: PyTorch's choice)")
    add("--json", type=Path, metavar="FILE", help="write the JSON line here as well")
