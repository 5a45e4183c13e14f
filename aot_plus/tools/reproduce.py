"""Reproduces the paper's table: ``python -m aot_plus.tools.reproduce --help``."""

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aot_plus.pipeline.rows import (
    SMALL_POLICIES,
    ZOO_DATASETS,
    Row,
    choose_rows,
    numbered_rows,
    paper_rows,
    small_rows,
    zoo_rows,
)
from aot_plus.tools.common import (
    add_data_argument,
    add_download_argument,
    add_earlier_results_arguments,
    data_root,
    run_tool,
    whole_number,
)
from aot_plus.utils.catalogue import PAPER_DATASET
from aot_plus.utils.errors import ConfigError, DataError
from aot_plus.utils.sources import ZOO
from aot_plus.utils.words import format_count
from evaluation.datasets import known_folder
from evaluation.files import replace_text, require_writable
from evaluation.home import home

if TYPE_CHECKING:
    from aot_plus.dataloaders.dataset import Dataset
    from aot_plus.pipeline.reproduction import Outcome

_SUFFIXES = (".csv", ".md")  # of the table's files

_DESCRIPTION = """\
Runs inference and metric for the rows of a table and prints the figures in percent: for VOST, the four rows
of the paper's table beside the published figures; for DAVIS 2017 val, the models of the AOT benchmark (J&F);
for MiniVOST, the small models with several memory policies. For YouTube-VOS 2019, it packs masks for the
server. Finished results are reused, whether made by this command or by eval_vost.sh. The table is also
written as CSV and Markdown, unless nothing was measured.

Rows:
{rows}

Exit code: 0 if something was measured and nothing failed; rows whose checkpoint is missing are listed in the
table but do not count as failed. 1 if a row failed or nothing was measured. 130 after Ctrl-C: the table then
shows what was measured so far; rerun the same command to resume.
"""


def main(argv: Sequence[str] | None = None, prog: str = "python -m aot_plus.tools.reproduce") -> int:
    """Parses the flags, completes missing results, prints and writes the table. Returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = _parse(arguments, prog)
    command = f"{prog} {shlex.join(arguments)}".strip()
    return run_tool(lambda: _reproduce(args, command))


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
        help="vost, mini_vost (made if missing), davis2017, youtubevos2019, or a folder in the layout of "
        "vost or mini_vost (default: %(default)s)",
    )
    add_data_argument(parser)
    add_download_argument(parser)
    add("--rows", nargs="+", action="extend", metavar="ROW", help="names or numbers of rows (default: all)")
    policies = "memory policies of the small models: names, or package.module:ClassName of your own"
    default = ", ".join(SMALL_POLICIES)
    add("--policies", nargs="+", action="extend", metavar="POLICY", help=f"{policies} (default: {default})")
    add(
        "--processes",
        type=whole_number(1),
        default=1,
        help="number of processes that share the videos; choose one per GPU (default: 1)",
    )
    add_earlier_results_arguments(parser)
    add(
        "--output",
        type=Path,
        help="path of the table's two files, without suffix (default: results/reproduce/<dataset>)",
    )
    return parser.parse_args(argv)


def _list_rows() -> str:
    tables = {"VOST": paper_rows(), "DAVIS, YouTube-VOS": zoo_rows(), "MiniVOST": small_rows()}
    return "\n".join(f"  {name}: {', '.join(numbered_rows(rows))}" for name, rows in tables.items())


def _reproduce(args: argparse.Namespace, command: str) -> int:
    from aot_plus.pipeline import reproduction
    from aot_plus.pipeline.table import render_reasons, render_table

    small = reproduction.is_mini_vost(args.dataset)
    policies = _check_flags(args, small=small)  # before hours of work, not after it
    if args.download and not small:
        _download(args)
    rows = small_rows(policies) if small else _published_rows(args.dataset)
    outcomes = reproduction.plan(rows, args.rows)
    try:
        dataset, opened = reproduction.prepare_dataset(args.dataset, data_root(args))
    except DataError as error:
        print(render_table(reproduction.mark_missing(outcomes, str(error))))
        hint = " --dataset mini_vost needs no download." if args.dataset == PAPER_DATASET else ""
        print(f"\nNothing was measured.{hint}")
        return 1
    if any(outcome.status == reproduction.PENDING for outcome in outcomes.values()):
        print(render_reasons(outcomes), file=sys.stderr)  # before hours of work, not only after
    values = {"DIR_DATA": args.DIR_DATA} if args.DIR_DATA else {}
    interrupted = reproduction.measure_all(
        outcomes,
        dataset,
        values,
        processes=args.processes,
        overwrite=args.overwrite,
        resume=args.resume,
    )
    source = _describe(opened, small=small)
    print(f"\nOn {source}\n\n{render_table(outcomes)}\n")
    statuses = {outcome.status for outcome in outcomes.values()}
    done = statuses & {reproduction.MEASURED, reproduction.SERVER}
    if done:
        _write_table(args.output, outcomes, opened.name, source, command)
    else:
        print("Nothing was measured, and no file written.")
    if interrupted is not None:
        raise type(interrupted)("Interrupted. Rerun the same command to resume.")
    return 0 if done and reproduction.FAILED not in statuses else 1


def _check_flags(args: argparse.Namespace, *, small: bool) -> list[str]:
    """Returns the memory policies of the small models. Raises ``VOSError`` for flags that cannot work."""
    from aot_plus.pipeline import reproduction

    if args.output and args.output.is_dir():
        raise ConfigError(
            f"--output: {args.output} is a folder; expected the path of both files, without suffix"
        )
    for path in _table_paths(args.output).values() if args.output else ():
        require_writable(path)
    reproduction.check_dataset(args.dataset)
    if args.policies and not small:
        raise ConfigError("--policies: the paper's rows have theirs; expected --dataset mini_vost")
    policies = list(dict.fromkeys(args.policies or SMALL_POLICIES))
    reproduction.check_policies(policies)
    return policies


def _published_rows(dataset: str) -> list[Row]:
    """Returns the rows of published models for a dataset."""
    return zoo_rows() if dataset in ZOO_DATASETS else paper_rows()


def _download(args: argparse.Namespace) -> None:
    """Downloads what the chosen rows lack. Raises ``VOSError``."""
    from aot_plus.configs import Config
    from aot_plus.tools.download import get_all

    rows, data = _published_rows(args.dataset), data_root(args)
    chosen = choose_rows(rows, args.rows)
    names = [row.file for row in rows if row.name in chosen and not row.checkpoint.is_file()]
    if args.dataset == PAPER_DATASET and not known_folder(data, PAPER_DATASET).is_dir():
        names.append(PAPER_DATASET)
    get_all(names, data, home() / Config.DIR_PRETRAIN)


def _describe(opened: "Dataset", *, small: bool) -> str:
    """Describes the data in words."""
    from aot_plus.dataloaders.dataset_check.layout import VOST_SEQUENCES
    from aot_plus.pipeline.reproduction import SPLIT

    found, expected = len(opened.sequences()), VOST_SEQUENCES[SPLIT]
    text = f"{opened.name} {opened.split}, {format_count(found, 'sequence')}."
    if opened.name in ZOO_DATASETS:
        return f"{text} The published figures are on {ZOO.page}."
    if small:
        return f"{text} `python -m benchmarks.policies` says which differences are more than chance."
    if found != expected:
        return f"{text} The published figures are of VOST's {expected}: the differences mean little."
    return text


def _table_paths(out: Path) -> dict[str, Path]:
    """Returns the files of a table by suffix; ``out`` may have one of these suffixes or none."""
    name = out.stem if out.suffix in _SUFFIXES else out.name
    return {suffix: out.with_name(name + suffix) for suffix in _SUFFIXES}


def _write_table(
    output: Path | None, outcomes: "Mapping[Row, Outcome]", name: str, source: str, command: str
) -> None:
    """Writes the files of a table. ``name``: the dataset's; ``source``: the data, described in words."""
    from aot_plus.configs import Config
    from aot_plus.pipeline.table import as_frame, render_page

    out = output or home() / Config.DIR_RESULT / "reproduce" / name
    csv = as_frame(outcomes).to_csv(index=False, float_format="%.4f", lineterminator="\n")
    texts = {".csv": csv, ".md": render_page(outcomes, source, command)}
    for suffix, path in _table_paths(out).items():
        replace_text(path, texts[suffix])
        print(f"Wrote {path}")


if __name__ == "__main__":
    sys.exit(main())
