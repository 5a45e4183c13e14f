"""Writes a page about runs: ``python -m aot_plus.tools.report RESULT_DIR ... --output report.html``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from aot_plus.tools.common import add_run_data_arguments, require_output, run_tool, whole_number
from aot_plus.utils.words import format_count


def main(argv: Sequence[str] | None = None, prog: str = "python -m aot_plus.tools.report") -> int:
    """Gathers the data, writes the page and says where it is. Returns the exit code."""
    args = _parse(argv, prog)
    return run_tool(lambda: _report(args))


def _report(args: argparse.Namespace) -> int:
    from aot_plus.report.gather import gather
    from aot_plus.report.result_folder import chosen_data, read_folders
    from aot_plus.report.write import write_page

    require_output(args.output, ".html", ".htm")
    folders = read_folders(args.results)
    of = chosen_data(folders, args.dataset, args.split, args.DIR_DATA)
    data = gather(folders, of.open(), pictures=args.pictures, workers=args.workers, protocol=of.protocol)
    size = write_page(args.output, data)
    print(f"Report: {args.output} ({size / 1e6:.1f} MB, {format_count(len(data['sequences']), 'sequence')})")
    return 0


def _parse(argv: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Writes one HTML page, which needs no network, about one or more runs on the same "
        "dataset: figures, J per frame, the content of the memory (of runs with --trace), and pictures of "
        "the worst moments.",
    )
    add = parser.add_argument
    add("results", type=Path, nargs="+", metavar="RESULT_DIR", help="result folder that eval wrote")
    add("--output", type=Path, required=True, metavar="HTML", help="the page to write")
    add_run_data_arguments(parser)
    add(
        "--pictures",
        type=whole_number(0),
        default=4,
        metavar="N",
        help="number of pictures of each sequence's worst moments (default: 4)",
    )
    add("--workers", type=whole_number(1), help="number of processes for the metric (default: one per core)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
