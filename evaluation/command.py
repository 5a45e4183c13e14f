"""The command line of the VOST metric."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from evaluation.errors import DataError
from evaluation.metrics import object_figures
from evaluation.parallel import score_sequences
from evaluation.per_frame import COLUMNS, write_per_frame
from evaluation.results import Results, csv_paths, format_table, read_results, summarise, write_results
from evaluation.vost import DATASET_FOLDERS, check_predictions, dataset_folder, find_sequences


def main(argv: Sequence[str] | None = None, prog: str = "evaluation_method.py") -> int:
    """Evaluates a result folder.

    Returns the exit code: 0; 1 after a problem, which is named on stderr; 130 after Ctrl-C.
    """
    arguments = _parse(argv, prog)
    try:
        if arguments.per_frame:
            sys.stdout.write(_per_frame(arguments) + "\n")
            return 0
        results = _results(arguments)
    except (DataError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    sys.stdout.write(format_table(results) + "\n")
    return 0


def _results(arguments: argparse.Namespace) -> Results:
    """The results that are there already, or new ones."""
    folder, split = arguments.results_path, arguments.set
    paths = csv_paths(folder, split)
    if not arguments.re and all(path.exists() for path in paths):
        results = read_results(folder, split)
        sys.stdout.write(f"read from {' and '.join(str(path) for path in paths)}; --re evaluates again\n")
        return results
    # Removed before anything can fail: figures that are in the folder afterwards are those of this run.
    for path in paths:
        path.unlink(missing_ok=True)
    return evaluate(folder, dataset_folder(arguments.dataset_path), split, arguments.workers)


def _per_frame(arguments: argparse.Namespace) -> str:
    """Writes J per frame; what was written, in words."""
    folder, split = arguments.results_path, arguments.set
    path, problems = write_per_frame(
        folder, dataset_folder(arguments.dataset_path), split, arguments.workers or os.cpu_count() or 1
    )
    lines = [f"not scored: {problem}" for problem in problems]
    return "\n".join([*lines, f"J per frame: {path}"])


def evaluate(folder: Path, dataset: Path, split: str, workers: int | None = None) -> Results:
    """Scores the predictions in ``folder`` and writes both CSV files there.

    ``workers``: processes; None for as many as there are processors. Raises ``DataError``, and then
    writes nothing.
    """
    sequences = find_sequences(dataset, split)
    check_predictions(folder, sequences)
    workers = min(workers or os.cpu_count() or 1, len(sequences))
    ious = score_sequences(sequences, folder, workers)
    results = summarise((sequence.name for sequence in sequences), [object_figures(table) for table in ious])
    write_results(folder, split, results)
    return results


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
