"""Time and memory of the metric: ``python -m benchmarks.metric --help``.

Writes annotated PNG sequences to a temporary folder and times the metric's command on them, as a whole
process, against a process that only decodes the same files. The last line of the output is the result as
JSON.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from aot_plus.tools.common import run_tool, whole_number
from aot_plus.utils.errors import VOSError
from benchmarks.arguments import image_size
from benchmarks.report import MIB, Record, format_table, machine_facts, show, spread
from evaluation.home import home

SPLIT = "val"
PALETTE = [0, 0, 0, 236, 95, 103, 249, 145, 87, 250, 200, 99]


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the flags, measures, prints a table and the JSON line. Gives the exit code."""
    args = _parse(argv)
    return run_tool(lambda: _measure(args))


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.metric", description="Time and memory of the metric's command."
    )
    add = parser.add_argument
    add(
        "--frames",
        type=whole_number(3),
        default=2000,
        help="annotated, in all sequences (default: %(default)s)",
    )
    add("--sequences", type=whole_number(1), default=10, help="they are shared among (default: %(default)s)")
    add("--size", type=image_size, metavar="HxW", default=(480, 854), help="of a mask (default: 480x854)")
    add("--objects", type=whole_number(1), default=2, help="in each sequence (default: %(default)s)")
    add(
        "--processes", type=whole_number(1), default=2, help="that share the sequences (default: %(default)s)"
    )
    add("--runs", type=whole_number(1), default=5, help="of each of the two (default: %(default)s)")
    add("--json", type=Path, metavar="FILE", help="write the JSON line here as well")
    args = parser.parse_args(argv)
    if args.frames < 3 * args.sequences:
        parser.error(f"--frames: expected at least 3 for each of {args.sequences} sequences")
    if args.objects > 254:
        parser.error(f"--objects: expected at most 254, found {args.objects}")
    return args


def _measure(args: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as temporary:
        dataset, results = Path(temporary, "dataset"), Path(temporary, "results")
        names = write_dataset(dataset, results, args.frames, args.sequences, args.size, args.objects)
        metric, decode = _commands(dataset, results, names, args.processes)
        runs = [
            (run_process(metric), run_process(decode))
            for _ in tqdm(range(args.runs + 1), desc="metric", unit="run")
        ][1:]  # the first one fills the file cache
    record = make_record(args, [run[0] for run in runs], [run[1] for run in runs])
    show(_table(record), record, args.json)
    return 0


def make_record(
    args: argparse.Namespace, metric: Sequence[tuple[float, float]], decode: Sequence[tuple[float, float]]
) -> Record:
    """The JSON line, from the (seconds, MiB) of each run of both commands."""
    ratios = [one[0] / other[0] for one, other in zip(metric, decode, strict=True)]
    names = ("frames", "sequences", "size", "objects", "processes")
    return {
        "benchmark": "metric",
        "settings": {name: getattr(args, name) for name in names},
        "machine": machine_facts(args.processes),
        "seconds": spread([seconds for seconds, _ in metric]),
        "decode_seconds": spread([seconds for seconds, _ in decode]),
        "ratio": spread(ratios),
        "peak_memory": max(memory for _, memory in metric),
    }


def write_dataset(
    dataset: Path, results: Path, frames: int, sequences: int, size: tuple[int, int], objects: int
) -> list[str]:
    """Writes sequences in VOST's layout and predictions for them, and gives their names.

    Objects are ragged polygons that drift; a prediction is the annotation of the frame before.
    """
    names = [f"sequence{number:03d}" for number in range(sequences)]
    (dataset / "ImageSets").mkdir(parents=True)
    (dataset / "ImageSets" / f"{SPLIT}.txt").write_text("".join(f"{name}\n" for name in names))
    rng = np.random.default_rng(0)
    for number, name in enumerate(tqdm(names, desc="masks", unit="sequence")):
        folders = dataset / "Annotations" / name, results / name
        for folder in folders:
            folder.mkdir(parents=True)
        length = frames // sequences + (number < frames % sequences)
        previous = None
        outlines = [_outline(size, rng) for _ in range(objects)]
        for frame in range(length):
            mask = _draw(outlines, frame, size)
            for folder, content in zip(folders, (mask, mask if previous is None else previous), strict=True):
                _save(content, folder / f"{frame:05d}.png")
            previous = mask
    return names


def _outline(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """A ragged closed curve, 60 x 2 (x, y) in pixels, a third of the image wide."""
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    radii = min(size) / 6 * rng.uniform(0.7, 1.3, len(angles))
    centre = rng.uniform(0.3, 0.7, 2) * size[::-1]
    return centre + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _draw(outlines: list[NDArray[np.float64]], frame: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    mask = np.zeros(size, dtype=np.uint8)
    drift = 0.1 * min(size) * np.array([np.sin(frame / 20), np.cos(frame / 20)])
    for number, outline in enumerate(outlines, start=1):
        cv2.fillPoly(mask, [(outline + drift).round().astype(np.int32)], number)
    return mask


def _save(mask: NDArray[np.uint8], path: Path) -> None:
    image = Image.fromarray(mask)
    image.putpalette(PALETTE)
    image.save(path)


def _commands(
    dataset: Path, results: Path, names: Sequence[str], processes: int
) -> tuple[list[str], list[str]]:
    """The metric's command, and the one that only decodes what it reads."""
    metric = [sys.executable, str(home() / "evaluation" / "evaluation_method.py"), "--re"]
    metric += ["--results_path", str(results), "--dataset_path", str(dataset)]
    metric += ["--set", SPLIT, "--workers", str(processes)]
    folders = [str(root / name) for name in names for root in (dataset / "Annotations", results)]
    decode = [sys.executable, "-m", "benchmarks.metric_decode", *folders, "--processes", str(processes)]
    return metric, decode


def run_process(command: Sequence[str]) -> tuple[float, float]:
    """Runs a command and gives its seconds and the peak memory (MiB) of its largest process.

    Raises ``VOSError`` with what it wrote if it fails. The memory is at least this process's own, which
    is small: a new process is born with it.
    """
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        with subprocess.Popen(command, cwd=home(), stdout=output, stderr=output) as process:
            try:
                _, status, usage = os.wait4(process.pid, 0)
            except BaseException:
                process.terminate()
                process.wait()
                raise
            process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        if process.returncode != 0:
            output.seek(0)
            said = output.read().decode(errors="replace").strip()
            raise VOSError(f"{' '.join(command[:3])} ended with exit code {process.returncode}:\n{said}")
    unit = 1 if sys.platform == "darwin" else 1024  # bytes, kilobytes
    return seconds, usage.ru_maxrss * unit / MIB


def _table(record: Record) -> str:
    rows: list[tuple[str, ...]] = [("", "median s", "min s", "max s")]
    for name, key in (("metric", "seconds"), ("decoding alone", "decode_seconds")):
        values = record[key]
        rows.append((name, *(f"{values[which]:.2f}" for which in ("median", "min", "max"))))
    ratio = record["ratio"]
    return (
        f"{format_table(rows)}\n"
        f"Ratio {ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f}). "
        f"Peak memory of a process {record['peak_memory']:.0f} MiB."
    )


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the process that is timed is ended first
    sys.exit(main())
