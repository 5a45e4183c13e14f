"""Downloads published data and checkpoints: ``python -m aot_plus.tools.download --help``."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aot_plus.pipeline.rows import choose_rows, numbered_rows, paper_rows
from aot_plus.tools.common import add_data_argument, data_root, run_tool
from aot_plus.utils.catalogue import PAPER_DATASET
from aot_plus.utils.errors import ConfigError, DataError, nearest
from aot_plus.utils.sources import DATA, SOURCES, Source, find_source
from evaluation.home import home

if TYPE_CHECKING:
    from aot_plus.download.get import Place

_DESCRIPTION = """\
Without arguments, lists the published data and checkpoints: their purpose, size, licence and source, and what
is already here. With names, downloads them: resumes interrupted downloads, compares sizes and checksums,
unpacks data and checks it.

Rows of the paper's table: {rows}

Exit code: 0 if everything is here; 1 if a download failed or the check of the data found errors; 130 after
Ctrl-C. Rerun the same command to resume.
"""
_CHECKED_SPLIT = "val"  # the split that has all frames


def main(argv: Sequence[str] | None = None, prog: str = "python -m aot_plus.tools.download") -> int:
    """Parses the flags; lists the sources or downloads the named ones. Returns the exit code."""
    args = _parse(argv, prog)
    return run_tool(lambda: _download(args))


def _parse(argv: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=prog,
        description=_DESCRIPTION.format(rows=", ".join(numbered_rows(paper_rows()))),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="vost, or the name of a file in the list")
    add(
        "--row",
        nargs="+",
        action="extend",
        default=[],
        metavar="ROW",
        help="download everything that these rows of the paper's table need",
    )
    add_data_argument(parser)
    return parser.parse_args(argv)


def _download(args: argparse.Namespace) -> int:
    from aot_plus.configs import Config

    rows = paper_rows()
    chosen = choose_rows(rows, args.row, flag="--row")
    names = list(args.names)
    if chosen:
        names += [*(row.file for row in rows if row.name in chosen), PAPER_DATASET]  # the largest comes last
    data, checkpoints = data_root(args), home() / Config.DIR_PRETRAIN
    if not names:
        print(_list(SOURCES.values(), data, checkpoints))
        return 0
    return 0 if get_all(names, data, checkpoints) else 1


def get_all(names: Iterable[str], data: Path, checkpoints: Path) -> bool:
    """Downloads files and datasets by name. Returns False if the check of a dataset found errors.

    data, checkpoints: the folders to put them into.
    Raises ``ConfigError`` for unknown names before it downloads anything, and ``DataError`` with the reasons
    for all failed downloads after it has completed the others.
    """
    from tqdm.contrib.logging import logging_redirect_tqdm

    from aot_plus.download.get import download

    wanted = {name: _place(source, data, checkpoints) for name, source in _known(names).items()}
    sound, problems = True, []
    for name, place in wanted.items():
        was_there = place.is_there
        try:
            with logging_redirect_tqdm():
                download(place)
        except DataError as error:
            problems.append(str(error))
            continue
        print(f"{name}: {place.target}")
        if name in DATA and not was_there:
            sound &= _check(name, data)
    if problems:
        raise DataError("\n".join(problems))
    return sound


def _known(names: Iterable[str]) -> dict[str, Source]:
    """Finds sources by name. Raises ``ConfigError`` with unknown names, similar ones, and all that exist."""
    found = {name: find_source(name) for name in names}
    known = [*DATA, *(file for file in SOURCES if file not in DATA.values())]
    unknown = [name for name, source in found.items() if source is None]
    problems = [f"unknown name {name!r}{nearest(name, known)}" for name in unknown]
    if problems:
        raise ConfigError("\n".join([*problems, f"there are: {', '.join(known)}"]))
    return {name: source for name, source in found.items() if source is not None}


def _place(source: Source, data: Path, checkpoints: Path) -> "Place":
    from aot_plus.download.get import Place

    return Place(source, data if source.unpacks_to else checkpoints)


def _check(name: str, data: Path) -> bool:
    """Checks an unpacked dataset and prints the findings. Returns True if it has no errors."""
    from aot_plus.dataloaders.dataset_check.findings import has_errors
    from aot_plus.dataloaders.dataset_check.runner import check_dataset
    from aot_plus.dataloaders.eval_datasets import open_dataset

    report = check_dataset(open_dataset(name, data), _CHECKED_SPLIT, None)
    print(report.describe())
    return not has_errors(report.findings)


def _list(sources: Iterable[Source], data: Path, checkpoints: Path) -> str:
    """Lists the sources, grouped by publication."""
    lines = [f"Data in {data}, checkpoints in {checkpoints}"]
    for publication, of_it in groupby(sources, lambda source: source.publication):
        lines += ["", str(publication), f"  licence: {publication.licence}"]
        lines += [_line(_place(source, data, checkpoints)) for source in of_it]
    figures = "Figures: J_tr / J on VOST val in percent, as published."
    mini = "Not listed: MiniVOST, which aot-plus make-mini-vost makes, and the small models that are shipped."
    return "\n".join([*lines, "", figures, mini])


def _line(place: "Place") -> str:
    from aot_plus.download.get import state_of

    source = place.source
    name = next((name for name, file in DATA.items() if file == source.name), source.name)
    where = "Google Drive" if source.drive_id else urlsplit(source.url).hostname or "by hand"
    return f"  {name:37} {state_of(place):10} {source.size_text:17} {source.purpose}; {where}"


if __name__ == "__main__":
    sys.exit(main())
