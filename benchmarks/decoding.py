"""Decodes PNG files and does nothing else: ``python -m benchmarks.decoding FOLDER... --processes 2``.

It is the baseline of ``benchmarks.metric``. It shares no code with the metric, so that it does not change
when the metric gets faster.
"""

import argparse
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image


def main(argv: Sequence[str] | None = None) -> int:
    """Decodes the folders' PNG files; each process takes one folder at a time. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decoding", description="Decodes PNG files.")
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="folder of PNG files")
    parser.add_argument(
        "--processes", type=int, default=1, help="processes that share the folders (default: 1)"
    )
    args = parser.parse_args(argv)
    with ProcessPoolExecutor(args.processes, mp_context=multiprocessing.get_context("spawn")) as executor:
        print(f"{sum(executor.map(decode, args.folders))} masks")
    return 0


def decode(folder: Path) -> int:
    """Decodes a folder's PNG files and returns their number."""
    paths = sorted(folder.glob("*.png"))
    for path in paths:
        with Image.open(path) as image:
            np.asarray(image)
    return len(paths)


if __name__ == "__main__":
    sys.exit(main())
