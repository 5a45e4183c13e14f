"""Writes a page about runs: ``python -m aot_plus.tools.report RESULT_DIR ... --output report.html``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from aot_plus.dataloaders.eval_datasets import open_dataset
from aot_plus.tools.common import add_data_argument, run_tool, whole_number
from aot_plus.utils.errors import ConfigError
from evaluation.files import require_writable
from evaluation.home import home


def main(argv: Sequence[str] | None = None, prog: str = "python -m aot_plus.tools.report") -> int:
    """Gathers the data, writes the page and says where it is. Returns the exit code."""
    args = _parse(argv, prog)
    return run_tool(lambda: _report(args))


def _report(args: argparse.Namespace) -> int:
    from aot_plus.report.gather import gather
    from aot_plus.report.result_folder import chosen_data, read_folders
    from aot_plus.report.write import write_page

    if args.output.suffix.lower() not in (".html", ".htm"):  # it may be a picture or a figure's file
        raise ConfigError(f"--output: expected a name that ends in .html, found {args.output}")
    require_writable(args.output)
    folders = read_folders(args.results)
    of = chosen_data(folders, args.dataset, args.split, args.DIR_DATA)
    dataset = open_dataset(of.dataset, home() / of.data_folder, of.images, of.split, of.layout)
    data = gather(folders, dataset, pictures=args.pictures, workers=args.workers, protocol=of.protocol)
    size = write_page(args.output, data)
    print(f"Report: {args.output} ({size / 1e6:.1f} MB, {len(data['sequences'])} sequences)")
    return 0


def _parse(argv: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="One HTML page, without network, about one or several runs over the same dataset: "
        "figures, J per frame, what the memory kept (of runs with --trace), pictures of the worst moments.",
    )
    add = parser.add_argument
    add("results", type=Path, nargs="+", metavar="RESULT_DIR", help="result folder of aot_plus.tools.eval")
    add("--output", type=Path, required=True, metavar="HTML", help="the page to write")
    add("--dataset", help="the name of a data set, or a folder (default: the runs' config)")
    add_data_argument(parser, "the runs' config")
    add("--split", help="such as val (default: the runs' config)")
    add(
        "--pictures",
        type=whole_number(0),
        default=4,
        metavar="N",
        help="pictures of each sequence's worst moments (default: 4)",
    )
    add("--workers", type=whole_number(1), help="processes of the metric (default: one a core)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
