"""Runs the metric from the command line."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from evaluation.arguments import whole_number
from evaluation.datasets import DATASET_FOLDERS
from evaluation.errors import DataError
from evaluation.layouts import known_truth
from evaluation.per_frame import COLUMNS, evaluate_per_frame, per_frame_path
from evaluation.protocols import PROTOCOLS, Protocol, get_protocol
from evaluation.results import Results, evaluate, figure_paths, format_table, read_current_results
from evaluation.signals import exit_code, signals_raised


def main(argv: Sequence[str] | None = None, prog: str = "evaluation_method.py") -> int:
    """Evaluates a result folder.

    Returns the exit code: 0; 1 after a problem, which is named on stderr; 130 after Ctrl-C,
        143 after SIGTERM.
    """
    arguments = _parse(argv, prog)
    try:
        with signals_raised():
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
    """Does what was asked for, and says it."""
    return _per_frame(arguments) if arguments.per_frame else format_table(_results(arguments))


def _truth(arguments: argparse.Namespace) -> tuple[Path, str | None, Protocol]:
    """Returns the folder of the ground truth, the set and the protocol."""
    protocol = get_protocol(arguments.protocol, all_frames=arguments.all_frames, strict=arguments.strict)
    return known_truth(arguments.dataset_path, arguments.set, protocol)


def _results(arguments: argparse.Namespace) -> Results:
    """Returns the existing results, or evaluates. Only VOST's existing files are used."""
    folder, (dataset, split, protocol) = arguments.results_path, _truth(arguments)
    if protocol == PROTOCOLS["vost"] and not arguments.re:
        paths = figure_paths(folder, split, protocol)
        if all(path.exists() for path in paths):
            results = read_current_results(folder, dataset, protocol.set_name(split))
            sys.stdout.write(f"read from {' and '.join(map(str, paths))}; --re evaluates again\n")
            return results
    return evaluate(folder, dataset, split, arguments.workers, protocol)


def _per_frame(arguments: argparse.Namespace) -> str:
    """Writes the measures per frame; says what was written, and what could not be scored."""
    folder, (dataset, split, protocol) = arguments.results_path, _truth(arguments)
    table = evaluate_per_frame(folder, dataset, split, arguments.workers, protocol)
    problems = table.loc[table["Problem"] != "", "Problem"]
    lines = [f"not scored: {problem}" for problem in problems]
    measures = ", ".join(protocol.measures)
    return "\n".join([*lines, f"{measures} per frame: {per_frame_path(folder, protocol.set_name(split))}"])


def _parse(argv: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=prog, description="J, F and J_tr (J_last) of predictions, as the published tools define them."
    )
    parser.add_argument(
        "--results_path",
        type=Path,
        required=True,
        help="folder of the predictions, <sequence>/<frame>.png; the figures are written there",
    )
    parser.add_argument(
        "--dataset_path",
        required=True,
        help=f"dataset folder, or one of the words {', '.join(DATASET_FOLDERS)} (in aot_plus/datasets)",
    )
    parser.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        default="vost",
        help="the rules, the layout of the dataset and the files that are written (default: vost)",
    )
    parser.add_argument("--set", help=f"split to evaluate (default: {_default_sets()})")
    parser.add_argument("--re", action="store_true", help="evaluate again even if both CSV files are there")
    parser.add_argument(
        "--all_frames", action="store_true", help="the first and the last annotated frame count as well"
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="vos-benchmark, sav: sequences that only one of the two folders has are an error",
    )
    parser.add_argument(
        "--per_frame",
        action="store_true",
        help="instead, write the measures of every frame to per-frame_results-<set>.csv, for those sequences "
        f"of the split that have predictions; columns under vost: {', '.join(COLUMNS)}",
    )
    parser.add_argument(
        "--workers",
        type=whole_number(1),
        help="processes, each takes whole sequences (default: one a core)",
    )
    return parser.parse_args(argv)


def _default_sets() -> str:
    """Lists the protocols by their own set, for the help."""
    sets: dict[str, list[str]] = {}
    for protocol in PROTOCOLS.values():
        sets.setdefault(protocol.split or "all that both folders have", []).append(protocol.name)
    return "; ".join(f"{split} for {', '.join(names)}" for split, names in sets.items())
