"""Runs the metric from the command line."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from evaluation.arguments import whole_number
from evaluation.datasets import DATASET_FOLDERS
from evaluation.errors import DataError
from evaluation.layouts import Truth, known_truth
from evaluation.per_frame import COLUMNS, evaluate_per_frame, per_frame_path
from evaluation.protocols import PROTOCOLS, get_protocol
from evaluation.results import Results, evaluate, figure_paths, format_table, read_current_results
from evaluation.signals import exit_code, signals_as_exceptions


def main(argv: Sequence[str] | None = None, prog: str = "evaluation_method.py") -> int:
    """Evaluates a result folder.

    Returns the exit code: 0 on success, 1 after an error, which is printed on stderr, 130 after Ctrl-C,
    143 after SIGTERM.
    """
    arguments = _parse(argv, prog)
    try:
        with signals_as_exceptions():
            text = _text(arguments)
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except (DataError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt as interrupt:
        return exit_code(interrupt)
    return 0


def _text(arguments: argparse.Namespace) -> str:
    """Runs the requested evaluation and returns the text to print."""
    return _per_frame(arguments) if arguments.per_frame else format_table(_results(arguments))


def _truth(arguments: argparse.Namespace) -> Truth:
    protocol = get_protocol(arguments.protocol, all_frames=arguments.all_frames, strict=arguments.strict)
    return known_truth(arguments.dataset_path, arguments.set, protocol)


def _results(arguments: argparse.Namespace) -> Results:
    """Reads the existing results (under VOST only), or evaluates."""
    folder, (dataset, split, protocol) = arguments.results_path, _truth(arguments)
    if protocol == PROTOCOLS["vost"] and not arguments.re:
        paths = figure_paths(folder, split, protocol)
        if all(path.exists() for path in paths):
            results = read_current_results(folder, dataset, protocol.set_name(split))
            sys.stdout.write(f"read from {' and '.join(map(str, paths))}; --re evaluates again\n")
            return results
    return evaluate(folder, dataset, split, arguments.workers, protocol)


def _per_frame(arguments: argparse.Namespace) -> str:
    """Writes the measures per frame; returns a text that names the file and what could not be scored."""
    folder, (dataset, split, protocol) = arguments.results_path, _truth(arguments)
    table = evaluate_per_frame(folder, dataset, split, arguments.workers, protocol)
    problems = table.loc[table["Problem"] != "", "Problem"]
    lines = [f"not scored: {problem}" for problem in problems]
    measures = ", ".join(protocol.measures)
    return "\n".join([*lines, f"{measures} per frame: {per_frame_path(folder, protocol.set_name(split))}"])


def _parse(argv: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Computes J, F and J_tr (J_last) of predicted masks, as the published tools define them.",
    )
    parser.add_argument(
        "--results_path",
        type=Path,
        required=True,
        help="folder of the predictions, <sequence>/<frame>.png; the figures are written there as well",
    )
    parser.add_argument(
        "--dataset_path",
        required=True,
        help=f"dataset folder, or the name of a dataset in aot_plus/datasets: {', '.join(DATASET_FOLDERS)}",
    )
    parser.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        default="vost",
        help="scoring rules; they also determine the dataset's layout and the output files (default: vost)",
    )
    parser.add_argument("--set", help=f"split to evaluate (default: {_default_sets()})")
    parser.add_argument("--re", action="store_true", help="evaluate again even if both CSV files exist")
    parser.add_argument(
        "--all_frames", action="store_true", help="also score the first and the last annotated frame"
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="fail if a sequence is missing from one of the two folders (for vos-benchmark and sav)",
    )
    parser.add_argument(
        "--per_frame",
        action="store_true",
        help="write the measures of every frame to per-frame_results-<set>.csv instead, for all sequences of "
        f"the split that have predictions; columns under vost: {', '.join(COLUMNS)}",
    )
    parser.add_argument(
        "--workers",
        type=whole_number(1),
        help="number of processes; each scores whole sequences (default: one per core)",
    )
    return parser.parse_args(argv)


def _default_sets() -> str:
    """Lists the default sets, each with its protocols, for the help."""
    sets: dict[str, list[str]] = {}
    for protocol in PROTOCOLS.values():
        sets.setdefault(protocol.split or "all sequences in both folders", []).append(protocol.name)
    return "; ".join(f"{split} for {', '.join(names)}" for split, names in sets.items())
