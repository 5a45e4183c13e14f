"""The command line of the VOST metric."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from evaluation.errors import DataError
from evaluation.per_frame import COLUMNS, evaluate_per_frame, per_frame_path
from evaluation.results import Results, csv_paths, evaluate, format_table, read_results
from evaluation.vost import DATASET_FOLDERS, dataset_folder


def main(argv: Sequence[str] | None = None, prog: str = "evaluation_method.py") -> int:
    """Evaluates a result folder.

    Returns the exit code: 0; 1 after a problem, which is named on stderr; 130 after Ctrl-C.
    """
    arguments = _parse(argv, prog)
    try:
        text = _per_frame(arguments) if arguments.per_frame else format_table(_results(arguments))
    except (DataError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    sys.stdout.write(text + "\n")
    return 0


def _results(arguments: argparse.Namespace) -> Results:
    """Returns the existing results, or evaluates."""
    folder, split = arguments.results_path, arguments.set
    paths = csv_paths(folder, split)
    if not arguments.re and all(path.exists() for path in paths):
        results = read_results(folder, split)
        sys.stdout.write(f"read from {' and '.join(map(str, paths))}; --re evaluates again\n")
        return results
    return evaluate(folder, dataset_folder(arguments.dataset_path), split, arguments.workers)


def _per_frame(arguments: argparse.Namespace) -> str:
    """Writes J per frame; says what was written, and what could not be scored."""
    folder, split = arguments.results_path, arguments.set
    table = evaluate_per_frame(folder, dataset_folder(arguments.dataset_path), split, arguments.workers)
    problems = table.loc[table["Problem"] != "", "Problem"]
    lines = [f"not scored: {problem}" for problem in problems]
    return "\n".join([*lines, f"J per frame: {per_frame_path(folder, split)}"])


def _parse(argv: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=prog, description="J and J_tr (J_last) of predictions, as VOST defines them."
    )
    parser.add_argument(
        "--results_path",
        type=Path,
        required=True,
        help="folder of the predictions, <sequence>/<frame>.png; the two CSV files are written there",
    )
    parser.add_argument(
        "--dataset_path",
        required=True,
        help=f"dataset folder, or one of the words {', '.join(DATASET_FOLDERS)} (in aot_plus/datasets)",
    )
    parser.add_argument("--set", default="val", help="split to evaluate (default: val)")
    parser.add_argument("--re", action="store_true", help="evaluate again even if both CSV files are there")
    parser.add_argument(
        "--per_frame",
        action="store_true",
        help="instead, write J of every frame to per-frame_results-<set>.csv, for those sequences of the "
        f"split that have predictions; columns: {', '.join(COLUMNS)}",
    )
    parser.add_argument(
        "--workers", type=_positive, help="processes, each takes whole sequences (default: one a processor)"
    )
    return parser.parse_args(argv)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, found {value}")
    return value
