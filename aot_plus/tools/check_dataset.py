"""Checks a dataset before a run: ``python -m aot_plus.tools.check_dataset DIR [--split S] [--workers K]``."""

import argparse
import sys
from collections.abc import Sequence

from aot_plus.dataloaders.dataset_check.findings import has_errors
from aot_plus.dataloaders.dataset_check.runner import check_dataset
from aot_plus.dataloaders.eval_datasets import open_dataset
from aot_plus.tools.common import add_data_argument, data_root, run_tool, whole_number
from evaluation.datasets import DATASET_FOLDERS


def main(argv: Sequence[str] | None = None, prog: str = "python -m aot_plus.tools.check_dataset") -> int:
    """Checks a dataset, prints the findings and a summary. Returns 1 if a run would fail, 130 on Ctrl-C."""
    args = _parse(argv, prog)
    return run_tool(lambda: _check(args))


def _check(args: argparse.Namespace) -> int:
    dataset = open_dataset(args.dataset, data_root(args), split=args.split or "val", layout=args.layout)
    report = check_dataset(dataset, args.split, args.workers)
    print(report.describe())
    return 1 if has_errors(report.findings) else 0


def _parse(argv: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Reads every image and mask of a dataset, and says what the pipeline will do with each "
        "problem that it finds. The exit code is 1 if something would make a run fail, else 0.",
    )
    parser.add_argument(
        "dataset", metavar="DIR", help=f"name of a dataset ({', '.join(DATASET_FOLDERS)}), or a folder"
    )
    add_data_argument(parser)
    parser.add_argument("--split", help="check only this split (default: all)")
    layout = "layout of DIR: name of a dataset, or package.module:ClassName (default: VOST's or DAVIS's)"
    parser.add_argument("--layout", default="", help=layout)
    parser.add_argument("--workers", type=whole_number(1), help="number of processes (default: one per core)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
