"""Measures time and memory of the metric: ``python -m benchmarks.metric --help``.

Writes annotated PNG sequences to a temporary folder and times the metric's command on them, as a whole
process, against a process that only decodes the same files. Times are processor times, summed over all
processes: other programs on the machine change them little.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from aot_plus.tools.common import run_tool, whole_number
from aot_plus.utils.errors import VOSError
from aot_plus.utils.masks import write_mask
from benchmarks.report import MB, REPOSITORY, RSS_UNIT, add_arguments, image_size, show, spread
from benchmarks.videos import SyntheticVideo, write_list
from evaluation.masks import MOST_OBJECTS
from evaluation.protocols import PROTOCOLS

# Runs in a small process of its own, because the memory of the starting process counts as the program's.
_LARGEST_PROCESS = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the flags, measures, prints a table and the JSON line. Returns the exit code."""
    args = _parse(argv)
    return run_tool(lambda: _measure(args))


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.metric", description="Measures time and memory of the metric's command."
    )
    add = parser.add_argument
    add(
        "--frames",
        type=whole_number(3),
        default=2000,
        help="frames in all sequences together (default: 2000)",
    )
    add("--sequences", type=whole_number(1), default=10, help="number of sequences (default: 10)")
    add("--size", type=image_size, metavar="HxW", default=(480, 854), help="mask size (default: 480x854)")
    add("--objects", type=whole_number(1), default=2, help="objects per sequence (default: 2)")
    add(
        "--processes", type=whole_number(1), default=2, help="processes that share the sequences (default: 2)"
    )
    add("--runs", type=whole_number(1), default=5, help="runs of each of the two commands (default: 5)")
    without_meta = [name for name, of in PROTOCOLS.items() if of.layout in ("splits", "folders")]
    add("--protocol", choices=without_meta, default="vost", help="scoring rules (default: vost, only J)")
    add_arguments(parser, compute=False)
    args = parser.parse_args(argv)
    if args.frames < 3 * args.sequences:
        parser.error(f"--frames: expected at least 3 for each of {args.sequences} sequences")
    if args.objects > MOST_OBJECTS:
        parser.error(f"--objects: expected at most {MOST_OBJECTS}, found {args.objects}")
    return args


def _measure(args: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as temporary:
        dataset, results = Path(temporary, "dataset"), Path(temporary, "results")
        write_dataset(dataset, results, args.frames, args.sequences, args.size, args.objects)
        metric, decode = _commands(dataset, results, args.processes, args.protocol)
        memory = largest_process(metric)  # this also fills the file cache
        runs = [
            (processor_seconds(metric), processor_seconds(decode))
            for _ in tqdm(range(args.runs), desc="metric", unit="run")
        ]
    metric_times, decode_times = zip(*runs, strict=True)
    figures = {
        "metric": spread(metric_times),
        "ms_per_frame_and_object": 1000 * statistics.median(metric_times) / _scored(args),
        "decoding alone": spread(decode_times),
        "ratio": statistics.median(one / other for one, other in runs),
        "largest_process_mb": memory,
    }
    show(args, "cpu", args.processes, figures)
    return 0


def _scored(args: argparse.Namespace) -> int:
    """Counts the pairs of object and frame that the protocol scores; frames at the ends may not count."""
    protocol = PROTOCOLS[args.protocol]
    objects = 1 if protocol.merges else args.objects
    return int((args.frames - sum(protocol.ends) * args.sequences) * objects)


def write_dataset(
    dataset: Path, results: Path, frames: int, sequences: int, size: tuple[int, int], objects: int
) -> None:
    """Writes synthetic masks in VOST's layout; predictions are the annotations of the frame before."""
    names = [f"sequence{number:03d}" for number in range(sequences)]
    write_list(dataset, "val", names)
    video = SyntheticVideo(size, objects)
    for number, name in enumerate(tqdm(names, desc="masks", unit="sequence")):
        length = frames // sequences + (number < frames % sequences)
        masks = [video.frame(index)[1] for index in range(length)]
        for index, (mask, before) in enumerate(zip(masks, [masks[0], *masks], strict=False)):
            write_mask(dataset / "Annotations" / name / f"{index:05d}.png", mask)
            write_mask(results / name / f"{index:05d}.png", before)


def _commands(dataset: Path, results: Path, processes: int, protocol: str) -> tuple[list[str], list[str]]:
    """Returns the metric's command, and a command that only decodes the same files."""
    metric = [sys.executable, "-m", "evaluation.evaluation_method", "--re", "--set", "val"]
    metric += ["--results_path", str(results), "--dataset_path", str(dataset), "--workers", str(processes)]
    metric += ["--protocol", protocol]
    folders = map(str, sorted([*(dataset / "Annotations").iterdir(), *results.glob("sequence*")]))
    decode = [sys.executable, "-m", "benchmarks.decoding", *folders, "--processes", str(processes)]
    return metric, decode


def largest_process(command: Sequence[str]) -> float:
    """Runs a command and returns the MB of its largest process. Raises like ``processor_seconds``."""
    return int(_run([sys.executable, "-c", _LARGEST_PROCESS, *command])) * RSS_UNIT / MB


def processor_seconds(command: Sequence[str]) -> float:
    """Runs a command and returns its processor time. Raises ``VOSError`` with its output if it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _run(command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _run(command: Sequence[str]) -> str:
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        said = (ended.stdout + ended.stderr).strip()
        raise VOSError(f"{' '.join(command[:3])} ended with exit code {ended.returncode}:\n{said}")
    return ended.stdout


if __name__ == "__main__":
    sys.exit(main())
