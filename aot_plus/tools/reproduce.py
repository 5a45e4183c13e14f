"""Reproduces the paper's table: ``python -m aot_plus.tools.reproduce --help``."""

import argparse
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from aot_plus.configs import Config
from aot_plus.dataloaders.dataset_check.layout import VOST_SEQUENCES
from aot_plus.dataloaders.eval_datasets import VOSTDataset
from aot_plus.pipeline.commands import run_shown
from aot_plus.pipeline.reproduction import (
    FAILED,
    MEASURED,
    PENDING,
    SPLIT,
    Execute,
    dataset_argument,
    is_mini_vost,
    measure_all,
    open_argument,
    plan,
    without_dataset,
)
from aot_plus.pipeline.rows import numbered_rows, paper_runs, small_runs
from aot_plus.pipeline.table import (
    render_csv,
    render_page,
    render_reasons,
    render_table,
)
from aot_plus.tools.common import run_tool, whole_number
from aot_plus.utils.catalogue import PAPER_DATASET
from aot_plus.utils.errors import ConfigError, DataError
from evaluation.files import replacing
from evaluation.home import home

_DESCRIPTION = """\
Runs the rows of a table, inference and metric, and prints J_tr and J in percent: for VOST the four rows of
the paper's table beside the published figures, for MiniVOST the small models with every memory policy. What
is finished is used again, whether it was made here or by eval_vost.sh. The table is also written as CSV and
Markdown, unless nothing was measured.

Rows:
{rows}

Exit code: 0 if something was measured and nothing failed; rows whose checkpoint is missing are in the table
and do not change that. 1 if a row failed or nothing was measured. 130 after Ctrl-C: what was measured by then
is in the table, and the same command goes on.
"""


def main(
    argv: Sequence[str] | None = None,
    execute: Execute = run_shown,
    prog: str = "python -m aot_plus.tools.reproduce",
) -> int:
    """Parses the flags, runs what is missing, prints and writes the table. Gives the exit code.

    ``execute`` replaces how commands are run.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = _parse(arguments, prog)
    command = f"{prog} {shlex.join(arguments)}"
    return run_tool(lambda: _reproduce(args, command, execute))


def _parse(argv: Sequence[str], prog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=prog,
        description=_DESCRIPTION.format(rows=_list_rows()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--dataset",
        default="vost",
        help="vost, mini_vost (made where it is not there), or the folder of either (default: %(default)s)",
    )
    add("--rows", nargs="+", metavar="ROW", help="names or numbers of rows (default: all)")
    add(
        "--processes",
        type=whole_number(1),
        default=1,
        help="that share the videos; with GPUs, their number (default: 1)",
    )
    add(
        "--out",
        type=Path,
        help="path of both files, without suffix (default: results/reproduce/<dataset>)",
    )
    return parser.parse_args(argv)


def _list_rows() -> str:
    tables = {"VOST": paper_runs(), "MiniVOST": small_runs()}
    return "\n".join(f"  {name}: {', '.join(numbered_rows(runs))}" for name, runs in tables.items())


def _reproduce(args: argparse.Namespace, command: str, execute: Execute) -> int:
    if args.out and args.out.is_dir():  # said before hours of work, not after it
        raise ConfigError(f"--out: {args.out} is a folder; expected the path of both files, without suffix")
    dataset = dataset_argument(args.dataset)
    outcomes = plan(small_runs() if is_mini_vost(dataset) else paper_runs(), args.rows)
    try:
        opened = open_argument(dataset, home() / Config.DIR_DATA)
    except DataError as error:
        print(render_table(without_dataset(outcomes, str(error))))
        hint = " --dataset mini_vost needs no download." if dataset == PAPER_DATASET else ""
        print(f"\nNothing was measured.{hint}")
        return 1
    if any(outcome.status == PENDING for outcome in outcomes.values()):
        print(render_reasons(outcomes), file=sys.stderr)  # before hours of work, not only after it
    interrupted = measure_all(outcomes, dataset, opened, args.processes, execute)
    source = _describe(dataset, opened)
    print(f"\nOn {source}\n\n{render_table(outcomes)}\n")
    statuses = {outcome.status for outcome in outcomes.values()}
    if MEASURED in statuses:
        out = args.out or home() / Config.DIR_RESULT / "reproduce" / opened.name
        _write(out, {".csv": render_csv(outcomes), ".md": render_page(outcomes, source, command)})
    else:
        print("Nothing was measured, and no file written.")
    if interrupted:
        raise KeyboardInterrupt("Interrupted. Run the same command again to go on.")
    return 0 if MEASURED in statuses and FAILED not in statuses else 1


def _describe(dataset: str, opened: VOSTDataset) -> str:
    """What was measured on, in words."""
    found, expected = len(opened.sequences(SPLIT)), VOST_SEQUENCES[SPLIT]
    text = f"{opened.name} {SPLIT}, {found} sequence{'s' * (found != 1)}."
    if is_mini_vost(dataset):
        return f"{text} `python -m benchmarks.policies` says which differences are more than chance."
    if found != expected:
        return f"{text} The published figures are of VOST's {expected}: the differences mean little."
    return text


def _write(out: Path, texts: Mapping[str, str]) -> None:
    """Writes the files of a table, one for each suffix."""
    name = out.stem if out.suffix in texts else out.name
    for suffix, text in texts.items():
        path = out.with_name(name + suffix)
        try:
            with replacing(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
        except OSError as error:
            raise DataError(f"{path}: cannot be written ({error.strerror})") from error
        print(f"Wrote {path}")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the command that runs, too
    sys.exit(main())
